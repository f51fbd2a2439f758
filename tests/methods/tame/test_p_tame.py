import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.methods.tame.auxiliary import default_auxiliary, open_auxiliary, seen_by
from xaicli.methods.tame.mask_losses import area
from xaicli.methods.tame.p_tame import PTAME, PTAMETraining
from xaicli.models.architecture import build
from xaicli.models.checkpoint import about_classifier, write_checkpoint
from xaicli.models.load import load_classifier
from xaicli.targets import DECISION, TargetRule, Targets
from xaicli.task import TaskOptions
from xaicli.training.frozen import frozen

DATA = Path(__file__).resolve().parents[2] / "data" / "colours.py"
SEEDS = torch.arange(64)
AUXILIARY = f"{DATA}:colours"


class OnlyAsked(nn.Module):
    """Decides by colour, and has no layer that could be looked at."""

    def forward(self, inputs):
        opponent = (1.5 * inputs - 0.5 * inputs.sum(dim=1, keepdim=True)).relu()
        return 60 * opponent.mean(dim=(2, 3))


def asked(module):
    """A classifier of a module for 32 x 32 pixels, colours 0 to 1."""
    colours = load_classifier(AUXILIARY)
    provides = Needs.FORWARD | Needs.GRADIENTS
    return dataclasses.replace(colours, forward=module, module=module, name="asked", fingerprint="a" * 16, provides=provides)


def task_for(classifier, **given):
    torch.manual_seed(0)
    typed = {key: str(value) for key, value in given.items()}
    return PTAME().task(classifier, TaskOptions(parameters={"auxiliary": AUXILIARY, **typed}))


def save(task, path, **changes):
    told = {"method": "p-tame", **about_classifier(task.classifier), **task.metadata(), **changes}
    write_checkpoint(path, task.finish(), told)
    return str(path)


@pytest.fixture(scope="module")
def trained(squares, tmp_path_factory):
    """A task that was trained for a network without layers, by AdamW as published."""
    classifier = asked(OnlyAsked())
    task = task_for(classifier, ce=1.0, area=1.0)
    rate = torch.optim.AdamW(task.head.parameters(), lr=0.02, amsgrad=True)
    task.head.train()
    with frozen(task.frozen):
        for step in range(100):
            loss = task.total(task.losses(squares(16, step)[0], None))
            rate.zero_grad()
            loss.backward()
            rate.step()
    task.head.eval()
    return task, save(task, tmp_path_factory.mktemp("trained") / "asked.safetensors")


# What training brings


def test_maps_of_another_networks_layers_point_at_what_decides(squares, trained):
    task, path = trained
    photos, _, where = squares(64, 1000)
    maps = PTAME(checkpoint=path, auxiliary=AUXILIARY).attribute(task.classifier, photos, Targets.same(DECISION, 64), SEEDS)
    shown = nn.functional.interpolate(maps.values, (32, 32), mode="bilinear")[:, 0]
    inside = (shown * where).sum(dim=(1, 2)) / shown.sum(dim=(1, 2))
    # A map that knew nothing would have the square's share of the photo, a tenth.
    assert inside.mean() > 0.3
    assert task.evaluate(photos, None)["kept"].mean() > 0.95


def test_a_black_box_is_explained_with_what_was_trained_on_the_network(squares, trained):
    task, path = trained
    method = PTAME(checkpoint=path, auxiliary=AUXILIARY)
    photos, targets = squares(4, 9)[0], Targets.same(TargetRule(top=2), 4)
    box = dataclasses.replace(task.classifier, module=None, provides=Needs.FORWARD)
    maps = method.attribute(box, photos, targets, SEEDS[:4])
    assert_close(maps.values, method.attribute(task.classifier, photos, targets, SEEDS[:4]).values)
    assert PTAME.needs == Needs.FORWARD | Needs.CHECKPOINT


def test_both_networks_are_bit_identical_after_training_steps(squares):
    task = task_for(load_classifier(AUXILIARY))
    before = [{name: tensor.clone() for name, tensor in part.state_dict().items()} for part in task.frozen.values()]
    assert set(task.frozen) == {"classifier", "auxiliary"}
    with frozen(task.frozen):
        task.total(task.losses(squares(4, 0)[0], None)).backward()
    for part, state in zip(task.frozen.values(), before, strict=True):
        assert all(torch.equal(state[name], tensor) for name, tensor in part.state_dict().items())
        assert all(parameter.grad is None for parameter in part.parameters())


# The loss and the recipe


def test_the_published_weights_of_the_loss():
    half = area(torch.full((2, 2), 0.5), 0.3)
    task = task_for(asked(OnlyAsked()))
    total = task.total({"ce": torch.tensor(1.0), "area": half, "variation": torch.tensor(1.0)})
    assert_close(total, torch.tensor(0.842765), atol=1e-6, rtol=0)
    assert (task.training.power, task.training.border, task.training.maps) == (0.3, 0.3, "batch")


def test_the_recipe_follows_the_kind_of_network(tiny_vit, classifier_of):
    vit = PTAMETraining.of({}, classifier_of(tiny_vit))
    assert (vit.recipe, vit.ce, vit.area, vit.power, vit.border) == ("vit", 0.131292, 0.838571, 0.5, 0.0)
    vgg = PTAMETraining.of({"recipe": "VGG", "border": "0.1"}, classifier_of(tiny_vit))
    assert (vgg.recipe, vgg.area, vgg.variation, vgg.border) == ("vgg", 0.977712, 1e-4, 0.1)
    assert PTAMETraining.of({}, classifier_of(lambda inputs: inputs)).recipe == "resnet"


