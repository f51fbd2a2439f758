"""Which score of the target a method that runs altered copies explains: the logit or the probability."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from xaicli.targets import Resolved

Score = Literal["probability", "logit"]

SCORE_HELP = "what of the target is explained"


def scores_of(chosen: Resolved, logits: Tensor, kind: Score) -> Tensor:
    """Scores (N, T) of logits (N, C): of N photos with their own targets, or of N copies of the one photo of `chosen`."""
    copies = chosen[torch.zeros(len(logits), dtype=torch.int64)] if len(chosen.classes) == 1 else chosen
    return copies.logit(logits) if kind == "logit" else copies.probability(logits)
