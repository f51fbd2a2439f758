"""LIME and kernel SHAP, against closed forms, exact Shapley values and captum run plainly."""

import itertools
import math

import captum.attr
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.segments.interactions import ridge_fit
from xaicli.methods.segments.segmentation import grid
from xaicli.methods.segments.surrogates import LIME, KernelSHAP, constrained_fit, shapley_kernel
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.arange(40, 45)
GRID = {"segments": "grid", "baseline": "zero", "score": "logit"}


def explain(method, classifier, photos, rule=DECISION):
    return method.attribute(classifier, photos, Targets.same(rule, len(photos)), SEEDS[: len(photos)])


def brightness(inputs):
    total = inputs.sum(dim=(1, 2, 3))
    return torch.stack([total, -total], dim=1)


def segment_sums(photos):
    sums = photos.sum(dim=1).unfold(1, 8, 8).unfold(2, 8, 8).sum(dim=(3, 4))
    return sums.repeat_interleave(8, 1).repeat_interleave(8, 2)


@pytest.mark.parametrize(
    "method",
    [
        LIME(n_samples=100, n_segments=16, ridge=0.0, **GRID),
        KernelSHAP(n_samples=60, n_segments=16, segments="grid"),
        KernelSHAP(n_samples=60, n_segments=16, segments="grid", paired=False),
    ],
    ids=lambda method: method.label,
)
def test_on_an_additive_score_each_segment_has_its_own_share(classifier_of, photo_batch, method):
    maps = explain(method, classifier_of(brightness, count=2), photo_batch, TargetRule(index=0))
    assert_close(maps.values[:, 0], segment_sums(photo_batch), atol=1e-3, rtol=1e-3)


def exact_values(score, count):
    """Shapley values by their definition over all coalitions."""
    values = torch.zeros(count)
    for segment in range(count):
        others = [other for other in range(count) if other != segment]
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for chosen in itertools.combinations(others, size):
                values[segment] += weight * (score([*chosen, segment]) - score(list(chosen)))
    return values


def test_kernel_shap_over_all_coalitions_is_exact(classifier_of, tiny_cnn, photo_batch):
    labels, photo = grid(32, 32, 6), photo_batch[:1]
    count = int(labels.max()) + 1
    exact = exact_values(lambda shown: float(tiny_cnn(photo * torch.isin(labels, torch.tensor(shown)))[0, 1]), count)
    method = KernelSHAP(n_samples=2**count, n_segments=6, segments="grid")
    maps = explain(method, classifier_of(tiny_cnn), photo, TargetRule(index=1))
    assert_close(maps.values[0, 0], exact[labels], atol=1e-5, rtol=1e-3)


def test_sampled_kernel_shap_comes_near_the_exact_values(classifier_of, tiny_cnn, photo_batch):
    labels, photo = grid(32, 32, 9), photo_batch[:1]
    exact = exact_values(lambda shown: float(tiny_cnn(photo * torch.isin(labels, torch.tensor(shown)))[0, 1]), 9)
    maps = explain(KernelSHAP(n_samples=400, n_segments=9, segments="grid"), classifier_of(tiny_cnn), photo, TargetRule(index=1))
    assert_close(maps.values[0, 0], exact[labels], atol=0.05 * float(exact.abs().max()), rtol=0)


@pytest.mark.parametrize("paired", [True, False])
def test_kernel_shap_sums_to_the_difference_of_scores(classifier_of, tiny_cnn, photo_batch, paired):
    classifier = classifier_of(tiny_cnn)
    method = KernelSHAP(n_samples=40, n_segments=16, segments="grid", paired=paired)
    maps = explain(method, classifier, photo_batch, TargetRule(top=2))
    hidden = maps.targets.logit(classifier(torch.zeros_like(photo_batch)))
    assert_close(maps.values.sum(dim=(2, 3)) / 64, maps.targets.scores - hidden, atol=1e-4, rtol=1e-4)


def test_coalitions_are_drawn_by_the_shapley_kernel_each_with_its_complement():
    method = KernelSHAP(n_samples=4000)
    rows, weights = method.coalitions(5, 20)
    assert torch.equal(rows[1::2], ~rows[0::2])
    assert weights.unique().tolist() == [1.0]
    sizes = rows[0::2].sum(dim=1)
    likely = torch.tensor([1 / (size * (20 - size)) for size in range(1, 20)])
    found = torch.bincount(sizes, minlength=20)[1:] / 2000
    assert_close(found, likely / likely.sum(), atol=0.025, rtol=0)
    assert_close(rows.float().mean(dim=0), torch.full((20,), 0.5), atol=1e-6, rtol=0)


