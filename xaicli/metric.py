"""The interface that a metric implements.

A metric is a frozen dataclass: its fields are its parameters. It declares which way is better, its range, what it needs beside
the maps, and which signs of maps mean something to it; `score` turns a `Case` (maps and all that may be read beside them) into
`Scores`. A metric never sees a constant or non-finite map, nor a photo without the ground truth it asks for: those keep a status
and get no score.

A metric that passes changed copies of photos through the model writes its `score` as a generator: it yields the copies it wants
and is sent what the model made of them. So the copies of all metrics, methods and photos that are scored together run in one
queue, and what they share is passed once.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from xaicli.containment import contain_members
from xaicli.needs import Needs
from xaicli.params import Definition, param
from xaicli.sign import Sign

if TYPE_CHECKING:
    from torch import Tensor

    from xaicli.scoring.case import Case
    from xaicli.scoring.copies import Copies, Outcomes

__all__ = ["Direction", "Measuring", "Metric", "Needs", "Quantity", "Ratio", "Scores", "Sign", "ValueKind", "param"]

NOTHING = Needs(0)
ANY_SIGN = frozenset(Sign)
MAGNITUDES = frozenset({Sign.SIGNED, Sign.NONNEGATIVE})
"""Signs of maps whose values mean more than their order."""

VALUES = "values"
"""Outputs that are quantities (`xaicli.outputs`, which imports torch)."""
CONSTANT = "constant"
NON_FINITE = "non-finite"
NO_TRUTH = "no-truth"
"""Nobody annotated this photo, or nobody marked the target in it."""
EMPTY_TRUTH = "empty-truth"
"""The target is marked, but outside what the model sees of the photo."""
UNDEFINED = "undefined"
"""The metric has no value here, by its own definition."""


class Direction(enum.Enum):
    """Which way a metric is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class ValueKind(enum.Enum):
    """How a metric's values lie over photos, which decides what interval their mean gets.

    BINARY: one of two values, the ends of the range. CONTINUOUS: any value in between. SKEWED: from 0 without an upper end, so
    that a few photos may lie far above the rest.
    """

    BINARY = "binary"
    CONTINUOUS = "continuous"
    SKEWED = "skewed"


@dataclass(frozen=True)
class Quantity:
    """What a mean is of: values of one kind, none below `low` and none above `high`."""

    kind: ValueKind = ValueKind.CONTINUOUS
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, eq=False)
class Scores:
    """What `score` returns for N maps.

    values: (N,), not finite where the metric is undefined; readouts: further (N,) numbers by name, columns of the same row;
    curve: the places (K,), as fractions, and the values (N, K) there, where a curve lies under the number.
    """

    values: Tensor
    readouts: dict[str, Tensor] = field(default_factory=dict)
    curve: tuple[Tensor, Tensor] | None = None


Measuring: TypeAlias = "Generator[Sequence[Copies], Outcomes, Scores]"
"""A `score` under way: it yields copies to be passed and is sent their outcomes."""


@dataclass(frozen=True)
class Ratio:
    """A read-out whose mean over photos is a ratio of means, never a mean of ratios.

    Both parts are columns of the row, `value` among them, the second of a pair subtracted from the first: the mean of
    `above` over the mean of `below`.
    """

    above: tuple[str, str]
    below: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Metric(Definition):
    """Base class of all metrics."""

    needs: ClassVar[Needs] = NOTHING
    """What it needs of the classifier, in the words of methods; `NOTHING` where the map alone is read."""
    needs_truth: ClassVar[bool] = False
    needs_probability: ClassVar[bool] = False
    """True where the number means nothing unless the model's outputs are probabilities: a model of values is refused."""
    follows_output: ClassVar[bool] = False
    """True where the number is in units of the target's probability, and so of the value itself where the outputs are values."""
    needs_explain: ClassVar[bool] = False
    """True where the method must explain again: such a metric cannot score maps that another program wrote."""
    signs: ClassVar[frozenset[Sign]] = ANY_SIGN
    readouts: ClassVar[dict[str, str]] = {}
    """Names of the read-outs and what they are."""
    ratios: ClassVar[dict[str, Ratio]] = {}
    """Read-outs that tables must not average row by row."""
    unit: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        """Put `contained` around what a metric defines; `score` is contained where it runs, step by step."""
        super().__init_subclass__(**options)
        contain_members(cls, ("direction", "range", "passes", "needs_class_map"), "metric")

    @property
    def direction(self) -> Direction:
        """Which way is better."""
        raise TypeError(f"{type(self).__name__} declares no direction")

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value there can be; infinite where a metric declares none."""
        return -math.inf, math.inf

    @property
    def kind(self) -> ValueKind:
        """How values lie over photos."""
        return ValueKind.CONTINUOUS

    @property
    def quantity(self) -> Quantity:
        """What a mean over photos is a mean of."""
        return Quantity(self.kind, *self.range)

    def is_of_value(self, outputs: str) -> bool:
        """Whether scores of a model with outputs of that kind (`softmax`, `values`, ...) are in units of its own values."""
        return self.follows_output and outputs == VALUES

    def quantity_of(self, outputs: str) -> Quantity:
        """What a mean over photos is a mean of, by the kind of the model's outputs: values have no ends that are known."""
        return Quantity(self.kind) if self.is_of_value(outputs) else self.quantity

    @property
    def needs_class_map(self) -> bool:
        """Whether the number is of where classes are predicted: a model that gives no class map is refused."""
        return False

    @property
    def of_map_alone(self) -> bool:
        """Whether neither the photo nor the model is read: another photo's map is then as good as its own."""
        return not (self.needs or self.needs_truth or self.needs_explain)

    def passes(self, size: tuple[int, int]) -> float:
        """Forward passes a map, beside the clean photo's, at an input of that height and width."""
        return 0.0

    def score(self, case: Case) -> Scores | Measuring:
        """Scores of N maps; a generator where changed copies of the photos must be passed through the model."""
        raise TypeError(f"{type(self).__name__} has no score()")
