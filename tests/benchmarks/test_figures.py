import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Figure, table
from benchmarks.timing import ratios

ROOT = Path(__file__).resolve().parents[2]


def test_a_figure_is_the_median_with_quartiles_held_to_its_limit():
    figure = Figure("passes", "s", (1.0, 5.0, 2.0, 4.0, 3.0), limit=3.0)
    assert figure.median == 3
    assert figure.quartiles == (2, 4)
    assert figure.met
    assert figure.verdict == "at most 3: met"
    assert not Figure("passes", "s", (3.1,), limit=3.0).met
    assert Figure("passes", "s", (3.1,)).met


def test_the_table_has_a_line_a_figure_in_columns():
    lines = table([Figure("short", "s", (0.5,), 1.0), Figure("a longer name", "MiB", (200.0, 300.0), 200.0)]).splitlines()
    assert lines[0].split() == ["median", "quartiles", "n", "limit"]
    assert lines[1].split() == ["short", "0.5", "s", "0.5", "to", "0.5", "1", "at", "most", "1:", "met"]
    assert lines[2].endswith("2  at most 200: MISSED")
    assert len({line.index(word) for line, word in zip(lines[1:], ["0.5 s", "250 MiB"], strict=True)}) == 1


def test_a_ratio_is_taken_of_both_orders_once_a_round():
    order: list[str] = []
    found, bare = ratios(lambda: order.append("work"), lambda: order.append("bare"), rounds=2)
    assert order == ["work", "bare", "bare", "work"] * 3
    assert len(found) == len(bare) == 2


@pytest.mark.parametrize(("words", "code"), [(["--list"], 0), (["rise"], 2), (["--rounds", "0"], 2)])
def test_benchmarks_are_listed_and_chosen_by_name(words, code):
    done = subprocess.run([sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code
    assert "rise-time" in done.stdout + done.stderr or words[0] == "--rounds"
