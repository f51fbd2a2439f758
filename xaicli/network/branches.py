"""Parallel branches of a network, as of an ensemble: a map of one branch's layer shows nothing of the others."""

from __future__ import annotations

from collections.abc import Sequence

from xaicli.network.layers import FeatureLayer, feature_layer, last_features, usable
from xaicli.network.trace import NetworkTrace

AS_DEEP = 1 / 2
"""A branch counts if its depth, counted in convolutions and linear layers, is at least this share of the chosen layer's."""


def parallel_branches(trace: NetworkTrace, chosen: FeatureLayer) -> tuple[str, ...]:
    """The last feature layers, by name, of the branches beside a feature layer: each has a grid that moves with the photo and a
    gradient to the logits, and no two of them feed each other. Empty if all features pass the chosen layer.

    A shortcut, a gate, or parts of a block that are joined before the chosen layer feed it and are no branches.
    """
    calls, flow = trace.layers[chosen.name].calls, trace.flow
    own = (chosen.name, (-1 if chosen.call is None else chosen.call) % calls)
    places, names = [own], []
    for call in range(calls):
        # The same layer on two views of the photo.
        if all(flow.parallel((chosen.name, call), place) for place in places):
            places.append((chosen.name, call))
            names.append(f"{chosen.name}#{call}")
    for layer in last_features(trace):
        place = layer.name, layer.calls - 1
        if not all(flow.parallel(place, other) for other in places) or flow.depth[place] < AS_DEEP * flow.depth[own]:
            continue
        if layer.reached and usable(trace, layer, "output"):
            places.append(place)
            names.append(str(feature_layer(trace, layer, "output", call=None if layer.calls == 1 else -1)))
    return tuple(names)


def one_of_branches(layer: str, others: Sequence[str]) -> str:
    """What a map of one branch does not show, in words."""
    *most, last = others
    shown = f"{', '.join(most)} and {last} are" if most else f"{last} is"
    return (
        f"layer {layer} is one of {len(others) + 1} parallel branches, and {shown} not in its map: "
        f"name layer={others[0]}{' (or another)' if most else ''} to see it"
    )
