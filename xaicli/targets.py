"""What is explained: the model's decision, a class, a contrast, the top k.

A rule is read from text once, against the model's class names; it is resolved against logits in one place, `Targets.resolve`, so
that the decision is made in the method's own first forward pass, and no extra pass is needed to find a photo's class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from xaicli.boxes import FoundBox
from xaicli.errors import UsageError
from xaicli.outputs import Outputs
from xaicli.words import count

NO_CLASS = -1
LONGEST_INDEX = 9
REGIONS = "predicted, component, a mask FILE.png, a box x0:y0:x1:y1 or a point x:y in pixels of the photo"
PREDICTED, COMPONENT = NAMED_REGIONS = ("predicted", "component")
REGION = "@region="
PHOTO = "@photo="
COMPARED = ("similar:", "differs:")
"""Of the two values of a network that compares photos, in their order; the name of the other photo follows."""
BOX = "box:"
BOXES = "boxes"
BOX_OF_CLASS = "@box="
POSITIVE = "positive"
EVEN = 0.5
"""The probability at which a label is as likely to be right as wrong."""


@dataclass(frozen=True)
class TargetRule:
    """One rule: the `top` k classes, or the class `index`, or `index` against `against` (why one and not the other), or every
    label whose probability is `above` a bound. region: for a class map, the part of the photo whose outputs are explained; photo:
    for a network that compares photos, the other one, by its name and content.

    For a detector: boxes: the box of that `index` among a photo's boxes, the most certain first, or every box whose confidence is
    `above` a bound; nth: the box of that number among those of the class `index`.
    """

    top: int = 0
    index: int = NO_CLASS
    against: int = NO_CLASS
    above: float | None = None
    region: str = ""
    boxes: bool = False
    nth: int = NO_CLASS
    photo: str = ""

    def __post_init__(self) -> None:
        if self.above is not None:
            if (self.top, self.index, self.against) != (0, NO_CLASS, NO_CLASS) or not 0 <= self.above < 1:
                raise UsageError(f"{self!r} names no target", expected="labels above a probability from 0 to below 1")
            return
        one_kind = self.top > 0 if self.index == NO_CLASS else self.top == 0 and self.index >= 0
        contrast = self.against == NO_CLASS or (self.index >= 0 and self.against >= 0 and self.against != self.index)
        if not (one_kind and contrast):
            raise UsageError(f"{self!r} names no target", expected="top, or index, or index against another class")

    def __str__(self) -> str:
        if self.above is not None:
            all_of_them = BOXES if self.boxes else POSITIVE
            return all_of_them if self.above == EVEN else f"{all_of_them}@above={self.above:g}"
        if self.boxes or self.nth != NO_CLASS:
            return f"{BOX}{self.index}" if self.boxes else f"{self.index}{BOX_OF_CLASS}{self.nth}"
        if self.photo:
            return f"{COMPARED[self.index]}{self.photo}"
        if self.top:
            return f"top{self.top}{self.place}"
        return f"{self.index}{self.place}" if self.against == NO_CLASS else f"{self.index}-{self.against}{self.place}"

    @property
    def place(self) -> str:
        """`@region=…`; empty without a region."""
        return f"{REGION}{self.region}" if self.region else ""

    @classmethod
    def of_name(cls, name: str) -> TargetRule:
        """The rule of a resolved target, `281`, `386-340`, `12@region=predicted`, `similar:a.png~3f29c1` or `box:0`; the inverse
        of `str`."""
        for value, word in enumerate(COMPARED):
            if name.startswith(word):
                return cls(index=value, photo=name.removeprefix(word))
        if name.startswith(BOX):
            return cls(index=int(name.removeprefix(BOX)), boxes=True)
        classes, _, region = name.partition(REGION)
        index, _, against = classes.partition("-")
        return cls(index=int(index), against=int(against) if against else NO_CLASS, region=region)

    @property
    def count(self) -> int:
        """How many targets the rule gives per photo; 0 if that depends on the photo."""
        return 0 if self.above is not None else self.top or 1

    @property
    def known(self) -> bool:
        """Whether the rule's targets do not depend on the photo."""
        return self.index >= 0 and self.nth == NO_CLASS

    def shown(self, name_of: Callable[[int], str]) -> str:
        """A resolved target in words; "A - B" for a contrast."""
        return " - ".join(name_of(index) for index in (self.index, self.against) if index != NO_CLASS)

    @property
    def of_boxes(self) -> bool:
        """Whether the rule means boxes of a detector."""
        return self.boxes or self.nth != NO_CLASS

    @property
    def bound(self) -> bool:
        """Whether its meaning for a photo is fixed on the photo's clean pass."""
        return self.above is not None or bool(self.region) or self.of_boxes


