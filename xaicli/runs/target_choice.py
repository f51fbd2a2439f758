"""The meaning of `--target` for each photo: one rule for all, or a rule for each photo from a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from xaicli.errors import InputError, UsageError, XaiError
from xaicli.images.source import Source
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.runs.region_target import canonical
from xaicli.runs.table_rows import rows_of
from xaicli.target_text import BOX_TARGETS, parse_target
from xaicli.targets import DECISION, LONGEST_INDEX, NO_CLASS, PREDICTED, TargetRule, out_of_range
from xaicli.untrusted import read_text
from xaicli.words import count

REGION_OF_DECISION = TargetRule(top=1, region=PREDICTED)
"""The default for a class map: the class that covers most (except the background), in the region where it was predicted."""

BEST_BOX = TargetRule(index=0, boxes=True)
"""The default for a detector: the most certain box."""


@dataclass(frozen=True)
class TargetChoice:
    """The rule of each photo. `text` is the canonical form that the definition stamp covers: `top1`, `281`, `386-340`, `file`."""

    text: str = "top1"
    rule: TargetRule = DECISION
    by_image: dict[str, TargetRule] = field(default_factory=dict)
    file: str = ""

    def rule_of(self, source: Source) -> TargetRule:
        """The rule of one photo, by its path; raises UsageError if the file does not list it."""
        if not self.file:
            return self.rule
        if source.path in self.by_image:
            return self.by_image[source.path]
        raise UsageError(f"{self.file} names no target for {source.path}", expected="a row IMAGE,TARGET for each photo")

    @property
    def count(self) -> int:
        return self.rule.count

    @cached_property
    def bound(self) -> bool:
        """Whether each photo's targets are fixed on its clean pass; photos are then explained one at a time."""
        return self.rule.bound or any(rule.bound for rule in self.by_image.values())

    @property
    def is_decision(self) -> bool:
        return not self.file and self.rule in (DECISION, REGION_OF_DECISION, BEST_BOX)


def choose_targets(text: str | int | TargetRule, classifier: Classifier, sources: Iterable[Source] = ()) -> TargetChoice:
    """Read `--target`: a rule, or `@FILE.csv` with columns image and target; each source must then have a row.

    An int is a class index; a rule of another photo is complete.
    """
    if isinstance(text, TargetRule):
        return TargetChoice(str(text), text)
    if isinstance(text, int):
        # A number in Python is always an index, even if a class has a number as its name.
        if not 0 <= text < classifier.count:
            raise out_of_range(text, classifier.count)
        rule = fitted(TargetRule(index=text), classifier)
        refuse_unfit(rule, classifier)
        return TargetChoice(canonical(rule), rule)
    if not text.startswith("@"):
        rule = rule_from(text, classifier)
        return TargetChoice(canonical(rule), rule)
    path = Path(text[1:])
    listed = read_targets(path, classifier)
    photos = {source: source.path for source in sources}
    rows = rows_of(listed, photos)
    if rows.shared:
        hint = "Name their folders in the file."
        raise UsageError(f"{path}: {rows.doubt}", expected="a row IMAGE,TARGET for each photo", hint=hint)
    choice = TargetChoice("file", DECISION, {source.path: listed[name] for source, name in rows.by_photo.items()}, text[1:])
    for source in photos:
        choice.rule_of(source)
    return choice


def rule_from(text: str, classifier: Classifier) -> TargetRule:
    """The rule of a text; raises UsageError if it has no meaning for the model."""
    # Of a region and of boxes no several best classes are explained, so any number of them is refused for that reason.
    whole_photo = classifier.pixels is None and classifier.decoding is None
    most = classifier.count if whole_photo else 10**LONGEST_INDEX
    expected = "" if classifier.decoding is None else BOX_TARGETS
    rule = fitted(parse_target(text, classifier.classes, classifier.count, most=most, expected=expected), classifier)
    refuse_unfit(rule, classifier)
    return rule


