"""Targets that depend on the model's output for the clean photo: they are fixed before the photo is explained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.containment import contained
from xaicli.errors import InputError
from xaicli.images.marks import REGION
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.regions import FixedRegion, OpenRegion
from xaicli.outputs import Outputs
from xaicli.passes.queue import clean_logits
from xaicli.runs.box_target import on_boxes
from xaicli.runs.photos import LoadedPhoto
from xaicli.runs.region_target import decided_class, named, region_of
from xaicli.targets import DECISION, NO_CLASS, POSITIVE, PREDICTED, DecidedTargets, Resolved, TargetRule, Targets


@dataclass(frozen=True, eq=False)
class BoundTargets:
    """One photo's targets, and the classifier to which they belong."""

    classifier: Classifier
    targets: Targets

    @property
    def marks(self) -> dict[str, Tensor]:
        """What pictures show of the T targets, (1, T, ...) by name, as `xaicli.images.marks` reads it; kept beside each map."""
        region = self.classifier.region
        return {} if region is None else {REGION: region.cells[None, None]}


@dataclass(frozen=True, eq=False)
class InOpenRegion(Targets):
    """The target of a region that the first pass fixes. rule: its class, where it names one; region: open before that pass."""

    rule: TargetRule = DECISION
    region: OpenRegion | None = None

    def resolve(self, logits: Tensor) -> Resolved:
        assert self.region is not None
        return in_class(self.region.settled, self.rule).resolve(logits)

    @property
    def count(self) -> int:
        return 1

    def photo(self, row: int) -> Targets:
        return self


def bind(classifier: Classifier, loaded: LoadedPhoto, rule: TargetRule, *, clean_pass_first: bool = False) -> BoundTargets:
    """The targets of one photo.

    Most rules do not depend on the photo. `positive` takes one pass and means every label whose probability is above the rule's
    bound. A region of a class map takes one pass too and makes a classifier of that region, as boxes of a detector do;
    clean_pass_first: the region is left open for a first pass of the clean photo, which then fixes it, and no other is needed.
    Raises InputError if there is no such label or box, or if the region is empty.
    """
    if rule.of_boxes:
        geometry = classifier.view.geometry(*loaded.photo.size)
        return BoundTargets(*on_boxes(classifier, loaded.input[None].to(classifier.device), geometry, rule))
    if rule.region:
        return in_region(classifier, loaded, rule, clean_pass_first=clean_pass_first)
    if rule.above is None:
        return BoundTargets(classifier, Targets((rule,), classifier.outputs))
    inputs = loaded.input[None].to(classifier.device)
    probabilities = classifier.outputs.probabilities(clean_logits(classifier, inputs))[0]
    labels = (probabilities > rule.above).nonzero()[:, 0]
    if not len(labels):
        best = int(probabilities.argmax())
        highest = float(probabilities[best])
        # Nine tenths of it, rounded to two digits, are always below it.
        bound = f", or a lower bound: --target {POSITIVE}@above={0.9 * highest:.2g}" if highest > 0 else ""
        raise InputError(
            f"no label is above {rule.above:g}: the most probable, {classifier.class_name(best)}, has {highest:.2g}",
            hint=f"Give --target top1{bound}.",
        )
    classes = labels[None].to(torch.int64)
    return BoundTargets(classifier, DecidedTargets((), classifier.outputs, "", (), classes, torch.full_like(classes, NO_CLASS)))


def in_region(classifier: Classifier, loaded: LoadedPhoto, rule: TargetRule, *, clean_pass_first: bool) -> BoundTargets:
    """A region, fixed on the clean photo: it stays the same for altered copies."""

    def fix(clean: Tensor) -> FixedRegion:
        index = decided_class(clean, classifier) if rule.top else rule.index
        geometry = classifier.view.geometry(*loaded.photo.size)
        cells = region_of(rule.region, index, clean[index], geometry, classifier)
        return FixedRegion(cells, clean, None if rule.region == PREDICTED else cells, index)

    assert classifier.pixels is not None
    region = OpenRegion(fix)
    bound = classifier.for_region(region)
    if clean_pass_first:
        return BoundTargets(bound, InOpenRegion((), bound.outputs, rule=rule, region=region))
    with (
        contained(classifier.name),
        torch.no_grad(),
        torch.autocast(classifier.device.type, enabled=False),
        eval_mode(classifier.module),
    ):
        class_map = classifier.class_map(loaded.input[None].to(classifier.device))
    fixed = region.fixed_on(class_map, classifier.pixels)
    return BoundTargets(classifier.for_region(fixed), in_class(fixed, rule))


def in_class(region: FixedRegion, rule: TargetRule) -> Targets:
    """The class of a region that is fixed, or a contrast with it."""
    own = TargetRule(index=region.index, against=rule.against)
    return Targets((own,), Outputs.REGION, f"@region={named(rule.region)}")
