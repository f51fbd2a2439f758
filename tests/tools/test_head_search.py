"""The search for the heads' training: which candidates stay, on which photos, and that it goes on where it was."""

from __future__ import annotations

import json

import pytest

from tools import head_search
from tools.head_search import FIGURES, candidates_of, ranked, rounds_of, searched_photos
from xaicli.errors import UsageError
from xaicli.training.data import read_listing


def row(insertion, drop):
    return {"scores": {head_search.INSERTION: [insertion, 0, 1], head_search.DROP: [drop, 0, 100]}}


def test_candidates_are_ranked_by_insertion_and_average_drop_together():
    assert ranked([row(0.1, 30), row(0.3, 10), row(0.2, 20)]) == [1, 2, 0]
    # The second is better by insertion, the first by average drop: the same sum of ranks, so insertion decides.
    assert ranked([row(0.1, 10), row(0.2, 20)]) == [1, 0]


def test_each_round_halves_the_candidates_and_doubles_the_photos():
    assert list(rounds_of(list("abcdefghijkl"), 10_000)) == [(12, 1250), (6, 2500), (3, 5000), (2, 10_000)]


def test_candidates_bear_different_names():
    names = [one.name for method in ("t-tame", "p-tame") for one in candidates_of(method, "tiny")]
    assert len(set(names)) == len(names) == 24


def test_photos_of_the_model_card_are_left_out(toy, monkeypatch):
    held = read_listing(str(toy / "val"))
    monkeypatch.setattr(head_search, "CARD_PHOTOS", 2)
    taken = searched_photos(held, 10)
    assert len(taken) == len(held) - 2
    assert not set(taken.names) & set(held.sample(2, seed=0).names)
    monkeypatch.setattr(head_search, "CARD_PHOTOS", 6)
    with pytest.raises(UsageError, match="6 held-out photos; expected more than"):
        searched_photos(held, 10)


def test_one_command_searches_and_then_has_nothing_left(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    FIGURES.write_text(json.dumps({"method": "p-tame", "model": "tiny"}) + "\n")
    for name, value in {"CARD_PHOTOS": 2, "RATES": {"t-tame": (1e-2, 1e-1)}, "AREAS": {"t-tame": (2.0,)}, "EPOCHS": (1,)}.items():
        monkeypatch.setattr(head_search, name, value)
    words = ["--data", str(toy / "train"), "--val", str(toy / "val"), "--work", "w", "--limit", "4", "--photos", "2"]
    words += ["--precision", "fp32", "--method", "t-tame"]
    assert head_search.main(words) == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in FIGURES.read_text().splitlines()]
    assert [one["method"] for one in rows] == ["p-tame", "t-tame", "t-tame"]
    assert {one["lr"] for one in rows[1:]} == {1e-2, 1e-1}
    assert rows[1]["photos"] == 4
    assert set(rows[1]["scores"]) >= {head_search.INSERTION, f"{head_search.INSERTION} less grad-cam", head_search.DROP}
    capsys.readouterr()
    assert head_search.main(words) == 0
    assert "epoch 1/1" not in capsys.readouterr().err
    assert [json.loads(line) for line in FIGURES.read_text().splitlines()] == rows
