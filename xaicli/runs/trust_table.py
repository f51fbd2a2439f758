"""What the checks of trust found: method by property, in numbers and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xaicli.metric import Quantity, ValueKind
from xaicli.registry import CONTROLS
from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.runs.trust_checks import ALARM, CONTRAST, FIDELITY, FOUND, FOUND_RANK, QUARTER, RANDOM
from xaicli.words import count

PROPERTIES = (FOUND, FOUND_RANK, CONTRAST, ALARM, QUARTER, RANDOM, FIDELITY)
QUANTITIES = {
    FOUND: Quantity(ValueKind.BINARY, 0.0, 1.0),
    FOUND_RANK: Quantity(ValueKind.CONTINUOUS, 0.0, 1.0),
    CONTRAST: Quantity(ValueKind.BINARY, 0.0, 1.0),
    ALARM: Quantity(ValueKind.BINARY, 0.0, 1.0),
    QUARTER: Quantity(ValueKind.CONTINUOUS, 0.0, 1.0),
    RANDOM: Quantity(ValueKind.CONTINUOUS, -1.0, 1.0),
    FIDELITY: Quantity(ValueKind.CONTINUOUS, -2.0, 2.0),
}
BETTER = {FOUND: " ↑", FOUND_RANK: " ↑", ALARM: " ↓", QUARTER: " ↑", RANDOM: " ↓", FIDELITY: " ↑"}
"""Whether more or less of a property is better."""
PHOTOS = "n: patch/alarm/quarter/others"
"""The head of the column of `counts`, by the columns that each number is of."""
PHOTOS_AND_COST = {
    PHOTOS: "how many photos the numbers are of: with a patch that decides, with one that does not, quarters, photos as they are",
    "passes": "through the network for one map, forward + backward",
}
MEANINGS = {
    FOUND: "a patch is pasted that decides, since the head was fitted to it: the share of photos where the map is largest there",
    FOUND_RANK: "the share of the map's highest values, as many as the patch has pixels, that lies on that patch",
    CONTRAST: "the same photos and class in the network as it was: the share where the map is largest on the patch all the same",
    ALARM: "the same photos and a head that cannot see the patch: the share where the map is largest on the patch all the same",
    QUARTER: "four photos are joined to one: the share of positive values in the one that is explained; chance is a quarter",
    RANDOM: "rank correlation with the map that is drawn once weights are random, from the output down; 1 means the same map",
    FIDELITY: "area under the insertion curve less that under the deletion curve, less the same of random maps",
}
"""What the columns of the table say."""
HITS = (FOUND, CONTRAST, ALARM)
"""Properties of which a photo has or has not; a map that ranks nothing has none of them."""
PHOTOS_OF = (FOUND,), (ALARM,), (QUARTER,), (RANDOM, FIDELITY)
"""Properties by the photos that they are measured on."""
OF_CHANCE = 0.25
"""The share of a map without any information in a quarter."""
AS_GOOD = 0.05
"""How much less a cheaper method may find and still be recommended."""
SURVIVES = 0.5
"""A rank correlation with the map of a random network that is worth a word."""
SELDOM = 0.3
"""The share of photos below which the upper end of an interval lies where something seldom happens."""


@dataclass(frozen=True, eq=False)
class MethodTrust:
    """What was found of one method. passes: a photo; found: by property; control: it knows nothing, and shows chance."""

    label: str
    passes: float
    cost: str
    found: Mapping[str, Estimate]
    control: bool = False

    def value(self, name: str) -> float | None:
        return self.found[name].value if name in self.found else None

    @property
    def merit(self) -> float:
        """The share of patches found, less false alarms."""
        return (self.value(FOUND) or 0.0) - (self.value(ALARM) or 0.0)


def estimate_of(name: str, values: Sequence[float | None]) -> Estimate:
    """The mean of a property over photos; of a hit, a photo without a value is a miss."""
    missing = 0.0 if name in HITS else np.nan
    table = np.array([missing if value is None else value for value in values], dtype=np.float64)
    return stats.mean(table, QUANTITIES[name])


def ordered(methods: Sequence[MethodTrust]) -> list[MethodTrust]:
    """The most trusted first; controls last."""
    return sorted(methods, key=lambda one: (one.control, -one.merit, one.passes, one.label))


def shown(estimate: Estimate | None) -> str:
    """`0.94 [0.88, 0.97]`."""
    if estimate is None or estimate.value is None:
        return "–"
    ends = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{ends}"


def cells(methods: Sequence[MethodTrust]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table; properties that nothing was measured of are left out."""
    names = [name for name in PROPERTIES if any(name in one.found for one in methods)]
    head = ["method", *names, PHOTOS, "passes"]
    numbers = {one.label: counts({name: found.n for name, found in one.found.items()}) for one in methods}
    costs = {one.label: one.cost.removesuffix(" passes") for one in methods}
    return head, [
        [one.label, *(shown(one.found.get(name)) for name in names), numbers[one.label], costs[one.label]]
        for one in ordered(methods)
    ]


