"""Targets that depend on what the model says of the clean photo, fixed before the photo is explained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.errors import InputError
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import clean_logits
from xaicli.targets import NO_CLASS, DecidedTargets, TargetRule, Targets


@dataclass(frozen=True, eq=False)
class Bound:
    """One photo's targets, and the classifier that they are targets of."""

    classifier: Classifier
    targets: Targets


def bind(classifier: Classifier, photo: Tensor, rule: TargetRule) -> Bound:
    """The targets of one photo (3, H, W), on the classifier's device.

    Most rules need no look at the photo. `positive` takes one pass: every label whose probability is above the rule's bound.
    Raises InputError where there is none.
    """
    if rule.above is None:
        return Bound(classifier, Targets((rule,), classifier.outputs))
    probabilities = classifier.outputs.probabilities(clean_logits(classifier, photo[None]))[0]
    labels = (probabilities > rule.above).nonzero()[:, 0]
    if not len(labels):
        best = int(probabilities.argmax())
        raise InputError(
            f"no label is above {rule.above:g}",
            expected=f"the most probable, {classifier.class_name(best)}, has {float(probabilities[best]):.2f}",
            hint="Give --target top1, or a lower bound: --target positive@above=0.3.",
        )
    classes = labels[None].to(torch.int64)
    return Bound(classifier, DecidedTargets((), classifier.outputs, classes, torch.full_like(classes, NO_CLASS)))
