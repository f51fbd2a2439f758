"""The control `other`: the same method's map of another photo.

`random` and `center` are methods; `other` uses a method's own maps. A method that does not beat it draws maps that look right on
any photo.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TypeVar

from torch import Tensor

from xaicli.images.source import Source
from xaicli.registry import CONTROLS
from xaicli.rows import OTHER
from xaicli.scoring.explanation import Explainer, Explanation

T = TypeVar("T")
VERSION = 2
"""The version of the control `other`: 2 since a score names the photo whose map it uses."""
CONTROL_NAMES = (*CONTROLS, OTHER)
"""All controls, in the order of tables."""


def other(explainer: Explainer) -> Explainer:
    """The explainer of a method's control `other`."""
    return dataclasses.replace(
        explainer,
        label=f"{OTHER}@base={explainer.label}",
        content={"name": OTHER, "version": VERSION, "parameters": {"base": dict(explainer.content)}},
        control=True,
        attribute=None,
    )


def swapped(own: Explanation, lent: Tensor, partner: str) -> Explanation:
    """The control of a photo's explanation: the maps (T, h, w) of its partner, for the photo's own targets.

    If the photo has more targets than its partner, the partner's maps are repeated from the first.
    """
    places = [at % len(lent) for at in range(len(own.targets))]
    return Explanation(other(own.explainer), lent[places], own.targets, partner)


def name_of(content: str, frame: int) -> str:
    """The name that rows give to the partner: its content, and its frame if that is not the first."""
    return f"{content}/{frame}" if frame else content


@dataclass(frozen=True)
class Ring:
    """The photos of a job in a ring, sorted by content hash. The order in which
    they are given does not matter.

    Photos with the same content, such as the frames of one file, count as one.
    """

    contents: Mapping[Source, str]

    @property
    def lends(self) -> bool:
        """Whether the photos of the job lend each other their maps."""
        return bool(self.contents)

    @cached_property
    def order(self) -> list[Source]:
        """One photo for each content, in the order of the ring."""
        by_frame = sorted(self.contents, key=lambda source: source.frame)
        groups = groupby(sorted(by_frame, key=self.contents.__getitem__), key=self.contents.__getitem__)
        return [next(group) for _, group in groups]

    def place(self, content: str) -> int:
        """The place of a content on the ring; -1 if it has none."""
        # Looked up in the order itself: a table of places would take more memory than all else that a run on Ray keeps.
        at = bisect_left(self.order, content, key=self.contents.__getitem__)
        return at if at < len(self.order) and self.contents[self.order[at]] == content else -1

    def partner(self, source: Source) -> str | None:
        """The content of the next photo."""
        after = next(self.after(source), None)
        return None if after is None else self.contents[after]

    def after(self, source: Source) -> Iterator[Source]:
        """All other photos, starting with the next one; none for a photo outside the ring."""
        if source in self.contents:
            place = self.place(self.contents[source])
            yield from (self.order[(place + step) % len(self.order)] for step in range(1, len(self.order)))


@dataclass(frozen=True)
class Stretch(Ring):
    """Part of a ring: some photos and those right after them.

    place_of: the place of each content on the whole ring, which has `size` places; lenders: the photo at a place.
    """

    place_of: Mapping[str, int]
    lenders: Mapping[int, Source]
    size: int

    @property
    def lends(self) -> bool:
        return self.size > 1

    def after(self, source: Source) -> Iterator[Source]:
        """The photos that follow, as far as the stretch goes."""
        place = self.place_of.get(self.contents.get(source, ""), -1)
        for step in range(1, self.size) if place >= 0 else ():
            lender = self.lenders.get((place + step) % self.size)
            if lender is None:
                return
            yield lender


def with_partners(photos: Iterable[T], content: Callable[[T], str]) -> Iterator[tuple[T, T | None]]:
    """Each photo with its partner; None if all have the same content.

    photos: sorted by content. The partner is the first photo of the next content; after the last content, the first photo of all.
    """
    waiting: list[T] = []
    first = None
    for photo in photos:
        first = photo if first is None else first
        if waiting and content(photo) != content(waiting[0]):
            yield from ((one, photo) for one in waiting)
            waiting = []
        waiting.append(photo)
    for photo in waiting:
        alone = first is None or content(first) == content(photo)
        yield photo, None if alone else first
