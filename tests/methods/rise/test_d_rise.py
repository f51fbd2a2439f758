"""D-RISE on a detector of hand-made boxes, whose similarities are known."""

from __future__ import annotations

import pytest
import torch
from detectors import GREEN, RED, decoded, hand_made, with_objectness
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.rise.d_rise import DRISE
from xaicli.methods.rise.masks import MaskPainter
from xaicli.network.box_similarity import FixedBoxes
from xaicli.network.classifier import Classifier
from xaicli.suitability import require_fit
from xaicli.targets import TargetRule, Targets

FIXED = FixedBoxes(torch.tensor([RED, GREEN]), torch.tensor([0, 1]), torch.eye(2), floor=0.05)
SEED = 5


def of_boxes(decode=with_objectness) -> Classifier:
    return hand_made(decode=decode).for_boxes(FIXED, ("red", "green"))


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def explained(method: DRISE, classifier: Classifier, photo: torch.Tensor) -> torch.Tensor:
    targets = Targets((TargetRule(index=1, boxes=True),), classifier.outputs)
    return method.attribute(classifier, photo, targets, torch.tensor([SEED])).values[0, 0]


def drawn(method: DRISE) -> torch.Tensor:
    """The masks (N, H, W) that the method draws."""
    law = method.rise.law((8, 8))
    masks = law.draw(SEED, 0)
    painter = MaskPainter.on(torch.device("cpu"), law.grid)
    return painter.masks(masks.bits.float(), masks.shifts)[: method.n_masks]


def test_masks_are_weighted_by_the_objectness_of_the_proposal_that_is_the_box(photo):
    """IoU and cosine are 1 there and the objectness is the mean green inside the box: the weights of all masks are known."""
    method = DRISE(n_masks=64, grid=4, estimator="naive")
    masks = drawn(method)
    weights = (masks * photo[0, 1])[:, 2:, 4:].mean(dim=(1, 2))
    assert_close(
        explained(method, of_boxes(), photo), torch.einsum("n,nhw->hw", weights, masks) / (64 * 0.5), atol=1e-5, rtol=1e-5
    )


def test_without_objectness_a_mask_counts_one_where_the_box_is_found(photo):
    """Scores have one class each, so that a proposal is the box, or is below the floor."""
    method = DRISE(n_masks=64, grid=2, estimator="naive")
    masks = drawn(method)
    weights = ((masks * photo[0, 1])[:, 2:, 4:].mean(dim=(1, 2)) >= FIXED.floor).float()
    assert 0 < weights.mean() < 1
    assert_close(explained(method, of_boxes(decoded), photo), torch.einsum("n,nhw->hw", weights, masks) / (64 * 0.5))


def test_the_map_is_high_inside_the_box(photo):
    found = explained(DRISE(n_masks=2000, grid=4), of_boxes(), torch.ones_like(photo))
    assert found[3:7, 5:7].min() > found[:, :3].max()


def test_a_classifier_is_refused_with_the_methods_for_it(tiny_cnn, classifier_of):
    with pytest.raises(UsageError, match="d-rise needs boxes") as caught:
        require_fit(DRISE(), classifier_of(tiny_cnn))
    assert "rise" in caught.value.hint
