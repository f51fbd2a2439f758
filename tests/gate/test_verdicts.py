"""From two runs to verdicts, on invented numbers: what fails, what passes, and what cannot be told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats as distributions

from xaicli.gate.baseline import Baseline
from xaicli.gate.map_similarity import Noise, Similarity, similarity
from xaicli.gate.measure import ReadySuite
from xaicli.gate.photo_result import PhotoResult, Score
from xaicli.gate.rules import CONTROLS, MAP_SIMILARITY, Rule
from xaicli.gate.suite import Suite
from xaicli.gate.verdict import Verdict
from xaicli.gate.verdicts import judge
from xaicli.registry import make_methods, make_metrics
from xaicli.results import stats
from xaicli.results.needed import photos_needed
from xaicli.runs.target_choice import TargetChoice

RNG = np.random.default_rng(11)
MAP = RNG.normal(size=(8, 8)).astype(np.float32)
NOISE = RNG.normal(size=40)


def photos(
    count: int = 30,
    maps: Callable[[int], np.ndarray] = lambda at: MAP,
    insertion: Sequence[float | None] | float = 0.5,
    method: str = "grad-cam",
    **further: Any,
) -> list[PhotoResult]:
    values = [insertion] * count if isinstance(insertion, float) else list(insertion)
    scores = [{(method, "insertion"): Score(value, "ok" if value is not None else "constant")} for value in values]
    return [PhotoResult(f"{at}.png", f"{at:064x}", 0, "1", 1, 0.5, {method: maps(at)}, scores[at]) for at in range(count)]


@pytest.fixture
def verdicts(tmp_path, classifier_of, tiny_cnn):
    """`verdicts(before, now, rules, ...)`: the verdicts of a suite of one method and insertion."""

    def of(
        before: list[PhotoResult],
        now: list[PhotoResult],
        *rules: Rule,
        expect: str = "same-model",
        method: str = "grad-cam",
        metrics: str = "insertion",
        noise: Noise | None = None,
        same_seed: bool = True,
        layer: str = "features",
        fingerprint: str = "0" * 16,
    ) -> list[Verdict]:
        suite = Suite(tmp_path / "xai.toml", "net.py:make", ("photos/",), expect=expect)
        classifier = classifier_of(tiny_cnn, (8, 8), layer=layer)
        methods, named = tuple(make_methods([method])), tuple(make_metrics([metrics]))
        bench = ReadySuite(suite, classifier, (), methods, named, TargetChoice(), rules)
        known = {"grad-cam": "features"} if method == "grad-cam" else {}
        noises = {method: noise} if noise else {}
        baseline = Baseline(tuple(before), bench.definitions(), known, "net", fingerprint, "top1", expect, 0, noise=noises)
        return judge(bench, baseline, now, same_seed=same_seed)

    return of


def one(found: list[Verdict], what: str) -> Verdict:
    chosen = [verdict for verdict in found if verdict.what == what]
    assert len(chosen) == 1, [verdict.what for verdict in found]
    return chosen[0]


# Maps


def test_the_same_maps_pass(verdicts):
    verdict = one(verdicts(photos(), photos(), Rule(MAP_SIMILARITY)), "map similarity")
    assert (verdict.state, verdict.value, verdict.worst) == ("ok", pytest.approx(1.0), ())


def test_one_map_that_moved_fails_and_is_named_first(verdicts):
    now = photos(maps=lambda at: MAP[::-1] if at == 7 else -MAP if at == 3 else MAP)
    verdict = one(verdicts(photos(), now, Rule(MAP_SIMILARITY)), "map similarity")
    assert verdict.failed
    assert verdict.places == (3, 7)
    assert verdict.worst[0] == "3.png -1.00"
    assert "2 of 30 photos below" in verdict.text


def test_at_most_three_photos_are_named(verdicts):
    verdict = one(verdicts(photos(), photos(maps=lambda at: -MAP), Rule(MAP_SIMILARITY)), "map similarity")
    assert len(verdict.worst) == len(verdict.places) == 3


def test_a_rule_of_its_own_takes_the_place_of_the_floor(verdicts):
    moved = MAP + 0.35 * RNG.normal(size=MAP.shape).astype(np.float32)
    now = photos(maps=lambda at: moved)
    assert one(verdicts(photos(), now, Rule(MAP_SIMILARITY)), "map similarity").failed
    assert one(verdicts(photos(), now, Rule(MAP_SIMILARITY, at_least=0.5)), "map similarity").state == "ok"
    assert one(verdicts(photos(), now, Rule(MAP_SIMILARITY, at_least=0.99)), "map similarity").failed


def test_a_map_that_is_not_finite_fails_whatever_the_rules(verdicts):
    broken = MAP.copy()
    broken[2, 2] = np.nan
    found = verdicts(photos(), photos(maps=lambda at: broken if at == 4 else MAP), Rule("decisions", at_most=1.0))
    verdict = one(found, "maps")
    assert verdict.failed
    assert verdict.worst == ("4.png",)
    found = verdicts(photos(), photos(maps=lambda at: broken if at == 4 else MAP), Rule(MAP_SIMILARITY, at_least=-1.0))
    assert one(found, "map similarity").failed


RISE = "rise@n_masks=8"


def test_with_other_seeds_as_many_maps_may_fall_below_the_floor_as_chance_explains(verdicts):
    for count, below, fails in ((30, 2, False), (30, 3, True), (5, 1, False), (5, 2, True), (1, 1, True)):
        p = 2 * distributions.binom.sf(below - 1, count, 0.02)
        assert bool(p < 0.05) is fails
        now = photos(count, maps=lambda at, below=below: -MAP if at < below else MAP, method=RISE)
        noise = Noise(Similarity(0.5, 0.2), (0.0,) * count)
        found = verdicts(photos(count, method=RISE), now, Rule(MAP_SIMILARITY), method=RISE, noise=noise, same_seed=False)
        assert one(found, "map similarity").failed is fails
        assert one(found, "map similarity").p == pytest.approx(min(1, p))


def test_with_other_seeds_maps_must_be_as_like_on_average_as_other_seeds_made_them(verdicts):
    """No map is below the floor of the noisiest photo, and all are less like the baseline's than they should be."""
    blends = [MAP + 0.7 * RNG.normal(size=MAP.shape).astype(np.float32) for _ in range(20)]
    now = photos(20, maps=lambda at: blends[at], method=RISE)
    likeness = np.array([similarity(MAP, blend, (8, 8)).spearman for blend in blends])
    for expected, fails in ((likeness + 0.2, True), (likeness, False), (likeness + 0.04, False), (likeness - 0.3, False)):
        noise = Noise(Similarity(-1.0, 0.0), tuple(expected + 0.01 * NOISE[:20]))
        found = verdicts(photos(20, method=RISE), now, Rule(MAP_SIMILARITY), method=RISE, noise=noise, same_seed=False)
        verdict = one(found, "map similarity")
        assert verdict.failed is fails
        assert "on average with other seeds" in verdict.text
        assert bool(verdict.places) is fails
    lenient = Rule(MAP_SIMILARITY, at_least=-1.0)
    noise = Noise(Similarity(-1.0, 0.0), tuple(likeness + 0.2))
    found = verdicts(photos(20, method=RISE), now, lenient, method=RISE, noise=noise, same_seed=False)
    assert one(found, "map similarity").state == "ok"


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_rule_that_random_maps_pass_says_that_it_can_hardly_fail(verdicts, count):
    for floor, expected, hardly in ((-0.9, 0.0, True), (0.9, 0.95, False)):
        noise = Noise(Similarity(floor, 0.0), tuple(expected + 0.01 * NOISE[:count]))
        before = photos(count, method=RISE)
        for same in (True, False):
            found = verdicts(before, before, Rule(MAP_SIMILARITY), method=RISE, noise=noise, same_seed=same)
            verdict = one(found, "map similarity")
            assert verdict.state == "ok"
            assert ("this rule can hardly fail here: random maps pass it in 5 of 5 draws" in verdict.text) is (
                hardly and not same
            )


