"""Cascading parameter randomisation (Adebayo et al., Sanity checks for saliency maps, 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.metric import MAGNITUDES, Direction, Metric, Needs, Scores, param
from xaicli.metrics.randomization.randomised import parameters_top_down, randomiser
from xaicli.passes.upsampling import unit_range, upsample
from xaicli.scoring.case import Case
from xaicli.scoring.similarity import spearman, ssim


@dataclass(frozen=True, kw_only=True)
class Randomization(Metric):
    """Rank correlation with maps of the network as its weights turn random.

    `mean over stages of spearman(|map|, |map of the randomised network|)`, -1 to 1. The modules that hold weights are
    randomised one after the other, the last to run first, in `stages` steps until none is as it was; after each step the method
    explains the same photo and target again. A map that stays the same whatever the weights explains the photo, not the
    network: lower is better. Random weights are normal numbers of the same mean and spread, the same for every photo. A map
    that turns constant or is not finite counts as 0. Afterwards the network is bit for bit what it was.

    `xai score photos/ --method grad-cam --metric randomization`
    """

    name = "randomization"
    aliases = ("mprt", "sanity-check")
    direction = Direction.LOWER
    range = (-1.0, 1.0)
    needs = Needs.FORWARD | Needs.GRADIENTS
    needs_explain = True
    signs = MAGNITUDES
    readouts = {
        "ssim": "mean structural similarity of the absolute maps, each scaled to 0..1",
        "last": "rank correlation when all weights are random",
    }
    paper = "Adebayo et al.: Sanity checks for saliency maps, NeurIPS 2018, section 3.1, arXiv 1810.03292"

    stages: int = param(8, "steps from the trained to the random network; fewer where it has fewer modules", ge=1, le=1000)
    seed: int = param(0, "of the random weights", ge=0)

    def score(self, case: Case) -> Scores:
        module = case.classifier.torch_module
        layers = parameters_top_down(module, case.classifier.trace.begun)
        count = min(self.stages, len(layers))
        pictures = unit_range(upsample(case.maps.abs(), case.size))
        ranks: list[Tensor] = []
        looks: list[Tensor] = []
        with randomiser(module, self.seed) as weights:
            for stage in range(count):
                for names in layers[stage * len(layers) // count : (stage + 1) * len(layers) // count]:
                    weights.randomise(names)
                maps = case.explain()[0].abs()
                ranks.append(spearman(case.maps.abs(), maps).nan_to_num(0.0))
                again = unit_range(upsample(maps, case.size).nan_to_num(0.0))
                looks.append(ssim(pictures, again))
        correlations = torch.stack(ranks, dim=1)
        readouts = {"ssim": torch.stack(looks, dim=1).mean(dim=1), "last": correlations[:, -1]}
        places = torch.arange(count + 1, dtype=torch.float64) / count
        curve = torch.cat([torch.ones(len(case), 1, dtype=torch.float64), correlations], dim=1)
        return Scores(correlations.mean(dim=1), readouts, (places, curve))
