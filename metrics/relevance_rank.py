"""Relevance rank accuracy and intersection over union: how well a map's highest values cover the object that people marked."""

from __future__ import annotations

from dataclasses import dataclass

from xaicli.float64 import in_float64
from xaicli.metric import MAGNITUDES, Direction, Metric, Scores, param
from xaicli.passes.upsampling import unit_range, upsample
from xaicli.scoring.case import Case


@dataclass(frozen=True, kw_only=True)
class RelevanceRank(Metric):
    """Share of the K most salient pixels on the target, K being its size.

    `|top K pixels of the map and marked region| / K`, on the upsampled map (H, W). 0 to 1, higher is better; 1 exactly where
    every marked pixel outranks every other. Among equal pixels at the K-th place the value is that expected of a random choice.
    The read-out `area` is what a map without any information would get.

    `xai score photos/ --method grad-cam --metric relevance-rank --truth boxes.csv`
    """

    name = "relevance-rank"
    aliases = ("rra",)
    direction = Direction.HIGHER
    range = (0.0, 1.0)
    needs_truth = True
    readouts = {"area": "share of the model's view that the target covers"}
    paper = "Arras, Osman, Samek: CLEVR-XAI, Information Fusion 2022, section 3.2, arXiv 2003.07258"

    def score(self, case: Case) -> Scores:
        values, truth = case.upsampled.flatten(1), case.truth.flatten(1)
        size = truth.sum(dim=1)
        ordered = values.sort(dim=1, descending=True).values
        last = ordered.gather(1, size[:, None] - 1)
        above, equal = values > last, values == last
        open_places = in_float64(size - above.sum(dim=1))
        among = in_float64((equal & truth).sum(dim=1))
        hits = in_float64((above & truth).sum(dim=1)) + open_places * among / in_float64(equal.sum(dim=1))
        return Scores(hits / in_float64(size), {"area": in_float64(truth).mean(dim=1)})


@dataclass(frozen=True, kw_only=True)
class IoU(Metric):
    """Intersection over union of the target and the map above a threshold.

    `|P and R| / |P or R|`: R is the marked region, P the pixels of at least `threshold` in the map, scaled to 0..1 at its own
    resolution and upsampled to (H, W). 0 to 1, higher is better.

    `xai score photos/ --method grad-cam --metric iou --truth boxes.csv`
    """

    name = "iou"
    direction = Direction.HIGHER
    range = (0.0, 1.0)
    needs_truth = True
    signs = MAGNITUDES
    readouts = {
        "precision": "share of the part that lies on the target",
        "recall": "share of the target that the part covers",
    }
    paper = "Zhou et al.: Learning deep features for discriminative localization, CVPR 2016, section 3.2, arXiv 1512.04150"

    threshold: float = param(0.5, "of the map scaled to 0..1", ge=0, le=1)

    def score(self, case: Case) -> Scores:
        part = upsample(unit_range(case.maps), case.size) >= self.threshold
        both = in_float64((part & case.truth).sum(dim=(1, 2)))
        either, found, marked = (in_float64(one.sum(dim=(1, 2))) for one in (part | case.truth, part, case.truth))
        readouts = {"precision": both / found, "recall": both / marked}
        return Scores(both / either, readouts)
