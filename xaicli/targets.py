"""What is explained: the model's decision, a class, a contrast, the top k.

A rule is read from text once, against the model's class names; it is resolved against logits in one place, `Targets.resolve`, so
that the decision is made in the method's own first forward pass and a photo is never passed twice to learn its class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.errors import UsageError, did_you_mean

NO_CLASS = -1


@dataclass(frozen=True)
class TargetRule:
    """One rule: the `top` k classes, or the class `index`, or `index` against `against` (why the one and not the other)."""

    top: int = 0
    index: int = NO_CLASS
    against: int = NO_CLASS

    def __str__(self) -> str:
        if self.top:
            return f"top{self.top}"
        return str(self.index) if self.against == NO_CLASS else f"{self.index}-{self.against}"

    @property
    def count(self) -> int:
        """How many targets the rule gives a photo."""
        return self.top or 1


DECISION = TargetRule(top=1)


@dataclass(frozen=True, eq=False)
class Resolved:
    """Targets of B photos, T each: `classes` (B, T) int64, `against` (B, T) int64 with -1 where there is no contrast, `scores`
    (B, T): the logit, or the difference of two logits, with the graph of the logits they were read from."""

    classes: Tensor
    against: Tensor
    scores: Tensor

    def logit(self, logits: Tensor) -> Tensor:
        """Scores (B, T) of other logits (B, C) of the same photos: the logit, or the difference of two."""
        return gather(logits, self.classes, self.against)

    def probability(self, logits: Tensor) -> Tensor:
        """Softmax probability (B, T) of other logits (B, C) of the same photos; under a contrast the difference of two."""
        return gather(logits.softmax(dim=1), self.classes, self.against)

    def __getitem__(self, rows: slice | Tensor) -> Resolved:
        return Resolved(self.classes[rows], self.against[rows], self.scores[rows])

    def names(self, row: int) -> list[str]:
        """The targets of one photo as canonical text: `281` or `386-340`."""
        pairs = zip(self.classes[row].tolist(), self.against[row].tolist(), strict=True)
        return [str(TargetRule(index=index, against=against)) for index, against in pairs]


def gather(values: Tensor, classes: Tensor, against: Tensor) -> Tensor:
    """`values` (B, C) at `classes` (B, T), less those at `against` where there is a contrast."""
    chosen = values.gather(1, classes)
    if bool((against == NO_CLASS).all()):
        return chosen
    return chosen - values.gather(1, against.clamp_min(0)) * (against != NO_CLASS)


@dataclass(frozen=True)
class Targets:
    """One rule a photo of a batch; all give the same number of targets."""

    rules: tuple[TargetRule, ...]

    def __post_init__(self) -> None:
        if len({rule.count for rule in self.rules}) > 1:
            raise UsageError("the photos of one batch have different numbers of targets", hint="Give all of them one rule.")

    @classmethod
    def same(cls, rule: TargetRule, photos: int) -> Targets:
        return cls((rule,) * photos)

    def resolve(self, logits: Tensor) -> Resolved:
        """Turn rules into classes on logits (B, C); raises UsageError on a length mismatch or a class out of range."""
        if len(self.rules) != logits.shape[0]:
            raise UsageError(f"{len(self.rules)} targets for a batch of {logits.shape[0]} photos", expected="one a photo")
        classes = logits.new_zeros((logits.shape[0], self.count), dtype=torch.int64)
        against = classes.new_full(classes.shape, NO_CLASS)
        largest = max((max(rule.top - 1, rule.index, rule.against) for rule in self.rules), default=0)
        if largest >= logits.shape[1]:
            raise out_of_range(largest, logits.shape[1])
        # A stable descending sort: of equal logits the lowest index is first, on every device.
        order = logits.detach().argsort(dim=1, descending=True, stable=True)[:, : self.count]
        for row, rule in enumerate(self.rules):
            if rule.top:
                classes[row] = order[row]
            else:
                classes[row, 0], against[row, 0] = rule.index, rule.against
        return Resolved(classes, against, gather(logits, classes, against))

    @property
    def count(self) -> int:
        return self.rules[0].count if self.rules else 1


def out_of_range(index: int, count: int) -> UsageError:
    return UsageError(f"target {index} is out of range", expected=f"a class index from 0 to {count - 1}")


def parse_target(text: str, classes: Sequence[str], count: int) -> TargetRule:
    """A rule from text: `top1`, `top5`, an index, a class name, or `A-B` of two of them.

    classes: names by index, synonyms separated by commas (may be empty); count: how many outputs the model has.
    """
    top = re.fullmatch(r"top-?(\d+)", text.strip().lower())
    if top:
        if not 1 <= int(top[1]) <= count:
            raise UsageError(f"target {text} cannot be met", expected=f"top1 to top{count}")
        return TargetRule(top=int(top[1]))
    names = NameTable(classes, count)
    whole = names.find(text)
    if len(whole) == 1:
        return TargetRule(index=whole[0])
    if len(whole) > 1:
        raise names.ambiguous(text, whole)
    pairs = [
        (names.find(text[: dash.start()]), names.find(text[dash.end() :]), text[: dash.start()], text[dash.end() :])
        for dash in re.finditer("-", text)
    ]
    fitting = [pair for pair in pairs if pair[0] and pair[1]]
    if not fitting:
        raise names.unknown(text)
    first, second, first_text, second_text = fitting[0]
    if len(fitting) > 1:
        raise UsageError(f'target "{text}" can be split in {len(fitting)} ways', hint="Use class indices: INDEX-INDEX.")
    if len(first) > 1:
        raise names.ambiguous(first_text, first)
    if len(second) > 1:
        raise names.ambiguous(second_text, second)
    if first == second:
        raise UsageError(f'target "{text}" sets a class against itself', hint="Name two classes.")
    return TargetRule(index=first[0], against=second[0])


class NameTable:
    """Class names and their synonyms, looked up without regard to case, dashes, underscores and spaces."""

    def __init__(self, classes: Sequence[str], count: int) -> None:
        self.count = count
        self.indices: dict[str, list[int]] = {}
        self.spelled: dict[str, str] = {}
        for index, names in enumerate(classes):
            for name in dict.fromkeys([names, *names.split(",")]):
                key = self.key(name)
                if key and index not in self.indices.setdefault(key, []):
                    self.indices[key].append(index)
                    self.spelled.setdefault(key, name.strip())

    @staticmethod
    def key(name: str) -> str:
        return re.sub(r"[\s_\-]+", "", name).lower()

    def find(self, text: str) -> list[int]:
        text = text.strip()
        named = self.indices.get(self.key(text), []) if text else []
        if named or not text.isdecimal():
            return named
        if int(text) >= self.count:
            raise out_of_range(int(text), self.count)
        return [int(text)]

    def ambiguous(self, text: str, indices: list[int]) -> UsageError:
        listed = ", ".join(map(str, indices))
        return UsageError(f'"{text}" is the name of {len(indices)} classes: {listed}', hint="Give the index: --target INDEX.")

    def unknown(self, text: str) -> UsageError:
        near = did_you_mean(text, self.spelled.values())
        if not self.indices:
            near = "This model has no class names; give them with --classes FILE."
        return UsageError(
            f'no class is called "{text}"', expected=f"top1, top5, an index from 0 to {self.count - 1}, a class name, or A-B", hint=near
        )
