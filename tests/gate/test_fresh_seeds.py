"""The gate's alarms by chance: runs of an unchanged model that differ in the seed of RISE alone.

Ten baselines over 32 photos, each held against ten further seeds; alarms of one baseline are not independent, so that several are
made. Faults of the same networks are held against the same floors.
"""

from __future__ import annotations

import dataclasses

import pytest

from xaicli.gate.baseline import make_baseline
from xaicli.gate.outcome import run_against
from xaicli.gate.verdict import Verdict

BASELINES, CHECKS = 10, 10
PHOTOS = 32


@pytest.fixture
def many(room, new_photo):
    """A suite of RISE over 32 photos of 16 pixels a side."""
    for number in range(PHOTOS):
        new_photo(room.folder / "photos" / f"{number}.png", number, size=16)
    room.suite(methods=["rise@n_masks=200@grid=4"], metrics=["insertion@steps=7"], resize=16, crop=16)
    return room.bench()


def seeded(bench, seed: int):
    return dataclasses.replace(bench, suite=dataclasses.replace(bench.suite, seed=seed))


def map_verdict(outcome) -> Verdict:
    return next(verdict for verdict in outcome.verdicts if verdict.what == "map similarity")


@pytest.mark.slow
def test_in_a_hundred_runs_with_fresh_seeds_at_most_nine_alarms_are_raised(many):
    alarms = []
    for made in range(BASELINES):
        baseline = make_baseline(seeded(many, 1000 * made))
        alarms += [run_against(many, baseline, seed=1000 * made + 500 + run).failed() for run in range(CHECKS)]
    assert len(alarms) == 100
    assert sum(alarms) <= 9


@pytest.mark.slow
@pytest.mark.parametrize("model", ["other", "plain"])
def test_faults_are_seen_with_a_fresh_seed_too(many, room, model):
    """Other weights, and an input that is not normalised."""
    baseline = make_baseline(many)
    assert not run_against(many, baseline, seed=9).failed()
    assert map_verdict(run_against(room.bench(model=model), baseline, seed=9)).failed
