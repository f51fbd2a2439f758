"""What a run whose workers were killed is held to."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ray_shell import photo

pytest.importorskip("ray")

from tools.killed_workers import Rows, actors_of, compared, line
from xaicli.rows import Row

ROOT = Path(__file__).resolve().parents[2]


def rows(count: int) -> Rows:
    made = [
        Row(
            *(f"{at}.png", f"{at:064}", "grad-cam", "3", "deletion", 0.25, "ok", "d" * 16, f"{at:016}", 0, "f" * 16),
            readouts={"p0": 0.5},
        )
        for at in range(count)
    ]
    return {row.key: row for row in made}


def test_the_same_rows_are_the_same() -> None:
    outcome = compared(rows(4), {key: replace(row, value=0.25 + 5e-6) for key, row in rows(4).items()}, killed=2)
    assert outcome.same
    assert (outcome.photos, outcome.rows, outcome.killed) == (4, 4, 2)
    assert outcome.largest_difference == pytest.approx(5e-6)


@pytest.mark.parametrize(
    "changed",
    [{"value": 0.26}, {"value": None, "status": "constant"}, {"target": "4"}, {"readouts": {"p0": 0.6}}, {"readouts": {}}],
)
def test_a_row_that_differs_is_counted(changed: dict[str, object]) -> None:
    own = dict(rows(4))
    key = next(iter(own))
    own[key] = replace(own[key], **changed)
    assert not compared(rows(4), own, killed=1).same


def test_rows_that_are_missing_or_too_many_are_counted() -> None:
    few, many = compared(rows(4), rows(3), killed=1), compared(rows(3), rows(4), killed=1)
    assert (few.missing, few.further, many.missing, many.further) == (1, 0, 0, 1)
    assert not few.same
    assert not many.same


def test_both_runs_are_the_same_command_but_for_the_cluster() -> None:
    plain = line(Path("photos"), 20, Path("rows.db"))
    assert line(Path("photos"), 20, Path("rows.db"), "--ray", "local")[: len(plain)] == plain


def test_only_children_of_the_clusters_nodes_are_killed() -> None:
    class Nothing:
        def list_all_nodes(self) -> list[object]:
            return []

    assert actors_of(Nothing()) == []


@pytest.mark.ray
def test_a_small_run_whose_worker_is_killed_ends_with_the_rows_of_a_plain_run(tmp_path: Path) -> None:
    for number in range(96):
        photo(tmp_path / "photos", number)
    words = [str(tmp_path / "photos"), str(tmp_path / "stores"), "--photos", "96", "--every", "0.2", "--most", "1"]
    line = [sys.executable, "-m", "tools.killed_workers", *words]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["photos"], found["rows"], found["killed"], found["drivers"]) == (96, 192, 1, 1)
    assert (found["missing"], found["further"], found["other"]) == (0, 0, 0)
