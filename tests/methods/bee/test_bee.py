"""BEE: the map is the best of its pulls under the metric that it names, and under no other."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scored_maps import Desk
from torch import nn
from torch.testing import assert_close

from xaicli import make_method, make_metric
from xaicli.errors import InputError, UsageError
from xaicli.judge import judge_of
from xaicli.methods.bee.bee import BEE
from xaicli.outputs import Outputs
from xaicli.passes.upsampling import upsample
from xaicli.sign import Sign
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.tensor([11, 12, 13, 14, 15])
SMALL = {"n_pulls": 6, "at_once": 4, "parts": True, "n_steps": 4}


@pytest.fixture
def explain(tiny_cnn, classifier_of, photo_batch):
    """Maps of some photos under some parameters."""

    def maps(rows=slice(0, 2), rule=DECISION, **parameters):
        method = BEE(**{**SMALL, **parameters})
        return method.attribute(classifier_of(tiny_cnn), photo_batch[rows], Targets.same(rule, len(SEEDS[rows])), SEEDS[rows])

    return maps


@pytest.mark.parametrize(("metric", "best"), [("insertion", torch.amax), ("deletion", torch.amin), ("sparseness", torch.amax)])
def test_the_map_is_the_best_of_all_pulls(explain, metric, best):
    maps = explain(metric=metric)
    scores = maps.extras["scores"]
    assert scores.shape == (2, 1, 6, 1)
    assert_close(maps.extras["score"], best(scores, dim=(2, 3)), atol=2e-6, rtol=0)
    pull = int(maps.extras["pull"][0, 0])
    assert torch.equal(maps.values[0], maps.extras["maps"][0, :, pull, 0])


def test_its_score_is_the_metrics_own(explain, tiny_cnn, classifier_of, photo_batch):
    maps = explain(metric="sparseness")
    scored = Desk(classifier_of(tiny_cnn)).values(make_metric("sparseness"), photo_batch[:2], maps.values[:, 0])
    assert_close(maps.extras["score"][:, 0], torch.tensor(scored), atol=1e-6, rtol=0)


@pytest.mark.parametrize("at_once", [1, 3])
def test_one_more_pull_never_makes_it_worse(explain, at_once):
    found = [float(explain(slice(0, 1), n_pulls=pulls, at_once=at_once).extras["score"]) for pulls in (1, 2, 5, 6)]
    assert found == sorted(found)


def test_metrics_whose_copies_are_shared_see_each_map_for_itself(explain):
    together = explain(metric="average-drop", at_once=6, update=False)
    alone = explain(metric="average-drop", at_once=1, update=False)
    assert_close(together.extras["scores"], alone.extras["scores"], atol=1e-3, rtol=0)
    assert together.extras["scores"][0].unique().numel() > 1


def test_several_layers_are_candidates_of_one_size(tiny_cnn, classifier_of, photo_batch):
    method = BEE(n_pulls=2, layer=("features.3", "features.0"), parts=True)
    classifier = classifier_of(tiny_cnn)
    maps = method.attribute(classifier, photo_batch[:1], Targets.same(DECISION, 1), SEEDS[:1])
    assert maps.extras["scores"].shape == (1, 1, 2, 2)
    assert maps.values.shape == (1, 1, 16, 16)
    alone = replace(method, layer="features.3").attribute(classifier, photo_batch[:1], Targets.same(DECISION, 1), SEEDS[:1])
    arms = (maps.extras["arms"] == alone.extras["arms"]).all()
    assert arms
    assert_close(upsample(alone.extras["maps"][0, 0, :, 0], (16, 16)), maps.extras["maps"][0, 0, :, 0])


def test_each_target_has_pulls_of_its_own(explain):
    both = explain(rule=TargetRule(top=2))
    second = TargetRule(index=int(both.targets.classes[1, 1]))
    assert_close(explain(rule=second).values[1, 0], both.values[1, 1])


def test_the_complete_integral_has_both_signs_and_the_rectified_product_one(explain):
    assert bool((explain().values < 0).any())
    assert not bool((explain(integrand="relu_product").values < 0).any())
    assert BEE().sign is BEE(integrand="product").sign is Sign.SIGNED
    assert BEE(integrand="relu_product").sign is Sign.NONNEGATIVE


def test_maps_of_a_network_that_sees_nothing_are_constant_and_have_no_score(classifier_of, tiny_cnn):
    with torch.no_grad():
        tiny_cnn.features[6].weight.zero_()
        tiny_cnn.features[6].bias.zero_()
    method = BEE(n_pulls=3, layer="features.6", arms=("blur", "constant"))
    found = method.attribute(
        classifier_of(tiny_cnn, layer="features.3"), torch.rand(1, 3, 32, 32), Targets.same(DECISION, 1), SEEDS[:1]
    )
    assert not found.values.any()
    assert math.isnan(float(found.extras["score"]))


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("pointing-game", "it needs ground truth"),
        ("stability", "it compares several maps"),
        ("seed-variance", "it compares several maps"),
    ],
)
def test_a_metric_that_cannot_judge_a_single_map_is_refused_with_those_that_can(metric, reason):
    with pytest.raises(UsageError, match=f"bee cannot be fitted to {metric}: {reason}.*Metrics that work: deletion, insertion"):
        make_method(f"bee@metric={metric}")


def test_a_metric_that_does_not_suit_the_network_is_refused_before_any_work(tiny_cnn, classifier_of):
    values = classifier_of(tiny_cnn, outputs=Outputs.VALUES)
    with pytest.raises(UsageError, match=r"it needs probabilities.*work: deletion, insertion, aopc"):
        BEE(metric="average-drop").require(values)
    BEE().require(values)
    with pytest.raises(UsageError, match="it needs a class map"):
        BEE(metric=r"insertion@output=iou").require(classifier_of(tiny_cnn))


def test_no_arm_is_pulled_that_has_nothing_to_draw_from(explain):
    with pytest.raises(UsageError, match="train needs features of other photos"):
        explain(arms=("blur", "train"))
    with pytest.raises(UsageError, match="names one of them twice"):
        BEE(arms=("blur", "blur"))
    with pytest.raises(InputError, match="no-such-file"):
        explain(checkpoint="no-such-file.safetensors")


def test_one_metric_has_one_label_and_its_definition_is_part_of_the_stamp():
    assert BEE(metric="ad") == BEE(metric="average-drop")
    assert make_method(r"bee@metric=deletion\@steps=14").label == r"bee@metric=deletion\@steps=14"
    given = BEE(metric="deletion@steps=14").parameters_as_given()["metric"]
    assert (given["name"], given["version"], given["parameters"]["steps"]) == ("deletion", 1, 14)


def test_the_cost_counts_the_path_and_the_metric(tiny_cnn, classifier_of):
    classifier = classifier_of(tiny_cnn)
    behind = classifier.feature_layer().behind
    cost = BEE(n_pulls=10).cost(classifier)
    passes = judge_of("insertion").passes((32, 32))
    assert cost.forward == pytest.approx(1 + 10 * (8 * behind + passes))
    assert cost.backward == pytest.approx(10 * 8 * behind)


def test_a_network_that_works_in_place_behind_the_layer_is_explained(classifier_of):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    maps = BEE(n_pulls=2, layer="0").attribute(
        classifier_of(network.eval()), torch.rand(1, 3, 8, 8), Targets.same(DECISION, 1), SEEDS[:1]
    )
    assert maps.values.shape == (1, 1, 6, 6)
