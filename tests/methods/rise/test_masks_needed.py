"""How many masks RISE draws where the error of the map decides, and whether that error is what replicate maps show."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import xaicli
from xaicli.methods.rise.rise import RISE
from xaicli.registry import make_method
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


@pytest.mark.parametrize(
    ("spec", "cost"),
    [
        ("rise", "4000 passes"),
        ("rise@n_masks=auto", "at most 4000 passes"),
        ("rise@n_masks=2000@tol=0.2", "at most 2000 passes"),
        ("d-rise@n_masks=100@tol=0.2", "at most 100 passes"),
        ("ucag@slices=2@base=boundary@space=input", "at most 93+844 passes"),
        ("feature-cam@base=grad-cam", "1+1 passes"),
        ("boundary@space=input", "at most 23+211 passes"),
    ],
)
def test_a_cost_that_a_photo_may_fall_short_of_says_at_most(spec, cost):
    assert str(make_method(spec).cost()) == cost


def test_the_table_of_scores_says_at_most_of_such_a_method(tiny_cnn, classifier_of):
    photo = torch.rand(32, 32, 3).numpy()
    table = xaicli.score(photo, classifier_of(tiny_cnn), "rise@n_masks=64@tol=0.2", metric="deletion@steps=2", controls=False)
    assert "at most 64" in str(table)


def test_the_stated_error_is_that_of_replicate_maps(tiny_cnn, classifier_of, photo_batch):
    """Noise over signal of 16 maps by other seeds, against what each says of itself."""
    for estimator in ("center", "regress"):
        photos = photo_batch[:1].expand(16, -1, -1, -1)
        maps = explain(RISE(n_masks=512, grid=3, estimator=estimator), classifier_of(tiny_cnn), photos, seeds=torch.arange(16))
        noise = maps.values[:, 0].var(dim=0).mean()
        signal = maps.values[:, 0].mean(dim=0).var(unbiased=False) - noise / 16
        assert float((noise / signal).sqrt()) == pytest.approx(float(maps.extras["error"].median()), rel=0.35)