def fitted(rule: TargetRule, classifier: Classifier) -> TargetRule:
    """The rule, completed: for a class map, with the predicted region if none is named; for a detector, the decision means the
    most certain box."""
    if classifier.decoding is not None and rule == DECISION:
        return BEST_BOX
    return replace(rule, region=PREDICTED) if classifier.pixels is not None and not rule.region else rule


def refuse_unfit(rule: TargetRule, classifier: Classifier) -> None:
    """Raise UsageError if a rule has no meaning for the model's kind of outputs."""
    if rule.of_boxes is (classifier.decoding is None):
        raise wrong_kind(rule, classifier)
    if rule.region and classifier.pixels is None:
        raise UsageError(
            f"--target {rule} needs a class map, but {classifier.name} gives one number per class",
            hint="Leave @region= out, or choose a segmentation model.",
        )
    if rule.region and rule.top > 1:
        raise UsageError(f"--target {rule} names several classes", expected="top1 or one class, of which a region is")
    if rule.above is not None and not rule.boxes and classifier.outputs is not Outputs.SIGMOID:
        raise UsageError(
            f"--target {rule} needs labels with probabilities of their own, but the outputs of {classifier.name} are "
            f"{classifier.outputs.value}",
            hint="Name a class: --target CLASS@region=predicted."
            if classifier.pixels is not None
            else "Name an output: --target 0."
            if classifier.outputs is Outputs.VALUES
            else "Give --target top5, or --outputs sigmoid where each output is a label.",
        )
    if rule.top and classifier.outputs is Outputs.VALUES and classifier.count > 1:
        raise UsageError(
            f"{classifier.name} gives {count(classifier.count, 'value')}; none of them is a decision",
            expected="one of them by index or name",
            hint="Give --target 0.",
        )


def wrong_kind(rule: TargetRule, classifier: Classifier) -> UsageError:
    """The error if boxes are asked of a model without boxes, or something else of a detector."""
    if rule.of_boxes:
        return UsageError(
            f"--target {rule} needs a detector, but {classifier.name} gives no boxes", hint="Name a class, or choose a detector."
        )
    known = rule.index >= 0 and rule.against == NO_CLASS and not rule.region
    return UsageError(
        f"--target {rule} names no box, but {classifier.name} is a detector",
        expected=BOX_TARGETS,
        hint=f"Give --target {rule.index}@box=0." if known else "Give --target box:0.",
    )


def read_targets(path: Path, classifier: Classifier) -> dict[str, TargetRule]:
    """Rules by image from a CSV file with the columns image and target (or two columns without a header)."""
    try:
        text = read_text(path, "a CSV file with the columns image and target")
        rows = [row for row in csv.reader(io.StringIO(text)) if row and not row[0].startswith("#")]
    except (InputError, csv.Error) as error:
        raise UsageError(
            f"{path} cannot be read: {error.found if isinstance(error, InputError) else error}",
            expected="a CSV file with the columns image and target",
        ) from error
    image_column, target_column = 0, 1
    if rows and {"image", "target"} <= {cell.strip().lower() for cell in rows[0]}:
        header = [cell.strip().lower() for cell in rows.pop(0)]
        image_column, target_column = header.index("image"), header.index("target")
    rules: dict[str, TargetRule] = {}
    for row in rows:
        if len(row) <= max(image_column, target_column):
            raise UsageError(f"{path} has a row without a target: {','.join(row)}", expected="IMAGE,TARGET")
        image = row[image_column].strip()
        try:
            rule = rule_from(row[target_column], classifier)
        except XaiError as error:
            raise UsageError(f"{path}, {image}: {error.found}", expected=error.expected, hint=error.hint) from error
        if rule.count != 1:
            raise UsageError(f"{path} asks for {rule} of {image}", expected="one target per photo")
        if rules.get(image, rule) != rule:
            raise UsageError(f"{path} names two targets for {image}", expected="one row per photo")
        rules[image] = rule
    if not rules:
        raise UsageError(f"{path} names no targets", expected="a CSV file with the columns image and target")
    return rules
