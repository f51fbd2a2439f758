"""What follows a layer gives what the whole network gives, and nothing before the layer is computed again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from xaicli.errors import RunError, UsageError
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.nested import replace_first_tensor
from xaicli.network.suffix import suffix

ClassifierOf = Callable[..., Classifier]
Size = tuple[int, int]


def resnet() -> nn.Module:
    return torchvision.models.resnet18(weights=None, num_classes=5)


def densenet() -> nn.Module:
    return torchvision.models.DenseNet(growth_rate=8, block_config=(2, 2, 2), num_init_features=8, num_classes=5)


def mobilenet() -> nn.Module:
    return torchvision.models.mobilenet_v2(weights=None, num_classes=5, width_mult=0.25)


def vgg() -> nn.Module:
    network = torchvision.models.vgg11(weights=None, num_classes=5, init_weights=False)
    network.classifier = nn.Sequential(nn.Linear(512 * 49, 8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 5))
    return network


def vit() -> nn.Module:
    network = torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=5)
    nn.init.normal_(network.heads.head.weight, std=0.5)
    return network


NETWORKS: list[tuple[str, Callable[[], nn.Module], Size, list[str]]] = [
    ("resnet", resnet, (64, 96), ["auto", "layer2.0", "layer4.1.conv1", "layer3:input", "conv1"]),
    ("mobilenet", mobilenet, (64, 96), ["auto", "features.5.conv.0", "features.10:input"]),
    ("vgg", vgg, (64, 96), ["auto", "features.3"]),
    ("densenet", densenet, (64, 96), ["auto", "features.denseblock2.denselayer2", "features.denseblock1.denselayer2.conv1"]),
    ("vit", vit, (32, 32), ["auto", "encoder.layers.-2", "encoder.layers.-1.ln_1"]),
    ("swin", lambda: torchvision.models.swin_t(weights=None, num_classes=5), (64, 64), ["auto", "features.5.2"]),
]
CASES = [(name, layer) for name, _, _, layers in NETWORKS for layer in layers]


@pytest.fixture(scope="module")
def networks() -> dict[str, tuple[nn.Module, Size]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {name: (make().eval().requires_grad_(False), size) for name, make, size, _ in NETWORKS}


def whole(module: nn.Module, layer: FeatureLayer, photo: Tensor, activation: Tensor) -> Tensor:
    """The plain way: the whole network, with a hook that replaces the layer's tensor."""
    if layer.side == "input":
        handle = layer.module.register_forward_pre_hook(lambda _, args: (activation, *args[1:]))
    else:
        handle = layer.module.register_forward_hook(lambda _, __, output: replace_first_tensor(output, lambda _: activation))
    with torch.no_grad():
        logits = module(photo)
    handle.remove()
    return logits


@pytest.mark.parametrize(("name", "place"), CASES)
def test_it_is_the_whole_network_with_the_layer_replaced(
    name: str, place: str, networks: dict[str, tuple[nn.Module, Size]], classifier_of: ClassifierOf
) -> None:
    module, size = networks[name]
    classifier = classifier_of(module, size=size)
    layer = classifier.feature_layer(place)
    photo = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with suffix(classifier, layer, photo) as rest:
        assert not rest.copies
        changed = rest.activation.repeat(3, *[1] * (rest.activation.ndim - 1))
        grid = layer.to_grid(changed)
        grid[1, 1] = 0
        grid[2, :3] *= -2
        found = rest(changed.clone())
    expected = torch.cat([whole(module, layer, photo, row[None]) for row in changed])
    near = 1e-5 * expected.abs().max().item()
    assert_close(found, expected, atol=near, rtol=0)
    assert_close(rest.logits, module(photo), atol=near, rtol=0)
    assert (found[1] - found[2]).abs().max() > near


def test_nothing_before_the_layer_runs_again(networks: dict[str, tuple[nn.Module, Size]], classifier_of: ClassifierOf) -> None:
    module, size = networks["resnet"]
    classifier = classifier_of(module, size=size)
    ran: list[str] = []
    with suffix(classifier, classifier.feature_layer(), torch.zeros(1, 3, *size)) as rest:
        original = functional.conv2d
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(functional, "conv2d", lambda *args, **kwargs: ran.append("conv2d") or original(*args, **kwargs))
            rest(rest.activation.repeat(4, 1, 1, 1))
    assert ran == []


class Glue(nn.Module):
    """Steps outside of modules before the layer, in place and not; one ReLU used before and after it; a skip past it."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.first, self.layer, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.relu, self.head, self.in_place = nn.ReLU(), nn.Linear(4, 5), in_place

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.first(inputs * 0.5)
        if self.in_place:
            features += 1
            features *= 2
        features = self.relu(features)
        skip = functional.avg_pool2d(features, 3, stride=1, padding=1)
        features = self.relu(self.layer(features)) + skip
        return self.head(self.last(features).mean(dim=(2, 3)))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("place", ["layer", "layer:input", "last:input"])
def test_what_is_computed_outside_of_modules_is_right_too(
    in_place: bool, place: str, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Glue(in_place=in_place).eval()
    classifier = classifier_of(module)
    layer = classifier.feature_layer(place)
    with suffix(classifier, layer, photo_batch[:1]) as rest:
        changed = rest.activation * torch.tensor([1.0, 0.5, -1.0])[:, None, None, None]
        for count in (3, 1):
            expected = torch.cat([whole(module, layer, photo_batch[:1], row[None].clone()) for row in changed[:count]])
            assert_close(rest(changed[:count].clone()), expected)
    assert rest.copies == in_place


def test_a_hook_of_the_users_acts_once(photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    module = Glue(in_place=False).eval()
    module.first.register_forward_hook(lambda _, __, output: output * 3)
    classifier = classifier_of(module)
    with suffix(classifier, classifier.feature_layer("layer"), photo_batch[:1]) as rest:
        assert_close(rest(rest.activation.repeat(2, 1, 1, 1)), module(photo_batch[:1]).detach().expand(2, -1))


def test_a_network_that_changes_from_pass_to_pass_is_refused(photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    class Counting(Glue):
        passes = 0

        def forward(self, inputs: Tensor) -> Tensor:
            self.passes += 1
            return super().forward(inputs) + self.passes

    classifier = classifier_of(Counting(in_place=False).eval())
    layer = classifier.feature_layer("layer")
    with pytest.raises(RunError, match="does not give the same logits twice"), suffix(classifier, layer, photo_batch[:1]):
        pass


def test_a_layer_that_runs_more_than_once_is_refused(photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    classifier = classifier_of(Glue(in_place=False).eval())
    layer = classifier.feature_layer("relu#0")
    with pytest.raises(UsageError, match="runs more than once"), suffix(classifier, layer, photo_batch[:1]):
        pass


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_the_network_is_as_it_was_also_when_something_raises(
    fault: type[BaseException], tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    layer = classifier.feature_layer("features.3")
    before = [sorted(vars(part)) for part in tiny_cnn.modules()]

    def interrupt(*_: object) -> None:
        raise fault

    with suffix(classifier, layer, photo_batch[:1]) as rest:
        handle = tiny_cnn.head.register_forward_hook(interrupt)
        with pytest.raises(fault):
            rest(rest.activation)
        handle.remove()
    assert [sorted(vars(part)) for part in tiny_cnn.modules()] == before
    assert_close(classifier(photo_batch[:1]), rest.logits)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in tiny_cnn.modules())
