"""The interface that a metric implements.

A metric is a frozen dataclass: its fields are its parameters. It declares which way is better, its range, what it needs beside
the maps, and which signs of maps mean something to it; `score` turns a `Case` (maps and all that may be read beside them) into
`Scores`. A metric never sees a constant or non-finite map, nor a photo without the ground truth it asks for: those keep a status
and get no score.

A metric that runs altered copies of photos through the model writes its `score` as a generator: it yields the copies and is sent
their outcomes. So the copies of all metrics and methods that are scored together run in one queue, and shared copies run once.
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

    from xaicli.network.classifier import Classifier
    from xaicli.scoring.case import Case
    from xaicli.scoring.copies import Copies, Outcomes

__all__ = ["Direction", "Measuring", "Metric", "Needs", "Quantity", "Ratio", "Scores", "Sign", "ValueKind", "param"]

NOTHING = Needs(0)
ANY_SIGN = frozenset(Sign)
MAGNITUDES = frozenset({Sign.SIGNED, Sign.NONNEGATIVE})
"""Signs of maps whose values have a meaning beyond their order."""

VALUES = "values"
"""Outputs that are quantities (`xaicli.outputs`, which imports torch)."""
CONSTANT = "constant"
NON_FINITE = "non-finite"
NO_TRUTH = "no-truth"
"""This photo is not annotated, or the target is not marked in it."""
EMPTY_TRUTH = "empty-truth"
"""The target is marked, but outside the part that the model sees."""
UNDEFINED = "undefined"
"""The metric has no value here, by its own definition."""


class Direction(enum.Enum):
    """Which way a metric is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class ValueKind(enum.Enum):
    """How a metric's values are distributed over photos, which decides the interval of their mean.

    BINARY: one of two values, the ends of the range. CONTINUOUS: any value in between. SKEWED: from 0 without an upper limit, so
    that a few photos may lie far above the rest.
    """

    BINARY = "binary"
    CONTINUOUS = "continuous"
    SKEWED = "skewed"


@dataclass(frozen=True)
class Quantity:
    """The values over which a mean is taken: of one kind, between `low` and `high`."""

    kind: ValueKind = ValueKind.CONTINUOUS
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, eq=False)
class Scores:
    """What `score` returns for N maps.

    values: (N,), not finite where the metric is undefined; readouts: further (N,) numbers by name, columns of the same row;
    curve: x (K,), as fractions, and the values (N, K) there, if the score comes from a curve.
    """

    values: Tensor
    readouts: dict[str, Tensor] = field(default_factory=dict)
    curve: tuple[Tensor, Tensor] | None = None


Measuring: TypeAlias = "Generator[Sequence[Copies], Outcomes, Scores]"
"""A running `score`: it yields copies to run and is sent their outcomes."""


@dataclass(frozen=True)
class Ratio:
    """A read-out whose mean over photos is a ratio of means, never a mean of ratios.

    It is the mean of `above` divided by the mean of `below`; each names one or two columns of the row (`value` is one), the
    second subtracted from the first.
    """

    above: tuple[str, str]
    below: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Metric(Definition):
    """Base class of all metrics."""

    needs: ClassVar[Needs] = NOTHING
    """What it needs of the classifier, as for methods; `NOTHING` if only the map is read."""
    needs_truth: ClassVar[bool] = False
    needs_probability: ClassVar[bool] = False
    """True if the score makes sense only for probabilities: a model of values is refused."""
    follows_output: ClassVar[bool] = False
    """True where the number is in units of the target's probability, and so of the value itself where the outputs are values."""
    needs_explain: ClassVar[bool] = False
    """True if the method must explain again: such a metric cannot score maps that another program wrote."""
    of_frames: ClassVar[bool] = False
    """True if it also scores maps (t, h, w) of sequences of frames."""
    signs: ClassVar[frozenset[Sign]] = ANY_SIGN
    readouts: ClassVar[dict[str, str]] = {}
    """Names of the read-outs and their meanings."""
    ratios: ClassVar[dict[str, Ratio]] = {}
    """Read-outs that tables must not average row by row."""
    unit: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap what a metric defines in `contained`; `score` is contained where it runs, step by step."""
        super().__init_subclass__(**options)
        contain_members(cls, ("direction", "range", "passes", "needs_class_map", "require"), "metric")

    @property
    def direction(self) -> Direction:
        """Which way is better."""
        raise TypeError(f"{type(self).__name__} declares no direction")

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest possible value; infinite unless a metric declares them."""
        return -math.inf, math.inf

    @property
    def kind(self) -> ValueKind:
        """How values are distributed over photos."""
        return ValueKind.CONTINUOUS

    @property
    def quantity(self) -> Quantity:
        """The quantity whose mean over photos is taken."""
        return Quantity(self.kind, *self.range)

    def is_of_value(self, outputs: str) -> bool:
        """Whether scores of a model with outputs of that kind (`softmax`, `values`, ...) are in units of its own values."""
        return self.follows_output and outputs == VALUES

    def quantity_of(self, outputs: str) -> Quantity:
        """What a mean over photos is a mean of, by the kind of the model's outputs: values have no ends that are known."""
        return Quantity(self.kind) if self.is_of_value(outputs) else self.quantity

    @property
    def needs_class_map(self) -> bool:
        """Whether the score is about where classes are predicted: a model without a class map is refused."""
        return False

    @property
    def of_map_alone(self) -> bool:
        """Whether only the map is read, not the photo or the model: another photo's map then scores as well as its own."""
        return not (self.needs or self.needs_truth or self.needs_explain)

    def require(self, classifier: Classifier) -> None:
        """Raise XaiError, before any work, if the metric cannot score on a classifier although that has all it `needs`."""

    def passes(self, size: tuple[int, int]) -> float:
        """Forward passes per map, besides the clean pass, for an input of that height and width."""
        return 0.0

    def score(self, case: Case) -> Scores | Measuring:
        """Scores of N maps; a generator if altered copies of the photos must run through the model."""
        raise TypeError(f"{type(self).__name__} has no score()")
