"""Normalised scanpath saliency: how high a map is where people looked."""

from __future__ import annotations

from dataclasses import dataclass

from xaicli.float64 import in_float64
from xaicli.metric import MAGNITUDES, Direction, Metric, Scores
from xaicli.scoring.case import Case


@dataclass(frozen=True, kw_only=True)
class ScanpathSaliency(Metric):
    """Mean of the map where people looked, in standard deviations above its mean (NSS).

    `mean over marked pixels of (map - mean(map)) / std(map)`, on the upsampled map (H, W), with the standard deviation of all its
    pixels (divided by their number). 0 is chance; higher is better. Marked are the fixations of observers, as pixels of a mask,
    or an object. The width of a map's blobs matters: compare methods of equal smoothness.

    `xai score photos/ --method fovex --metric nss --truth fixations/`
    """

    name = "nss"
    direction = Direction.HIGHER
    needs_truth = True
    signs = MAGNITUDES
    readouts = {"area": "share of the model's view that is marked"}
    paper = "Peters, Iyer, Itti and Koch: Components of bottom-up gaze allocation in natural images, Vision Research 45, 2005"

    def score(self, case: Case) -> Scores:
        maps = in_float64(case.upsampled).flatten(1)
        marked = in_float64(case.truth).flatten(1).to(maps.device)
        inside = (maps * marked).sum(dim=1) / marked.sum(dim=1)
        spread = maps.std(dim=1, correction=0)
        return Scores((inside - maps.mean(dim=1)) / spread, {"area": marked.mean(dim=1)})
