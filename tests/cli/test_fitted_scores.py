"""Scores by the metric to which a method fitted its maps: marked wherever they are shown or handed on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from xaicli.results.curves_figure import curves_figure
from xaicli.results.store import Store
from xaicli.results.summary import summarise

BEE = "bee@n_pulls=2@n_steps=2"
STORE = "scores.db"


@pytest.fixture
def scored(shell):
    """A store with scores of two methods, of which one was fitted to insertion."""
    assert shell.score("-o", STORE, method=f"{BEE},grad-cam") == 0
    return shell


def test_the_table_marks_them_and_says_why(scored) -> None:
    lines = scored.out.splitlines()
    heading = next(line for line in lines if "insertion" in line)
    insertion_first = heading.index("insertion") < heading.index("deletion")
    own = next(line for line in lines if line.startswith(f"{BEE} "))
    assert own.count("†") == 1
    assert ("†" in own[: own.index("]") + 3]) is insertion_first
    assert not any("†" in line for line in lines if line.startswith(("grad-cam", "random", "other@")))
    assert f"† {BEE} was fitted to insertion: no independent judgement; judge it by another metric." in scored.out


def test_programs_are_told_in_every_format(scored) -> None:
    assert scored.score("-o", STORE, "--format", "json", method=f"{BEE},grad-cam") == 0
    cells = {
        (cell["method"], cell["metric"].partition("@")[0]): cell["fitted"]
        for cell in json.loads(scored.out)["groups"][0]["cells"]
    }
    assert [names for names, fitted in cells.items() if fitted] == [(BEE, "insertion")]
    assert scored.score("-o", STORE, "--format", "csv", method=f"{BEE},grad-cam") == 0
    fitted = [row["method"] for row in csv.DictReader(scored.out.splitlines()) if row["fitted"] == "1"]
    assert fitted == [BEE]
    assert scored("export", STORE, "--format", "jsonl") == 0
    rows = [json.loads(line) for line in scored.out.splitlines()]
    assert {(row["method"], row["metric"]) for row in rows if row.get("fitted") == 1} == {(BEE, "insertion@steps=4")}
    assert not any("fitted" in row for row in rows if row["method"] != BEE)


def test_papers_are_told_too(scored) -> None:
    assert scored.score("-o", STORE, "--format", "latex", method=f"{BEE},grad-cam") == 0
    assert scored.out.count(r"$^\dagger$") == 1
    assert f"% † {BEE} was fitted to insertion: no independent judgement" in scored.out
    assert scored.score("-o", STORE, "--format", "markdown", method=f"{BEE},grad-cam") == 0
    assert scored.out.count("†") == 2
    with Store.open(STORE, write=False) as store:
        panels = [axis.get_title(loc="left") for axis in curves_figure(summarise(store), []).axes]
    assert sorted("†" in title for title in panels) == [False, True]
    assert f"† {BEE})" in next(title for title in panels if "insertion" in title)


def test_the_report_marks_them_too(scored) -> None:
    assert scored("report", STORE, "-o", "report.html") == 0
    page = Path("report.html").read_text()
    assert page.count("†</span>") == 1
    assert '"fitted":[' in page
    assert "no independent judgement" in page


def test_a_map_of_another_photo_was_not_fitted_to_this_one(scored) -> None:
    assert f"other@base={BEE}" in scored.out
    assert scored.out.count("†") == 2


def test_one_photo_is_marked_too_and_another_metric_alone_is_not(shell) -> None:
    assert shell.score("--no-controls", images="photos/0.png", method=BEE) == 0
    assert shell.out.count("†") == 2
    assert shell("score", "photos/0.png", "--model", shell.model, "--method", BEE, "--metric", "deletion@steps=4") == 0
    assert "†" not in shell.out


def test_a_method_around_it_is_fitted_too(shell) -> None:
    assert shell.score("--no-controls", images="photos/0.png", method=f"ucag@slices=2@base={BEE}") == 0
    assert f"† ucag@slices=2@base={BEE} was fitted to insertion" in shell.out


def test_the_record_and_the_row_of_a_map_name_the_metric(shell) -> None:
    words = ("explain", "photos/0.png", "--model", shell.model, "--method", f"{BEE}@metric=deletion,grad-cam", "--format", "json")
    assert shell(*words, "--metric", "deletion@steps=4", "--sheet") == 0
    own, plain = json.loads(shell.out)
    assert own["fitted_to"] == "deletion"
    assert "fitted_to" not in plain
    record = json.loads(Path(own["record"]).read_text())
    assert record["fitted_to"] == "deletion"
    assert record["parameters"]["metric"]["name"] == "deletion"


def test_a_metric_that_it_cannot_follow_is_refused_in_one_line(shell) -> None:
    assert shell("explain", "photos/0.png", "--model", shell.model, "--method", "bee@metric=pointing-game") == 2
    assert "bee cannot be fitted to pointing-game: it needs ground truth. Metrics that work: deletion, insertion" in shell.error