def test_all_coalitions_are_weighted_by_the_shapley_kernel():
    rows, weights = KernelSHAP(n_samples=14).coalitions(0, 4)
    assert len(rows) == 14
    assert sorted(rows.sum(dim=1).tolist()) == [1] * 4 + [2] * 6 + [3] * 4
    assert_close(weights[rows.sum(dim=1) == 1] / weights[rows.sum(dim=1) == 2][0], torch.full((4,), 2.0).double())
    assert shapley_kernel(4, 1) == pytest.approx(1 / 12)


def test_lime_is_the_weighted_ridge_fit_of_its_copies(classifier_of, tiny_cnn, photo_batch):
    """Fitted again with an explicit intercept by solving the normal equations in numpy."""
    method = LIME(n_samples=50, n_segments=16, kernel_width=0.3, ridge=0.7, **GRID)
    maps = explain(method, classifier_of(tiny_cnn), photo_batch, TargetRule(index=4))
    shown = np.concatenate([np.ones((1, 16)), method.shown(int(SEEDS[3]), 16).numpy()])
    copies = photo_batch[3] * torch.from_numpy(shown).float()[:, grid(32, 32, 16)][:, None]
    scores = tiny_cnn(copies)[:, 4].double().numpy()
    distance = 1 - shown.sum(axis=1) / (np.sqrt(shown.sum(axis=1)) * np.sqrt(16))
    weights = np.exp(-(distance**2) / (2 * 0.3**2))
    design = np.hstack([shown, np.ones((51, 1))])
    penalty = 0.7 * np.diag([*np.ones(16), 0])
    solved = np.linalg.solve(design.T @ (weights[:, None] * design) + penalty, design.T @ (weights * scores))
    assert_close(maps.values[3, 0], torch.from_numpy(solved[:16]).float()[grid(32, 32, 16)], atol=1e-4, rtol=1e-3)


def test_lime_is_captums_with_the_same_copies_weights_and_fit(classifier_of, tiny_cnn, photo_batch):
    method = LIME(n_samples=40, n_segments=9, ridge=1.0, **GRID)
    maps = explain(method, classifier_of(tiny_cnn), photo_batch[:1], TargetRule(index=2))

    class Ridge:
        def fit(self, data):
            ((features, outcomes, weights),) = list(data)
            self.found = ridge_fit(features.double(), outcomes.double()[:, None], weights.double(), 1.0)

        def representation(self):
            return self.found.T.float()

    shown = torch.cat([torch.ones(1, 9, dtype=torch.bool), method.shown(int(SEEDS[0]), 9)])

    def drawn(inputs, **settings):
        yield from shown[:, None].long()

    def nearness(original, perturbed, coalition, **settings):
        cosine = coalition.float().sum().sqrt() / 3
        return torch.exp(-((1 - cosine) ** 2) / (2 * 0.25**2))

    theirs = captum.attr.Lime(tiny_cnn, Ridge(), nearness, drawn)
    mask = grid(32, 32, 9).expand(1, 3, -1, -1)
    expected = theirs.attribute(photo_batch[:1], target=2, feature_mask=mask, n_samples=41, perturbations_per_eval=7)
    assert_close(maps.values[0, 0], expected[0, 0], atol=1e-4, rtol=1e-3)


def test_lime_by_default_follows_superpixels_and_probabilities(classifier_of, tiny_cnn, photo_batch):
    values = explain(LIME(n_samples=60, n_segments=12), classifier_of(tiny_cnn), photo_batch).values
    assert all(2 <= len(photo.unique()) <= 20 for photo in values)
    assert values.abs().max() < 1


def test_fewer_copies_than_segments_give_the_smallest_weights(classifier_of, photo_batch):
    method = LIME(n_samples=5, n_segments=16, ridge=0.0, **GRID)
    maps = explain(method, classifier_of(brightness, count=2), photo_batch, TargetRule(index=0))
    assert maps.values.isfinite().all()


def test_a_fit_without_freedom_is_the_total():
    fitted = constrained_fit(
        torch.tensor([[True, False]]), torch.tensor([[3.0]]).double(), torch.ones(1).double(), torch.tensor([5.0]).double()
    )
    assert_close(fitted.flatten(), torch.tensor([3.0, 2.0]).double())


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (LIME, {"n_samples": 1}),
        (LIME, {"kernel_width": 0.0}),
        (LIME, {"ridge": -1.0}),
        (KernelSHAP, {"segments": "quickshift"}),
    ],
)
def test_parameters_out_of_bounds_are_refused(cls, settings):
    with pytest.raises(UsageError, match=cls.name):
        cls(**settings)


def test_a_photo_of_one_segment_has_no_coalitions_and_the_whole_effect_is_its_own():
    shown, weights = KernelSHAP().coalitions(0, 1)
    assert shown.shape == (0, 1)
    assert constrained_fit(shown, torch.zeros(0, 2), weights, torch.tensor([5.0, -1.0])).tolist() == [[5.0, -1.0]]
