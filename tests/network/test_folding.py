"""A folded twin gives the network's own logits, and only where that is certain."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.models import get_model

from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.network import folding
from xaicli.network.classifier import Classifier
from xaicli.network.folding import folded, has_fused

PHOTOS = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def classifier_of(module: nn.Module, forward: Callable[[Tensor], Tensor] | None = None) -> Classifier:
    view = View(resize=None, crop=16)
    return Classifier(forward or module, module, "net", view, (), 5, Needs.FORWARD, "f" * 16)


def settled(module: nn.Module) -> nn.Module:
    """Batch norms with statistics far from 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
            part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=generator))
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=generator) * 3 + 0.1)
    return module.eval().requires_grad_(False)


class Block(nn.Module):
    """A convolution, a batch norm, a head; `reuse` says what else is done with the convolution's output."""

    def __init__(self, reuse: str = "", affine: bool = True, bias: bool = False) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3, padding=1, bias=bias, groups=3)
        self.norm = nn.BatchNorm2d(6, affine=affine)
        self.head = nn.Linear(6, 5)
        self.reuse = reuse

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.convolution(inputs)
        normed = self.norm(features)
        if self.reuse == "function":
            normed = normed + features
        if self.reuse == "module":
            normed = normed + self.norm(features)
        if self.reuse == "twice":
            normed = normed + self.norm(self.convolution(inputs.flip(3)))
        if self.reuse == "view":
            normed = normed + features[:, :1]
        return self.head(normed.relu().mean(dim=(2, 3)))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_is_folded_into_the_convolution_before_it(affine, bias):
    torch.manual_seed(0)
    given = classifier_of(settled(Block(affine=affine, bias=bias)))
    logits, fast = folded(given, PHOTOS[:1])
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.module.modules())
    assert_close(fast(PHOTOS), given(PHOTOS), atol=1e-5, rtol=1e-5)
    assert torch.equal(logits, given(PHOTOS[:1]))


@pytest.mark.parametrize("reuse", ["function", "module", "twice", "view"])
def test_what_is_read_elsewhere_too_stays_as_it_is(reuse):
    torch.manual_seed(0)
    given = classifier_of(settled(Block(reuse)))
    assert folded(given, PHOTOS[:1])[1] is given


def test_a_hooked_a_changed_and_a_wrapped_network_stay_as_they_are():
    torch.manual_seed(0)
    hooked, changed, wrapped = (settled(Block()) for _ in range(3))
    hooked.convolution.register_forward_hook(lambda part, inputs, output: output * 2)
    changed.norm.forward = lambda features: features
    for given in (classifier_of(hooked), classifier_of(changed), classifier_of(wrapped, lambda inputs: wrapped(inputs) * 2)):
        assert folded(given, PHOTOS[:1])[1] is given


def test_a_norm_without_statistics_stays():
    torch.manual_seed(0)
    block = Block()
    block.norm = nn.BatchNorm2d(6, track_running_stats=False)
    given = classifier_of(settled(block))
    assert folded(given, PHOTOS[:1])[1] is given


def test_a_black_box_stays_and_is_passed_once():
    calls = []

    def forward(inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return inputs.mean(dim=(2, 3))

    given = Classifier(forward, None, "box", View(resize=None, crop=16), (), 3, Needs.FORWARD, "f" * 16)
    logits, fast = folded(given, PHOTOS[:1])
    assert fast is given
    assert calls == [1]
    assert_close(logits, PHOTOS[:1].mean(dim=(2, 3)))


def test_the_network_is_left_alone(tiny_cnn):
    tiny_cnn.train()
    before = copy.deepcopy(tiny_cnn.state_dict())
    _, fast = folded(classifier_of(tiny_cnn), PHOTOS[:1])
    assert fast.module is not tiny_cnn
    assert tiny_cnn.training
    assert all(part.training for part in tiny_cnn.modules())
    assert not any(part._forward_hooks for part in tiny_cnn.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_cnn.state_dict().items())
    assert sum(isinstance(part, nn.BatchNorm2d) for part in tiny_cnn.modules()) == 2


def test_also_when_it_raises(tiny_cnn):
    with pytest.raises(RuntimeError):
        folded(classifier_of(tiny_cnn), PHOTOS[:1, :2])
    assert not any(part._forward_hooks for part in tiny_cnn.modules())


def test_a_frozen_network_made_in_inference_mode_is_folded_too():
    torch.manual_seed(0)
    with torch.inference_mode():
        given = classifier_of(settled(Block()))
    _, fast = folded(given, PHOTOS[:1])
    assert fast is not given
    assert_close(fast(PHOTOS), given(PHOTOS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU])
@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_an_activation_is_applied_by_the_convolution(activation, inplace, norm):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), activation(inplace=inplace), nn.Conv2d(8, 4, 1)]
    rest = [nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]
    given = classifier_of(settled(nn.Sequential(*(layers if norm else [*layers[:1], *layers[2:]]), *rest)))
    _, fast = folded(given, PHOTOS[:1])
    left = [type(part) for part in fast.module.modules()]
    assert nn.BatchNorm2d not in left
    assert (activation in left) == (not has_fused())
    assert_close(fast(PHOTOS), given(PHOTOS), atol=1e-5, rtol=1e-5)


