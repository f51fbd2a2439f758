"""Rows and recipes: what a score says of itself."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import pytest

from xaicli.errors import RunError
from xaicli.metric import Direction, Metric, Ratio, param
from xaicli.rows import Curve, Recipe, Row
from xaicli.stamps import definition_stamp

ROW = Row("a.jpg", "ab" * 32, "rise", "281", "deletion", 0.25, "ok", "d" * 16, "s" * 16, 0, "f" * 16)


@dataclass(frozen=True, kw_only=True)
class Sampled(Metric):
    """A definition with one parameter."""

    n: int = param(10, "samples", ge=1)

    name = "sampled"
    direction = Direction.HIGHER
    unit = "%"
    ratios = {"normalised": Ratio(("value", "low"), ("high", "low"))}


def test_a_row_without_a_value_says_why():
    assert dataclasses.replace(ROW, value=None, status="constant").value is None
    with pytest.raises(RunError, match="status ok with value None"):
        dataclasses.replace(ROW, value=None)
    with pytest.raises(RunError, match=r"status constant with value 0\.25"):
        dataclasses.replace(ROW, status="constant")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_never_a_score(wrong):
    with pytest.raises(RunError, match="finite"):
        dataclasses.replace(ROW, value=wrong)
    with pytest.raises(RunError, match="log_odds"):
        dataclasses.replace(ROW, readouts={"log_odds": wrong})


def test_a_record_is_the_columns_and_then_the_readouts():
    record = dataclasses.replace(ROW, readouts={"p0": 0.5, "log_odds": -1.0}).record()
    names = "image method target metric value status definition subject seed log_odds p0"
    assert list(record) == names.split()
    assert (record["image"], record["value"], record["log_odds"]) == ("a.jpg", 0.25, -1.0)


def test_a_readout_may_not_take_the_name_of_a_column():
    with pytest.raises(RunError, match='a read-out called "seed"'):
        dataclasses.replace(ROW, readouts={"seed": 1.0})


def test_a_curve_has_one_value_a_place():
    with pytest.raises(ValueError, match="2 places and 1 value"):
        Curve((0.0, 1.0), (0.5,))
    with pytest.raises(ValueError, match="0 places"):
        Curve((), ())


def test_the_definition_covers_what_changes_numbers_and_nothing_else():
    recipe = Recipe.of(Sampled(n=3), Sampled(n=4), "top1", "fp32", passes="1+1")
    assert recipe.method_definition == definition_stamp(Sampled(n=3), "top1", "fp32")
    assert (recipe.method, recipe.metric) == ("sampled@n=3", "sampled@n=4")
    assert (recipe.direction, recipe.unit) == ("higher", "%")
    assert recipe.ratios == {"normalised": [["value", "low"], ["high", "low"]]}
    for same in ({"passes": "2"}, {"direction": "lower"}, {"ratios": {}}, {"method": "another label"}):
        assert dataclasses.replace(recipe, **same).definition == recipe.definition
    other_metric = Recipe.of(Sampled(n=3), Sampled(n=5), "top1", "fp32")
    others = [other_metric, dataclasses.replace(recipe, target_rule="281"), dataclasses.replace(recipe, precision="auto")]
    assert len({recipe.definition, *(other.definition for other in others)}) == 4
    assert other_metric.method_definition == recipe.method_definition