def test_maps_that_are_the_same_on_all_photos_do_not_make_a_rule_that_cannot_fail(verdicts):
    """The maps of other photos would pass here, and a map of another place does not."""
    noise = Noise(Similarity(0.6, 0.3), (0.8,) * 20)
    for now, fails in ((MAP, False), (MAP[::-1], True)):
        run = photos(20, maps=lambda at, now=now: now, method=RISE)
        found = verdicts(photos(20, method=RISE), run, Rule(MAP_SIMILARITY), method=RISE, noise=noise, same_seed=False)
        verdict = one(found, "map similarity")
        assert verdict.failed is fails
        assert "hardly" not in verdict.text


def test_with_the_same_seed_a_stochastic_map_must_be_the_same_too(verdicts):
    noise = Noise(Similarity(-0.5, 0.0), (0.9,) * 30)
    moved = MAP + 0.35 * RNG.normal(size=MAP.shape).astype(np.float32)
    before, now = photos(method=RISE), photos(maps=lambda at: moved, method=RISE)
    for same, fails in ((True, True), (False, False)):
        found = verdicts(before, now, Rule(MAP_SIMILARITY), method=RISE, noise=noise, same_seed=same)
        assert one(found, "map similarity").failed is fails


# Scores


def test_a_change_wholly_inside_the_tolerance_passes(verdicts):
    now = photos(insertion=list(0.5 + 0.001 * NOISE[:30]))
    verdict = one(verdicts(photos(), now, Rule("insertion", tolerance=0.02)), "insertion")
    assert verdict.state == "ok"
    estimate = stats.change(0.001 * NOISE[:30])
    assert verdict.test == "paired t"
    assert (verdict.low, verdict.high) == (pytest.approx(estimate.low), pytest.approx(estimate.high))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_change_wholly_beyond_the_tolerance_fails_in_both_directions(verdicts, sign):
    now = photos(insertion=list(0.5 + sign * (0.1 + 0.01 * NOISE[:30])))
    verdict = one(verdicts(photos(), now, Rule("insertion", tolerance=0.02)), "insertion")
    assert verdict.failed
    assert verdict.value == pytest.approx(sign * (0.1 + 0.01 * NOISE[:30].mean()))
    largest = int(np.argmax(np.abs(0.1 + 0.01 * NOISE[:30])))
    assert verdict.places[0] == largest
    assert verdict.worst[0].startswith(f"{largest}.png {'+' if sign > 0 else '-'}0.")