class Branched(nn.Module):
    """What the activation reads is read before or after it by something else too."""

    def __init__(self, inplace: bool, before: bool) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.activation = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(6, 5)
        self.before = before

    def forward(self, inputs: Tensor) -> Tensor:
        normed = self.norm(self.convolution(inputs))
        other = normed * 2 if self.before else 0
        active = self.activation(normed)
        other = other if self.before else normed * 2
        return self.head((active + other).mean(dim=(2, 3)))


@pytest.mark.parametrize("first", [(1, 3, 32, 32), (4, 3, 16, 24)])
def test_weights_laid_out_for_the_first_inputs_serve_all_others(tiny_cnn, first):
    network = settled(tiny_cnn)
    _, twin = folded(classifier_of(network), torch.zeros(1, 3, 32, 32))
    generator = torch.Generator().manual_seed(2)
    with torch.inference_mode():
        for shape in (first, (1, 3, 32, 32), (7, 3, 32, 32), (2, 3, 40, 24)):
            inputs = torch.randn(shape, generator=generator)
            assert_close(twin(inputs), network(inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_an_activation_that_is_not_the_only_reader_stays(inplace, before):
    torch.manual_seed(0)
    given = classifier_of(settled(Branched(inplace, before)))
    _, fast = folded(given, PHOTOS[:1])
    assert_close(fast(PHOTOS), given(PHOTOS), atol=1e-5, rtol=1e-5)
    # Read after an activation that worked in place it is the activation's result that is read.
    assert isinstance(fast.module.activation, nn.Identity) == (inplace and not before and has_fused())


def test_tensors_that_take_the_identity_of_others_are_not_mistaken(tiny_cnn):
    """A temporary of each pass is gone when the next tensor is made, often in its very place."""

    class Busy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_cnn

        def forward(self, inputs: Tensor) -> Tensor:
            for _ in range(50):
                inputs = inputs * 1.01
            return self.inner(inputs)

    _, fast = folded(classifier_of(Busy().eval()), PHOTOS[:1])
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.module.modules())


def test_without_the_fused_operation_norms_are_folded_alone(monkeypatch, tiny_cnn):
    monkeypatch.setattr(folding, "has_fused", lambda: False)
    given = classifier_of(tiny_cnn)
    _, fast = folded(given, PHOTOS[:1])
    assert sum(isinstance(part, nn.Conv2d) for part in fast.module.modules()) == 3
    assert_close(fast(PHOTOS), given(PHOTOS), atol=1e-5, rtol=1e-5)


def test_in_half_precision_autocast_sees_the_convolutions(tiny_cnn):
    given = classifier_of(tiny_cnn).with_masked_dtype(torch.bfloat16)
    _, fast = folded(given, PHOTOS[:1])
    assert sum(isinstance(part, nn.Conv2d) for part in fast.module.modules()) == 3
    assert fast.masked(PHOTOS).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert next(fast.module.children())(PHOTOS).dtype == torch.bfloat16


def test_a_fused_operation_that_is_missing_or_wrong_is_not_used(monkeypatch):
    monkeypatch.setitem(folding.NAMES, nn.ReLU, ("sigmoid", []))
    assert not has_fused()
    monkeypatch.setitem(folding.NAMES, nn.ReLU, ("no such thing", []))
    assert not has_fused()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("resnet18", 0),
        ("mobilenet_v2", 0),
        ("mobilenet_v3_small", 0),
        ("efficientnet_b0", 0),
        ("regnet_y_400mf", 0),
        ("shufflenet_v2_x0_5", 0),
        ("densenet121", 62),
    ],
)
def test_networks_that_people_use_agree(name, left):
    """In a DenseNet half of the batch norms stand before their convolution and stay."""
    torch.manual_seed(0)
    module = settled(get_model(name, weights=None, num_classes=5))
    given = classifier_of(module)
    photos = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    _, fast = folded(given, photos[:1])
    assert sum(isinstance(part, nn.BatchNorm2d) for part in fast.module.modules()) == left
    before, after = given(photos), fast(photos.contiguous(memory_format=torch.channels_last))
    assert_close(after, before, atol=2e-5 * before.abs().max().item(), rtol=0)


@pytest.mark.skipif(not has_fused(), reason="this build of torch runs convolutions and activations apart")
def test_beside_the_weights_that_are_laid_out_none_are_kept_until_inputs_of_another_size_come():
    head = nn.Linear(6 * 14 * 14, 5)
    module = settled(nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), head))
    _, quick = folded(classifier_of(module), PHOTOS[:1])
    fused = quick.torch_module[0]
    expected = module(PHOTOS)
    assert_close(quick(PHOTOS), expected)
    assert fused.kept == ()
    assert fused.parts[0].weight.data_ptr() == module[0].weight.data_ptr()
    wide = torch.cat([PHOTOS, PHOTOS], dim=3)
    assert_close(fused(wide), module[:3](wide))
    assert len(fused.kept) == 1
    assert_close(fused(PHOTOS), module[:3](PHOTOS))