DECISION = TargetRule(top=1)


@dataclass(frozen=True, eq=False)
class Resolved:
    """Targets of B photos, T each: `classes` (B, T) int64, `against` (B, T) int64 with -1 without a contrast, `scores` (B, T):
    the logit, or the difference of two logits, with the graph of the logits from which they were read; outputs: the kind of the
    model's outputs; suffix: what the targets' names say beside the class, a region or another photo; boxes: for a detector, the
    photo's boxes, to which the numbers in `classes` refer."""

    classes: Tensor
    against: Tensor
    scores: Tensor
    outputs: Outputs = Outputs.SOFTMAX
    suffix: str = ""
    boxes: tuple[FoundBox, ...] = ()

    def logit(self, logits: Tensor) -> Tensor:
        """Scores (B, T) of other logits (B, C) of the same photos: the logit, or the difference of two."""
        return gather(self.outputs.scores(logits), self.classes, self.against)

    def probability(self, logits: Tensor) -> Tensor:
        """Probability (B, T) of other logits (B, C) of the same photos, by softmax or sigmoid as the model's outputs demand;
        values are unchanged; for a contrast, the difference of two."""
        return gather(self.outputs.probabilities(logits), self.classes, self.against)

    def dice(self, logits: Tensor) -> Tensor:
        """Dice coefficients (B, T) between where a class of a class map is predicted in copies of the photo and in the clean
        photo: 2 I / (1 + I) for their intersection over union I; for a contrast, the difference of two."""
        overlaps = self.outputs.overlaps(logits)
        return gather(2 * overlaps / (1 + overlaps), self.classes, self.against)

    def __getitem__(self, rows: slice | Tensor) -> Resolved:
        return replace(self, classes=self.classes[rows], against=self.against[rows], scores=self.scores[rows])

    def detached(self) -> Resolved:
        """The same targets without the graph of the logits, which would keep all activations alive."""
        return replace(self, scores=self.scores.detach())

    def rules(self, row: int) -> list[TargetRule]:
        """The targets of one photo, each as the rule that names it."""
        pairs = zip(self.classes[row].tolist(), self.against[row].tolist(), strict=True)
        region, photo = (self.suffix.removeprefix(kind) * self.suffix.startswith(kind) for kind in (REGION, PHOTO))
        rule = partial(TargetRule, region=region, photo=photo, boxes=self.outputs is Outputs.BOXES)
        return [rule(index=index, against=against) for index, against in pairs]

    def names(self, row: int) -> list[str]:
        """The targets of one photo as canonical text: `281`, `386-340`, `12@region=predicted`, `similar:a.png~3f29c1`,
        `box:0`."""
        return [str(rule) for rule in self.rules(row)]


def gather(values: Tensor, classes: Tensor, against: Tensor) -> Tensor:
    """`values` (B, C) at `classes` (B, T), minus those at `against` if there is a contrast."""
    # Asking whether there is a contrast would make a device wait. Multiplying by zero would turn infinities into NaN.
    return values.gather(1, classes) - values.gather(1, against.clamp_min(0)).masked_fill(against == NO_CLASS, 0)


