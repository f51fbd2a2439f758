"""Feature ablation and sampled Shapley values, against closed forms and against captum run plainly."""

import itertools
import math

import captum.attr
import pytest
import torch
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.segments.segment_effects import FeatureAblation, ShapleySampling, growing, mean_gains
from xaicli.methods.segments.segmentation import grid
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.arange(30, 35)


def explain(method, classifier, photos, rule=DECISION):
    return method.attribute(classifier, photos, Targets.same(rule, len(photos)), SEEDS[: len(photos)])


def brightness(inputs):
    """Two logits: the sum of all pixels, and its square over a thousand."""
    total = inputs.sum(dim=(1, 2, 3))
    return torch.stack([total, total**2 / 1000], dim=1)


def segment_sums(photos):
    """Sums (B, 32, 32) of the photo over each of 4 x 4 segments, at their pixels."""
    sums = photos.sum(dim=1).unfold(1, 8, 8).unfold(2, 8, 8).sum(dim=(3, 4))
    return sums.repeat_interleave(8, 1).repeat_interleave(8, 2)


@pytest.mark.parametrize("method", [FeatureAblation(n_segments=16), ShapleySampling(n_segments=16, n_samples=1)])
def test_on_an_additive_score_each_segment_has_its_own_share(classifier_of, photo_batch, method):
    maps = explain(method, classifier_of(brightness, count=2), photo_batch, TargetRule(index=0))
    assert_close(maps.values[:, 0], segment_sums(photo_batch), atol=1e-3, rtol=1e-4)


def test_a_pair_of_orders_is_exact_on_a_quadratic_score(classifier_of, photo_batch):
    """Of (sum of shares)^2 the Shapley value is the share times the whole."""
    method = ShapleySampling(n_segments=16, n_samples=2)
    maps = explain(method, classifier_of(brightness, count=2), photo_batch, TargetRule(index=1))
    expected = segment_sums(photo_batch) * photo_batch.sum(dim=(1, 2, 3))[:, None, None] / 1000
    assert_close(maps.values[:, 0], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("paired", [True, False])
def test_gains_sum_to_the_difference_of_scores(classifier_of, tiny_cnn, photo_batch, paired):
    classifier = classifier_of(tiny_cnn)
    maps = explain(ShapleySampling(n_segments=16, n_samples=3, paired=paired), classifier, photo_batch, TargetRule(top=2))
    hidden = maps.targets.logit(classifier(torch.zeros_like(photo_batch)))
    assert_close(maps.values.sum(dim=(2, 3)) / 64, maps.targets.scores - hidden, atol=1e-4, rtol=1e-4)


def test_many_orders_come_near_the_exact_values(classifier_of, tiny_cnn, photo_batch):
    """Over four segments there are 24 orders, so that the exact values can be written out."""
    labels = grid(32, 32, 4)
    photo = photo_batch[:1]

    def score(shown):
        return float(tiny_cnn(photo * torch.isin(labels, torch.tensor(shown)))[0, 2])

    exact = torch.zeros(4)
    for order in itertools.permutations(range(4)):
        for place, segment in enumerate(order):
            exact[segment] += (score(order[: place + 1]) - score(order[:place])) / math.factorial(4)
    method = ShapleySampling(n_segments=4, n_samples=400)
    values = explain(method, classifier_of(tiny_cnn), photo, TargetRule(index=2)).values[0, 0]
    assert_close(values, exact[labels], atol=0.02 * float(exact.abs().max()), rtol=0)


def test_ablation_is_captums(classifier_of, tiny_cnn, photo_batch):
    maps = explain(FeatureAblation(n_segments=9, baseline="white"), classifier_of(tiny_cnn), photo_batch)
    expected = captum.attr.FeatureAblation(tiny_cnn).attribute(
        photo_batch, baselines=1.0, target=maps.targets.classes[:, 0], feature_mask=grid(32, 32, 9).expand(1, 3, -1, -1)
    )
    assert_close(maps.values[:, 0], expected[:, 0], atol=1e-5, rtol=1e-4)


def test_shapley_sampling_is_captums_with_the_same_orders(classifier_of, tiny_cnn, photo_batch):
    method = ShapleySampling(n_segments=9, n_samples=5, paired=False)
    maps = explain(method, classifier_of(tiny_cnn), photo_batch[:1])
    theirs = captum.attr.ShapleyValueSampling(tiny_cnn)
    theirs.permutation_generator = lambda features, samples: iter(method.orders(int(SEEDS[0]), 9).tolist())
    expected = theirs.attribute(
        photo_batch[:1], target=maps.targets.classes[:, 0], feature_mask=grid(32, 32, 9).repeat(1, 3, 1, 1), n_samples=5
    )
    assert_close(maps.values[:, 0], expected[:, 0], atol=1e-5, rtol=1e-4)


def test_orders_come_in_pairs_of_an_order_and_its_reverse():
    orders = ShapleySampling(n_samples=4).orders(7, 10)
    assert torch.equal(orders[1], orders[0].flip(0))
    assert torch.equal(orders[3], orders[2].flip(0))
    assert not torch.equal(orders[2], orders[0])
    assert torch.equal(orders.sort(dim=1).values, torch.arange(10).expand(4, 10))
    free = ShapleySampling(n_samples=4, paired=False).orders(7, 10)
    assert torch.equal(free[0], orders[0])
    assert not torch.equal(free[1], orders[1])


def test_coalitions_grow_by_one_segment_in_the_order():
    shown = growing(torch.tensor([[2, 0, 1]]))
    assert shown.int().tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 1]]
    gains = mean_gains(torch.tensor([[2, 0, 1]]), torch.tensor([[1.0], [3.0], [4.0]]), torch.tensor([9.0]))
    assert gains.flatten().tolist() == [1.0, 5.0, 2.0]


def test_superpixels_and_their_own_mean_colour_are_at_hand(classifier_of, tiny_cnn, photo_batch):
    method = FeatureAblation(segments="slic", baseline="segment", n_segments=12)
    values = explain(method, classifier_of(tiny_cnn), photo_batch).values
    assert all(2 <= len(photo.unique()) <= 20 for photo in values)


def test_more_segments_than_pixels_are_refused(classifier_of, photo_batch):
    with pytest.raises(UsageError, match="2000 segments in a photo of 32 x 32 pixels"):
        explain(FeatureAblation(n_segments=2000), classifier_of(brightness, count=2), photo_batch)
    with pytest.raises(UsageError, match="feature-ablation: n_segments"):
        FeatureAblation(n_segments=1)


def test_costs_count_the_segments_that_there_are(classifier_of):
    classifier = classifier_of(brightness, count=2)
    assert FeatureAblation(n_segments=8).cost(classifier).forward == 2 + 9
    assert ShapleySampling(n_segments=16, n_samples=3).cost(classifier).forward == 3 + 3 * 15
