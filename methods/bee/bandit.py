"""The contextual bandit: beliefs about which arm wins on a photo (Chapelle and Li, 2011), and what counts as a win."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

NEWTON = 25
"""Steps of the update; a handful suffice."""
SAME = 1e-6
"""Scores that are nearer than this count as equal, so that rounding decides nothing."""


@dataclass(frozen=True, eq=False)
class Beliefs:
    """For each of A arms a Gaussian belief about its weights, with independent entries: means and precisions (A, d).

    The model of a win is `P(r = +1 | context c, arm) = sigmoid(w . c)`.
    """

    means: Numbers
    precisions: Numbers

    @classmethod
    def prior(cls, arms: int, dimension: int, precision: float) -> Beliefs:
        return cls(np.zeros((arms, dimension)), np.full((arms, dimension), float(precision)))

    def of(self, arms: Sequence[int]) -> Beliefs:
        """Those about some arms alone."""
        return Beliefs(self.means[list(arms)], self.precisions[list(arms)])

    def scores(self, context: Numbers) -> tuple[Numbers, Numbers]:
        """Mean and standard deviation (A,) of `w . c`."""
        return self.means @ context, np.sqrt((1 / self.precisions) @ context**2)

    def sample(self, context: Numbers, random: Generator) -> int:
        """The arm to pull, by Thompson sampling: the best under weights drawn from the beliefs."""
        drawn = self.means + random.standard_normal(self.means.shape) / np.sqrt(self.precisions)
        return int(np.argmax(drawn @ context))

    def updated(self, arm: int, context: Numbers, won: bool) -> Beliefs:
        """The beliefs after a pull of an arm: the posterior's mode, and its curvature there (diagonal Laplace approximation)."""
        precision, sign = self.precisions[arm], 1.0 if won else -1.0
        # The mode lies on the line m + a C^-1 c, so that Newton's method is in one dimension: a = r sigmoid(-r c . w).
        start, slope = float(self.means[arm] @ context), float((context**2 / precision).sum())
        along = 0.0
        for _ in range(NEWTON):
            lost = sigmoid(-sign * (start + along * slope))
            along -= (along - sign * lost) / (1 + slope * lost * (1 - lost))
        weights = self.means[arm] + along * context / precision
        chance = sigmoid(float(weights @ context))
        means, precisions = self.means.copy(), self.precisions.copy()
        means[arm], precisions[arm] = weights, precision + context**2 * chance * (1 - chance)
        return Beliefs(means, precisions)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def chance_of_winning(score: float, seen: Sequence[float], *, higher: bool, binary: bool) -> float:
    """The probability that a score counts as a win: its rank among those seen, itself included, from 0 to 1, 1 for the first; for
    a metric that passes or fails, 1 or 0. 0 without a score."""
    if math.isnan(score):
        return 0.0
    if binary:
        return float(score > 0) if higher else float(score <= 0)
    known = [other for other in seen if not math.isnan(other)]
    worse = sum(other < score - SAME if higher else other > score + SAME for other in known)
    return worse / (len(known) - 1) if len(known) > 1 else 1.0


def is_better(score: float, than: float, *, higher: bool) -> bool:
    """Whether a score beats the best so far; any score beats none."""
    if math.isnan(score) or math.isnan(than):
        return not math.isnan(score)
    return score > than + SAME if higher else score < than - SAME