@dataclass(frozen=True)
class Targets:
    """One rule per photo of a batch; all give the same number of targets. outputs: the kind of the model's outputs; suffix: what
    the targets' names say beside the class; boxes: for a detector, those of the one photo."""

    rules: tuple[TargetRule, ...]
    outputs: Outputs = Outputs.SOFTMAX
    suffix: str = ""
    boxes: tuple[FoundBox, ...] = ()

    def __post_init__(self) -> None:
        if len({rule.count for rule in self.rules}) > 1:
            raise UsageError("the photos of one batch have different numbers of targets", hint="Give all of them one rule.")

    @classmethod
    def same(cls, rule: TargetRule, photos: int, outputs: Outputs = Outputs.SOFTMAX) -> Targets:
        return cls((rule,) * photos, outputs)

    @staticmethod
    def decided(resolved: Resolved) -> Targets:
        """Targets that are already resolved, for other views of the same photos."""
        return DecidedTargets((), resolved.outputs, resolved.suffix, resolved.boxes, resolved.classes, resolved.against)

    def resolve(self, logits: Tensor) -> Resolved:
        """Turn rules into classes by logits (B, C); raises UsageError on a length mismatch or a class out of range."""
        if len(self.rules) != logits.shape[0]:
            raise UsageError(
                f"{count(len(self.rules), 'target')} for a batch of {count(logits.shape[0], 'photo')}", expected="one a photo"
            )
        scores = self.outputs.scores(logits)
        classes = logits.new_zeros((logits.shape[0], self.count), dtype=torch.int64)
        against = classes.new_full(classes.shape, NO_CLASS)
        largest = max((max(rule.top - 1, rule.index, rule.against) for rule in self.rules), default=0)
        if largest >= scores.shape[1]:
            raise out_of_range(largest, scores.shape[1])
        # A stable descending sort: among equal logits the lowest index comes first, on every device.
        order = scores.detach().argsort(dim=1, descending=True, stable=True)[:, : self.count]
        for row, rule in enumerate(self.rules):
            if rule.top:
                classes[row] = order[row]
            else:
                classes[row, 0], against[row, 0] = rule.index, rule.against
        # All photos of a run are compared with the same one.
        photo = next((f"{PHOTO}{rule.photo}" for rule in self.rules if rule.photo), "")
        return Resolved(classes, against, gather(scores, classes, against), self.outputs, self.suffix or photo, self.boxes)

    @property
    def count(self) -> int:
        return self.rules[0].count if self.rules else 1

    def photo(self, row: int) -> Targets:
        """The targets of one photo of the batch."""
        return Targets((self.rules[row],), self.outputs, self.suffix, self.boxes)


@dataclass(frozen=True, eq=False)
class DecidedTargets(Targets):
    """Fixed classes (B, T), and those against them, which ignore the logits."""

    classes: Tensor = field(default_factory=lambda: torch.zeros((0, 1), dtype=torch.int64))
    against: Tensor = field(default_factory=lambda: torch.zeros((0, 1), dtype=torch.int64))

    def resolve(self, logits: Tensor) -> Resolved:
        if len(self.classes) != logits.shape[0]:
            raise UsageError(
                f"{count(len(self.classes), 'target')} for a batch of {count(logits.shape[0], 'photo')}",
                expected="one a photo",
            )
        scores = gather(self.outputs.scores(logits), self.classes, self.against)
        return Resolved(self.classes, self.against, scores, self.outputs, self.suffix, self.boxes)

    @property
    def count(self) -> int:
        return self.classes.shape[1]

    def photo(self, row: int) -> Targets:
        rows = slice(row, row + 1)
        return DecidedTargets((), self.outputs, self.suffix, self.boxes, self.classes[rows], self.against[rows])


def out_of_range(index: int | str, count: int) -> UsageError:
    return UsageError(f"target {index} is out of range", expected=f"a class index from 0 to {count - 1}")
