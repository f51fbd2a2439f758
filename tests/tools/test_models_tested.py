"""Networks of other libraries: each has a feature layer with a proved grid, or is refused in words."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from tools import models_tested
from tools.models_tested import LayerFound, TriedNetwork, candidates, main, page, tried, tried_apart


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


def test_a_network_of_too_many_bytes_or_seconds_is_said_to_be_left_out() -> None:
    def large() -> nn.Module:
        torch.ones(1 << 28)
        return small()

    def slow() -> nn.Module:
        time.sleep(60)
        return small()

    assert "memory" in tried_apart(TriedNetwork("own", "large", "large", large, 32), memory=1 << 28).refusal
    assert "more than 0.1 s" in tried_apart(TriedNetwork("own", "slow", "slow", slow, 32), seconds=0.1).refusal


def test_a_run_goes_on_from_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_tested, "candidates", lambda: iter([TriedNetwork("own", "small", "net", small, 32)]))
    words = ["-o", str(tmp_path / "page.md"), "--results", str(tmp_path / "tried.jsonl")]
    (tmp_path / "tried.jsonl").write_text('{"library": "own", "family": "small", "name": "net", "layer": "9", "grid": [3, 4]}\n')
    assert main(words) == 0
    assert "| 9 | 3 x 4 |" in (tmp_path / "page.md").read_text()
    assert main([*words, "--only", "own:*"]) == 0
    assert "| 0 | 8 x 8 |" in (tmp_path / "page.md").read_text()


def test_the_page_counts_and_lists_them() -> None:
    one = ("own", "small", "net")
    text = page([LayerFound(*one, "0", (8, 8)), LayerFound(*one, refusal="it has | none")])
    assert "1 of 2 have a layer." in text
    assert "| own | small | net | 0 | 8 x 8 |" in text
    assert "| own | small | net | none | it has / none |" in text


@pytest.mark.slow
@pytest.mark.skipif("XAI_MODELS_TESTED" not in os.environ, reason="an hour or two; set XAI_MODELS_TESTED to run it")
@pytest.mark.parametrize("library", ["torchvision", "timm", "transformers"])
def test_no_network_of_a_library_raises_what_is_no_line(library: str) -> None:
    pytest.importorskip(library)
    raised = [
        f"{outcome.name}: {outcome.refusal}"
        for outcome in (tried_apart(candidate) for candidate in candidates() if candidate.library == library)
        if outcome.grid is None and not outcome.refusal.startswith(("no layer", "not tried", "no gradient", "ImportError"))
    ]
    assert not raised
