"""The score row: one number for one (image, method, target, metric), and the recipe that says how such numbers are made.

Scoring makes rows, the store keeps them, tables and pages read them. A row's key is (definition, subject, seed). A recipe is the
content of the definition stamp, stored once for all rows that share it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xaicli.errors import RunError
from xaicli.metric import Metric, Quantity, ValueKind
from xaicli.params import Definition, as_json
from xaicli.stamps import stamp
from xaicli.words import count

OK = "ok"
COLUMNS = ("image", "method", "target", "metric", "value", "status", "definition", "subject", "seed")
"""The columns of a row in every export; the read-outs of its metric follow as further columns."""
OTHER = "other"
"""The control that is a method's map of another photo."""
PARTNER = "partner"
"""The read-out of the control `other` that names the photo of its map: `partner_number` of that photo's content."""
PARTNER_DIGITS = 12
FITTED = "fitted"
"""The read-out, 1, of a score by the metric to which the map was fitted: it is no independent judgement of the map."""
Direction = Literal["higher", "lower", "neither"]


def partner_number(content: str) -> int:
    """The first 12 hex digits of a content hash as a number, which a float64 holds exactly."""
    return int(content[:PARTNER_DIGITS], 16)


def steps_on_the_ring(photo: str, partner: int) -> int:
    """The distance from a photo to a partner on the ring of content hashes; the nearest is the photo's partner."""
    return (partner - partner_number(photo)) % 16**PARTNER_DIGITS


def fitted_metric(method_content: Mapping[str, Any]) -> str:
    """The name of the metric to which a method, or its base, is fitted (`xaicli.judge`), by its content; empty without one.

    The map that the control `other` borrows was fitted to another photo.
    """
    parameters = method_content.get("parameters")
    if not isinstance(parameters, Mapping) or method_content.get("name") == OTHER:
        return ""
    metric, base = parameters.get("metric"), parameters.get("base")
    if isinstance(metric, Mapping):
        return str(metric.get("name", ""))
    return fitted_metric(base) if isinstance(base, Mapping) else ""


@dataclass(frozen=True)
class Curve:
    """A curve under a score: `x` the fractions of pixels removed or shown, 0 to 1; `y` the probability there. Equal lengths."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or not self.x:
            raise ValueError(f"a curve of {len(self.x)} places and {count(len(self.y), 'value')}")


@dataclass(frozen=True)
class Recipe:
    """How a score is made: the content of a row's definition stamp.

    method, metric: labels; method_content, metric_content: `{"name", "version", "parameters"}` in plain JSON types, as
    `params.as_json` gives them; direction: which way is better; passes: the method's cost per photo in words (`1+1`); ratios: the
    read-outs whose mean is a ratio of means, as `[[above, less], [below, less]]`; kind, lowest, highest: the metric's values
    (`metric.Quantity`); of_map_alone: whether it reads only the map. Labels, and fields after `precision`, are recorded but not
    stamped.
    """

    method: str
    metric: str
    method_content: Mapping[str, Any]
    metric_content: Mapping[str, Any]
    target_rule: str
    precision: str
    direction: Direction = "neither"
    control: bool = False
    passes: str = ""
    unit: str = ""
    ratios: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    kind: str = ValueKind.CONTINUOUS.value
    lowest: float = -math.inf
    highest: float = math.inf
    of_map_alone: bool = False

    @property
    def quantity(self) -> Quantity:
        """The quantity whose mean is taken."""
        return Quantity(ValueKind(self.kind), self.lowest, self.highest)

    @property
    def definition(self) -> str:
        """The stamp of method and metric together: the `definition` of every row made by this recipe."""
        return stamp({**self._method_part(), "metric": dict(self.metric_content)})

    @property
    def method_definition(self) -> str:
        """The stamp of the method alone, by `stamps.definition_stamp`; it is the key of stored maps."""
        return stamp(self._method_part())

    @property
    def fitted(self) -> bool:
        """Whether the map was fitted to this metric, with whatever parameters: the score is then no independent judgement."""
        return bool(self.metric_content.get("name")) and fitted_metric(self.method_content) == self.metric_content.get("name")

    @property
    def has_partner(self) -> bool:
        """Whether the map belongs to another photo, which rows then name."""
        return bool(self.method_content.get("name") == OTHER)

    def _method_part(self) -> dict[str, Any]:
        return {**self.method_content, "target": self.target_rule, "precision": self.precision}

    @classmethod
    def of(
        cls, method: Definition, metric: Metric, target_rule: str, precision: str, *, control: bool = False, passes: str = ""
    ) -> Recipe:
        """The recipe of a method, or a control, and a metric."""
        return cls(
            method=method.label,
            metric=metric.label,
            method_content=as_json(method),
            metric_content=as_json(metric),
            target_rule=target_rule,
            precision=precision,
            control=control,
            passes=passes,
            **recorded_of(metric),
        )


def recorded_of(metric: Metric, outputs: str = "") -> dict[str, Any]:
    """What a recipe records of a metric beside its stamp, in plain JSON types; outputs: the kind of the model's."""
    quantity = metric.quantity_of(outputs)
    return {
        "direction": metric.direction.value,
        "unit": metric.unit,
        "ratios": {name: [list(ratio.above), list(ratio.below)] for name, ratio in metric.ratios.items()},
        "kind": quantity.kind.value,
        "lowest": quantity.low,
        "highest": quantity.high,
        "of_map_alone": metric.of_map_alone,
    }


