"""Pulls: drawing baselines from chosen arms, the maps from them, and how a metric scores these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xaicli.judge import Judge, Scoring
from xaicli.methods.bee.arms import Arm, NoiseScale, draw
from xaicli.methods.bee.bandit import Beliefs, Numbers, chance_of_winning, is_better
from xaicli.methods.bee.path_integral import Integrand, path_maps
from xaicli.network.suffix import Suffix
from xaicli.passes.seeds import stream
from xaicli.passes.upsampling import upsample
from xaicli.targets import Resolved


@dataclass(frozen=True, kw_only=True)
class PathRule:
    """How a baseline becomes a map."""

    integrand: Integrand
    steps: int
    noise: NoiseScale
    limit: int | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """One photo and target: what a pull is about.

    rests: what follows each layer; chosen: the target, (1, 1); bank: features of other photos at the only layer, or None; seed,
    name: of the random numbers.
    """

    rests: Sequence[Suffix]
    chosen: Resolved
    scoring: Scoring
    rule: PathRule
    bank: Tensor | None
    seed: int
    name: str

    @property
    def features(self) -> Tensor:
        """The photo's features (K, h, w) at the first layer."""
        return self.rests[0].layer.to_grid(self.rests[0].activation)[0]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the maps: those of the finest layer."""
        grids = [tuple(rest.layer.to_grid(rest.activation).shape[2:]) for rest in self.rests]
        return max(grid[0] for grid in grids), max(grid[1] for grid in grids)

    def random(self, purpose: str, pull: int) -> np.random.Generator:
        return stream(self.seed, f"{self.name} {purpose}", pull)

    def maps(self, arms: Sequence[Arm], first: int) -> Tensor:
        """Maps (P, L, h, w) of P pulls, numbered from `first` on, at each of L layers."""
        found = []
        for at, rest in enumerate(self.rests):
            features, rule = rest.layer.to_grid(rest.activation)[0].float(), self.rule
            streams = [self.random(f"baseline {at}", first + number) for number in range(len(arms))]
            baselines = [draw(arm, features, own, rule.noise, self.bank) for arm, own in zip(arms, streams, strict=True)]
            maps = path_maps(rest, self.chosen, torch.stack(baselines), rule.integrand, rule.steps, rule.limit)
            found.append(upsample(maps, self.grid))
        return torch.stack(found, dim=1)

    def scores(self, maps: Tensor) -> Numbers:
        """Scores (P, L) of maps (P, L, h, w), all in one queue; NaN where there is none."""
        return np.array(self.scoring(maps.flatten(0, 1))).reshape(maps.shape[:2])


@dataclass(frozen=True, eq=False)
class Found:
    """The best map (h, w) of all pulls, its score (NaN if no map had one), arm, layer and pull; the beliefs afterwards; and all
    maps (T, L, h, w), their scores (T, L) and arms (T,)."""

    best: Tensor
    score: float
    arm: int
    layer: int
    pull: int
    beliefs: Beliefs
    maps: Tensor
    scores: Numbers
    arms: list[int]


def explore(
    question: Question,
    judge: Judge,
    beliefs: Beliefs,
    context: Numbers,
    arms: Sequence[Arm],
    pulls: int,
    at_once: int,
    update: bool,
) -> Found:
    """Pull `pulls` times, `at_once` at a time by the same beliefs, which then learn from each, if `update` says so.

    The best of more pulls is never worse: a pull depends only on those before it. A pull wins by its rank among all of the photo.
    """
    maps: list[Tensor] = []
    scores: list[Numbers] = []
    chosen: list[int] = []
    for first in range(0, pulls, at_once):
        count = min(at_once, pulls - first)
        now = [beliefs.sample(context, question.random("arm", first + number)) for number in range(count)]
        maps.append(question.maps([arms[arm] for arm in now], first))
        scores.append(question.scores(maps[-1]))
        chosen += now
        seen = [best_of(row, judge) for row in np.concatenate(scores)]
        for number, arm in enumerate(now if update else ()):
            chance = chance_of_winning(seen[first + number], seen, higher=judge.higher, binary=judge.binary)
            won = question.random("win", first + number).random() < chance
            beliefs = beliefs.updated(arm, context, won)
    return chosen_best(torch.cat(maps), np.concatenate(scores), chosen, beliefs, judge)


def best_of(scores: Numbers, judge: Judge) -> float:
    """The best of a pull's scores, one a layer; NaN without one."""
    known = [float(score) for score in scores if not np.isnan(score)]
    return float("nan") if not known else max(known) if judge.higher else min(known)


def chosen_best(maps: Tensor, scores: Numbers, arms: list[int], beliefs: Beliefs, judge: Judge) -> Found:
    """The first of the best; the first map of all if none has a score."""
    pull, layer, score = 0, 0, float(scores[0, 0])
    for at in np.ndindex(*scores.shape):
        if is_better(float(scores[at]), score, higher=judge.higher):
            pull, layer, score = at[0], at[1], float(scores[at])
    return Found(maps[pull, layer], score, arms[pull], layer, pull, beliefs, maps, scores, arms)
