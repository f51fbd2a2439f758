"""The boxes that a target names, found on the clean photo and fixed there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xaicli.boxes import FoundBox, shown_box
from xaicli.errors import InputError, RunError
from xaicli.images.geometry import Geometry, clip
from xaicli.network.box_similarity import FixedBoxes
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.proposals import Decoding, Proposals
from xaicli.targets import NO_CLASS, DecidedTargets, TargetRule

KEPT = 5
"""Maximum boxes that a record lists, like the five best classes of a classifier."""
LISTED = 5


def on_boxes(classifier: Classifier, inputs: Tensor, geometry: Geometry, rule: TargetRule) -> tuple[Classifier, DecidedTargets]:
    """The detector as a classifier of the photo's boxes, and the boxes that the rule means.

    Boxes are numbered by their confidence on the clean photo (1, 3, H, W). Raises InputError if the rule means none, RunError if
    boxes are not finite.
    """
    decoding = classifier.decoding
    assert decoding is not None
    with torch.inference_mode(), torch.autocast(classifier.device.type, enabled=False), eval_mode(classifier.module):
        proposals = classifier.proposals(inputs)
        found = decoding.found(proposals)
    if not bool(proposals.confidence.isfinite().all() & proposals.boxes.isfinite().all()):
        raise RunError(
            f"{classifier.name} gave NaN or infinite boxes; nothing was written for this photo",
            hint="Check weights and preprocessing (xai doctor --model SPEC).",
        )
    boxes = described(proposals, found, geometry, classifier)
    wanted = numbers_of(rule, boxes, proposals.scores[0, found].argmax(dim=1).tolist(), classifier, decoding)
    kept = max(KEPT, max(wanted) + 1)
    # Not inference tensors, since gradients are computed with them.
    with torch.inference_mode(False):
        plain = Proposals(proposals.boxes.clone(), proposals.scores.clone())
        fixed = FixedBoxes.of(plain, found[:kept].clone(), decoding.floor)
    names = tuple(shown_box(number, boxes) for number in range(len(boxes[:kept])))
    bound = classifier.for_boxes(fixed, names)
    classes = torch.tensor([wanted], dtype=torch.int64, device=inputs.device)
    return bound, DecidedTargets((), bound.outputs, "", boxes[:kept], classes, torch.full_like(classes, NO_CLASS))


def described(proposals: Proposals, found: Tensor, geometry: Geometry, classifier: Classifier) -> tuple[FoundBox, ...]:
    """The boxes of those numbers in pixels of the photo."""
    rows = zip(
        proposals.boxes[0, found].tolist(),
        proposals.scores[0, found].argmax(dim=1).tolist(),
        proposals.confidence[0, found].tolist(),
        strict=True,
    )
    made = []
    for (left, top, right, bottom), label, score in rows:
        corners = clip((*geometry.to_source(left, top), *geometry.to_source(right, bottom)), geometry.source)
        made.append(FoundBox(corners, classifier.class_name(label), score))
    return tuple(made)


def numbers_of(
    rule: TargetRule, boxes: Sequence[FoundBox], labels: Sequence[int], classifier: Classifier, decoding: Decoding
) -> list[int]:
    """Which of a photo's boxes a rule means; raises InputError, which lists the boxes, if it means none."""
    if not boxes:
        raise InputError(
            f"{classifier.name} finds no box of confidence above {decoding.floor:g}", hint="Choose another photo or detector."
        )
    if rule.above is not None:
        if numbers := [number for number, box in enumerate(boxes) if box.score > rule.above]:
            return numbers
        raise InputError(f"no box is above {rule.above:g}", expected=listed(range(len(boxes)), boxes))
    if rule.boxes:
        if rule.index < len(boxes):
            return [rule.index]
        raise InputError(f"there is no {rule}: {len(boxes)} found", expected=listed(range(len(boxes)), boxes))
    own = [number for number, label in enumerate(labels) if label == rule.index]
    if rule.nth < len(own):
        return [own[rule.nth]]
    name = classifier.class_name(rule.index)
    found = f"there is no box {rule.nth} of {name}: {len(own)} found" if own else f"no box of {name} is found"
    raise InputError(found, expected=listed(own or range(len(boxes)), boxes))


def listed(numbers: Sequence[int], boxes: Sequence[FoundBox]) -> str:
    """Boxes in words: "box:0 dog 0.98, box:1 cat 0.41"."""
    shown = ", ".join(f"box:{number} {boxes[number]}" for number in numbers[:LISTED])
    return f"{shown}, …" if len(numbers) > LISTED else shown
