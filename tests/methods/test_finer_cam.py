"""Finer-CAM on a network of two channels, three places and a linear head: every number is worked out by hand."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import xaicli
from xaicli.errors import UsageError
from xaicli.methods.finer_cam import FinerCAM
from xaicli.methods.grad_cam import GradCAM, LayerCAM
from xaicli.methods.rise.rise import RISE
from xaicli.network.embedding import class_weights
from xaicli.targets import DECISION, TargetRule, Targets

FEATURES = torch.tensor([[3.0, 0, 3], [0, 3, 3]])
HEAD = torch.tensor([[2.0, 1], [2, 0], [1, -1], [-3, 0]])


class TwoChannels(nn.Module):
    """Features are the photo's first two colours; logits are a linear map of their means: 6, 4, 0 and -6."""

    def __init__(self, head: torch.Tensor) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, len(head), bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[:2, :, None, None])
            self.head.weight.copy_(head)

    def forward(self, inputs):
        return self.head(self.features(inputs).mean(dim=(2, 3)))


def maps_of(method, rule=DECISION, head=HEAD):
    # Two equal rows: a layer's grid has two at least.
    photo = torch.zeros(1, 3, 2, 3)
    photo[0, :2] = FEATURES[:, None]
    network = TwoChannels(head)
    classifier = xaicli.classifier(network, resize=None, crop=(2, 3), layer="features")
    maps = method.attribute(classifier, photo, Targets.same(rule, 1), torch.zeros(1, dtype=torch.int64))
    # The mean over places of a gradient is 1 / 6 of the head's weight, where the toy of three places has 1 / 3.
    return maps, maps.values[0, 0, 0] * 2


def test_references_are_the_classes_with_the_nearest_logits():
    maps, values = maps_of(FinerCAM(k=2, gamma=0))
    assert_close(maps.logits, torch.tensor([[6.0, 4, 0, -6]]))
    assert maps.extras["references"].tolist() == [[[1, 2]]]
    assert_close(values * 3, torch.tensor([2.0, 1, 3]) * 3)


