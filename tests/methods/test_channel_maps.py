"""`channels=each`: a map of each channel beside their sum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import xaicli
from xaicli.errors import UsageError
from xaicli.registry import make_methods
from xaicli.sign import Sign
from xaicli.targets import DECISION, TargetRule, Targets

CHANNELS, SIDE = 4, 8


class Linear(nn.Module):
    """Two logits, each a weighted sum of all numbers of the input."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.randn(2, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
        self.convolution = nn.Conv2d(CHANNELS, 2, SIDE, bias=False)
        self.convolution.weight = nn.Parameter(weights, requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.convolution(inputs).flatten(1)


@pytest.fixture
def linear():
    return xaicli.classifier(Linear().eval(), resize=None, crop=SIDE, precision="fp32")


PHOTOS = torch.rand(3, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


def explained(classifier, spec: str, rule: TargetRule = DECISION):
    (method,) = make_methods([spec])
    return method.attribute(classifier, PHOTOS, Targets((rule,) * 3, classifier.outputs), torch.arange(3)), method


def test_the_gradient_of_each_channel_is_the_linear_networks_weights(linear):
    for index in (0, 1):
        maps, method = explained(linear, "saliency@channels=each", TargetRule(index=index))
        weights = linear.torch_module.convolution.weight[index]
        torch.testing.assert_close(maps.extras["channels"], weights.expand(3, 1, -1, -1, -1))
        torch.testing.assert_close(maps.values, weights.sum(dim=0).expand(3, 1, -1, -1))
        assert method.sign is Sign.SIGNED


@pytest.mark.parametrize("spec", ["input-x-gradient", "integrated-gradients@n_steps=4"])
def test_each_channel_of_a_linear_network_has_its_part_of_the_logit(linear, spec):
    maps, _ = explained(linear, f"{spec}@channels=each", TargetRule(index=1))
    torch.testing.assert_close(maps.extras["channels"][:, 0], PHOTOS * linear.torch_module.convolution.weight[1])
    torch.testing.assert_close(maps.values.sum(dim=(2, 3)), maps.targets.scores, atol=1e-4, rtol=1e-4)


def test_a_window_in_one_channel_takes_away_that_channels_part(linear):
    maps, _ = explained(linear, "occlusion@window=2@stride=2@channels=each", TargetRule(index=0))
    parts = PHOTOS * linear.torch_module.convolution.weight[0]
    windows = nn.functional.avg_pool2d(parts, 2, divisor_override=1).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(maps.extras["channels"][:, 0], windows, atol=1e-4, rtol=1e-4)
    whole, _ = explained(linear, "occlusion@window=2@stride=2", TargetRule(index=0))
    torch.testing.assert_close(maps.values, whole.values, atol=1e-4, rtol=1e-4)
    assert not whole.extras


@pytest.mark.parametrize("name", ["saliency", "input-x-gradient", "smoothgrad", "gradient-shap", "deeplift", "lrp"])
def test_the_map_is_the_sum_of_the_channels(linear, name):
    few = "@n_samples=3" if name in ("smoothgrad", "gradient-shap") else ""
    maps, _ = explained(linear, f"{name}{few}@channels=each")
    assert maps.extras["channels"].shape == (3, 1, CHANNELS, SIDE, SIDE)
    torch.testing.assert_close(maps.values, maps.extras["channels"].sum(dim=2))


def test_occlusion_as_it_was_keeps_its_stamp():
    (plain,) = make_methods(["occlusion"])
    (all_channels,) = make_methods(["occlusion@channels=all"])
    assert "channels" not in plain.parameters_as_given()
    assert plain == all_channels
    with pytest.raises(UsageError, match="channels"):
        make_methods(["occlusion@channels=some"])
