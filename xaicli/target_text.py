"""Targets from text: `top1`, an index, a class name, `A-B`, `positive`, `CLASS@region=…`, `box:0`."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import replace

from xaicli.errors import UsageError, did_you_mean
from xaicli.targets import BOX, BOX_OF_CLASS, BOXES, EVEN, LONGEST_INDEX, NAMED_REGIONS, REGIONS, TargetRule, out_of_range


def parse_target(text: str, classes: Sequence[str], count: int, *, most: int | None = None, expected: str = "") -> TargetRule:
    """A rule from text: `top1`, `top5`, an index, a class name, `A-B` of two of them, `positive` (`positive@above=0.3`); for a
    model that gives a class map, one of the others with `@region=`; for a detector `box:0`, `CLASS@box=0`, `boxes@above=0.5`.

    classes: names by index, synonyms separated by commas (may be empty); count: how many outputs the model has; most: the largest
    k of `topk`, by default all outputs; expected: what an error for an unknown name says may stand there.
    """
    most = count if most is None else most
    text, marked, region = text.partition("@region=")
    if marked:
        if not region.strip():
            raise UsageError("@region= names no region", expected=REGIONS)
        named = region.strip().lower()
        return replace(
            parse_target(text or "top1", classes, count, most=most, expected=expected),
            region=named if named in NAMED_REGIONS else region.strip(),
        )
    top = re.fullmatch(r"top-?(\d+)", text.strip().lower())
    if top:
        if len(top[1]) > LONGEST_INDEX or not 1 <= int(top[1]) <= most:
            raise UsageError(f"target {shorten(text)} cannot be met", expected=f"top1 to top{most}")
        return TargetRule(top=int(top[1]))
    positive = re.fullmatch(r"positive(?:@above=(.*))?", text.strip().lower())
    names = name_table(tuple(classes), count)
    if not names.find(text) and (of_boxes := parse_boxes(text.strip(), names)) is not None:
        return of_boxes
    if positive and not names.find(text):
        return positive_rule(positive[1])
    if names.find(text):
        return TargetRule(index=names.index(text))
    # Names may contain dashes, so any dash may be the one between two names.
    pairs = [(text[: dash.start()], text[dash.end() :]) for dash in re.finditer("-", text)]
    fitting = [pair for pair in pairs if names.find(pair[0]) and names.find(pair[1])]
    if not fitting:
        raise names.unknown(text, expected)
    if len(fitting) > 1:
        raise UsageError(f'target "{text}" can be split in {len(fitting)} ways', hint="Use class indices: INDEX-INDEX.")
    index, against = map(names.index, fitting[0])
    if index == against:
        raise UsageError(f'target "{text}" sets a class against itself', hint="Name two classes.")
    return TargetRule(index=index, against=against)


def parse_boxes(text: str, names: NameTable) -> TargetRule | None:
    """A rule of boxes: `box:0`, `CLASS@box=0`, `boxes` (`boxes@above=0.3`); None if the text names none. Raises UsageError."""
    if every := re.fullmatch(rf"{BOXES}(?:@above=(.*))?", text.lower()):
        return positive_rule(every[1], boxes=True)
    name, of_class, number = text.partition(BOX_OF_CLASS)
    if not of_class and not text.lower().startswith(BOX):
        return None
    number = number.strip() if of_class else text[len(BOX) :].strip()
    if not number.isdecimal() or len(number) > LONGEST_INDEX:
        raise UsageError(f'"{shorten(text)}" names no box', expected=BOX_TARGETS)
    if not of_class:
        return TargetRule(index=int(number), boxes=True)
    if not names.find(name):
        raise names.unknown(name, f"an index from 0 to {names.count - 1}, or a class name")
    return TargetRule(index=names.index(name), nth=int(number))


def positive_rule(bound: str | None, *, boxes: bool = False) -> TargetRule:
    """Every label, or box, above a bound, 0.5 by default."""
    try:
        above = EVEN if bound is None else float(bound)
    except ValueError:
        above = math.nan
    if not 0 <= above < 1:
        raise UsageError(f"above={bound} is not a probability", expected="a number from 0 to below 1")
    return TargetRule(above=above, boxes=boxes)


@functools.lru_cache(maxsize=4)
def name_table(classes: tuple[str, ...], count: int) -> NameTable:
    """One table for the many targets of one model."""
    return NameTable(classes, count)


BOX_TARGETS = "box:0, CLASS@box=0 or boxes@above=0.5"

MOST_NAMED = 3
"""Names that are suggested at once."""


def shorten(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


class NameTable:
    """Class names and their synonyms, looked up ignoring case, dashes, underscores and spaces."""

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
        """The classes that `text` names: none, one, or several; a number that is not a name is an index."""
        text = text.strip()
        number = text.isdecimal()
        # "1-2" is not a spelling of a class called "12".
        named = self.indices.get(self.key(text), []) if number or not self.key(text).isdecimal() else []
        if named or not number or len(text) > LONGEST_INDEX or int(text) >= self.count:
            return named
        return [int(text)]

    def index(self, text: str) -> int:
        """The class that `text` names; raises UsageError if there are several."""
        indices = self.find(text)
        if len(indices) > 1:
            listed = ", ".join(map(str, indices))
            found = f'"{text.strip()}" is the name of {len(indices)} classes: {listed}'
            raise UsageError(found, hint="Give the index: --target INDEX.")
        return indices[0]

    def with_word(self, text: str) -> str:
        """The names that have this text as a word of theirs, as a question; empty if there are none."""
        word = re.compile(rf"\b{re.escape(text.strip())}(s|es)?\b", re.IGNORECASE)
        found = [name for name in self.spelled.values() if "," not in name and word.search(name)] if text.strip() else []
        if not found:
            return ""
        *most, last = map(shorten, found[:MOST_NAMED])
        more = f" (and {len(found) - MOST_NAMED} more)" if len(found) > MOST_NAMED else ""
        return f"Did you mean {', '.join(most)}{' or ' if most else ''}{last}?{more}"

    def unknown(self, text: str, expected: str = "") -> UsageError:
        """The error for a text that names no class; expected: what may stand there, by default a whole target."""
        numbers = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", text)
        if numbers:
            beyond = next(number for number in numbers.groups() if not self.find(number or ""))
            return out_of_range(shorten(beyond), self.count)
        near = self.with_word(text) or did_you_mean(text, self.spelled.values())
        if not self.indices:
            near = "This model has no class names; give them with --classes FILE."
        expected = expected or f"top1, top5, an index from 0 to {self.count - 1}, a class name, or A-B"
        return UsageError(f'no class is called "{shorten(text)}"', expected=expected, hint=near)
