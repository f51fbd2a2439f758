"""The control `other`: the same method's map of another photo.

`random` and `center` are methods; `other` is made of a method's maps. A method that does not beat it draws maps that look right
on any photo.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from xaicli.images.source import Source
from xaicli.method import Maps
from xaicli.registry import CONTROLS
from xaicli.scoring.explanation import Explainer, Explanation

OTHER, VERSION = "other", 1
CONTROL_NAMES = (*CONTROLS, OTHER)
"""All controls, in the order of tables."""


def other(explainer: Explainer) -> Explainer:
    """The control of a method."""
    return dataclasses.replace(
        explainer,
        label=f"{OTHER}@base={explainer.label}",
        content={"name": OTHER, "version": VERSION, "parameters": {"base": dict(explainer.content)}},
        control=True,
        attribute=None,
    )


def swapped(own: Explanation, partner: Maps) -> Explanation:
    """The control of a photo's explanation: the partner's maps, for the photo's own targets; a photo of more targets than its
    partner has takes the partner's maps again from the first."""
    wanted = own.maps.targets.classes.shape[1]
    places = [at % partner.values.shape[1] for at in range(wanted)]
    return Explanation(other(own.explainer), Maps(partner.values[:, places], own.maps.targets, own.maps.logits))


@dataclass(frozen=True)
class Ring:
    """The photos of a job by content hash, the first after the last: a photo's neighbours depend on the set of photos alone, not
    on their order. Photos of equal content count as one."""

    contents: Mapping[Source, str]

    @cached_property
    def photos(self) -> dict[str, Source]:
        """One photo for each content, in the order of the ring."""
        first: dict[str, Source] = {}
        for source, content in self.contents.items():
            first.setdefault(content, source)
        return dict(sorted(first.items()))

    @cached_property
    def order(self) -> list[Source]:
        return list(self.photos.values())

    @cached_property
    def places(self) -> dict[str, int]:
        return {content: place for place, content in enumerate(self.photos)}

    def after(self, source: Source) -> Iterator[Source]:
        """All other photos, from the next one round; none where the photo is not of the ring."""
        if source in self.contents:
            place = self.places[self.contents[source]]
            yield from (self.order[(place + step) % len(self.order)] for step in range(1, len(self.order)))
