"""Average drop, increase in confidence (Chattopadhay et al., Grad-CAM++, 2018) and average gain (Zhang et al., Opti-CAM,
2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.float64 import in_float64
from xaicli.metric import MAGNITUDES, Direction, Measuring, Metric, Needs, Scores, ValueKind, param
from xaicli.passes.upsampling import unit_range, upsample
from xaicli.scoring.case import Case
from xaicli.scoring.copies import blended
from xaicli.scoring.ranking import ranks

PERCENT = 100.0


@dataclass(frozen=True, kw_only=True)
class KeptPart(Metric):
    """The common part of average drop, increase in confidence and average gain: one pass of the photo times its map."""

    area: int = param(100, "percent of the pixels that the mask keeps, the most salient ones", ge=1, le=100)
    mask: Literal["soft", "binary"] = param("soft", "kept pixels times their saliency, as published, or times 1")

    needs = Needs.FORWARD
    needs_probability = True
    of_frames = True
    signs = MAGNITUDES
    range = (0.0, PERCENT)
    unit = "%"
    readouts = {
        "p0": "probability of the target on the clean photo",
        "p_kept": "probability of the target on the masked photo",
        "mass": "mean of the mask, 0 to 1: a mask of ones has no drop",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask == "binary" and self.area == PERCENT:
            raise UsageError(f"{self.name}: a binary mask of area 100 keeps all", hint=f"Try {self.name}@area=50@mask=binary.")

    def passes(self, size: tuple[int, int]) -> float:
        return 1.0

    def masks(self, case: Case) -> Tensor:
        """Masks (N, H, W), of sequences (N, F, H, W), 0 to 1: the native map scaled to 0..1, then upsampled, then cut to its
        largest values."""
        soft = upsample(unit_range(case.maps), case.places)
        if self.area < PERCENT:
            # Ranked after scaling, so that ties are those of the mask even for a map too flat for float32 to scale.
            kept = ranks(soft, case.seeds) < self.kept(soft[0].numel())
            return kept.float() if self.mask == "binary" else soft * kept
        return soft

    def kept(self, pixels: int) -> int:
        """How many pixels the mask keeps."""
        return pixels - pixels * (100 - self.area) // 100

    def probabilities(self, case: Case) -> Measuring:
        """Run each photo times its mask, black where the mask is 0; one copy serves all metrics of this kind."""
        masks = self.masks(case)
        copies = [
            blended(
                item,
                masks[item : item + 1],
                case.photo(item),
                case.baseline(item, "black"),
                shared=("kept", case.label, case.classes[item], case.against[item], self.area, self.mask),
            )
            for item in range(len(case))
        ]
        outcomes = yield copies
        before, after = in_float64(case.clean.probability), in_float64(outcomes.probability)
        readouts = {"p0": before, "p_kept": after, "mass": in_float64(masks).flatten(1).mean(dim=1)}
        return Scores(PERCENT * self.term(before, after), readouts)

    def term(self, before: Tensor, after: Tensor) -> Tensor:
        """The share that one photo adds, 0 to 1."""
        raise TypeError(f"{type(self).__name__} has no term")

    def score(self, case: Case) -> Measuring:
        return self.probabilities(case)


@dataclass(frozen=True, kw_only=True)
class AverageDrop(KeptPart):
    """Probability lost when only the salient part of the photo is kept, in percent of what it was.

    `100 max(0, p - o) / p`: p is the target's probability on the photo x, o on `x * M`, black where the mask M is 0. M (H, W)
    is the map, scaled to 0..1 at its own resolution and upsampled. With `area=N` only its largest N percent are kept, equal
    values in the photo's random order; with `mask=binary` these count 1. 0 to 100, lower is better. The mean over photos is the
    published figure. Soft masks reward mere brightness (a mask of ones has no drop), so compare methods with `mask=binary`.

    `xai score photos/ --method grad-cam --metric average-drop@area=50@mask=binary`
    """

    name = "average-drop"
    aliases = ("ad",)
    direction = Direction.LOWER
    paper = "Chattopadhay et al.: Grad-CAM++, WACV 2018, section 4.1, arXiv 1710.11063"

    def term(self, before: Tensor, after: Tensor) -> Tensor:
        return torch.where(before > 0, (before - after).clamp_min(0) / before, 0)


@dataclass(frozen=True, kw_only=True)
class IncreaseInConfidence(KeptPart):
    """Whether probability rises when only the salient part is kept: 100 or 0.

    `100 if o > p else 0`; p, o and the mask are those of `average-drop`. The mean over photos is the published percentage.
    Higher is better.

    `xai score photos/ --method grad-cam --metric increase-in-confidence@area=50@mask=binary`
    """

    name = "increase-in-confidence"
    aliases = ("ic",)
    direction = Direction.HIGHER
    kind = ValueKind.BINARY
    paper = "Chattopadhay et al.: Grad-CAM++, WACV 2018, section 4.1, arXiv 1710.11063"

    def term(self, before: Tensor, after: Tensor) -> Tensor:
        return in_float64(after > before)


@dataclass(frozen=True, kw_only=True)
class AverageGain(KeptPart):
    """Probability gained when only the salient part is kept, in percent of what was open.

    `100 max(0, o - p) / (1 - p)`, 0 where p is 1; p, o and the mask are those of `average-drop`. 0 to 100, higher is better.

    `xai score photos/ --method grad-cam --metric average-gain@area=50@mask=binary`
    """

    name = "average-gain"
    aliases = ("ag",)
    direction = Direction.HIGHER
    paper = "Zhang et al.: Opti-CAM, 2023, section 4.2, arXiv 2301.07002"

    def term(self, before: Tensor, after: Tensor) -> Tensor:
        return torch.where(before < 1, (after - before).clamp_min(0) / (1 - before), 0)
