"""BEE's path integrals against the worked example of its specification."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.methods.bee.path_integral import path_maps, places_of
from xaicli.network.suffix import suffix
from xaicli.targets import TargetRule, Targets

FEATURES = torch.tensor([[[1.0, 2], [3, 4]], [[0, 1], [0, 1]]])


class Squared(nn.Module):
    """Features are the photo's first two channels; s = (2 mean(h_0) - mean(h_1))^2."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[:2, :, None, None])

    def forward(self, inputs):
        means = self.features(inputs).mean(dim=(2, 3))
        score = (2 * means[:, 0] - means[:, 1]) ** 2
        return torch.stack([score, torch.zeros_like(score)], dim=1)


@pytest.fixture
def maps_from(classifier_of):
    """Maps of the example from some baselines."""
    classifier = classifier_of(Squared().eval(), size=(2, 2), count=2)
    photo = torch.cat([FEATURES, torch.zeros(1, 2, 2)])[None]

    def maps(baselines, integrand="ig", steps=4, limit=None):
        with suffix(classifier, classifier.feature_layer("features"), photo) as rest:
            chosen = Targets.same(TargetRule(index=0), 1).resolve(rest.logits)
            return path_maps(rest, chosen, torch.as_tensor(baselines), integrand, steps, limit)

    return maps


def test_from_zero_the_map_sums_to_the_score(maps_from):
    found = maps_from(torch.zeros(1, 2, 2, 2))
    assert_close(found, torch.tensor([[[2.25, 3.375], [6.75, 7.875]]]))
    assert float(found.sum()) == pytest.approx(20.25)


def test_from_a_constant_the_map_sums_to_what_the_baseline_lacks(maps_from):
    found = maps_from(torch.tensor([1.0, 0.5])[None, :, None, None].expand(1, 2, 2, 2))
    assert_close(found, torch.tensor([[[0.75, 2.25], [6.75, 8.25]]]))
    assert float(found.sum()) == pytest.approx(20.25 - 2.25)


@pytest.mark.parametrize(
    ("integrand", "expected"),
    [
        ("relu_product", [[8.4375, 16.875], [25.3125, 33.75]]),
        ("product", [[8.4375, 12.65625], [25.3125, 29.53125]]),
    ],
)
def test_the_products_of_the_authors_code_are_summed_over_both_ends(maps_from, integrand, expected):
    assert_close(maps_from(torch.zeros(1, 2, 2, 2), integrand), torch.tensor([expected]))


def test_points_are_middles_or_both_ends():
    assert places_of("ig", 4) == [0.125, 0.375, 0.625, 0.875]
    assert places_of("product", 4) == [0, 0.25, 0.5, 0.75, 1]


def test_many_baselines_at_once_give_what_each_gives_alone(maps_from):
    baselines = torch.rand(5, 2, 2, 2)
    together = maps_from(baselines, limit=3)
    assert_close(together, torch.cat([maps_from(baseline[None]) for baseline in baselines]))


def test_the_network_is_only_run_behind_the_layer(maps_from, classifier_of, tiny_cnn):
    classifier = classifier_of(tiny_cnn)
    passed = []
    tiny_cnn.features[0].register_forward_hook(lambda module, args, output: passed.append(len(output)))
    layer = classifier.feature_layer()
    passed.clear()
    with suffix(classifier, layer, torch.rand(1, 3, 32, 32)) as rest:
        seen = sum(passed)
        chosen = Targets.same(TargetRule(index=0), 1).resolve(rest.logits)
        path_maps(rest, chosen, torch.rand(3, *layer.to_grid(rest.activation).shape[1:]), "ig", 8)
    assert seen == sum(passed) == 1