def test_too_few_photos_are_inconclusive_with_the_number_it_would_take(verdicts):
    change = 0.05 * NOISE[:8]
    verdict = one(verdicts(photos(8), photos(8, insertion=list(0.5 + change)), Rule("insertion", tolerance=0.02)), "insertion")
    assert verdict.state == "inconclusive"
    assert not verdict.failed
    needed = photos_needed(change.std(ddof=1), 0.02 - abs(change.mean()))
    assert needed > 8
    said = int(verdict.text.rpartition("about ")[2].partition(" ")[0].replace(",", ""))
    assert needed <= said <= 1.1 * needed + 1
    assert "8 photos are too few" in verdict.text


def test_a_mean_change_of_just_the_tolerance_can_never_be_told(verdicts):
    change = [0.0, 0.04] * 10
    verdict = one(
        verdicts(photos(20), photos(20, insertion=[0.5 + c for c in change]), Rule("insertion", tolerance=0.02)), "insertion"
    )
    assert verdict.state == "inconclusive"
    assert "no number of photos would do" in verdict.text


def test_one_photo_passes_only_where_nothing_changed(verdicts):
    rule = Rule("insertion", tolerance=0.02)
    assert one(verdicts(photos(1), photos(1), rule), "insertion").state == "ok"
    assert one(verdicts(photos(1), photos(1, insertion=[0.501]), rule), "insertion").state == "inconclusive"
    assert one(verdicts(photos(1), photos(1, insertion=[0.9]), rule), "insertion").state == "inconclusive"


