"""Feature CAM against the numbers of its specification."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.eigen_cam import EigenCAM
from xaicli.methods.feature_cam.edges import edge_magnitude
from xaicli.methods.feature_cam.feature_cam import FeatureCAM, enhanced, enlarged
from xaicli.methods.grad_cam import GradCAM
from xaicli.passes.upsampling import unit_range
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])
HALVES = torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 3, 6, 6)
EDGE = torch.tensor([0.0, 0, 1, 1, 0, 0])


def test_the_edges_of_two_halves_lie_on_both_sides_of_the_middle():
    edges = edge_magnitude(HALVES, sigma=0, percentile=100)
    assert_close(edges, EDGE.expand(1, 6, 6))


def test_a_flat_photo_has_no_edges_and_an_empty_map(tiny_cnn, classifier_of):
    assert not edge_magnitude(torch.full((2, 3, 8, 8), 0.4), sigma=1, percentile=99).any()
    maps = FeatureCAM().attribute(classifier_of(tiny_cnn), torch.full((1, 3, 32, 32), 0.4), Targets.same(DECISION, 1), SEEDS[:1])
    assert not maps.values.any()


def test_a_coarse_map_is_enlarged_and_multiplied_with_the_edges():
    coarse = enlarged(torch.tensor([[[[0.0, 1.0], [0.0, 0.5]]]]), HALVES)
    assert_close(coarse[0, 0, 0], torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 1]))
    assert_close(coarse[0, 0, 3], torch.tensor([0, 0, 2 / 9, 4 / 9, 2 / 3, 2 / 3]))
    assert_close(coarse[0, 0, 5], torch.tensor([0, 0, 1 / 6, 1 / 3, 1 / 2, 1 / 2]))
    product = coarse * edge_magnitude(HALVES, sigma=0, percentile=100)[:, None]
    assert_close(product[0, 0, 0], torch.tensor([0, 0, 1 / 3, 2 / 3, 0, 0]))
    assert_close(product[0, 0, 5], torch.tensor([0, 0, 1 / 6, 1 / 3, 0, 0]))
    assert_close(unit_range(product[:, 0])[0, 0], torch.tensor([0, 0, 0.5, 1, 0, 0]))


@pytest.mark.parametrize(("how", "row"), [("add", [0, 0, 0.5, 1, 1, 1]), ("gain", [0, 0, 0, 1, 0.5, 0.5])])
def test_edges_are_brightened_or_all_else_is_darkened(how, row):
    assert_close(enhanced(HALVES, EDGE.expand(1, 6, 6), how, 0.5)[0, 0, 0], torch.tensor(row))


def test_soft_goes_from_the_plain_product_to_the_base_alone(tiny_cnn, classifier_of, photo_batch):
    def maps(**parameters):
        return FeatureCAM(**parameters).attribute(classifier, photo_batch, targets, SEEDS)

    classifier, targets = classifier_of(tiny_cnn), Targets.same(TargetRule(top=2), 5)
    parts = maps(parts=True)
    assert_close(maps(mode="soft", floor=1.0).values, parts.extras["coarse"])
    assert_close(maps(mode="soft", floor=0.0).values, parts.values)
    assert_close(parts.values, parts.extras["coarse"] * parts.extras["edges"])
    base = GradCAM().attribute(classifier, photo_batch, targets, SEEDS)
    assert_close(parts.extras["coarse"], enlarged(base.values, photo_batch))


def test_three_variants_are_weighted_by_the_probability_of_the_target(tiny_cnn, classifier_of, photo_batch):
    classifier, targets = classifier_of(tiny_cnn), Targets.same(TargetRule(index=3), 5)
    maps = FeatureCAM(mode="multi", parts=True).attribute(classifier, photo_batch, targets, SEEDS)
    edges = edge_magnitude(photo_batch.clamp(0, 1), 1.0, 99.0)
    variants = [photo_batch, enhanced(photo_batch.clamp(0, 1), edges, "add", 0.5), edges[:, None].expand(-1, 3, -1, -1)]
    found, weights = [], []
    for variant in variants:
        single = GradCAM().attribute(classifier, variant, targets, SEEDS)
        found.append(enlarged(single.values, photo_batch))
        weights.append(tiny_cnn(variant).softmax(dim=1)[:, 3])
    total = sum(weight[:, None, None, None] * one for weight, one in zip(weights, found, strict=True))
    assert_close(maps.values, total / sum(weights)[:, None, None, None] * edges[:, None])
    assert_close(maps.extras["weights"][:, 0], torch.stack(weights, dim=1))


def test_the_detail_does_not_depend_on_the_network(tiny_cnn, tiny_vit, classifier_of, photo_batch):
    edges = [
        FeatureCAM(parts=True).attribute(classifier_of(network), photo_batch, Targets.same(DECISION, 5), SEEDS).extras["edges"]
        for network in (tiny_cnn, tiny_vit)
    ]
    assert torch.equal(*edges)


def test_it_takes_the_nature_of_its_base_and_does_not_wrap_itself():
    assert not FeatureCAM(base=EigenCAM()).class_specific
    assert FeatureCAM(base=GradCAM(relu=False)).label == "feature-cam"
    assert FeatureCAM(mode="multi").cost().backward == 3
    with pytest.raises(UsageError, match="cannot wrap itself"):
        FeatureCAM(base=FeatureCAM())
