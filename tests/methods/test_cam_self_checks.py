"""The class activation maps against numbers worked out by hand: two channels or three tokens, and simple scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from xaicli.method import Maps, Method
from xaicli.methods.ablation_cam import AblationCAM
from xaicli.methods.eigen_cam import EigenCAM
from xaicli.methods.grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from xaicli.methods.score_cam import ScoreCAM
from xaicli.methods.ucag.slices import evenly_spread
from xaicli.methods.ucag.ucag import UCAG, ExplainedSlices
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.tokens import Axes, Layout
from xaicli.passes.upsampling import upsample
from xaicli.targets import TargetRule, Targets

A = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]]])
FIRST = TargetRule(index=0)


class Scored(nn.Module):
    """A layer that passes its input on, and a score of what it gives as the first of two logits."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.score = nn.Identity(), score

    def forward(self, inputs: Tensor) -> Tensor:
        score = self.score(self.layer(inputs))
        return torch.stack([score, torch.zeros_like(score)], dim=1)


def maps_of(method: Method, network: nn.Module, inputs: Tensor, classifier_of: Callable[..., Classifier], layout: Layout) -> Maps:
    """The method's maps of a network whose layer is called `layer`, put in its place without a dry run."""
    classifier = classifier_of(network.eval(), size=(2, 2), count=2, layer="layer")
    channels = inputs.shape[layout.channel_axis]
    classifier.layers_known.named["layer"] = FeatureLayer("layer", network.layer, "output", layout, channels)
    seeds = torch.zeros(len(inputs), dtype=torch.int64)
    return method.attribute(classifier, inputs, Targets.same(FIRST, len(inputs)), seeds)


@pytest.fixture
def map_of(classifier_of: Callable[..., Classifier]) -> Callable[[Method, Callable[[Tensor], Tensor], Tensor], Tensor]:
    def one(method: Method, score: Callable[[Tensor], Tensor], activation: Tensor = A) -> Tensor:
        layout = Layout(Axes.CHANNELS_FIRST, (2, 2))
        return maps_of(method, Scored(score), activation[None], classifier_of, layout).values[0, 0]

    return one


MapOf = Callable[..., Tensor]


def contrast_of_means(activation: Tensor) -> Tensor:
    """2 mean(A1) - mean(A2) = 4.5."""
    return 2 * activation[:, 0].mean(dim=(1, 2)) - activation[:, 1].mean(dim=(1, 2))


def weighted(activation: Tensor) -> Tensor:
    """The sum of V * A = -1, with gradients V."""
    gradient = torch.tensor([[[1.0, 0.0], [0.0, -1.0]], [[0.0, 2.0], [0.0, 0.0]]])
    return (gradient * activation).sum(dim=(1, 2, 3))


@pytest.mark.parametrize("method", [GradCAM(relu=False), HiResCAM(relu=False), XGradCAM(relu=False)])
def test_check_1_under_a_mean_and_a_linear_head_three_methods_are_one(method: Method, map_of: MapOf) -> None:
    found = map_of(method, contrast_of_means)
    assert_close(found, torch.tensor([[0.5, 0.75], [1.25, 2.0]]))
    assert found.sum().item() == pytest.approx(4.5)


def test_check_1_layer_cam(map_of: MapOf) -> None:
    assert_close(map_of(LayerCAM(relu=False), contrast_of_means), torch.tensor([[0.5, 1.0], [1.5, 2.0]]))


def test_check_1_grad_cam_plus_plus(map_of: MapOf) -> None:
    expected = torch.tensor([[0.285714, 0.571429], [0.857143, 1.142857]])
    assert_close(map_of(GradCAMPlusPlus(relu=False), contrast_of_means), expected, atol=1e-6, rtol=0)


def test_the_authors_grad_cam_plus_plus_divides_a_channels_factors_by_their_sum(map_of: MapOf) -> None:
    """Four equal factors become a quarter each: the weight of the first channel is its gradient, 0.5."""
    expected = torch.tensor([[0.5, 1.0], [1.5, 2.0]])
    assert_close(map_of(GradCAMPlusPlus(relu=False, normalised=True), contrast_of_means), expected, atol=1e-6, rtol=0)


def test_check_2_ablation_cam_divides_the_fall_by_the_score(map_of: MapOf) -> None:
    expected = torch.tensor([[1.1111, 2.1111], [3.2222, 4.4444]])
    assert_close(map_of(AblationCAM(relu=False), contrast_of_means), expected, atol=1e-4, rtol=0)
    assert_close(map_of(AblationCAM(relu=False, form="absolute"), contrast_of_means), 4.5 * expected, atol=5e-4, rtol=0)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (GradCAM(relu=False), [[0.0, 0.5], [0.5, 0.0]]),
        (HiResCAM(relu=False), [[1.0, 2.0], [0.0, -4.0]]),
        (LayerCAM(relu=False), [[1.0, 2.0], [0.0, 0.0]]),
        (XGradCAM(relu=False), [[-0.3, 0.4], [0.1, -1.2]]),
    ],
)
def test_check_3_gradients_that_differ_from_cell_to_cell(method: Method, expected: list[list[float]], map_of: MapOf) -> None:
    assert_close(map_of(method, weighted), torch.tensor(expected))


def test_check_4_grad_cam_plus_plus_divides_by_its_denominator(map_of: MapOf) -> None:
    expected = torch.tensor([[0.083333, 0.5], [0.583333, 0.333333]])
    assert_close(map_of(GradCAMPlusPlus(relu=False), weighted), expected, atol=1e-6, rtol=0)


