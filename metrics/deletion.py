"""Deletion and insertion (Petsiuk et al., RISE, 2018): the model's probability while pixels are removed, or put back, in the
order of saliency."""

from __future__ import annotations

from dataclasses import dataclass

from xaicli.metric import Direction, Measuring, param
from xaicli.metrics.pixel_curve import PixelCurve
from xaicli.scoring.case import Case
from xaicli.scoring.removal import SCORE_BASELINE_HELP, ScoreBaseline


@dataclass(frozen=True, kw_only=True)
class Deletion(PixelCurve):
    """Area under the probability while the most salient pixels are removed.

    `integral over t in 0..1 of p(t)`: p(t) is the target's probability with the most salient share t of the pixels replaced by
    the baseline. The curve has `steps` equal fractions, both ends included (29 points by default); the area is a trapezoid over
    the true fraction of pixels removed. 0 to 1, lower is better. The class decided on the clean photo stays the target. Equal
    pixels go in one random order per photo, drawn from its seed. `variant=rise` is the authors' own definition: `step` pixels
    at a time (a 28th of them), equal pixels in raster order, points evenly spaced. `output=iou`, for segmentation networks:
    p(t) is the intersection over union of where the class is predicted and where it was on the clean photo, within the region
    unless that is `predicted` (Nguyen et al., XEdgeAI, 2024, there against ground truth). Of a sequence the pixels of all frames
    are ranked together.

    `xai score photos/ --method grad-cam --metric deletion`
    """

    name = "deletion"
    direction = Direction.LOWER

    baseline: ScoreBaseline = param("zero", f"what replaces removed pixels: {SCORE_BASELINE_HELP}")

    def score(self, case: Case) -> Measuring:
        return self.curves(case, self.baseline, insert=False)


@dataclass(frozen=True, kw_only=True)
class Insertion(PixelCurve):
    """Area under the probability while the most salient pixels are put back.

    `integral over t in 0..1 of p(t)`, as `deletion`, but from the baseline to the photo: p(t) is the target's probability with
    the most salient share t of the pixels shown. 0 to 1, higher is better. The default baseline is the photo under a Gaussian
    blur of a sixteenth of its shorter side; that of `variant=rise` is the authors' weaker one, 11 x 11 and nearly flat. Values
    of different baselines cannot be compared. `output=iou` and sequences are as in `deletion`.

    `xai score photos/ --method grad-cam --metric insertion`
    """

    name = "insertion"
    direction = Direction.HIGHER

    baseline: ScoreBaseline = param("blur", f"what the photo is put back onto: {SCORE_BASELINE_HELP}")

    def score(self, case: Case) -> Measuring:
        return self.curves(case, "rise-blur" if self.variant == "rise" else self.baseline, insert=True)