def test_the_optimiser_is_the_published_one(tiny_vit):
    schedule = task_for(asked(OnlyAsked())).schedule
    assert (schedule.optimizer, schedule.amsgrad, schedule.lr, schedule.epochs) == ("adamw", True, 1e-4, 1)
    assert (schedule.batch_size, schedule.weight_decay, schedule.shape) == (32, 2.4266e-4, "one-cycle")
    assert task_for(asked(OnlyAsked()), recipe="vgg").schedule.weight_decay == 0.13324


def test_the_shipped_head_has_no_bias_and_doubles(trained):
    described = trained[0].metadata()["attention"]
    assert (described["bias"], described["upsampling"], described["largest"]) == (False, "doubling", None)
    other = task_for(asked(OnlyAsked()), fuser_bias=True, upsampling="single").metadata()["attention"]
    assert (other["bias"], other["upsampling"]) == (True, "single")


def test_a_map_is_no_finer_than_what_the_classifier_sees():
    classifier = dataclasses.replace(asked(OnlyAsked()), view=View((12, 12), None, mean=(0, 0, 0), std=(1, 1, 1)))
    assert task_for(classifier).metadata()["attention"]["largest"] == 12


def test_a_black_box_cannot_be_trained_for(classifier_of):
    with pytest.raises(UsageError, match="p-tame is trained through the gradient at the input"):
        task_for(classifier_of(lambda inputs: inputs.mean(dim=(2, 3))))


# The auxiliary network


def test_the_auxiliary_network_sees_photos_in_its_own_colours_and_size():
    view, other = View((32, 32), None, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)), load_classifier(f"{DATA}:coarser").view
    pixels = torch.rand(2, 3, 1, 1).expand(2, 3, 32, 32)
    assert_close(seen_by(other, view.normalise(pixels), view), other.normalise(pixels[..., :24, :24]))
    inputs = torch.randn(2, 3, 32, 32)
    assert seen_by(view, inputs, view) is inputs


def test_a_checkpoint_names_its_auxiliary_network_but_may_not_run_code(trained):
    classifier = trained[0].classifier
    with pytest.raises(UsageError, match="would run the code"):
        PTAME(checkpoint=trained[1]).require(classifier)
    PTAME(checkpoint=trained[1], auxiliary=AUXILIARY).require(classifier)


def test_another_auxiliary_network_is_refused(trained):
    with pytest.raises(InputError, match=r"reads an auxiliary network of fingerprint .*, and .* has "):
        PTAME(checkpoint=trained[1], auxiliary=f"{DATA}:coarser").require(trained[0].classifier)


def test_a_checkpoint_without_a_record_of_it_is_refused(trained, tmp_path):
    path = save(trained[0], tmp_path / "damaged.safetensors", auxiliary="resnet18")
    with pytest.raises(InputError, match="names no auxiliary network"):
        PTAME(checkpoint=path).require(trained[0].classifier)


def test_a_black_box_is_no_auxiliary_network(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "box.py"
    path.write_text(
        "import xaicli, dataclasses, torch\n"
        "def box():\n"
        "    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))\n"
        "    made = xaicli.classifier(module, resize=(2, 2), crop=None)\n"
        "    return dataclasses.replace(made, forward=lambda inputs: made(inputs), module=None)\n"
    )
    with pytest.raises(UsageError, match="is a black box"):
        open_auxiliary(f"{path}:box", torch.device("cpu"), trust=True)


def test_a_network_that_xai_train_wrote_may_be_the_auxiliary_one(tmp_path, squares):
    write_auxiliary(tmp_path / "auxiliary.safetensors", seed=3)
    explain_with(tmp_path, "attention.safetensors", squares)


def test_a_network_file_that_is_replaced_under_its_name_is_opened_again(tmp_path, squares):
    seen = set()
    for seed in (3, 4):
        write_auxiliary(tmp_path / "auxiliary.safetensors", seed=seed)
        seen.add(explain_with(tmp_path, f"attention{seed}.safetensors", squares))
    assert len(seen) == 2


def write_auxiliary(path: Path, seed: int) -> None:
    built = build("tiny@widths=4+8@blocks=1", 3)
    described = {"method": "classifier", "architecture": {"spec": built.spec, "count": 3}, "view": View(32, 32).as_dict()}
    generator = torch.Generator().manual_seed(seed)
    state = {
        f"network.{name}": torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in built.module.state_dict().items()
    }
    write_checkpoint(path, state, described)


def explain_with(folder: Path, name: str, squares) -> str:
    """Explain two photos with a head that is saved first; the fingerprint of the auxiliary network that was used."""
    task = task_for(asked(OnlyAsked()), auxiliary=folder / "auxiliary.safetensors")
    path = save(task, folder / name)
    targets = Targets.same(DECISION, 2)
    maps = PTAME(checkpoint=path).attribute(task.classifier, squares(2, 0)[0], targets, SEEDS[:2])
    assert maps.values.shape[2:] == task.layers[0].layout.grid
    return task.auxiliary.weights_fingerprint


def test_without_weights_of_either_the_error_says_where_they_are_looked_for(monkeypatch):
    offline = InputError("nothing here")

    def nothing(*_, **__):
        raise offline

    monkeypatch.setattr("xaicli.methods.tame.auxiliary.open_auxiliary", nothing)
    with pytest.raises(InputError, match="nothing here"):
        default_auxiliary(torch.device("cpu"))
