"""ODAM: closed forms of the specification (self-checks 1 to 6), and what sets it apart from Grad-CAM."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from detectors import hand_made
from torch import Tensor, nn
from torch.testing import assert_close

import xaicli
from xaicli.errors import UsageError
from xaicli.methods.grad_cam import GradCAM, HiResCAM
from xaicli.methods.odam import ODAM
from xaicli.models.torchvision_detectors import of_points
from xaicli.network.box_similarity import FixedBoxes
from xaicli.network.classifier import Classifier
from xaicli.registry import make_method
from xaicli.suitability import require_fit
from xaicli.targets import TargetRule, Targets

FEATURES = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]], [[0.0, 1.0], [3.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]])
"""The two channels of the self-checks, as the first two colours of a photo."""


class OfTwoChannels(nn.Module):
    """One box whose score is Y = 2 A1[0,0] - A2[1,0] + A1[0,1] A2[0,1], scaled by 1/20 plus 0.5; its left side is -Y, its right
    side 9."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3)[:2, :, None, None])

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(inputs)
        one, two = features[:, 0], features[:, 1]
        y = 2 * one[:, 0, 0] - two[:, 1, 0] + one[:, 0, 1] * two[:, 0, 1]
        nothing = torch.zeros_like(y)
        boxes = torch.stack([-y, nothing, nothing + 9, nothing + 9], dim=1)[:, None]
        return boxes, (y / 20 + 0.5).clamp(0, 1)[:, None, None]


def detector() -> Classifier:
    """With the box fixed that the photo has: Y is 1, its score 0.55."""
    made = xaicli.detector(OfTwoChannels(), decode=lambda output: output, resize=2, layer="backbone")
    fixed = FixedBoxes(torch.tensor([[-1.0, 0.0, 9.0, 9.0]]), torch.tensor([0]), torch.ones(1, 1), 0.05)
    return made.for_boxes(fixed, ("thing",))


def explained(method: xaicli.Method, classifier: Classifier, inputs: Tensor = FEATURES) -> Tensor:
    targets = Targets((TargetRule(index=0, boxes=True),), classifier.outputs)
    return method.attribute(classifier, inputs, targets, torch.zeros(1, dtype=torch.int64)).values[0, 0]


def test_the_map_is_gradient_times_activation_summed_over_channels():
    signed = torch.tensor([[2.0, 4.0], [-3.0, 0.0]]) / 20
    assert_close(explained(ODAM(relu=False), detector()), signed)
    assert_close(explained(ODAM(), detector()), signed.relu())


def test_the_map_of_a_side_that_is_minus_the_score_keeps_what_speaks_against_the_score():
    assert_close(explained(ODAM(explain="left"), detector()), torch.tensor([[0.0, 0.0], [3.0, 0.0]]))


def test_grad_cam_lights_up_where_the_box_has_no_gradient():
    expected = torch.tensor([[0.75, 1.75], [0.75, 1.0]]) / 20
    assert_close(explained(GradCAM(), detector()), expected)


def test_of_the_score_without_smoothing_it_is_hirescam():
    assert torch.equal(explained(ODAM(relu=False), detector()), explained(HiResCAM(relu=False), detector()))


