"""Regions of class maps: closed forms of the specification (XEdgeAI, self-checks 1 to 4)."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import xaicli
from xaicli.network.regions import FixedRegion, predicted, two_classes
from xaicli.outputs import Outputs
from xaicli.registry import make_method
from xaicli.targets import NO_CLASS, Resolved, TargetRule, Targets

FEATURES = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]], [[0.0, 2.0 - 1.0], [3.0, 1.0]]]])
REGION = torch.tensor([[True, True], [False, False]])


class Segmenter(nn.Module):
    """Features that are the first two colours of the photo; a 1 x 1 head (1, -1) for class 1, zeros for class 0."""

    def __init__(self, head=None):
        super().__init__()
        self.backbone = nn.Conv2d(3, 2, 1, bias=False)
        self.head = head or nn.Conv2d(2, 2, 1, bias=False)
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3)[:2, :, None, None])
            if head is None:
                self.head.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, -1.0]])[:, :, None, None])

    def forward(self, inputs):
        return {"out": self.head(self.backbone(inputs)), "aux": inputs}


def segmenter(head=None):
    view = {"resize": None, "crop": 2, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return xaicli.classifier(Segmenter(head), classes=["background", "thing"], **view)


@pytest.fixture
def inputs():
    return torch.cat([FEATURES, torch.zeros(1, 1, 2, 2)], dim=1)


def explained(method, inputs, region=REGION, head=None):
    classifier = segmenter(head).for_region(FixedRegion(region))
    targets = Targets((TargetRule(index=1),), classifier.outputs, "@region=predicted")
    maps = make_method(f"{method}@layer=backbone").attribute(classifier, inputs, targets, torch.tensor([0]))
    return maps.values[0, 0] * region.sum(), maps


def test_a_network_that_gives_a_class_map_is_one_of_regions():
    made = segmenter()
    assert (made.pixels, made.outputs, made.count) == (Outputs.SOFTMAX, Outputs.REGION, 2)
    assert made.default_layer.name == "backbone"


def test_grad_cam_of_a_region_is_the_published_one(inputs):
    """A1 = [[1, 2], [0, 1]], A2 = [[0, 1], [3, 1]]: s = 2, weights (0.5, -0.5), map [[0.5, 0.5], [0, 0]]."""
    found, maps = explained("grad-cam", inputs)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5], [0.0, 0.0]]))
    assert float(maps.targets.scores) == pytest.approx(2 / 2)
    assert maps.targets.names(0) == ["1@region=predicted"]


def test_hirescam_before_the_head_is_the_logit_cut_to_the_region(inputs):
    found, _ = explained("hirescam", inputs)
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


def test_xgrad_cam_of_a_region(inputs):
    """Weights (0.75, -0.2), map [[0.75, 1.3], [0, 0.55]]."""
    found, _ = explained("xgrad-cam", inputs)
    torch.testing.assert_close(found, torch.tensor([[0.75, 1.3], [0.0, 0.55]]), rtol=1e-4, atol=1e-4)


def test_a_map_may_leave_the_region(inputs):
    """A 3 x 3 mean head, weights +-1/9, the region the pixel (0, 0): gradient times activation reaches its neighbours."""
    head = nn.Conv2d(2, 2, 3, padding=1, bias=False)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[1] = torch.tensor([1.0, -1.0])[:, None, None] / 9
    region = torch.tensor([[True, False], [False, False]])
    found, _ = explained("hirescam@relu=false", inputs, region, head)
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0], [-3.0, 0.0]]) / 9)


def test_scores_and_probabilities_of_a_region_are_means():
    maps = torch.randn(3, 4, 5, 6)
    region = torch.rand(5, 6) > 0.5
    both = FixedRegion(region).read(maps, Outputs.SOFTMAX)
    torch.testing.assert_close(Outputs.REGION.scores(both), maps[:, :, region].mean(dim=2))
    torch.testing.assert_close(Outputs.REGION.probabilities(both), maps.softmax(dim=1)[:, :, region].mean(dim=2))
    odds = Outputs.REGION.log_odds(both, 2)
    torch.testing.assert_close(odds.sigmoid(), Outputs.REGION.probabilities(both)[:, 2])


def class_map_of(*labels):
    """Class maps (B, 2, h, w) whose class 1 is predicted where a label is 1."""
    ones = torch.tensor(labels, dtype=torch.float32)
    return torch.stack([1 - ones, ones], dim=1)


def test_overlaps_and_dice_are_those_of_the_specification():
    """Dice of [[1, 1], [0, 0]] and [[1, 0], [1, 0]] is 0.5: one cell of both, two and two; their intersection over union 1/3."""
    clean = predicted(class_map_of([[1, 1], [0, 0]]), Outputs.SOFTMAX)[0]
    region = FixedRegion(clean[1], clean)
    copies = class_map_of([[1, 0], [1, 0]], [[1, 1], [0, 0]], [[0, 0], [0, 0]])
    outputs = region.read(copies, Outputs.SOFTMAX)
    torch.testing.assert_close(Outputs.REGION.overlaps(outputs)[:, 1], torch.tensor([1 / 3, 1.0, 0.0]))
    classes = torch.ones(3, 1, dtype=torch.int64)
    target = Resolved(classes, torch.full_like(classes, NO_CLASS), torch.zeros(3, 1), Outputs.REGION)
    torch.testing.assert_close(target.dice(outputs)[:, 0], torch.tensor([0.5, 1.0, 0.0]))


def test_overlaps_are_measured_within_a_region_that_is_named():
    """Within the first column one cell of class 1 is left and one is new, 1/2; of class 0 nothing is left."""
    clean = predicted(class_map_of([[1, 1], [0, 0]]), Outputs.SOFTMAX)[0]
    column = torch.tensor([[True, False], [True, False]])
    outputs = FixedRegion(column, clean, column).read(class_map_of([[1, 0], [1, 0]]), Outputs.SOFTMAX)
    torch.testing.assert_close(Outputs.REGION.overlaps(outputs), torch.tensor([[0.0, 0.5]]))


def test_a_class_that_is_nowhere_overlaps_with_nothing():
    clean = predicted(class_map_of([[0, 0], [0, 0]]), Outputs.SOFTMAX)[0]
    outputs = FixedRegion(REGION, clean).read(class_map_of([[0, 0], [0, 0]]), Outputs.SOFTMAX)
    assert Outputs.REGION.overlaps(outputs).tolist() == [[1.0, 0.0]]


def test_labels_of_a_pixel_are_predicted_each_for_itself():
    class_map = torch.tensor([[[[2.0, -1.0]], [[1.0, -3.0]]]])
    assert predicted(class_map, Outputs.SIGMOID).tolist() == [[[[True, False]], [[True, False]]]]
    assert predicted(class_map, Outputs.SOFTMAX).tolist() == [[[[True, True]], [[False, False]]]]


def test_a_single_class_map_is_that_class_and_the_rest():
    x = torch.randn(2, 1, 3, 3)
    torch.testing.assert_close(two_classes(x).softmax(dim=1)[:, 1:], x.sigmoid())


def test_a_class_map_without_a_region_is_refused(inputs):
    with pytest.raises(xaicli.XaiError, match="gives a class map: name a region of it"):
        segmenter()(inputs)


def test_what_is_looked_up_of_the_layers_is_known_to_all_copies_of_one_network():
    """Whichever of them looks first; a copy with another network, or of other inputs, looks for itself."""
    made = segmenter()
    bound = made.for_region(FixedRegion(REGION))
    layer = dataclasses.replace(bound, expected_passes=7).default_layer
    assert made.default_layer is bound.default_layer is layer
    other = Segmenter()
    assert dataclasses.replace(made, module=other, forward=other).default_layer.module is other.backbone
    wider = dataclasses.replace(made, view=dataclasses.replace(made.view, resize=(4, 4), crop=(4, 4)))
    assert wider.default_layer.layout.grid == (4, 4)