@pytest.mark.parametrize(
    ("gamma", "weights", "wanted"),
    [
        (0.6, "uniform", [1.1, 1.3, 2.4]),
        (1.0, "uniform", [0.5, 1.5, 2]),
        (0.6, "softmax", [0.768401, 0.968401, 1.736802]),
        (0.6, "softmax-detached", [0.810792, 1.010792, 1.821583]),
        (1.0, "softmax", [-0.052665, 0.947335, 0.894671]),
        (1.0, "softmax-detached", [0.017986, 1.017986, 1.035972]),
    ],
)
def test_the_map_explains_the_class_less_its_references(gamma, weights, wanted):
    method = FinerCAM(base=GradCAM(relu=False), k=2, gamma=gamma, weights=weights)
    _, values = maps_of(method)
    assert_close(values, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


def test_scores_and_weights_of_references_are_the_paper_s():
    maps, _ = maps_of(FinerCAM(k=2, weights="softmax"))
    assert_close(maps.extras["reference_weights"], torch.tensor([[[0.982014, 0.017986]]]), rtol=1e-5, atol=1e-6)
    logits = torch.tensor([[6.0, 4, 0, -6]], requires_grad=True)
    chosen = Targets.same(TargetRule(index=0), 1).resolve(logits)
    for method, wanted in ((FinerCAM(k=2), 4.8), (FinerCAM(k=2, gamma=1), 4.0), (FinerCAM(k=2, weights="softmax"), 3.643167)):
        assert_close(method.score(chosen, logits).item(), wanted, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(FinerCAM(k=2, weights="softmax").score(chosen, logits).sum(), logits)
    assert_close(gradient, torch.tensor([[1, -0.631599, 0.031599, 0]]), rtol=1e-4, atol=1e-5)


def test_a_constant_in_all_logits_changes_the_score_and_not_its_gradient():
    values = []
    for shift in (0.0, 10.0):
        logits = (torch.tensor([[4.0, 3, 1]]) + shift).requires_grad_()
        score = FinerCAM(k=2).score(Targets.same(TargetRule(index=0), 1).resolve(logits), logits)
        values.append((score.item(), torch.autograd.grad(score.sum(), logits)[0]))
    assert [round(value, 4) for value, _ in values] == [2.8, 6.8]
    assert_close(values[0][1], values[1][1])


def test_a_confident_model_keeps_its_score():
    logits = torch.tensor([[40.0, 10, 9]])
    chosen = Targets.same(TargetRule(index=0), 1).resolve(logits)
    pi = torch.tensor([10.0, 9]).softmax(dim=0)
    assert_close(FinerCAM(weights="softmax", gamma=1).score(chosen, logits).item(), (40 - pi @ torch.tensor([10.0, 9])).item())


def test_a_base_that_is_not_linear_in_the_gradient_is_given_the_difference():
    _, values = maps_of(FinerCAM(base=LayerCAM(), k=2, gamma=1))
    assert_close(values, torch.tensor([0.5, 1.5, 2]))


@pytest.mark.parametrize(("gamma", "wanted"), [(1.0, [0.5, 1.5, 2]), (1.5, [0.25, 1.75, 1.5])])
def test_maps_of_single_references_are_clipped_each_for_itself_and_averaged(gamma, wanted):
    """Pair maps at gamma 1 are (0, 1, 1) and (1, 2, 3); at 1.5 they are (-1, 1, 0) and (0.5, 2.5, 3) before they are clipped,
    where the map of the mean score is (-0.25, 1.75, 1.5)."""
    maps, values = maps_of(FinerCAM(k=2, gamma=gamma, aggregate="maps"))
    assert_close(values, torch.tensor(wanted), rtol=1e-4, atol=1e-5)
    assert maps.values.shape == (1, 1, 2, 3)
    assert maps.extras["largest_gradient"].shape == (1, 1)
    assert maps.extras["references"].tolist() == [[[1, 2]]]


def test_signed_maps_of_single_references_are_the_map_of_the_score():
    """Without a clip the mean of the maps is the map of the mean, of several targets too."""
    top, base = TargetRule(top=2), GradCAM(relu=False)
    one, many = (maps_of(FinerCAM(base=base, aggregate=way), top)[0] for way in ("score", "maps"))
    assert_close(many.values, one.values)
    assert (FinerCAM(k=2, aggregate="maps").cost().backward, FinerCAM(k=2).cost().backward) == (2, 1)


def test_at_gamma_0_the_map_is_the_base_s_own():
    for base in (GradCAM(), LayerCAM()):
        assert_close(maps_of(FinerCAM(base=base, gamma=0))[1], maps_of(base)[1])


def test_a_target_against_another_takes_it_as_the_one_reference():
    maps, values = maps_of(FinerCAM(base=GradCAM(relu=False), gamma=1), TargetRule(index=0, against=2))
    assert maps.extras["references"].tolist() == [[[2, 2, 2]]]
    assert_close(values, torch.tensor([1.0, 2, 3]))


def test_ties_never_make_the_target_its_own_reference():
    logits = torch.tensor([[1.0, 1, 1, 0]])
    chosen = Targets.same(TargetRule(index=2), 1).resolve(logits)
    assert FinerCAM(k=3).compared(chosen, logits)[0].tolist() == [[[0, 1, 3]]]
    assert FinerCAM(k=9, references="top").compared(chosen, logits)[0].tolist() == [[[0, 1, 3]]]


def test_references_may_be_the_classes_with_the_most_similar_weights():
    # Logits 6, 4, 0 and -6; cosines of the fourth class's weights to the others: -0.894, -1 and -0.707.
    rule = TargetRule(index=3)
    assert maps_of(FinerCAM(k=2), rule)[0].extras["references"].tolist() == [[[2, 1]]]
    assert maps_of(FinerCAM(k=2, references="weight"), rule)[0].extras["references"].tolist() == [[[2, 0]]]


def test_references_may_be_listed_and_leave_the_target_out():
    listed = FinerCAM.from_text({"references": "0+2", "gamma": "1"})
    maps, values = maps_of(listed, TargetRule(index=1))
    assert maps.extras["references"].tolist() == [[[0, 2]]]
    # Weights (2, 0) less the mean of (2, 1) and (1, -1), half of them.
    assert_close(values, (torch.tensor([[0.5, 0]]) @ FEATURES)[0] / 3)
    alone, _ = maps_of(listed, TargetRule(index=0))
    assert alone.extras["reference_weights"].tolist() == [[[0, 1]]]
    with pytest.raises(UsageError, match="a class is its own only reference"):
        maps_of(FinerCAM(references=(0,)), TargetRule(index=0))


def test_references_that_are_no_classes_are_refused(tiny_cnn, classifier_of):
    with pytest.raises(UsageError, match=r"finer-cam: references=1\+5; expected indices of classes from 0 to 4"):
        FinerCAM(references=(1, 5)).require(classifier_of(tiny_cnn))


def test_without_a_linear_head_classes_have_no_weights(classifier_of):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UsageError, match="have no weights to compare: its outputs do not come from a linear layer"):
        class_weights(classifier_of(network))


def test_a_base_that_is_no_cam_by_gradients_is_refused():
    with pytest.raises(UsageError, match=r"finer-cam cannot wrap rise; expected grad-cam"):
        FinerCAM(base=RISE())
