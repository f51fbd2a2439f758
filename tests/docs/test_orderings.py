"""Published orderings are checked on the rows that both methods have, and only on enough of them."""

from __future__ import annotations

import json

import pytest

from docs import orderings, stored_rows
from xaicli.results.stats import change


def written(folder, gap, photos=orderings.FEWEST, metric="insertion", first="fovex", second="grad-cam"):
    """Rows of two methods: the first is `gap` above the second on average."""
    rows = []
    for number in range(photos):
        value = 0.5 + 0.01 * (number % 7)
        for method, own in ((first, value + gap + 0.001 * (number % 3)), (second, value)):
            rows.append({"image": f"{number}", "method": method, "metric": metric, "value": own})
    stored_rows.write(folder / "net.jsonl", stored_rows.of_rows(map(json.dumps, rows)))


@pytest.mark.parametrize(("gap", "said"), [(0.1, "agrees"), (-0.1, "the other way round"), (-0.001, "not told apart")])
def test_an_ordering_agrees_where_the_interval_lies_on_its_side(tmp_path, gap, said):
    written(tmp_path, gap)
    [line] = list(orderings.checked(tmp_path / "net.jsonl"))
    assert line.startswith("| fovex | grad-cam | insertion |")
    assert line.endswith(f"| net | 100 | {orderings.shown(change([gap + 0.001 * (n % 3) for n in range(100)]))} | {said} |")


def test_less_deletion_is_better(tmp_path):
    written(tmp_path, -0.1, metric="deletion", first="grad-cam", second="fovex")
    [line] = list(orderings.checked(tmp_path / "net.jsonl"))
    assert line.endswith("| agrees |")


def test_fewer_than_a_hundred_photos_check_nothing(tmp_path):
    written(tmp_path, 0.1, photos=orderings.FEWEST - 1)
    assert orderings.section(tmp_path) == []
