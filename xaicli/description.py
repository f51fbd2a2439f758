"""What a map shows, in numbers and in one plain sentence: where, how concentrated, and what its removal does to the probability.

The numbers (`facts`) are for programs, a language model among them; the sentence is made of them by fixed rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.later import ndimage
from xaicli.record import BASELINE_VALUE, Record
from xaicli.sign import Sign

PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)
PREPOSITIONS = {"top": "at", "bottom": "at", "left": "on", "right": "on"}
SPREAD = 0.35
"""A map half of whose weight needs more than this share of the area is called spread out; an even one needs 0.5."""
SPOTS = 3
REMOVAL = "removal"
"""The metric whose score says what is left of the probability without the most salient tenth."""
LEAST_CHANGE = 0.01


def facts(values: NDArray[np.floating], record: Record) -> dict[str, Any]:
    """The facts of a map (h, w) and its record, as plain JSON values.

    weight: what speaks for the target (positive values; of a map that only ranks, its highest tenth); half_in: the least share of
    the area that holds half of the weight; grid: the share of the weight in each of 3 x 3 parts of what the model saw, row by
    row; spots: the largest connected parts above half of the maximum, with place, share of weight and share of area; against: the
    share of the absolute map that speaks against the target; quantity: what the target's number is, "probability", "value" (with
    that of the baseline) or, of a detector's box, "similarity": how well the best proposal reproduces it, 1 on the photo itself,
    or "features": a network without classes, of which the target says in words what is explained; removal: that quantity before,
    and after the most salient tenth is blurred, None where it was not measured.
    """
    decision = record.decision
    if decision is None:
        quantity = "features"
    else:
        quantity = "similarity" if record.box else "value" if BASELINE_VALUE in record.extras else "probability"
    found: dict[str, Any] = {
        "image": record.image,
        "model": record.model,
        "method": record.method,
        "target": record.explains or record.target_name,
        "quantity": quantity,
        "probability": None if quantity in ("value", "features") else record.target_probability,
        "decision": None if decision is None else decision.name,
        "decision_probability": None if decision is None else decision.probability,
        "status": record.status,
        "weight": None,
        "removal": None,
        "cautions": list(record.notes),
    }
    if record.scores.get(REMOVAL) is not None:
        found["removal"] = {"before": 1.0 if record.box else record.target_probability, "after": record.scores[REMOVAL]}
    if quantity == "value":
        found |= {"value": record.target_probability, "baseline": record.extras[BASELINE_VALUE]}
    weights = weights_of(np.asarray(values, dtype=np.float64), Sign(record.sign))
    if record.status == "ok" and weights.sum() > 0:
        shares = weights / weights.sum()
        grid = grid_of(shares)
        row, column = np.unravel_index(int(grid.argmax()), grid.shape)
        found["weight"] = {
            "half_in": half_in(shares),
            "grid": [[round(float(share), 4) for share in line] for line in grid],
            "strongest": {"place": PLACES[row][column], "share": float(grid.max())},
            "spots": spots_of(shares),
            "against": against(np.asarray(values, dtype=np.float64)) if record.sign == Sign.SIGNED.value else 0.0,
        }
    return found


def sentence(known: dict[str, Any]) -> str:
    """One plain sentence from `facts`."""
    if known["quantity"] == "value":
        target = f"{known['target']} ({known['value']:.4g}, baseline {known['baseline']:.4g})"
    elif known["quantity"] == "features":
        target = known["target"]
    else:
        target = f"{known['target']} (p {known['probability']:.2f})"
    if known["quantity"] == "probability" and known["target"] != known["decision"]:
        target += f", where the model decides for {known['decision']} (p {known['decision_probability']:.2f})"
    parts = [f"{known['method']} for {target}: {where(known)}"]
    if known["removal"] is not None:
        parts.append(removal(known["removal"], known["quantity"]))
    return "; ".join(parts) + "."


def where(known: dict[str, Any]) -> str:
    weight = known["weight"]
    if weight is None:
        return {
            "constant": "the map is the same everywhere and points nowhere",
            "non-finite": "the map has values that are not finite",
        }.get(known["status"], "nothing in the map speaks for it")
    area, place, share = weight["half_in"], weight["strongest"]["place"], weight["strongest"]["share"]
    largest = f"the largest part ({percent(share)}) {PREPOSITIONS.get(place, 'in')} the {place}"
    text = f"half of the map's weight lies in {percent(area)} of what the model saw, {largest}"
    if area > SPREAD:
        text = f"the map is spread out: {text}"
    against_it = weight["against"]
    return text if against_it < LEAST_CHANGE else f"{text}; {percent(against_it)} of the map speaks against it"


def removal(found: dict[str, float], quantity: str) -> str:
    before, after = found["before"], found["after"]
    name = "p" if quantity == "probability" else "the likeness of the best box"
    word = "stays at" if abs(after - before) < LEAST_CHANGE else "falls to" if after < before else "rises to"
    return f"with its most salient tenth blurred, {name} {word} {after:.2f}"


def percent(share: float) -> str:
    return "less than 1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")


def weights_of(values: NDArray[np.float64], sign: Sign) -> NDArray[np.float64]:
    """What speaks for the target, 0 or more; of a map that only ranks, 1 on its highest tenth."""
    if not np.isfinite(values).all():
        return np.zeros_like(values)
    if sign in (Sign.SIGNED, Sign.NONNEGATIVE):
        return np.clip(values, 0, None)
    return (values >= np.quantile(values, 0.9)).astype(np.float64)


def half_in(shares: NDArray[np.float64]) -> float:
    """The least share of the area that holds half of the weight."""
    ordered = np.sort(shares, axis=None)[::-1]
    return float(np.searchsorted(ordered.cumsum(), 0.5 - 1e-9) + 1) / shares.size


def grid_of(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weight in 3 x 3 equal parts; a cell of the map on their border counts to each in proportion."""
    return parts_of(shares.shape[0]) @ shares @ parts_of(shares.shape[1]).T


def parts_of(side: int) -> NDArray[np.float64]:
    """How much of each of `side` cells lies in each third, (3, side)."""
    edges, cells = np.arange(4) * side / 3, np.arange(side)
    low, high = np.maximum(edges[:-1, None], cells), np.minimum(edges[1:, None], cells + 1)
    return np.clip(high - low, 0, None)


def spots_of(shares: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The largest connected parts above half of the maximum, by weight."""
    labels, count = ndimage.label(shares >= shares.max() / 2)
    numbers = np.arange(1, count + 1)
    weights = np.atleast_1d(ndimage.sum_labels(shares, labels, numbers))
    order = np.argsort(-weights, kind="stable")[:SPOTS]
    spots = []
    for at in order:
        row, column = ndimage.center_of_mass(shares, labels, numbers[at])
        height, width = shares.shape
        place = PLACES[min(2, int((row + 0.5) * 3 / height))][min(2, int((column + 0.5) * 3 / width))]
        area = float((labels == numbers[at]).mean())
        spots.append({"place": place, "weight": float(weights[at]), "area": area})
    return spots


def against(values: NDArray[np.float64]) -> float:
    """The share of the absolute map that is negative."""
    total = np.abs(values).sum()
    return float(-np.clip(values, None, 0).sum() / total) if total > 0 else 0.0