def test_of_a_retrained_model_only_a_change_for_the_worse_counts(verdicts):
    better, worse = (photos(insertion=list(0.5 + sign * (0.1 + 0.01 * NOISE[:30]))) for sign in (1, -1))
    rule = Rule("insertion", tolerance=0.02)
    assert one(verdicts(photos(), better, rule, expect="retrained"), "insertion").state == "ok"
    assert one(verdicts(photos(), worse, rule, expect="retrained"), "insertion").failed


def test_for_a_score_that_should_be_low_the_worse_is_up_and_what_is_shown_keeps_its_sign(verdicts):
    def deletion(values: Sequence[float]) -> list[PhotoResult]:
        found = photos(len(values))
        return [
            dataclasses.replace(photo, scores={("grad-cam", "deletion"): Score(value, "ok")})
            for photo, value in zip(found, values, strict=True)
        ]

    before, rule = deletion([0.5] * 30), Rule("deletion", tolerance=0.02)
    up, down = (deletion(list(0.5 + sign * (0.1 + 0.01 * NOISE[:30]))) for sign in (1, -1))
    worse = one(verdicts(before, up, rule, expect="retrained", metrics="deletion"), "deletion")
    assert worse.failed
    assert worse.value is not None
    assert worse.value > 0
    assert worse.text.startswith("+0.1")
    assert one(verdicts(before, down, rule, expect="retrained", metrics="deletion"), "deletion").state == "ok"


def test_a_value_that_is_gone_fails_with_its_reason(verdicts):
    now = photos(insertion=[None if at == 9 else 0.5 for at in range(30)])
    for rule in (Rule("insertion", tolerance=1.0), Rule("insertion", at_least=0.0)):
        verdict = one(verdicts(photos(), now, rule), "insertion")
        assert verdict.failed
        assert verdict.text == "1 of 30 photos have no value now: constant"
        assert verdict.worst == ("9.png",)


def test_a_row_that_is_missing_fails(verdicts):
    now = [dataclasses.replace(photo, scores={}) for photo in photos()]
    verdict = one(verdicts(photos(), now, Rule("insertion", tolerance=1.0)), "insertion")
    assert verdict.failed
    assert "not scored" in verdict.text
    both = one(verdicts(now, now, Rule("insertion", tolerance=1.0)), "insertion")
    assert both.failed
    assert both.text == "no photo has a value"
    assert one(verdicts(now, photos(), Rule("insertion", tolerance=1.0)), "insertion").failed


def test_a_photo_that_never_had_a_value_is_left_out_and_counted(verdicts):
    values = [None if at == 9 else 0.5 for at in range(30)]
    verdict = one(verdicts(photos(insertion=values), photos(insertion=values), Rule("insertion", tolerance=0.02)), "insertion")
    assert verdict.state == "ok"
    assert "(n = 29 of 30)" in verdict.text


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        (Rule("insertion", at_least=0.4), "ok"),
        (Rule("insertion", at_least=0.6), "fail"),
        (Rule("insertion", at_most=0.6), "ok"),
        (Rule("insertion", at_most=0.4), "fail"),
        (Rule("insertion", at_least=0.4, at_most=0.6), "ok"),
        (Rule("insertion", at_least=0.5), "inconclusive"),
        (Rule("insertion", at_least=0.6, level="warn"), "fail"),
    ],
)
def test_bounds_are_held_against_the_interval_of_the_mean(verdicts, rule, state):
    now = photos(insertion=list(0.5 + 0.01 * NOISE[:30]))
    verdict = one(verdicts(photos(), now, rule), "insertion")
    assert verdict.state == state
    assert verdict.failed is (state == "fail" and rule.level == "error")
    assert ("30 photos are too few" in verdict.text) is (state == "inconclusive")


def test_failures_that_many_rules_make_likely_are_inconclusive(verdicts):
    """One rule just beyond its tolerance fails alone, and no longer among thirty: Holm."""
    change = 0.02 + 0.024 + 0.05 * (NOISE[:30] - NOISE[:30].mean()) / NOISE[:30].std()
    now = photos(insertion=list(0.5 + change))
    rule = Rule("insertion", tolerance=0.02)
    alone = one(verdicts(photos(), now, rule), "insertion")
    assert alone.failed
    assert alone.p is not None
    assert 0.001 < alone.p < 0.05
    among = verdicts(photos(), now, rule, *[Rule("insertion", tolerance=0.9)] * 40)
    assert [verdict.state for verdict in among if "tolerance 0.02" in verdict.text] == ["inconclusive"]
    assert "can be chance" in next(verdict.text for verdict in among if "tolerance 0.02" in verdict.text)


