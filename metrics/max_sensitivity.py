"""Max-sensitivity (Yeh et al., On the (in)fidelity and sensitivity of explanations, 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from xaicli.float64 import in_float64
from xaicli.metric import MAGNITUDES, Direction, Metric, Needs, Scores, ValueKind, param
from xaicli.passes.seeds import stream
from xaicli.scoring.case import Case


@dataclass(frozen=True, kw_only=True)
class MaxSensitivity(Metric):
    """Largest relative change of the map under small noise on the photo.

    `max over draws of |S(x + d) - S(x)| / |S(x)|`: Euclidean norms of the map S at its own resolution; d is uniform within
    `radius` of each pixel's colour, drawn from the photo's seed. The same target is explained, under the method's own seed. 0
    or above, lower is better. The read-out `decided` says how often the model still assigned the noisy photo to the target.

    `xai score photos/ --method grad-cam --metric max-sensitivity`
    """

    name = "max-sensitivity"
    direction = Direction.LOWER
    range = (0.0, float("inf"))
    kind = ValueKind.SKEWED
    needs = Needs.FORWARD
    needs_explain = True
    signs = MAGNITUDES
    readouts = {
        "mean": "mean over the draws instead of the largest",
        "decided": "share of the noisy photos that the model still assigns to the target",
    }
    paper = "Yeh et al.: On the (in)fidelity and sensitivity of explanations, NeurIPS 2019, section 5.1, arXiv 1901.09392"

    draws: int = param(10, "noisy photos", ge=1, le=100_000)
    radius: float = param(0.02, "largest change of a colour in 0..1", gt=0, le=1)

    def score(self, case: Case) -> Scores:
        photos = torch.stack([case.photo(item) for item in range(len(case))])
        # Colours are in 0..1 before normalisation, which divides them, and their changes, by the standard deviation.
        view = case.classifier.view
        scale = torch.tensor(view.std, device=case.device).view(-1, 1, 1) / view.scale
        size = in_float64(case.maps).flatten(1).norm(dim=1)
        changes, decided = [], []
        for draw in range(self.draws):
            noise = np.stack(
                [stream(seed, "max-sensitivity", draw).random(photos.shape[1:], dtype=np.float32) for seed in case.seeds]
            )
            moved = photos + (2 * torch.from_numpy(noise).to(photos) - 1) * self.radius / scale
            maps, logits = case.explain(inputs=moved)
            changes.append((in_float64(maps) - in_float64(case.maps)).flatten(1).norm(dim=1) / size)
            decided.append(in_float64(case.decided(logits)))
        ratios = torch.stack(changes)
        return Scores(ratios.amax(dim=0), {"mean": ratios.mean(dim=0), "decided": torch.stack(decided).mean(dim=0)})
