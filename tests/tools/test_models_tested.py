"""Networks of other libraries: each has a feature layer with a proved grid, or is refused in words."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from tools.models_tested import LayerFound, TriedNetwork, candidates, page, tried


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs.mean(dim=(2, 3)))


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_a_network_has_its_layer_and_grid_or_the_reason_why_not() -> None:
    found = tried(TriedNetwork("own", "small", "small", small, 32))
    assert (found.layer, found.grid, found.refusal) == ("0", (8, 8), "")
    refused = tried(TriedNetwork("own", "flat", "flat", Flat, 32))
    assert refused.grid is None
    assert "no layer of this network has a spatial grid" in refused.refusal


def test_the_page_counts_and_lists_them() -> None:
    one = TriedNetwork("own", "small", "net", small, 32)
    text = page([LayerFound(one, "0", (8, 8)), LayerFound(one, refusal="it has | none")])
    assert "1 of 2 have a layer." in text
    assert "| own | small | net | 0 | 8 x 8 |" in text
    assert "| own | small | net | none | it has / none |" in text


@pytest.mark.slow
@pytest.mark.skipif("XAI_MODELS_TESTED" not in os.environ, reason="an hour or two; set XAI_MODELS_TESTED to run it")
@pytest.mark.parametrize("library", ["torchvision", "timm", "transformers"])
def test_no_network_of_a_library_raises_what_is_no_line(library: str) -> None:
    pytest.importorskip(library)
    raised = [
        f"{outcome.candidate.name}: {outcome.refusal}"
        for outcome in (tried(candidate) for candidate in candidates() if candidate.library == library)
        if outcome.grid is None and not outcome.refusal.startswith(("no layer", "not tried", "no gradient", "ImportError"))
    ]
    assert not raised
