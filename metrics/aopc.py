"""Area over the perturbation curve (Samek et al., 2017), also called pixel flipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.float64 import in_float64
from xaicli.metric import Direction, Measuring, Metric, Needs, Scores, param
from xaicli.scoring.case import Case
from xaicli.scoring.copies import replaced
from xaicli.scoring.ranking import ranks
from xaicli.scoring.removal import SCORE_BASELINE_HELP, ScoreBaseline


@dataclass(frozen=True, kw_only=True)
class AOPC(Metric):
    """Mean loss while the most salient regions are replaced one after the other.

    `mean over k = 0..K of (f(x) - f(x_k))`: f is the target's probability, x_k the photo with its k most salient regions
    replaced, K is `regions`. The view is cut into squares of `region` pixels, ordered by the mean of the map over them; equal
    ones go in the photo's random order. -1 to 1, higher is better. As published: squares of 9 pixels, 100 of them, uniform
    noise. A view of fewer regions has a shorter curve. Unlike `deletion`, AOPC stops early and counts from the photo down.

    `xai score photos/ --method grad-cam --metric aopc`
    """

    name = "aopc"
    aliases = ("pixel-flipping",)
    direction = Direction.HIGHER
    needs = Needs.FORWARD
    follows_output = True
    readouts = {
        "p0": "probability of the target on the clean photo",
        "tied": "share of pixels whose saliency another pixel has too",
    }
    paper = "Samek et al.: Evaluating the visualization of what a deep neural network has learned, TNNLS 2017, arXiv 1509.06321"

    region: int = param(9, "side of a region in pixels", ge=1, le=10_000)
    regions: int = param(100, "regions that are replaced", ge=1, le=1_000_000)
    baseline: ScoreBaseline = param("noise", f"what replaces a region: {SCORE_BASELINE_HELP}")
    output: Literal["probability", "logit"] = param("probability", "what is lost")

    @property
    def range(self) -> tuple[float, float]:
        return (-1.0, 1.0) if self.output == "probability" else (-float("inf"), float("inf"))

    def passes(self, size: tuple[int, int]) -> float:
        return float(self.steps(size))

    def steps(self, size: tuple[int, int]) -> int:
        down, across = (-(-length // self.region) for length in size)
        return min(self.regions, down * across)

    def score(self, case: Case) -> Measuring:
        orders = self.region_ranks(case)
        steps = self.steps(case.size)
        counts = torch.arange(1, steps + 1, dtype=torch.int32, device=case.device)
        outcomes = yield [
            replaced(item, orders[item], counts, case.baseline(item, self.baseline), case.photo(item))
            for item in range(len(case))
        ]
        first = in_float64(getattr(case.clean, self.output)[:, None])
        outputs = torch.cat([first, in_float64(getattr(outcomes.view(len(case), steps), self.output))], dim=1)
        places = torch.arange(steps + 1, dtype=torch.float64) / steps
        readouts = {"p0": in_float64(case.clean.probability), "tied": case.tied}
        return Scores((first - outputs).mean(dim=1), readouts, (places, outputs))

    def region_ranks(self, case: Case) -> Tensor:
        """The rank of each pixel's region in descending order: (N, H, W) int32."""
        height, width = case.size
        down, right = (-length % self.region for length in case.size)
        # The last region of a row or column may be smaller: means are over its actual pixels.
        padded = functional.pad(in_float64(case.upsampled), (0, right, 0, down))
        present = functional.pad(torch.ones(1, height, width, dtype=torch.float64, device=padded.device), (0, right, 0, down))
        means = functional.avg_pool2d(padded, self.region) / functional.avg_pool2d(present, self.region)
        order = ranks(means.float().to(case.device), case.seeds)
        return order.repeat_interleave(self.region, 1).repeat_interleave(self.region, 2)[:, :height, :width].contiguous()