def counts(numbers: Mapping[str, int]) -> str:
    """How many photos properties are of, as `20/18/20/10`: with a patch that decides, with one that does not, quarters, photos as
    they are; `–` where there is none."""
    checks = [[numbers[name] for name in part if name in numbers] for part in PHOTOS_OF]
    return "/".join(str(max(found)) if found else "–" for found in checks)


def percent(estimate: Estimate) -> str:
    """`94 % [88, 97]`."""
    assert estimate.value is not None
    ends = "" if estimate.low is None or estimate.high is None else f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
    return f"{100 * estimate.value:.0f} %{ends}"


def sentence(one: MethodTrust, model: str, chance: MethodTrust | None) -> str:
    """What a method can be trusted with on this network."""
    parts = []
    found, alarm = one.found.get(FOUND), one.found.get(ALARM)
    if found is not None and found.value is not None:
        parts.append(f"finds {percent(found)} of planted patches")
        if (found.low or 0.0) <= share_by_chance(chance, FOUND):
            parts[-1] += ", which is not shown to be more than chance"
    if alarm is not None and alarm.value is not None:
        parts.append(f"{alarmed(alarm, share_by_chance(chance, ALARM))} ({percent(alarm)})")
    quarter = one.found.get(QUARTER)
    if quarter is not None and quarter.value is not None:
        tells = quarter.low is not None and quarter.low > OF_CHANCE
        parts.append(
            f"puts {percent(quarter)} of its relevance into the right one of four photos"
            + ("" if tells else ", which is not shown to be more than chance")
        )
    random = one.value(RANDOM)
    if random is not None and random > SURVIVES:
        parts.append(f"draws much the same map for random weights (rank correlation {random:.2f})")
    fidelity = one.found.get(FIDELITY)
    if fidelity is not None and fidelity.value is not None and (fidelity.low is None or fidelity.low <= 0):
        parts.append("is not shown to beat random maps in insertion and deletion")
    return f"On {model}, {one.label} {'; '.join(parts)}." if parts else f"On {model}, nothing could be measured of {one.label}."


def share_by_chance(chance: MethodTrust | None, name: str) -> float:
    """The share of photos of which a random map has a property: half a photo is added to what was counted, since none of a few
    photos does not mean never."""
    found = None if chance is None else chance.found.get(name)
    return 0.0 if found is None or found.value is None else (found.value * found.n + 0.5) / (found.n + 1)


def alarmed(alarm: Estimate, chance: float) -> str:
    """What false alarms say of a method."""
    if (alarm.low or 0.0) > chance:
        return "marks the patch also where that decides nothing"
    if alarm.high is not None and alarm.high <= SELDOM:
        return f"marks the patch in at most {100 * alarm.high:.0f} % of photos where that decides nothing"
    return "has too few photos to say whether it marks the patch where that decides nothing"


