"""Which layers feed which in a pass, read from autograd's graph: no pass of its own is needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, int]
"""The output of a layer in one of its calls; the first call is 0."""


@dataclass(frozen=True)
class Flow:
    """The places of a pass. bits: the bit of each; before: the bits of all places that feed it; depth: convolutions and linear
    layers on the longest way from the photo to it, its own included; reaching: the bits of places that feed the logits."""

    bits: Mapping[Place, int] = field(default_factory=dict)
    before: Mapping[Place, int] = field(default_factory=dict)
    depth: Mapping[Place, int] = field(default_factory=dict)
    reaching: int = 0

    def parallel(self, one: Place, other: Place) -> bool:
        """Whether both places feed the logits, and neither feeds the other."""
        if one == other or one not in self.bits or other not in self.bits:
            return False
        related = self.before[one] & self.bits[other] or self.before[other] & self.bits[one]
        return not related and all(self.reaching & self.bits[place] for place in (one, other))


def flow_of(nodes: Mapping[Place, Any], weighted: Collection[Place], end: Any) -> Flow:
    """The flow between places, each with its node of autograd's graph, up to the node `end` of the logits; weighted: the places
    behind convolutions and linear layers."""
    at = {node: place for place, node in nodes.items()}
    bits = {place: 1 << number for number, place in enumerate(nodes)}
    passed: dict[Any, tuple[int, int]] = {}
    before, depth = {}, {}
    pending = [node for node in (*nodes.values(), end) if node is not None]
    # Sources first, without recursion: graphs are thousands of nodes deep.
    while pending:
        node = pending[-1]
        sources = [source for source, _ in node.next_functions if source is not None]
        open_sources = [source for source in sources if source not in passed]
        if node in passed or open_sources:
            pending.extend([] if node in passed else open_sources)
            if node in passed:
                pending.pop()
            continue
        pending.pop()
        fed, deep = 0, 0
        for source in sources:
            fed, deep = fed | passed[source][0], max(deep, passed[source][1])
        if (place := at.get(node)) is not None:
            deep += place in weighted
            before[place], depth[place] = fed, deep
            fed |= bits[place]
        passed[node] = fed, deep
    return Flow(bits, before, depth, 0 if end is None else passed[end][0])
