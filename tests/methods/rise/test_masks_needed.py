"""How many masks RISE draws where the error of the map decides, and whether that error is what replicate maps show."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from xaicli.methods.rise.rise import RISE
from xaicli.targets import DECISION, Targets

SEEDS = torch.tensor([11, 22, 33, 44, 55])


def explain(rise, classifier, photos, seeds=SEEDS):
    return rise.attribute(classifier, photos, Targets.same(DECISION, len(photos)), seeds[: len(photos)])


def test_auto_draws_as_many_masks_as_an_error_of_0_3_needs_and_4000_at_most(tiny_cnn, classifier_of, photo_batch):
    auto = explain(RISE(n_masks="auto", grid=4), classifier_of(tiny_cnn), photo_batch)
    stated = explain(RISE(n_masks=4000, tol=0.3, grid=4), classifier_of(tiny_cnn), photo_batch)
    assert_close(auto.values, stated.values, rtol=0, atol=0)
    assert auto.extras["masks_used"].tolist() == stated.extras["masks_used"].tolist()
    assert all((auto.extras["error"][:, 0] < 0.3) | (auto.extras["masks_used"] == 4000))
    finer = explain(RISE(n_masks="auto", tol=0.05, grid=4), classifier_of(tiny_cnn), photo_batch)
    assert (finer.extras["masks_used"] >= auto.extras["masks_used"]).all()


def test_the_stated_error_is_that_of_replicate_maps(tiny_cnn, classifier_of, photo_batch):
    """Noise over signal of 16 maps by other seeds, against what each says of itself."""
    for estimator in ("center", "regress"):
        photos = photo_batch[:1].expand(16, -1, -1, -1)
        maps = explain(RISE(n_masks=512, grid=3, estimator=estimator), classifier_of(tiny_cnn), photos, seeds=torch.arange(16))
        noise = maps.values[:, 0].var(dim=0).mean()
        signal = maps.values[:, 0].mean(dim=0).var(unbiased=False) - noise / 16
        assert float((noise / signal).sqrt()) == pytest.approx(float(maps.extras["error"].median()), rel=0.35)