class GivenChannels(nn.Module):
    """A layer whose activations do not depend on the photo; the score is `slope` times one pixel of the photo, and a constant."""

    def __init__(self, constant: float = 0.0) -> None:
        super().__init__()
        self.layer, self.constant = nn.Identity(), constant

    def forward(self, inputs: Tensor) -> Tensor:
        activation = self.layer(A.expand(len(inputs), -1, -1, -1))
        score = math.log(3) * inputs[:, 0, 1, 1] + self.constant
        return torch.stack([score, activation.sum(dim=(1, 2, 3))], dim=1)


@pytest.mark.parametrize("constant", [0.0, 5.0, -70.0])
def test_check_5_score_cam_weighs_channels_by_a_softmax(constant: float, classifier_of: Callable[..., Classifier]) -> None:
    layout = Layout(Axes.CHANNELS_FIRST, (2, 2))
    found = maps_of(ScoreCAM(relu=False), GivenChannels(constant), torch.ones(1, 3, 2, 2), classifier_of, layout)
    assert_close(found.values[0, 0], torch.tensor([[0.75, 1.75], [2.5, 3.0]]), atol=1e-5, rtol=0)


def test_check_6_eigen_cam_projects_on_the_first_direction(map_of: MapOf) -> None:
    doubled = torch.stack([A[0], 2 * A[0]])
    found = map_of(EigenCAM(), contrast_of_means, doubled)
    assert_close(found, torch.tensor([[2.236068, 4.472136], [6.708204, 8.944272]]), atol=1e-5, rtol=0)
    centred = map_of(EigenCAM(centred=True, relu=False), contrast_of_means, doubled)
    assert_close(centred, torch.tensor([[-3.354102, -1.118034], [1.118034, 3.354102]]), atol=1e-5, rtol=0)


def test_check_7_negative_cells_are_dropped_before_a_map_is_upsampled(map_of: MapOf) -> None:
    checked = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    small = map_of(HiResCAM(), lambda activation: activation.sum(dim=(1, 2, 3)), checked)
    assert small.tolist() == [[1, 0], [0, 1]]
    large = upsample(small[None], (4, 4))[0]
    assert large[0].tolist() == [1, 0.75, 0.25, 0]
    assert large.sum().item() == 8


def test_check_7_negative_cells_may_be_dropped_after_a_map_is_upsampled_instead(map_of: MapOf) -> None:
    """From the signed map (`relu=false`), as it is left to the user, and as UCAG folds maps, which drops after enlarging."""
    checked = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    signed = map_of(HiResCAM(relu=False), lambda activation: activation.sum(dim=(1, 2, 3)), checked)
    whole = evenly_spread((4, 4), (4, 4), (1, 1))
    explained = ExplainedSlices(signed[None, None], torch.ones(1, 1), torch.ones(1, 1))
    for large in (upsample(signed[None], (4, 4))[0].relu(), UCAG(blur=None).conquer(explained, whole)[0]):
        assert large[0].tolist() == [1, 0.5, 0, 0]
        assert large.sum().item() == 4.5


def test_check_7_corners_of_a_map_are_not_aligned_with_those_of_the_photo(map_of: MapOf) -> None:
    checked = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    small = map_of(HiResCAM(), lambda activation: activation.sum(dim=(1, 2, 3)), checked)[None]
    aligned = functional.interpolate(small[None], (4, 4), mode="bilinear", align_corners=True)[0]
    assert_close(aligned[0, 0], torch.tensor([1, 2 / 3, 1 / 3, 0]))
    halves = functional.interpolate(small[None], (4, 4), mode="bilinear", align_corners=False)[0]
    assert torch.equal(upsample(small, (4, 4)), halves)
    assert (halves - aligned).abs().max() > 0.08


def test_check_9_prefix_tokens_are_left_out_of_activations_and_of_gradients(classifier_of: Callable[..., Classifier]) -> None:
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    gradient = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    layout = Layout(Axes.TOKENS, (1, 2), prefix=1)
    network = Scored(lambda activation: (gradient * activation).sum(dim=(1, 2)))
    found = maps_of(GradCAM(relu=False), network, tokens, classifier_of, layout)
    assert found.values[0, 0].tolist() == [[5, 8]]


def test_a_channel_that_cancels_out_has_no_weight_in_xgrad_cam(map_of: MapOf) -> None:
    activation = torch.stack([torch.tensor([[1.0, -1.0], [2.0, -2.0]]), A[1]])
    found = map_of(XGradCAM(relu=False), weighted, activation)
    # The second channel alone: its share is (2 * 1) / 2 = 1.
    assert_close(found, A[1])


def test_a_constant_channel_has_no_weight_in_score_cam(map_of: MapOf) -> None:
    activation = torch.stack([torch.full((2, 2), 7.0), A[1]])
    assert_close(map_of(ScoreCAM(), contrast_of_means, activation), A[1], atol=1e-6, rtol=0)


def test_a_photo_without_any_live_channel_gets_a_map_of_zeros(map_of: MapOf) -> None:
    dead = torch.zeros(2, 2, 2)
    score_cams = ScoreCAM(), ScoreCAM(score_form="authors")
    for method in (*score_cams, AblationCAM(), EigenCAM(), GradCAM(), GradCAMPlusPlus(), XGradCAM()):
        assert map_of(method, contrast_of_means, dead).tolist() == [[0, 0], [0, 0]]


def test_the_fall_of_a_negative_score_keeps_its_direction(map_of: MapOf) -> None:
    positive = map_of(AblationCAM(relu=False), contrast_of_means)
    shifted = map_of(AblationCAM(relu=False), lambda activation: contrast_of_means(activation) - 9.0)
    assert_close(shifted, positive)