# The controls


def with_control(own: float, control: float) -> list[PhotoResult]:
    return [
        dataclasses.replace(
            photo,
            scores={
                ("grad-cam", "insertion"): Score(own + 0.01 * NOISE[at], "ok"),
                ("random", "insertion"): Score(control, "ok"),
                ("center", "insertion"): Score(0.1, "ok"),
                ("other@base=grad-cam", "insertion"): Score(0.2, "ok"),
            },
        )
        for at, photo in enumerate(photos())
    ]


@pytest.mark.parametrize(("control", "state"), [(0.3, "ok"), (0.7, "fail"), (0.5, "inconclusive")])
def test_insertion_must_beat_the_controls(verdicts, control, state):
    now = with_control(0.5, control)
    found = verdicts(now, now, Rule(CONTROLS), expect="retrained")
    assert one(found, "beats random").state == state
    assert one(found, "beats center").state == "ok"
    assert one(found, "beats other").state == "ok"


def test_a_control_that_was_not_scored_fails(verdicts):
    now = photos()
    found = verdicts(now, now, Rule(CONTROLS), expect="retrained")
    assert one(found, "beats random").failed


# What needs no rule


def test_a_changed_layer_is_a_verdict_of_its_own(verdicts):
    found = verdicts(photos(), photos(), Rule(MAP_SIMILARITY), layer="features.3")
    verdict = one(found, "layer")
    assert verdict.failed
    assert verdict.text == "features at the baseline, features.3 now"
    assert one(found, "map similarity").state == "ok"
    retrained = verdicts(photos(), photos(), Rule(MAP_SIMILARITY), layer="features.3", expect="retrained")
    assert one(retrained, "layer").state == "note"


def test_another_model_is_noted(verdicts):
    assert one(verdicts(photos(), photos(), Rule(MAP_SIMILARITY), fingerprint="1" * 16), "model").state == "note"
    assert not [v for v in verdicts(photos(), photos(), Rule(MAP_SIMILARITY)) if v.what == "model"]


def moved(**fields: Any) -> list[PhotoResult]:
    return [dataclasses.replace(photo, **fields) if at < 6 else photo for at, photo in enumerate(photos())]


def test_changed_decisions_are_a_note_and_by_a_rule_a_failure(verdicts):
    now = moved(decision=2)
    note = one(verdicts(photos(), now, Rule(MAP_SIMILARITY)), "decisions")
    assert note.state == "note"
    assert note.text.startswith("changed on 6 of 30 photos")
    assert one(verdicts(photos(), photos(), Rule(MAP_SIMILARITY)), "decisions").state == "ok"
    # 6 of 30, exactly: 0.077 to 0.386.
    for limit, state in ((0.05, "fail"), (0.1, "inconclusive"), (0.3, "inconclusive"), (0.4, "ok")):
        assert one(verdicts(photos(), now, Rule("decisions", at_most=limit)), "decisions").state == state


@pytest.mark.parametrize(
    ("expect", "changed", "state"), [("same-model", 8, "fail"), ("retrained", 8, "fail"), ("retrained", 5, "note")]
)
def test_without_a_rule_decisions_that_changed_almost_everywhere_fail(verdicts, expect, changed, state):
    now = [dataclasses.replace(photo, decision=2) if at < changed else photo for at, photo in enumerate(photos(8))]
    verdict = one(verdicts(photos(8), now, Rule(MAP_SIMILARITY), expect=expect), "decisions")
    assert verdict.state == state
    assert f"changed on {changed} of 8 photos, {changed / 8:.3f} [" in verdict.text
    assert verdict.test == "exact binomial (Clopper-Pearson)"


