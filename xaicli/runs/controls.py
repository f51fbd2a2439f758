"""The control `other`: the same method's map of another photo.

`random` and `center` are methods; `other` is made of a method's maps. A method that does not beat it draws maps that look right
on any photo.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor

from xaicli.method import Maps
from xaicli.runs.scene import Explanation

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
