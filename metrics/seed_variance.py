"""Seed variance: how much of a stochastic method's map is chance."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from xaicli.float64 import in_float64
from xaicli.metric import MAGNITUDES, Direction, Metric, Needs, Scores, ValueKind, param
from xaicli.passes.seeds import stream
from xaicli.scoring.case import Case
from xaicli.scoring.similarity import spearman


@dataclass(frozen=True, kw_only=True)
class SeedVariance(Metric):
    """Relative error that a map has from the method's own random numbers.

    `sqrt(N / S)`: N is the variance between `draws` maps under different seeds, averaged over places; S is the variance over
    places of their mean, less what chance adds to it (N / draws). 0 for a deterministic method, which is not run again; 1 where
    a single map is as much noise as signal. Lower is better. Undefined where no signal is left.

    `xai score photos/ --method rise@n_masks=500 --metric seed-variance`
    """

    name = "seed-variance"
    direction = Direction.LOWER
    range = (0.0, float("inf"))
    kind = ValueKind.SKEWED
    needs = Needs.FORWARD
    needs_explain = True
    signs = MAGNITUDES
    paper = "the relative error of RISE's stopping rule, taken between whole maps; Petsiuk et al., BMVC 2018, arXiv 1806.07421"
    readouts = {"spearman": "mean rank correlation of the map with those of the other draws"}

    draws: int = param(5, "maps, the one that is scored included", ge=2, le=1000)

    def score(self, case: Case) -> Scores:
        if not case.stochastic:
            still = torch.zeros(len(case), dtype=torch.float64)
            return Scores(still, {"spearman": still + 1})
        maps = [case.maps]
        for draw in range(1, self.draws):
            seeds = [int(stream(seed, self.name, draw).integers(2**63)) for seed in case.seeds]
            maps.append(case.explain(seeds=seeds)[0])
        alike = torch.stack([spearman(case.maps, again) for again in maps[1:]]).mean(dim=0)
        values = in_float64(torch.stack(maps)).flatten(2)
        noise = values.var(dim=0).mean(dim=1)
        signal = values.mean(dim=0).var(dim=1, correction=0) - noise / self.draws
        ratio = torch.where(signal > 0, noise / signal, torch.nan)
        return Scores(ratio.sqrt(), {"spearman": alike})
