"""Class sensitivity (Li et al., 2021): whether another class gets another map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from xaicli.float64 import in_float64
from xaicli.metric import Direction, Metric, Needs, Scores, param
from xaicli.scoring.case import Case
from xaicli.scoring.similarity import spearman


@dataclass(frozen=True, kw_only=True)
class ClassSensitivity(Metric):
    """Rank correlation of the maps of two classes of one photo.

    `spearman(map of the target, map of the other class)` at the map's own resolution, -1 to 1. The other class is the one that
    the model finds least likely (`other=last`) or the likeliest one beside the target (`other=second`). A method that shows the
    same whatever the class gives 1: lower is better. A constant map of the other class counts as 0; where the
    photo has a single box, there is no number.

    `xai score photos/ --method grad-cam --metric class-sensitivity`
    """

    name = "class-sensitivity"
    direction = Direction.LOWER
    range = (-1.0, 1.0)
    needs = Needs.FORWARD
    needs_explain = True
    needs_probability = True
    readouts = {"blank": "1 where the other class's map was constant or not finite"}
    paper = "Li et al.: An experimental study of quantitative evaluations on saliency methods, KDD 2021, arXiv 2012.15616"

    other: Literal["last", "second"] = param("last", "the class the target is held against")

    def score(self, case: Case) -> Scores:
        others = []
        for scores, index in zip(case.classifier.outputs.scores(case.logits), case.classes, strict=True):
            order = scores.argsort(descending=True, stable=True)
            order = order[order != index]
            others.append(int(order[-1 if self.other == "last" else 0]) if len(order) else index)
        maps, _ = case.explain(classes=others)
        alike = spearman(case.maps, maps)
        # A photo with one output alone, such as a single box, has nothing to be held against.
        alone = torch.tensor([other == index for other, index in zip(others, case.classes, strict=True)], device=alike.device)
        return Scores(alike.nan_to_num(0.0).masked_fill(alone, torch.nan), {"blank": in_float64(alike.isnan())})
