"""The control `other`: the same method's map of another photo.

`random` and `center` are methods; `other` is made of a method's maps. A method that does not beat it draws maps that look right
on any photo.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor

from xaicli.images.source import Source
from xaicli.method import Maps
from xaicli.scoring.scene import Explanation

NAME, VERSION = "other", 1


def partners(contents: Sequence[str]) -> list[int]:
    """For each photo the place of another one, whose map it borrows: the next by content hash, the last one takes the first's.

    So a photo's partner depends on the set of photos, not on their order. Photos of equal content have one partner; empty where
    all are equal, a single photo included.
    """
    places = {content: place for place, content in reversed(list(enumerate(contents)))}
    ring = sorted(places)
    if len(ring) < 2:
        return []
    after = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
    return [places[after[content]] for content in contents]


def ring(contents: Mapping[Source, str]) -> dict[Source, Callable[[], Iterator[Source]]]:
    """For each photo those that may lend it a map, the first choice first: by content hash from its own onwards, and round.

    So who lends does not depend on the order of photos. Empty where all are of one content.
    """
    first = {content: source for source, content in reversed(list(contents.items()))}
    ordered = sorted(first)
    places = {content: place for place, content in enumerate(ordered)}

    def from_there(content: str) -> Iterator[Source]:
        place = places[content]
        return (first[ordered[(place + step) % len(ordered)]] for step in range(1, len(ordered)))

    return {source: partial(from_there, content) for source, content in contents.items()} if len(ordered) > 1 else {}


def other(explanation: Explanation, values: Tensor) -> Explanation:
    """The control of a method: its maps (P, T, h, w) of other photos, for the photos' own targets."""
    maps = explanation.maps
    return dataclasses.replace(
        explanation,
        label=f"{NAME}@base={explanation.label}",
        content={"name": NAME, "version": VERSION, "parameters": {"base": dict(explanation.content)}},
        maps=Maps(values, maps.targets, maps.logits),
        passes=explanation.passes,
        control=True,
        explain=None,
    )


def others(explanations: Sequence[Explanation], contents: Sequence[str]) -> list[Explanation]:
    """The control `other` of each method that is no control itself, from the maps of one scene; none where there is one photo."""
    places = partners(contents)
    if not places:
        return []
    return [other(own, own.maps.values[places]) for own in explanations if not own.control]
