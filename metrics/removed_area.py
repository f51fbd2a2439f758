"""What is left of the probability when the most salient part of a photo is blurred away."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from xaicli.float64 import in_float64
from xaicli.metric import Direction, Measuring, Metric, Needs, Scores, param
from xaicli.scoring.case import Case
from xaicli.scoring.copies import replaced
from xaicli.scoring.removal import SCORE_BASELINE_HELP, ScoreBaseline


@dataclass(frozen=True, kw_only=True)
class Removal(Metric):
    """Probability of the target left when the most salient tenth of the photo is removed.

    `o = p(x (1 - M) + x' M)`: M (H, W) is 1 on the largest `area` percent of the upsampled map, equal values in the photo's
    random order, and x' the blurred photo (or `baseline`). 0 to 1, lower is better: one point of a deletion curve, for one
    pass. It is what the sentence of `xai explain --text` says.

    `xai score photos/ --method grad-cam --metric removal`
    """

    area: int = param(10, "percent of the pixels that are removed, the most salient ones", ge=1, le=99)
    baseline: ScoreBaseline = param("blur", f"what removed pixels show: {SCORE_BASELINE_HELP}")

    name = "removal"
    needs = Needs.FORWARD
    needs_probability = True
    of_frames = True
    direction = Direction.LOWER
    range = (0.0, 1.0)
    readouts = {"p0": "probability of the target on the clean photo"}
    paper = "a point of the curve of Petsiuk, Das and Saenko: RISE, BMVC 2018, section 4.3, arXiv 1806.07421"

    def passes(self, size: tuple[int, int]) -> float:
        return 1.0

    def score(self, case: Case) -> Measuring:
        removed = torch.tensor([max(1, case.pixels * self.area // 100)], dtype=torch.int32, device=case.device)
        copies = [
            replaced(item, case.ranks[item], removed, case.baseline(item, self.baseline), case.photo(item))
            for item in range(len(case))
        ]
        outcomes = yield copies
        return Scores(in_float64(outcomes.probability), {"p0": in_float64(case.clean.probability)})
