"""L-CAM against the numbers of its specification, and what its training brings."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import get_model

import xaicli
from xaicli.errors import UsageError
from xaicli.methods.tame.attention_head import AttentionHead
from xaicli.methods.tame.l_cam import LCAM, masking
from xaicli.methods.tame.mask_losses import area, over_reference, variation
from xaicli.models.checkpoint import about_classifier, write_checkpoint
from xaicli.models.load import load_classifier
from xaicli.targets import DECISION, TargetRule, Targets
from xaicli.task import TaskOptions
from xaicli.training.frozen import frozen
from xaicli.training.schedule import make_optimizer, make_scheduler

DATA = Path(__file__).resolve().parents[2] / "data" / "colours.py"
SEEDS = torch.arange(64)


@pytest.fixture(scope="module")
def colours():
    return load_classifier(f"{DATA}:colours")


def task_for(classifier, **given):
    torch.manual_seed(0)
    return LCAM().task(classifier, TaskOptions(parameters={key: str(value) for key, value in given.items()}))


def train(task, squares, steps):
    rate = torch.optim.SGD(task.head.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    losses = []
    with frozen(task.frozen):
        for step in range(steps):
            loss = task.total(task.losses(squares(16, step)[0], None))
            rate.zero_grad()
            loss.backward()
            rate.step()
            losses.append(loss.item())
    return losses


def save(task, path):
    write_checkpoint(path, task.finish(), {"method": "l-cam", **about_classifier(task.classifier), **task.metadata()})
    return str(path)


@pytest.mark.parametrize("mode", ["img", "fm"])
def test_training_lowers_the_loss_and_maps_are_found_again(colours, squares, tmp_path, mode):
    task = task_for(colours, mode=mode)
    losses = train(task, squares, 60)
    assert sum(losses[-10:]) < sum(losses[:10])
    photos, classes, where = squares(32, 1000)
    method = LCAM(checkpoint=save(task, tmp_path / "l.safetensors"))
    maps = method.attribute(colours, photos, Targets.same(DECISION, 32), SEEDS[:32])
    assert maps.targets.classes[:, 0].tolist() == classes.tolist()
    assert maps.values.amin() >= 0
    assert_close(maps.values.amax(dim=(2, 3)), torch.ones(32, 1))
    shown = nn.functional.interpolate(maps.values, (32, 32), mode="bilinear")[:, 0]
    inside = (shown * where).sum(dim=(1, 2)) / shown.sum(dim=(1, 2))
    # A map that knew nothing would have the square's share of the photo, a tenth.
    assert inside.mean() > 0.2


def test_a_map_is_one_convolution_of_the_last_features(colours, squares, tmp_path):
    task = task_for(colours)
    path = save(task, tmp_path / "l.safetensors")
    photos = squares(4, 5)[0]
    maps = LCAM(checkpoint=path, scaling="none").attribute(colours, photos, Targets.same(TargetRule(index=1), 4), SEEDS[:4])
    seen = []
    hook = task.layer.module.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        colours(photos)
    hook.remove()
    features = seen[0].relu() if task.layer.rectified else seen[0]
    fuser = task.head.fuser
    wanted = torch.einsum("k,bkhw->bhw", fuser.weight[1], features) + fuser.bias[1]
    assert_close(maps.values[:, 0], wanted.detach(), atol=1e-5, rtol=1e-5)


# Self-checks of the specification


@pytest.mark.parametrize(("channels", "count"), [(512, 513_000), (2048, 2_049_000)])
def test_the_head_has_the_parameters_of_a_convolution_with_bias(channels, count):
    assert sum(tensor.numel() for tensor in AttentionHead([channels], 1000, branches=False).parameters()) == count


def test_a_mask_of_ones_leaves_the_logits_and_one_of_zeros_the_bias(colours, squares):
    task, photos = task_for(colours, mode="fm"), squares(3, 7)[0]
    with torch.no_grad():
        whole = colours(photos)
        assert_close(task.decided(photos, torch.ones(3, *task.layer.layout.grid)), whole)
        head = [part for part in colours.torch_module.modules() if isinstance(part, nn.Linear)][-1]
        assert_close(task.decided(photos, torch.zeros(3, *task.layer.layout.grid)), head.bias.expand(3, -1))
        assert_close(colours(photos), whole)


def test_the_published_number_of_a_half_masked_map(classifier_of):
    class Halved(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.head = nn.Conv2d(3, 1, 1), nn.Linear(1, 1)

        def forward(self, inputs):
            return self.head(self.features(inputs).mean(dim=(2, 3)))

    network = Halved()
    with torch.no_grad():
        network.features.weight[:] = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
        network.features.bias.zero_()
        network.head.weight.fill_(3.0)
        network.head.bias.fill_(1.0)
    inputs = torch.zeros(1, 3, 2, 2)
    inputs[0, 0] = torch.tensor([[2.0, 0], [0, 2]])
    layer = classifier_of(network, count=1, size=(2, 2)).stages(("features",))[0]
    with torch.no_grad():
        assert network(inputs).item() == 4.0
        with masking(layer, torch.full((1, 2, 2), 0.5)):
            assert network(inputs).item() == 2.5
        assert network(inputs).item() == 4.0


@pytest.mark.parametrize(("side", "rough"), [(7, 1.05), (14, 2.1)])
def test_the_published_loss_of_maps_of_one_half(side, rough):
    maps = torch.full((4, 4, side, side), 0.5)
    mean, _ = over_reference(area(maps), None)
    _, total = over_reference(variation(maps), None)
    assert mean.item() == pytest.approx(0.812496, abs=1e-6)
    assert variation(maps).mean().item() == pytest.approx(rough)
    assert total.item() == pytest.approx(4 * rough)


@pytest.mark.parametrize(("name", "epoch", "wanted"), [("vgg11", 7, 1.335e-3), ("resnet18", 12, 5.404e-5)])
def test_the_learning_rate_falls_as_published_and_biases_learn_twice_as_fast(classifier_of, name, epoch, wanted):
    network = get_model(name, weights=None, num_classes=3).eval().requires_grad_(False)
    task = task_for(classifier_of(network, count=3, size=(64, 64)))
    optimizer = make_optimizer(task.modules, task.schedule, task.rate_of)
    steps = 5
    scheduler = make_scheduler(optimizer, task.schedule, task.schedule.epochs * steps)
    for _ in range(epoch * steps):
        optimizer.step()
        scheduler.step()
    weights, biases = optimizer.param_groups
    assert weights["lr"] == pytest.approx(wanted, rel=1e-3)
    assert biases["lr"] == pytest.approx(2 * weights["lr"])
    assert weights["weight_decay"] == biases["weight_decay"] == 5e-4
    assert (task.schedule.batch_size, task.schedule.nesterov) == (64, True)


def test_of_a_vgg_it_reads_before_the_last_pool_or_after_it(classifier_of):
    network = get_model("vgg11", weights=None, num_classes=3).eval().requires_grad_(False)
    classifier = classifier_of(network, count=3, size=(64, 64))
    before, after = (task_for(classifier, tap=tap).layer for tap in ("last", "after_pool"))
    assert (before.channels, before.layout.grid) == (512, (4, 4))
    assert (after.channels, after.layout.grid) == (512, (2, 2))


def test_what_is_no_convolutional_network_or_no_one_layer_is_refused(classifier_of, tiny_vit, colours):
    with pytest.raises(UsageError, match="l-cam is for convolutional networks"):
        task_for(classifier_of(tiny_vit))
    with pytest.raises(UsageError, match="l-cam reads one layer, not 2"):
        task_for(colours, layers="stem+body")
    with pytest.raises(UsageError, match="has no pool after"):
        task_for(colours, tap="after_pool")


def test_the_command_trains_it_and_the_method_finds_its_checkpoint(colours, squares, tmp_path, monkeypatch):
    from PIL import Image

    for number, photo in enumerate(squares(8, 3)[0]):
        pixels = (photo.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    model = f"{DATA}:colours"
    made = xaicli.train("l-cam@mode=fm", tmp_path, model=model, epochs=1, batch_size=4, hold_out=2, report=0)
    assert made.path.name.startswith("l-cam.")
    assert "fm" in made.path.name
    [attribution] = xaicli.explain(tmp_path / "0.png", model, method="l-cam")
    assert attribution.record.status == "ok"
