"""A classifier that can be called where there is no photo whose target could be fixed: to measure it, to examine it."""

from __future__ import annotations

import torch
from torch import Tensor

from xaicli.network.box_similarity import FixedBoxes
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.proposals import Proposals
from xaicli.network.regions import FixedRegion


def with_any_target(classifier: Classifier, inputs: Tensor) -> Classifier:
    """The classifier itself; of a detector with its most certain proposal for the first input as the box, of a class map with all
    of it as the region."""
    with torch.no_grad(), eval_mode(classifier.module):
        if classifier.decoding is not None and classifier.boxes is None:
            proposals = classifier.proposals(inputs[:1])
            plain = Proposals(proposals.boxes, proposals.scores)
            best = proposals.confidence[0].argmax()[None]
            return classifier.for_boxes(FixedBoxes.of(plain, best, classifier.decoding.floor), ("box",))
        if classifier.pixels is not None and classifier.region is None:
            cells = classifier.class_map(inputs[:1])[0, 0]
            return classifier.for_region(FixedRegion(torch.ones_like(cells, dtype=torch.bool)))
    return classifier
