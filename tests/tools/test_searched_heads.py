"""The heads' part of the model card: the search's table, and what heads gain over methods that need no training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import searched_heads
from tools.bundled_models import RECIPES
from tools.searched_heads import DROP, INSERTION, read_rows, section, verdicts, winner
from xaicli.registry import make_method, make_metrics
from xaicli.results.store import Store
from xaicli.runs.score_run import ScoreRun
from xaicli.training.data import read_listing
from xaicli.training.held_out_scores import HeldOutScores

CARD = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def row(round_, lr, photos, insertion=0.3):
    scores = {INSERTION: [insertion, 0.2, 0.4], f"{INSERTION} less grad-cam": [0.01, -0.01, 0.03], DROP: [50.0, 40.0, 60.0]}
    about = {"round": round_, "method": "t-tame", "model": "tiny", "lr": lr, "epochs": 2, "area": 1.0}
    return {**about, "photos": photos, "scored": 200, "scores": scores}


ROWS = [row(1, 0.01, 10), row(1, 0.03, 10), row(2, 0.03, 20, 0.35), row(2, 0.01, 20)]


def test_the_best_of_the_last_round_wins():
    assert winner(ROWS, "t-tame", "tiny")["lr"] == 0.03
    assert winner(ROWS, "p-tame", "tiny") is None


def test_the_table_holds_the_last_round_alone():
    page = section(ROWS)
    assert "2 candidates were trained on 10 photos" in page.replace("\n", " ")
    assert "and so on to 20" in page.replace("\n", " ")
    lines = [line for line in page.splitlines() if line.startswith("| tiny")]
    assert lines[0] == "| tiny | t-tame | 0.03 | 2 | 1 | 0.350 [0.200, 0.400] | 0.010 [-0.010, 0.030] | 50.0 [40.0, 60.0] |"
    assert len(lines) == 2
    assert section([]) == ""


@pytest.mark.parametrize(("rate", "told"), [(0.01, True), (0.1, False)])
def test_a_winner_at_the_edge_of_what_was_tried_is_told(rate, told):
    page = " ".join(section([row(1, 0.03, 10, 0.35), row(1, rate, 10)]).split())
    assert ("Every winner has the highest rate and the most epochs that were tried" in page) is told
    assert f"Tried were rates {min(rate, 0.03):g} or {max(rate, 0.03):g} and area weights 1 for `t-tame`; 2 epochs." in page


def test_the_card_holds_the_searchs_part():
    assert section(read_rows()) in CARD.read_text()


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if not recipe.network], ids=lambda recipe: recipe.stem)
def test_shipped_heads_are_trained_as_the_search_found_best(recipe):
    method, _, parameters = recipe.method.partition("@")
    best = winner(read_rows(), method, recipe.model)
    assert best is not None
    assert recipe.overrides == {"epochs": best["epochs"], "lr": best["lr"]}
    assert f"area={best['area']:g}" in parameters


def test_heads_are_compared_with_what_needs_no_training(classifier_of, tiny_cnn, toy, monkeypatch):
    photos = read_listing(str(toy / "val")).sources
    methods = [make_method(name) for name in ("layer-cam", "eigen-cam", "grad-cam")]
    run = ScoreRun(photos, classifier_of(tiny_cnn), methods, make_metrics(["insertion@steps=2"]))
    monkeypatch.setattr(searched_heads, "METRIC", "insertion@steps=2")
    with Store.in_memory() as store:
        report = HeldOutScores(run, store)
        for _ in report.rows():
            pass
        [group] = report.groups
    lines = verdicts(group, ["layer-cam", "eigen-cam", "t-tame"]).splitlines()
    assert [line.split(" on ")[0].split(": ")[-1].split()[-1] for line in lines] == ["center", "center", "grad-cam"]
    assert lines[2].startswith("- The better head: ")
    for line in lines:
        assert f", {len(photos)} photos)." in line
        compared = line.removeprefix("- ").removeprefix("The better head: ").split(" on ")[0].split()
        own, other = (group.cells[name, "insertion@steps=2"].estimate.value for name in (compared[0], compared[-1]))
        value = own - other
        assert f"(difference {value:.3f} [" in line
    assert verdicts(group, ["t-tame"]) == ""
