"""Explainers trained from end to end on a toy classifier, and the report on whether they are any good."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.images.truth import read_truth
from xaicli.models.checkpoint import list_checkpoints, read_checkpoint
from xaicli.models.load import load_classifier
from xaicli.registry import make_method
from xaicli.runs.explain import explain
from xaicli.training.data import read_listing
from xaicli.training.held_out_scores import score_held_out, scores_beside_rivals
from xaicli.training.learner import parse_learner
from xaicli.training.plan import prepare
from xaicli.training.train_request import TrainRequest

QUICK = {"epochs": 1, "batch_size": 8, "lr": 0.02}


@pytest.fixture(scope="module")
def network(toy, tmp_path_factory):
    """The file of an LFI network that was trained on the toy data by `xai train lfi-cam`."""
    run = prepare(network_request(toy, tmp_path_factory.mktemp("net") / "net.safetensors"))
    list(run.events())
    assert run.history[-1]["held accuracy"] == 1.0
    return run.output


def network_request(toy, path, **options):
    return TrainRequest(
        method="lfi-cam@fin_width=4",
        data=str(toy / "train"),
        val=str(toy / "val"),
        model="tiny@widths=8+8@blocks=1",
        output=path,
        overrides={"epochs": 12, "batch_size": 8, "lr": 0.05, "shape": "one-cycle"},
        model_options={"resize": 32, "crop": 32, "device": "cpu", **options},
    )


@pytest.fixture
def train_request(toy, network, tmp_path):
    def make(method: str, **changes) -> TrainRequest:
        given = {
            "method": method,
            "data": str(toy / "train" / "red"),
            "val": str(toy / "val"),
            "model": str(network),
            "output": tmp_path / "my.safetensors",
            "overrides": QUICK,
        }
        return TrainRequest(**{**given, **changes})

    return make


def finish(train_request: TrainRequest):
    run = prepare(train_request)
    list(run.events())
    return run


def test_an_lfi_network_is_a_model_whose_own_map_is_shown(network, toy):
    photo = next((toy / "val" / "red").iterdir())
    [attribution] = explain(str(photo), str(network), method="lfi-cam")
    assert attribution.values.min() >= 0
    assert attribution.values.max() <= 1
    told = read_checkpoint(network).metadata
    assert told["method"] == "lfi-cam"
    assert told["parameters"]["fin_width"] == 4


def test_a_network_of_ones_own_code_is_trained_and_loaded_again(train_request, toy, tmp_path):
    code = tmp_path / "net.py"
    code.write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU(),\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))\n"
    )
    options = {"resize": 32, "crop": 32, "device": "cpu"}
    run = finish(train_request("lfi-cam", data=str(toy / "train"), model=f"{code}:make", model_options=options))
    with pytest.raises(InputError, match=r"your own code, net\.py:make"):
        load_classifier(str(run.output))
    classifier = load_classifier(f"{code}:make", weights=run.output)
    assert classifier.classes == ("blue", "green", "red")
    assert classifier.view.size == (32, 32)
    inputs = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(classifier(inputs), run.task.modules["network"](inputs))


def test_bee_learns_its_prior_from_photos_without_labels_and_the_file_is_used(train_request, toy):
    run = finish(train_request("bee@n_steps=2@metric=deletion\\@steps=4", parameters={"context_dim": "4", "n_bank": "2"}))
    told = read_checkpoint(run.output).metadata
    assert told["metric"]["parameters"]["steps"] == 4
    assert set(run.history[-1]) >= {"surprise", "score", "held score"}
    classifier, photo = run.task.classifier, next((toy / "val" / "red").iterdir())
    method = f"bee@n_steps=2@n_pulls=2@metric=deletion\\@steps=4@checkpoint={run.output}"
    [attribution] = explain(str(photo), classifier, method=method)
    assert attribution.record.extras["trained_pulls"] == len(run.listing) // 8 * 8
    assert attribution.record.fitted_to == "deletion"


@pytest.mark.parametrize("method", ["t-tame", "tame", "p-tame"])
def test_attention_is_trained_without_labels_and_the_network_keeps_every_bit(train_request, network, method):
    given = {"auxiliary": str(network)} if method == "p-tame" else {}
    run = prepare(train_request(method, parameters=given))
    before = {name: tensor.clone() for name, tensor in run.task.classifier.torch_module.state_dict().items()}
    list(run.events())
    after = run.task.classifier.torch_module.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    told = read_checkpoint(run.output).metadata
    assert told["method"] == method
    assert told["fingerprint"] == run.task.classifier.weights_fingerprint
    assert told["layers"]


def test_a_checkpoint_of_ones_own_is_used_and_refused_for_another_network(train_request, network, toy, tmp_path):
    run = finish(train_request("t-tame"))
    photo = str(next((toy / "val" / "red").iterdir()))
    [attribution] = explain(photo, str(network), method=f"t-tame@checkpoint={run.output}")
    assert attribution.values.max() > attribution.values.min()
    plain = {"data": str(toy / "train"), "model": "tiny@widths=8+8@blocks=1", "output": tmp_path / "b.safetensors"}
    other = finish(train_request("classifier", **plain))
    with pytest.raises(InputError, match="trained for another classifier"):
        explain(photo, str(other.output), method=f"t-tame@checkpoint={run.output}")


def test_without_a_name_it_is_installed_and_found_by_itself(train_request, network, toy):
    run = finish(train_request("t-tame", output=None))
    assert [found.path for found in list_checkpoints() if not found.bundled] == [run.output]
    assert run.output.name.startswith("t-tame.net.")
    [attribution] = explain(str(next((toy / "val" / "red").iterdir())), str(network), method="t-tame")
    assert attribution.record.method == "t-tame"


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_the_engine_that_was_asked_for_makes_the_scores_of_a_trained_network(network, toy, engine):
    run = prepare(network_request(toy, network, engine=engine))
    assert run.complete
    made = score_held_out(run, 1)
    assert made is not None
    assert made.run.classifier.engine == engine


def test_the_engine_that_was_asked_for_makes_the_scores_of_an_explainer(train_request):
    run = prepare(train_request("t-tame", model_options={"engine": "torch"}))
    assert run.task.classifier.engine == "torch"


def test_the_report_holds_the_explainer_against_rivals_and_controls(train_request):
    run = finish(train_request("t-tame"))
    made = score_held_out(run, 4)
    assert made is not None
    assert len(list(made.rows())) == 4
    [group] = made.groups
    assert {"grad-cam", "rise@n_masks=500"} < set(group.methods)
    assert any(method.startswith("t-tame@checkpoint=") for method in group.methods)
    assert {"random", "center"} <= set(group.controls)
    assert len(group.metrics) == 4
    assert group.photos == 4


def test_where_there_are_boxes_the_energy_within_them_is_reported(network, toy, tmp_path):
    boxes = tmp_path / "boxes.csv"
    rows = [f"val/{name}/{number}.png,0,0,8,8" for name in ("red", "blue", "green") for number in (0, 1)]
    boxes.write_text("\n".join(["file,x0,y0,x1,y1", *rows]))
    classifier = load_classifier(str(network))
    truth = read_truth(boxes, classifier.classes, classifier.count)
    made = scores_beside_rivals(classifier, make_method("lfi-cam"), read_listing(str(toy / "val")).sample(3, 0), truth=truth)
    list(made.rows())
    assert "energy-pointing-game" in made.groups[0].metrics


def test_there_is_no_score_held_out_a_classifier_or_without_photos(train_request, toy, tmp_path):
    run = prepare(train_request("t-tame"))
    assert score_held_out(run, 0) is None
    assert score_held_out(dataclasses.replace(run, held=None), 4) is None
    plain = prepare(train_request("classifier", data=str(toy / "train"), model="tiny@widths=8@blocks=1"))
    assert score_held_out(plain, 4) is None


def test_what_both_method_and_training_know_goes_to_both():
    learner = parse_learner("p-tame@auxiliary=tiny@power=0.5", {})
    assert learner.label == "p-tame@auxiliary=tiny"
    assert learner.parameters == {"auxiliary": "tiny", "power": "0.5"}


def test_a_pretrained_start_is_for_networks_alone(train_request):
    with pytest.raises(UsageError, match="--pretrained with t-tame"):
        prepare(train_request("t-tame", pretrained=True))


def test_a_misspelt_parameter_of_training_gets_a_suggestion(train_request):
    with pytest.raises(UsageError, match="Did you mean power"):
        prepare(train_request("t-tame", parameters={"powr": "0.5"}))


def test_labels_that_are_not_the_networks_are_refused(train_request, toy, tmp_path):
    data = tmp_path / "two"
    data.mkdir()
    for name in ("red", "blue"):
        (data / name).symlink_to(toy / "train" / name)
    with pytest.raises(UsageError, match=r"2 classes of the data, but net\.safetensors has 3"):
        prepare(train_request("t-tame", data=str(data), val=None, parameters={"target": "label"}))


def test_python_users_train_in_as_many_words(network, toy, tmp_path):
    seen = []
    made = xaicli.train(
        "t-tame",
        toy / "train" / "red",
        model=str(network),
        output=tmp_path / "my.safetensors",
        val=toy / "val",
        parameters={"area": 1.0},
        report=2,
        on_event=seen.append,
        seed=4,
        device="cpu",
        **QUICK,
    )
    told = read_checkpoint(made.path).metadata
    assert made.path == tmp_path / "my.safetensors"
    assert told["seed"] == 4
    assert told["schedule"]["lr"] == 0.02
    assert told["parameters"]["area"] == 1.0
    assert {row["method"] for row in made.rows} >= {"grad-cam", "random", "center"}
    assert "grad-cam" in str(made)
    assert [type(event).__name__ for event in seen] == ["Step", "Epoch"]