def test_two_hits_of_two_say_little_of_a_hit_rate(verdicts):
    hits = [dataclasses.replace(photo, scores={("grad-cam", "pointing-game"): Score(1.0, "ok")}) for photo in photos(2)]
    found = verdicts(hits, hits, Rule("pointing-game", at_least=0.99), metrics="pointing-game")
    verdict = one(found, "pointing-game")
    assert verdict.state == "inconclusive"
    assert "1.000 [0.158, 1.000] by exact binomial (Clopper-Pearson)" in verdict.text
    assert "2 photos are too few; about 370 needed" in verdict.text


def test_equal_scores_do_not_pass_a_rule_that_needs_their_spread(verdicts):
    verdict = one(verdicts(photos(), photos(), Rule("insertion", at_least=0.4)), "insertion")
    assert verdict.state == "inconclusive"
    assert "equal values have no interval" in verdict.text


@pytest.mark.parametrize(("expect", "state"), [("same-model", "ok"), ("retrained", "inconclusive")])
def test_hits_that_did_not_change_prove_a_model_the_same_and_not_a_new_one_as_good(verdicts, expect, state):
    hits = [dataclasses.replace(photo, scores={("grad-cam", "pointing-game"): Score(1.0, "ok")}) for photo in photos(5)]
    found = verdicts(hits, hits, Rule("pointing-game", tolerance=0.02), metrics="pointing-game", expect=expect)
    assert one(found, "pointing-game").state == state


def test_moved_confidence_is_a_note_and_by_a_rule_a_failure(verdicts):
    now = [dataclasses.replace(photo, probability=0.9 + 0.01 * NOISE[at]) for at, photo in enumerate(photos())]
    assert one(verdicts(photos(), now, Rule(MAP_SIMILARITY)), "p0").state == "note"
    assert one(verdicts(photos(), photos(), Rule(MAP_SIMILARITY)), "p0").state == "ok"
    assert one(verdicts(photos(), now, Rule("p0", tolerance=0.1)), "p0").failed
    assert one(verdicts(photos(), now, Rule("p0", tolerance=0.5)), "p0").state == "ok"
    assert one(verdicts(photos(), now, Rule("p0", at_least=0.8)), "p0").state == "ok"
    assert one(verdicts(photos(), now, Rule("p0", at_most=0.8)), "p0").failed


def test_confidence_that_may_have_moved_is_inconclusive_and_closes_no_gate(verdicts):
    """-0.171 on average of five photos that differ by 0.16: anything from -0.37 to +0.03."""
    change = -0.171 + 0.16 * (NOISE[:5] - NOISE[:5].mean()) / NOISE[:5].std(ddof=1)
    now = [dataclasses.replace(photo, probability=0.5 + float(change[at])) for at, photo in enumerate(photos(5))]
    verdict = one(verdicts(photos(5), now, Rule(MAP_SIMILARITY)), "p0")
    assert (verdict.state, verdict.open, verdict.failed) == ("inconclusive", False, False)
    assert verdict.text.startswith("-0.171 [-0.370, +0.028] by paired t")
    assert "5 photos are too few" in verdict.text
    still = [dataclasses.replace(photo, probability=0.5 + 0.001 * NOISE[at]) for at, photo in enumerate(photos())]
    assert one(verdicts(photos(), still, Rule(MAP_SIMILARITY)), "p0").state == "ok"


def test_every_rule_has_its_verdict(verdicts):
    rules = [
        Rule("decisions", at_most=0.05, level="warn"),
        Rule("decisions", at_most=0.5),
        Rule("p0", tolerance=0.1),
        Rule("p0", at_least=0.1),
    ]
    now = [dataclasses.replace(photo, probability=0.5 + 0.001 * NOISE[at]) for at, photo in enumerate(moved(decision=2))]
    found = verdicts(photos(), now, *rules)
    assert [(verdict.what, verdict.state) for verdict in found] == [
        ("decisions", "fail"),
        ("decisions", "ok"),
        ("p0", "ok"),
        ("p0", "ok"),
    ]
    assert not any(verdict.failed for verdict in found)
