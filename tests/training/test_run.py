"""Whole runs on a toy data set: what comes out, what is recorded, what is refused, and going on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from xaicli.errors import InputError, RunError, UsageError
from xaicli.methods.lfi import lfi_network as lfi
from xaicli.models.checkpoint import read_checkpoint
from xaicli.models.load import load_classifier
from xaicli.task import TaskOptions
from xaicli.training.classifier_task import ClassifierTask
from xaicli.training.learner import parse_learner
from xaicli.training.loop import Epoch, Step
from xaicli.training.plan import prepare
from xaicli.training.train_request import TrainRequest

SMALL = "tiny@widths=6+8@blocks=1"
SIXTEEN = {"resize": 16, "crop": 16, "device": "cpu"}
QUICK = {"epochs": 6, "batch_size": 8, "lr": 0.1}


@pytest.fixture
def train_request(toy, tmp_path):
    """A function that makes a request: a classifier of the toy data in `tmp_path/out.safetensors`, changed as said."""

    def make(**changes) -> TrainRequest:
        given = {
            "method": "classifier",
            "data": str(toy / "train"),
            "val": str(toy / "val"),
            "model": SMALL,
            "output": tmp_path / "out.safetensors",
            "overrides": QUICK,
            "model_options": SIXTEEN,
        }
        return TrainRequest(**{**given, **changes})

    return make


def finish(train_request: TrainRequest):
    run = prepare(train_request)
    list(run.events())
    return run


def test_a_classifier_learns_the_toy_data_and_is_a_model_afterwards(train_request):
    run = finish(train_request(overrides={**QUICK, "epochs": 12}))
    assert run.history[-1]["held accuracy"] == 1.0
    classifier = load_classifier(str(run.output))
    assert classifier.classes == ("blue", "green", "red")
    assert classifier.view.size == (16, 16)
    red = torch.full((1, 3, 16, 16), -1.5)
    red[:, 0, 4:12, 4:12] = 2.0
    assert classifier(red).argmax().item() == 2


def test_the_branch_is_trained_along_and_found_again(train_request):
    run = finish(train_request(method="classifier@branch=true", half=True, overrides={**QUICK, "epochs": 1}))
    branch = lfi.branch_of(load_classifier(str(run.output)).module)
    assert branch is not None
    dtypes = {tensor.dtype for tensor in safetensors.torch.load_file(run.output).values()}
    assert dtypes == {torch.float16, torch.int64}


def test_a_teacher_is_learned_from_and_left_as_it_is(train_request, tmp_path):
    teacher = finish(train_request(overrides={**QUICK, "epochs": 1}))
    pupil = {"parameters": {"teacher": str(teacher.output)}, "output": tmp_path / "pupil.safetensors"}
    run = finish(train_request(**pupil, overrides={**QUICK, "epochs": 1}))
    assert {"cross-entropy", "distillation"} <= set(run.history[0])
    assert read_checkpoint(run.output).metadata["teacher"]["name"] == "out.safetensors"


def test_a_pupil_that_agrees_with_its_teacher_has_nothing_to_learn_from_it(train_request):
    path = str(finish(train_request(overrides={**QUICK, "epochs": 1})).output)
    classifier = load_classifier(path)
    task = ClassifierTask.of({"teacher": path}, classifier, TaskOptions())
    terms = task.losses(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))
    assert terms["distillation"].item() == pytest.approx(0, abs=1e-6)
    assert task.total(terms).item() == pytest.approx(0.5 * terms["cross-entropy"].item(), rel=1e-5)


def test_the_checkpoint_says_what_it_was_made_of(train_request):
    run = finish(train_request(seed=3, overrides={**QUICK, "epochs": 1}))
    told = read_checkpoint(run.output).metadata
    assert told["method"] == "classifier"
    assert told["seed"] == 3
    assert told["data"] == {"fingerprint": run.listing.fingerprint(), "photos": 24, "held": 6, "classes": told["classes"]}
    assert told["schedule"]["epochs"] == 1
    assert told["architecture"] == {"spec": "tiny@blocks=1@widths=6+8", "count": 3}
    assert told["class_names"] == ["blue", "green", "red"]
    assert told["precision"] == "fp32"
    assert len(told["history"]) == 1
    assert "torch" in told["versions"]
    assert str(run.output.parent) not in json.dumps(told)


def test_a_picture_of_the_curves_lies_beside_it_and_the_snapshot_is_gone(train_request):
    run = finish(train_request(overrides={**QUICK, "epochs": 2}))
    assert sorted(path.name for path in run.output.parent.iterdir()) == ["out.curve.png", "out.safetensors"]
    assert (run.output.parent / "out.curve.png").read_bytes().startswith(b"\x89PNG")


def test_initial_weights_and_batches_come_from_the_seed(train_request, tmp_path):
    state = torch.get_rng_state()
    one = finish(train_request(overrides={**QUICK, "epochs": 1}))
    torch.rand(3)
    two = finish(train_request(output=tmp_path / "two.safetensors", overrides={**QUICK, "epochs": 1}))
    three = finish(train_request(output=tmp_path / "three.safetensors", seed=1, overrides={**QUICK, "epochs": 1}))
    files = [safetensors.torch.load_file(run.output) for run in (one, two, three)]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    assert not all(torch.equal(files[0][name], files[2][name]) for name in files[0])
    torch.set_rng_state(state)


def test_photos_from_disk_train_the_same_network_as_photos_in_memory(train_request, tmp_path, monkeypatch):
    one = finish(train_request(overrides={**QUICK, "epochs": 1}))
    monkeypatch.setattr("xaicli.training.decoded.SHARE", 0.0)
    two = finish(train_request(output=tmp_path / "two.safetensors", overrides={**QUICK, "epochs": 1}))
    first, second = (safetensors.torch.load_file(run.output) for run in (one, two))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_named_photos_some_are_held_out(train_request):
    run = prepare(train_request(val=None, held=4))
    assert (len(run.listing), len(run.held)) == (20, 4)
    assert not set(run.listing.names) & set(run.held.names)
    # One in fifty of twenty-four is none.
    assert prepare(train_request(val=None)).held is None


def test_a_limit_is_drawn_with_the_seed(train_request):
    assert len(prepare(train_request(limit=10)).listing) == 10


def test_broken_photos_are_left_out_only_where_that_was_asked_for(train_request, toy, tmp_path):
    data = tmp_path / "data"
    for colour in ("red", "blue"):
        (data / colour).mkdir(parents=True)
        for path in (toy / "train" / colour).iterdir():
            (data / colour / path.name).write_bytes(path.read_bytes())
    (data / "red" / "0.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"0\.png"):
        prepare(train_request(data=str(data), val=None))
    told = []
    run = prepare(train_request(data=str(data), val=None, keep_going=True), on_error=told.append)
    assert len(told) == 1
    assert run.training.batches.total == 15


def test_a_pretrained_network_gets_a_new_head_for_other_classes(train_request, tmp_path):
    base = finish(train_request(overrides={**QUICK, "epochs": 1}))
    data = tmp_path / "two"
    for colour in ("red", "blue"):
        (data / colour).parent.mkdir(exist_ok=True)
        (data / colour).symlink_to(Path(base.request.data) / colour)
    said = []
    with pytest.raises(UsageError, match="no network"):
        prepare(train_request(model=str(base.output), data=str(data), val=None, output=tmp_path / "x.safetensors"))
    weights = {**SIXTEEN, "weights": str(base.output)}
    run = prepare(
        train_request(
            model="tiny", data=str(data), val=None, output=tmp_path / "x.safetensors", pretrained=True, model_options=weights
        ),
        notice=said.append,
    )
    assert any("a new head for 2 classes in place of 3" in line for line in said)
    assert run.task.classifier.count == 2
    stem = read_checkpoint(base.output).tensors["network.stem.0.weight"]
    torch.testing.assert_close(run.task.modules["network"].stem[0].weight, stem)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"method": "grad-cam"}, UsageError, "grad-cam needs no training; expected lfi-cam or t-tame"),
        ({"method": "clasifier"}, UsageError, "no method"),
        ({"method": "classifier@smooth=3"}, UsageError, "no parameter"),
        ({"method": "classifier@smoothing=0.1", "parameters": {"smoothing": "0.2"}}, UsageError, "given twice"),
        ({"output": Path("out.pth")}, UsageError, r"ends in \.safetensors"),
        ({"output": None}, UsageError, "needs a file name"),
        ({"resume": True}, UsageError, "no snapshot"),
        ({"overrides": {"epochs": 0}}, UsageError, "--epochs 0"),
        ({"overrides": {"lr": float("nan")}}, UsageError, "--lr nan"),
        ({"data": "nowhere"}, InputError, "nothing at nowhere"),
        ({"val": None, "held": 24}, UsageError, "24 photos held out of 24"),
        ({"model_options": {"weights": "x.pth"}}, UsageError, "--weights for a network that is trained from the start"),
        ({"model": "onnx:net.onnx"}, UsageError, "cannot be built"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(train_request, tmp_path, monkeypatch, changes, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        prepare(train_request(**changes))


def test_labels_are_demanded_where_they_are_learned_from(train_request, toy):
    with pytest.raises(UsageError, match="classifier learns from labels"):
        prepare(train_request(data=str(toy / "train" / "red")))
    with pytest.raises(UsageError, match="learns from labels"):
        prepare(train_request(val=str(toy / "val" / "red")))


def test_one_class_is_nothing_to_learn(train_request, toy, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "red").symlink_to(toy / "train" / "red")
    with pytest.raises(UsageError, match="1 class"):
        prepare(train_request(data=str(tmp_path / "one"), val=None))


def test_a_checkpoint_is_replaced_only_where_that_was_asked_for(train_request):
    finish(train_request(overrides={**QUICK, "epochs": 1}))
    with pytest.raises(UsageError, match=r"exists already.*--overwrite"):
        prepare(train_request())
    prepare(train_request(overwrite=True))


def test_a_learning_rate_out_of_all_reason_ends_in_words(train_request):
    run = prepare(train_request(overrides={**QUICK, "lr": 1e30}))
    with pytest.raises(RunError, match="no longer finite"):
        list(run.events())
    assert not run.output.exists()


def test_parameters_after_a_name_go_to_training_where_the_method_has_none_such():
    learner = parse_learner("classifier@smoothing=0.2", {"mixup": "0.1"})
    assert learner.method is None
    assert learner.parameters == {"smoothing": "0.2", "mixup": "0.1"}


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from xaicli.training.plan import prepare
from xaicli.training.train_request import TrainRequest
data, output = sys.argv[1:]
run = prepare(TrainRequest(method="classifier", data=data, model="{model}", output=Path(output), held=2, save_every=0.0,
    overrides=dict(epochs=40, batch_size=4, lr=0.1), model_options=dict(resize=16, crop=16, device="cpu")))
for event in run.events():
    print(event, flush=True)
"""


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(toy, tmp_path):
    def wanted(name: str) -> TrainRequest:
        return TrainRequest(
            method="classifier",
            data=str(toy / "train"),
            model=SMALL,
            output=tmp_path / name,
            held=2,
            overrides={"epochs": 40, "batch_size": 4, "lr": 0.1},
            model_options=SIXTEEN,
        )

    whole = finish(wanted("whole.safetensors"))
    place = tmp_path / "cut.safetensors"
    script = SCRIPT.format(model=SMALL)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(toy / "train"), str(place)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    # Somewhere in the seventh epoch of five steps.
    for line in process.stdout:
        if line.startswith("Step(done=33,"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not place.exists()
    run = prepare(wanted("cut.safetensors"))
    events = list(run.events())
    assert 32 < next(event for event in events if isinstance(event, Step)).done <= 60
    assert len([event for event in events if isinstance(event, Epoch)]) < 40
    first, second = (safetensors.torch.load_file(path) for path in (whole.output, place))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert read_checkpoint(place).metadata["history"] == read_checkpoint(whole.output).metadata["history"]