def sentences(methods: Sequence[MethodTrust], model: str) -> list[str]:
    chance = next((one for one in methods if one.control and one.label == CONTROLS[0]), None)
    return [sentence(one, model, chance) for one in ordered(methods) if not one.control]


def told_from_controls(one: MethodTrust, methods: Sequence[MethodTrust]) -> bool:
    """Whether the interval of a method's share of patches found lies wholly above that of each control."""
    low = one.found[FOUND].low
    highs = [control.found[FOUND].high for control in methods if control.control and FOUND in control.found]
    return low is not None and all(high is not None and low > high for high in highs)


def good(methods: Sequence[MethodTrust], *, told: bool) -> list[MethodTrust]:
    """The methods that find about as many patches, less false alarms, as the best, the cheapest first, and of equals the one that
    puts more into the right quarter; none if no method is better than the controls. told: only of those that are told from the
    controls, so that a costly one with the luck of a few patches is not the measure."""
    own = [one for one in methods if not one.control and FOUND in one.found and (not told or told_from_controls(one, methods))]
    chance = max((one.merit for one in methods if one.control), default=0.0)
    best = max((one.merit for one in own), default=0.0)
    if best <= max(chance, 0.0):
        return []
    close = [one for one in own if one.merit >= best - AS_GOOD]
    # Rounded as in the table, so that a difference by rounding chooses no method.
    return sorted(close, key=lambda one: (one.passes, -round(one.merit, 2), -round(one.value(QUARTER) or 0.0, 2), one.label))


def recommended(methods: Sequence[MethodTrust]) -> MethodTrust | None:
    """The cheapest of the good methods that are told from the controls; None if there is none."""
    return next(iter(good(methods, told=True)), None)


def recommendation(methods: Sequence[MethodTrust]) -> str:
    chosen, tried = recommended(methods), good(methods, told=False)
    if not any(FOUND in one.found for one in methods):
        return "No method is recommended, since no patch was planted that decides (--check patch)."
    if chosen is None and tried:
        first = tried[0].found[FOUND]
        patches = count(first.n, "planted patch", "planted patches")
        return (
            f"No method is recommended: with {patches} none is told from the controls. Give more photos; the first to try is "
            f"{tried[0].label}, which finds {percent(first)}."
        )
    if chosen is None and all(one.value(FOUND) is None for one in methods if FOUND in one.found):
        return "No method is recommended: one planted patch tells none from the controls. Give more photos."
    if chosen is None:
        return "No method is recommended: none is shown to find what was planted."
    return (
        f"Recommended: {chosen.label}. By patches found less false alarms it is about as good as the best, and the cheapest such "
        f"method ({chosen.cost})."
    )


def badge(methods: Sequence[MethodTrust], model: str, photos: int, stamp: str) -> str:
    """The certificate in one line."""
    chosen, tried = recommended(methods), good(methods, told=False)
    about = f"{model}, {count(photos, 'photo')}, {stamp[:8]}"
    if not any(FOUND in one.found for one in methods):
        return f"trust: no patch was planted ({about})"
    if chosen is None and (tried or all(one.value(FOUND) is None for one in methods if FOUND in one.found)):
        return f"trust: too few planted patches to recommend a method ({about})"
    if chosen is None:
        return f"trust: no method found what was planted ({about})"
    alarm = chosen.found.get(ALARM)
    alarms = "" if alarm is None or alarm.value is None else f", {100 * alarm.value:.0f} % false alarms"
    return f"trust: {chosen.label} finds {100 * (chosen.value(FOUND) or 0):.0f} % of planted patches{alarms} ({about})"


def as_record(one: MethodTrust) -> dict[str, Any]:
    """A method's numbers in plain types."""
    return {
        "method": one.label,
        "control": one.control,
        "passes": one.passes,
        "properties": {
            name: {"value": found.value, "low": found.low, "high": found.high, "n": found.n, "of": found.of}
            for name, found in one.found.items()
        },
    }
