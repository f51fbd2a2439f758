"""Pairs of segments in surrogates, against numbers worked out by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.segments.interactions import (
    FittedCopies,
    Surrogate,
    among_strongest,
    columns_of,
    compare,
    copies_needed,
    places,
    ridge_fit,
    touching,
)
from xaicli.methods.segments.surrogates import LIME, KernelSHAP
from xaicli.segment_pairs import pairs_of
from xaicli.targets import TargetRule, Targets

SEEDS = torch.arange(40, 45)
EVERY = torch.tensor(list(itertools.product((False, True), repeat=3)))
NONE, ALL = torch.zeros(0, 2, dtype=torch.int64), torch.tensor([[0, 1], [0, 2], [1, 2]])
FIRST = TargetRule(index=0)


def game():
    """All coalitions of three segments, of which y = 1 + 2 z1 + 3 z1 z2."""
    first, second, _ = EVERY.double().unbind(dim=1)
    return FittedCopies(EVERY, (1 + 2 * first + 3 * first * second)[:, None], torch.ones(8).double())


def numbers(*given):
    return torch.tensor(given, dtype=torch.float64)


def test_products_of_plain_columns_are_found_exactly():
    copies = game()
    found = ridge_fit(columns_of(EVERY, ALL, torch.zeros(3)), copies.scores, copies.weights, 0.0)
    assert_close(found[:, 0], numbers(2, 0, 0, 3, 0, 0))
    said = Surrogate.fit(copies, ALL, 0.0).scores(torch.zeros(1, 3, dtype=torch.bool))
    assert_close(said, numbers([1]))


def test_without_pairs_the_remainder_is_missed():
    copies = game()
    fit = Surrogate.fit(copies, NONE, 0.0)
    assert_close(fit.intercept, numbers(0.25))
    assert_close(fit.main[:, 0], numbers(3.5, 1.5, 0))
    residual = copies.scores - fit.scores(EVERY)
    assert float(residual.square().mean().sqrt()) == pytest.approx(0.75)
    assert float(fit.r2(copies)) == pytest.approx(0.8656716)
    assert float(Surrogate.fit(copies, ALL, 0.0).r2(copies)) == pytest.approx(1)


def test_the_additive_fit_of_all_coalitions_gives_shapley_values():
    scores = {tuple(row): float(y) for row, y in zip(EVERY.tolist(), game().scores[:, 0], strict=True)}
    values = []
    for one in range(3):
        gains = []
        for order in itertools.permutations(range(3)):
            before = tuple(order.index(other) < order.index(one) for other in range(3))
            after = tuple(shown or other == one for other, shown in enumerate(before))
            gains.append(scores[after] - scores[before])
        values.append(sum(gains) / 6)
    assert_close(Surrogate.fit(game(), NONE, 0.0).main[:, 0], numbers(*values))


def test_products_of_centred_columns_leave_the_main_effects_as_they_are():
    fit = Surrogate.fit(game(), ALL, 0.0)
    assert_close(fit.main[:, 0], numbers(3.5, 1.5, 0))
    assert_close(fit.joint[:, 0], numbers(3, 0, 0))
    # The intercept belongs to products that are 0 at the mean coalition.
    assert float(fit.intercept) == pytest.approx(0.25)


def test_equal_scores_have_no_r2_and_no_effects():
    copies = FittedCopies(EVERY, torch.full((8, 1), 2.0).double(), torch.ones(8).double())
    fit = Surrogate.fit(copies, ALL, 1e-3)
    assert fit.r2(copies).isnan().all()
    assert_close(torch.cat([fit.main, fit.joint]), torch.zeros(6, 1).double())


def test_weights_count_in_fit_and_r2_like_repeated_copies():
    shown = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    scores = torch.rand(30, 1, generator=torch.Generator().manual_seed(1)).double()
    times = torch.arange(30) % 3 + 1
    weighted = FittedCopies(shown, scores, times.double())
    repeated = FittedCopies(
        shown.repeat_interleave(times, 0), scores.repeat_interleave(times, 0), torch.ones(int(times.sum())).double()
    )
    pairs = torch.tensor([[0, 1], [2, 3]])
    one, other = Surrogate.fit(weighted, pairs, 0.1), Surrogate.fit(repeated, pairs, 0.1)
    assert_close(one.main, other.main)
    assert_close(one.joint, other.joint)
    assert_close(one.r2(weighted), other.r2(repeated))


def test_segments_touch_where_they_have_a_border_in_common():
    labels = torch.tensor([[0, 0, 1], [2, 2, 1], [2, 2, 3]])
    assert touching(labels).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert not len(touching(torch.zeros(4, 4, dtype=torch.int64)))


def test_the_strongest_are_paired_by_absolute_effect():
    assert among_strongest(torch.tensor([0.1, -3.0, 0.2, 2.0]), 3).tolist() == [[1, 2], [1, 3], [2, 3]]


def test_a_place_is_the_own_pixel_nearest_to_the_middle():
    labels = torch.ones(3, 3, dtype=torch.int64)
    labels[1, 1] = 0
    found = places(labels)
    assert found[0].tolist() == pytest.approx([0.5, 0.5])
    # The middle of the ring is not its own: one of the four pixels beside it is.
    assert float((found[1] - 0.5).abs().sum()) == pytest.approx(1 / 3)


def test_too_few_copies_tell_nothing_of_pairs():
    weights, told = compare(game(), ALL, torch.zeros(8, dtype=torch.bool), 1e-3)
    assert weights.isnan().all()
    assert told.isnan().all()
    assert copies_needed(3, 3) == 35


def together(inputs):
    """A score that two quarters of a photo of 32 x 32 have only together, beside what the third does by itself."""
    one, other, third = (inputs[:, 0, rows, columns].mean(dim=(1, 2)) for rows, columns in QUARTERS[:3])
    return torch.stack([one * other + third, -one], dim=1)


HALF, REST = slice(0, 16), slice(16, 32)
QUARTERS = [(HALF, HALF), (HALF, REST), (REST, HALF), (REST, REST)]
SQUARES = {"segments": "grid", "baseline": "zero", "score": "logit"}
METHODS = [
    LIME(n_samples=400, n_segments=4, ridge=0.0, interactions="adjacent", **SQUARES),
    LIME(n_samples=400, n_segments=4, ridge=0.0, interactions="top", top_m=3, **SQUARES),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)
def test_what_two_segments_do_together_is_their_pair(classifier_of, method):
    photos = 1 + torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    maps = method.attribute(classifier_of(together, count=2), photos, Targets.same(FIRST, 5), SEEDS)
    for row in range(5):
        pairs = pairs_of(maps.extras["pairs"][row, 0].numpy())
        one, other = (float(photos[row, 0, rows, columns].mean()) for rows, columns in QUARTERS[:2])
        assert pairs[0].segments == (0, 1)
        assert pairs[0].weight == pytest.approx(one * other, rel=1e-4)
        assert all(abs(pair.weight) < 1e-5 for pair in pairs[1:])
        # Of squares of 16 pixels the pixel before the middle, or the one behind it, stands for the square.
        assert pairs[0].places[0] == pytest.approx((0.25, 0.25), abs=1 / 32)
        assert pairs[0].places[1] == pytest.approx((0.25, 0.75), abs=1 / 32)
    assert_close(maps.extras["r2_held_out"], torch.ones(5, 1))
    assert (maps.extras["r2_gain"] > 0.01).all()
    assert (maps.extras["r2_pairwise"] > maps.extras["r2_additive"]).all()


def test_kernel_shap_finds_the_pair_among_sampled_coalitions(classifier_of):
    photos = 1 + torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    method = KernelSHAP(n_samples=400, n_segments=16, segments="grid", interactions="adjacent")

    def score(inputs):
        one, other = inputs[:, 0, :8, :8].mean(dim=(1, 2)), inputs[:, 0, :8, 8:16].mean(dim=(1, 2))
        return torch.stack([one * other, one], dim=1)

    maps = method.attribute(classifier_of(score, count=2), photos, Targets.same(FIRST, 2), SEEDS[:2])
    for row in range(2):
        strongest, second, *_ = pairs_of(maps.extras["pairs"][row, 0].numpy())
        expected = float(photos[row, 0, :8, :8].mean() * photos[row, 0, :8, 8:16].mean())
        assert strongest.segments == (0, 1)
        assert strongest.weight == pytest.approx(expected, rel=1e-3)
        assert abs(second.weight) < 1e-2 * expected


@pytest.mark.parametrize(
    "method",
    [
        LIME(n_samples=200, n_segments=9, score="logit"),
        KernelSHAP(n_samples=200, n_segments=9),
    ],
    ids=lambda method: method.name,
)
@pytest.mark.parametrize("kind", ["adjacent", "top"])
def test_pairs_leave_the_map_and_the_number_of_passes_as_they_are(tiny_cnn, classifier_of, photo_batch, method, kind):
    counted = 0

    def count(module, inputs):
        nonlocal counted
        counted += len(inputs[0])

    classifier, targets, found = classifier_of(tiny_cnn), Targets.same(TargetRule(top=2), 5), []
    hook = tiny_cnn.register_forward_pre_hook(count)
    # The first call also tries out what runs the network.
    method.attribute(classifier, photo_batch, targets, SEEDS)
    for interactions in ("none", kind):
        counted = 0
        one = type(method)(**{**method.parameters_as_given(), "interactions": interactions, "top_m": 4})
        found.append((one.attribute(classifier, photo_batch, targets, SEEDS).values, counted, one.cost()))
    hook.remove()
    (plain, before, cost), (paired, after, same) = found
    assert torch.equal(plain, paired)
    assert (before, cost) == (after, same)


def test_a_photo_alone_has_the_pairs_that_it_has_in_a_batch(tiny_cnn, classifier_of, photo_batch):
    method, classifier = LIME(n_samples=150, n_segments=9, interactions="top", top_m=4), classifier_of(tiny_cnn)
    together = method.attribute(classifier, photo_batch, Targets.same(FIRST, 5), SEEDS).extras
    alone = method.attribute(classifier, photo_batch[2:3], Targets.same(FIRST, 1), SEEDS[2:3]).extras
    for name, extra in alone.items():
        assert_close(extra, together[name][2:3], equal_nan=True)


def test_a_photo_of_one_colour_has_no_pairs(tiny_cnn, classifier_of):
    photo = torch.full((1, 3, 32, 32), 0.4)
    method = LIME(n_samples=150, n_segments=4, interactions="adjacent", segments="grid", baseline="segment")
    maps = method.attribute(classifier_of(tiny_cnn), photo, Targets.same(FIRST, 1), SEEDS[:1])
    assert "r2_gain" in maps.extras
    assert maps.extras["r2_gain"].isnan().all()


def test_stamps_without_pairs_are_what_they_were():
    for cls in (LIME, KernelSHAP):
        assert not {"interactions", "top_m"} & set(cls().parameters_as_given())
        assert cls(interactions="top").label == f"{cls.name}@interactions=top"
        assert cls(interactions="top").parameters_as_given()["interactions"] == "top"
        assert not cls().pairwise


def test_too_few_copies_for_the_pairs_are_refused_by_number(tiny_cnn, classifier_of):
    classifier = classifier_of(tiny_cnn)
    with pytest.raises(UsageError, match=r"n_samples=295 or more"):
        LIME(n_samples=200, n_segments=16, interactions="adjacent").require(classifier)
    LIME(n_samples=295, n_segments=16, interactions="adjacent").require(classifier)
    LIME(n_samples=2, n_segments=16).require(classifier)
    LIME(interactions="adjacent").require(classifier)
    KernelSHAP(interactions="adjacent").require(classifier)