@pytest.mark.parametrize(
    ("smooth", "expected"),
    [
        ("none", [[0, 0, 0], [0, 45, 0], [0, 0, 0]]),
        ("box", [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        ("gaussian", [[0.5625, 2.25, 1.6875], [4.5, 11.25, 6.75], [3.9375, 9, 5.0625]]),
    ],
)
def test_the_gradient_is_spread_over_neighbours(smooth, expected):
    gradient, activation = torch.zeros(1, 1, 3, 3), torch.arange(1.0, 10).view(1, 1, 3, 3)
    gradient[0, 0, 1, 1] = 9
    assert_close((ODAM(smooth=smooth).spread(gradient) * activation)[0, 0], torch.tensor(expected, dtype=torch.float32))


class Pyramid(nn.Module):
    """Two levels, each with a head pass of its own: a box of the fine one, class 0, and one of the coarse one, class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 4, 1)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        scores = [level(inputs).mean(dim=(1, 2, 3)).sigmoid() for level in (self.fine, self.coarse)]
        boxes = inputs.new_tensor([[0, 0, 4, 4], [4, 4, 16, 16]]).expand(len(inputs), 2, 4)
        return boxes, torch.diag_embed(torch.stack(scores, dim=1))


def test_of_several_layers_a_box_takes_the_level_that_it_came_from():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = xaicli.detector(Pyramid(), decode=lambda output: output, resize=16)
    corners = torch.tensor([[0.0, 0.0, 4.0, 4.0], [4.0, 4.0, 16.0, 16.0]])
    classifier = made.for_boxes(FixedBoxes(corners, torch.tensor([0, 1]), torch.eye(2), 0.05), ("fine", "coarse"))
    inputs = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    seeds = torch.zeros(1, dtype=torch.int64)

    def maps(layer: str, *numbers: int) -> Tensor:
        classes = torch.tensor([numbers])
        resolved = Targets((TargetRule(index=0, boxes=True),), classifier.outputs).resolve(torch.zeros(1, 4))
        resolved = type(resolved)(classes, torch.full_like(classes, -1), torch.zeros(1, len(numbers)), classifier.outputs)
        return ODAM(layer=layer, relu=False).attribute(classifier, inputs, Targets.decided(resolved), seeds).values[0]

    both = maps("fine+coarse", 0, 1)
    assert_close(both[0], maps("fine", 0)[0])
    enlarged = nn.functional.interpolate(maps("coarse", 1)[None], (8, 8), mode="bilinear")[0, 0]
    assert_close(both[1], enlarged, atol=1e-6, rtol=1e-5)
    assert maps("fine+coarse", 1).shape == (1, 4, 4)
    assert not maps("fine", 1).any()


@pytest.mark.parametrize(
    ("class_score", "gradients", "tolerance"), [(0.9, (0.0424264, 0.0848528), 1e-6), (0.999999, (4.4721e-7, 0.0894427), 2e-8)]
)
def test_the_score_of_fcos_hardly_has_a_gradient_where_the_class_is_certain(class_score, gradients, tolerance):
    logits = [torch.tensor([[[score]]], dtype=torch.float64).logit().requires_grad_() for score in (class_score, 0.8)]
    detector = SimpleNamespace(
        head=lambda levels: dict(
            zip(("cls_logits", "bbox_ctrness", "bbox_regression"), (*logits, torch.zeros(1, 1, 4)), strict=True)
        ),
        anchor_generator=lambda images, levels: torch.zeros(1, 1, 4),
        box_coder=SimpleNamespace(decode=lambda deltas, points: points),
    )
    score = of_points(detector, None, {})["scores"]
    assert_close(score.item(), (class_score * 0.8) ** 0.5)
    found = torch.autograd.grad(score.sum(), logits)
    assert_close(torch.stack(found).flatten(), torch.tensor(gradients, dtype=torch.float64), atol=tolerance, rtol=1e-4)


def test_a_class_of_fcos_that_is_out_of_the_question_leaves_the_gradients_finite():
    logits = torch.tensor([[[0.5, -200.0]]], requires_grad=True)
    outputs = {"cls_logits": logits, "bbox_ctrness": torch.zeros(1, 1, 1), "bbox_regression": torch.zeros(1, 1, 4)}
    detector = SimpleNamespace(
        head=lambda levels: outputs,
        anchor_generator=lambda images, levels: torch.zeros(1, 1, 4),
        box_coder=SimpleNamespace(decode=lambda deltas, points: points),
    )
    (found,) = torch.autograd.grad(of_points(detector, None, {})["scores"][..., 0].sum(), logits)
    probability = torch.tensor(0.5).sigmoid()
    assert_close(found, torch.tensor([[[(probability / 2).sqrt() * (1 - probability) / 2, 0.0]]]))


def test_what_it_cannot_do_is_refused_in_words(tiny_cnn, classifier_of):
    with pytest.raises(UsageError, match="odam needs boxes"):
        require_fit(ODAM(), classifier_of(tiny_cnn))
    with pytest.raises(UsageError, match="no middle"):
        make_method("odam@size=4")
    with pytest.raises(UsageError, match="explains boxes, and none is named"):
        explained(ODAM(), hand_made(layer="backbone"), torch.zeros(1, 3, 8, 8))