@dataclass(frozen=True)
class Row:
    """One score.

    image: the path as given; photo: SHA-256 of the content, in hex; frame: of a file that holds several; method, metric: labels;
    target: the resolved target (`281`, `386-340`); value: finite, or None unless the status is `ok`; status: `ok`, `constant`,
    `non-finite` or another word that says why there is no value; definition, subject: the two stamps; model: the model's
    fingerprint; seed: the run's seed; readouts: further finite numbers of that metric by name; control: whether the map is a
    control's; target_name: the target in words, recorded and not stamped.
    """

    image: str
    photo: str
    method: str
    target: str
    metric: str
    value: float | None
    status: str
    definition: str
    subject: str
    seed: int
    model: str
    frame: int = 0
    readouts: Mapping[str, float] = field(default_factory=dict)
    curve: Curve | None = None
    control: bool = False
    target_name: str = ""

    def __post_init__(self) -> None:
        """Raise RunError if value and status contradict each other, or if a number is not finite."""
        if (self.value is None) == (self.status == OK):
            raise self._wrong(f"status {self.status} with value {self.value}", "a value exactly where the status is ok")
        if taken := self.readouts.keys() & COLUMNS:
            raise self._wrong(f'a read-out called "{min(taken)}"', f"a name that no column has ({', '.join(COLUMNS)})")
        numbers = {"value": self.value, **self.readouts}
        for name, number in numbers.items():
            if number is not None and not math.isfinite(number):
                raise self._wrong(f"{name} {number}", "finite numbers, or a status that says why there is none")

    def record(self) -> dict[str, Any]:
        """The row as a flat record, `COLUMNS` and then the read-outs by name, as in a line of JSON or CSV."""
        whole = (PARTNER, FITTED)
        readouts = {name: int(number) if name in whole else number for name, number in sorted(self.readouts.items())}
        return {**{name: getattr(self, name) for name in COLUMNS}, **readouts}

    @property
    def key(self) -> tuple[str, str, int]:
        """The key of a row: definition, subject, seed."""
        return self.definition, self.subject, self.seed

    def _wrong(self, found: str, expected: str) -> RunError:
        return RunError(f"{self.metric} of {self.method} on {self.image} has {found}", expected=expected)


@dataclass(frozen=True)
class Run:
    """The settings of a run, recorded beside its rows and never stamped.

    model: its specification; fingerprint: the model's; layers: the resolved feature layer by method label; versions: of packages;
    command: as typed, without absolute paths and user names. There is no clock time.
    """

    model: str
    fingerprint: str
    device: str = "cpu"
    batch_size: int = 0
    layers: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True)
class KeptMap:
    """A map kept beside the scores, so that a report can draw it: what `Store.add(maps=...)` takes.

    values: (h, w) nested tuples or any array that NumPy reads, kept as float16 and at most 56 a side; box: the part of the
    upright photo that the map covers, (left, top, right, bottom) as fractions of its width and height, outside 0 to 1 where the
    view was padded; region: bool (h, w) over the same part, the region that the target is of, None where it is of none.
    """

    subject: str
    method_definition: str
    method: str
    seed: int
    values: Any
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    signed: bool = False
    region: Any = None
