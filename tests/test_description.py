"""Sentences and facts of maps, by hand."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xaicli
from xaicli.cli.main import main
from xaicli.description import facts, grid_of, half_in, sentence


@pytest.fixture(scope="module")
def record():
    (made,) = xaicli.explain("sample:hopper", "tiny", "grad-cam")
    return dataclasses.replace(made.record, target_name="cat", target_probability=0.8, notes=())


def described(values, record, **changes):
    return sentence(facts(np.array(values, dtype=np.float32), dataclasses.replace(record, **changes)))


CORNER = [[0, 0, 0], [0, 0, 0], [1, 0, 3]]


def test_a_corner_is_named_with_its_share(record):
    decision = dataclasses.replace(record.decision, name="cat")
    where = "half of the map's weight lies in 11 % of what the model saw, the largest part (75 %) in the lower right."
    assert described(CORNER, record, decision=decision) == f"grad-cam for cat (p 0.80): {where}"


def test_another_decision_and_what_removal_does_are_said(record):
    known = facts(np.array(CORNER, dtype=np.float32), dataclasses.replace(record, scores={"removal": 0.35}))
    assert known["removal"] == {"before": 0.8, "after": 0.35}
    said = sentence(known)
    assert "where the model decides for academic gown" in said
    assert said.endswith("; with its most salient tenth blurred, p falls to 0.35.")
    assert "p rises to 0.90" in sentence(known | {"removal": {"before": 0.8, "after": 0.9}})
    assert "p stays at 0.80" in sentence(known | {"removal": {"before": 0.8, "after": 0.801}})


def test_signed_maps_say_what_speaks_against(record):
    assert "; 25 % of the map speaks against it." in described([[3, -1]], record, sign="signed")


def test_even_maps_are_spread_out_and_useless_ones_say_so(record):
    assert "the map is spread out: half" in described(np.ones((9, 9)), record)
    assert "the map is the same everywhere" in described(np.zeros((3, 3)), record, status="constant")
    assert "not finite" in described([[np.nan, 1]], record, status="non-finite")
    assert "nothing in the map speaks for it" in described([[-1, -2]], record, sign="signed")


def test_rankings_count_their_highest_tenth(record):
    values = np.arange(100, dtype=np.float32).reshape(10, 10)
    known = facts(values, dataclasses.replace(record, sign="rank-only"))
    assert known["weight"]["half_in"] == pytest.approx(0.05)
    assert known["weight"]["strongest"]["place"] in ("lower left", "bottom", "lower right")
    assert np.sum(known["weight"]["grid"][2]) == pytest.approx(1, abs=1e-3)


def test_spots_come_by_weight_with_place_and_area(record):
    values = np.zeros((9, 9), dtype=np.float32)
    values[0:2, 0:2], values[8, 8] = 1, 1
    spots = facts(values, record)["weight"]["spots"]
    assert [spot["place"] for spot in spots] == ["upper left", "lower right"]
    assert [spot["weight"] for spot in spots] == pytest.approx([0.8, 0.2])
    assert spots[0]["area"] == pytest.approx(4 / 81)


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_grid_holds_all_the_weight_and_half_needs_at_most_half(height, width, seed):
    shares = np.random.default_rng(seed).random((height, width))
    shares /= shares.sum()
    assert grid_of(shares).sum() == pytest.approx(1)
    assert 0 < half_in(shares) <= 0.5 + 1 / shares.size


def test_the_command_says_the_sentence_and_writes_the_facts(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["explain", "sample:hopper", "--method", "grad-cam", "-o", str(out), "--text", "--facts"]
    assert main(words) == 0
    assert "grad-cam for academic gown (p 0.64): half of the map's weight lies in" in capsys.readouterr().out
    known = json.loads((out / "hopper.grad-cam.facts.json").read_text())
    assert known["text"] == sentence(known)
    assert known["removal"]["after"] == json.loads((out / "hopper.grad-cam.json").read_text())["scores"]["removal"]
    # The same again, from what is complete.
    assert main([*words, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["text"] == known["text"]


def test_a_file_of_others_is_not_replaced(tmp_path, capsys):
    (tmp_path / "hopper.grad-cam.facts.json").write_text("mine")
    words = ["explain", "sample:hopper", "--method", "grad-cam", "-o", str(tmp_path), "--facts"]
    assert main(words) == 2
    assert "xai did not write it" in capsys.readouterr().err
    assert (tmp_path / "hopper.grad-cam.facts.json").read_text() == "mine"


def test_in_python_an_attribution_describes_itself():
    (made,) = xaicli.explain("sample:hopper", "tiny", "grad-cam")
    assert made.describe() == sentence(made.facts())


def test_a_value_is_said_beside_that_of_the_baseline_and_is_no_probability(record):
    valued = dataclasses.replace(record, target_name="age", target_probability=41.3, extras={"baseline_value": 36.9})
    known = facts(np.array(CORNER, dtype=np.float32), valued)
    assert (known["quantity"], known["probability"], known["value"], known["baseline"]) == ("value", None, 41.3, 36.9)
    assert sentence(known).startswith("grad-cam for age (41.3, baseline 36.9): half of")


def test_of_a_box_the_likeness_falls_from_one_and_not_from_its_score(record):
    boxed = dataclasses.replace(record, box={"corners": [0, 0, 1, 1], "label": "cat", "score": 0.4}, target_probability=0.4)
    known = facts(np.array(CORNER, dtype=np.float32), dataclasses.replace(boxed, scores={"removal": 0.57}))
    assert known["removal"] == {"before": 1.0, "after": 0.57}
    assert "the likeness of the best box falls to 0.57" in sentence(known)


def test_nothing_is_said_to_be_written_where_nothing_was(tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    words = ["explain", str(tmp_path / "bad.png"), "--method", "grad-cam", "--sheet", "-o", str(tmp_path / "out"), "--keep-going"]
    assert main(words) != 0
    assert "sheet.png" not in capsys.readouterr().err
