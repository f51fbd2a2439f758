"""Networks that a method cannot be used on are refused in words: parametrized weights, TorchScript, no_grad, quantised parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from xaicli.errors import XaiError
from xaicli.models.from_module import classifier
from xaicli.network.classifier import Classifier
from xaicli.registry import make_method
from xaicli.suitability import require_fit
from xaicli.targets import DECISION, Targets

RULES = ("guided-backprop", "deconvolution", "lrp", "deeplift")
READS_FEATURES = ("grad-cam", "ablation-cam")
RAISED = " raised "
"""How a line begins to tell of an exception that nobody foresaw."""


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        )
        return nn.Sequential(*first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()


class WithoutGradients(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs)


def parametrized() -> nn.Module:
    made = network()
    torch.nn.utils.parametrizations.weight_norm(made[0])
    return made


def traced() -> nn.Module:
    return torch.jit.trace(network(), torch.rand(2, 3, 16, 16))


def exported() -> nn.Module:
    batch = torch.export.Dim("batch")
    return torch.export.export(network(), (torch.rand(2, 3, 16, 16),), dynamic_shapes=({0: batch},)).module()


def said(made: Classifier, method: str) -> str:
    """What a method says of a network: nothing, or why it cannot be used."""
    chosen = make_method(method)
    try:
        require_fit(chosen, made)
        chosen.attribute(made, torch.rand(1, 3, 16, 16), Targets((DECISION,)), torch.tensor([1]))
    except XaiError as error:
        return error.line()
    return ""


@pytest.mark.parametrize("method", [*RULES, *READS_FEATURES, "occlusion@window=4@stride=4", "rise@n_masks=4@n_min=4"])
@pytest.mark.parametrize("make", [parametrized, traced, exported, WithoutGradients])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_a_method_cannot_do_is_said_and_not_raised(make, method: str) -> None:
    line = said(classifier(make(), resize=None, crop=16), method)
    assert RAISED not in line
    if method.startswith(("occlusion", "rise")):
        assert not line


def test_a_forward_without_gradients_is_named_as_such() -> None:
    made = classifier(WithoutGradients(), resize=None, crop=16)
    assert "its forward pass runs under torch.no_grad" in said(made, "grad-cam")
    assert "its forward pass gives no gradients" in said(made, "lrp")
