"""What the page on scores says of each metric."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaicli import registry

PAGE = (Path(__file__).parents[2] / "docs" / "scores.md").read_text()
ARROWS = {"higher": "↑", "lower": "↓"}


@pytest.mark.parametrize("name", registry.METRICS.table)
def test_every_metric_is_on_the_page_with_its_direction_and_what_it_needs(name: str) -> None:
    metric = registry.make_metric(name)
    star = " *" if metric.needs_explain else ""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` ")]
    assert line.startswith(f"| `{name}` {ARROWS[metric.direction.value]}{star} |")
    assert ("with ground truth:" in line) is metric.needs_truth
