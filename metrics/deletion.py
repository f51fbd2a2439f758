"""Deletion and insertion (Petsiuk et al., RISE, 2018): the model's probability while pixels are removed, or put back, in the
order of saliency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.float64 import in_float64
from xaicli.metric import Direction, Measuring, Metric, Needs, Ratio, Scores, param
from xaicli.scoring.case import Case
from xaicli.scoring.copies import Copies, Outcomes, replaced
from xaicli.scoring.photo import AnyScoreBaseline
from xaicli.scoring.removal import SCORE_BASELINE_HELP, ScoreBaseline

READOUTS = {
    "log_odds": "area under the curve of log(p / (1 - p)), which confidence alone only scales",
    "normalised": "(value - p_baseline) / (p0 - p_baseline); over photos the ratio of the means, not the mean of the ratios",
    "p0": "probability of the target on the clean photo",
    "p_baseline": "probability of the target on the baseline",
    "tied": "share of pixels whose saliency another pixel has too",
}
NORMALISED = Ratio(above=("value", "p_baseline"), below=("p0", "p_baseline"))
RISE_POINTS = 28
"""Steps of the authors' evaluation at 224 x 224."""


@dataclass(frozen=True, kw_only=True)
class PixelCurve(Metric):
    """The common part of deletion and insertion: a curve of probabilities over the share of changed pixels."""

    steps: int = param(28, "equal fractions of the pixels that are removed or shown one after the other", ge=1, le=100_000)
    ties: Literal["random", "both", "authors"] = param(
        "random", "equal pixels in a seeded random order, the mean of it and its reverse, or from the last one back"
    )
    variant: Literal["default", "rise"] = param("default", "`rise`: exactly as the authors' code does it")
    step: int | None = param(None, "variant rise: pixels a step; a 28th of them where not given", ge=1)
    output: Literal["probability", "iou"] = param(
        "probability", "what is followed; `iou`: how much of the clean prediction of a segmentation network is left", later=True
    )

    needs = Needs.FORWARD
    follows_output = True
    range = (0.0, 1.0)
    readouts = READOUTS
    ratios = {"normalised": NORMALISED}
    paper = "Petsiuk, Das, Saenko: RISE, BMVC 2018, section 4.3, arXiv 1806.07421"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant == "default" and self.step is not None:
            raise UsageError(f"{self.name}: step={self.step} belongs to variant rise", hint="Give steps=N, or add @variant=rise.")
        if self.variant == "rise":
            defaults = type(self)()
            if self.ties == "authors":
                # The variant does this anyway, so the parameter would give a second label to the same thing.
                object.__setattr__(self, "ties", defaults.ties)
            changed = [key for key in ("steps", "ties", "baseline") if getattr(self, key) != getattr(defaults, key)]
            if changed:
                fixed = " and ".join(changed)
                raise UsageError(f"{self.name}: variant rise fixes {fixed}", hint="Only @step=PIXELS can be given.")

    def parameters_as_given(self) -> dict[str, Any]:
        """The parameters, including the order of ties that variant rise fixes."""
        fixed = {"ties": "authors"} if self.variant == "rise" else {}
        return super().parameters_as_given() | fixed

    @property
    def needs_class_map(self) -> bool:
        return self.output == "iou"

    def passes(self, size: tuple[int, int]) -> float:
        inner = len(self.counts(size[0] * size[1])) - 2
        return (2 if self.ties == "both" else 1) * inner + 1

    def counts(self, pixels: int) -> list[int]:
        """How many pixels are changed at each point of the curve, from none to all."""
        if self.variant == "rise":
            step = self.step or math.ceil(pixels / RISE_POINTS)
            return [min(i * step, pixels) for i in range(math.ceil(pixels / step) + 1)]
        # Rounded to whole pixels; a picture of fewer pixels than steps has fewer points.
        return sorted({(2 * i * pixels + self.steps) // (2 * self.steps) for i in range(self.steps + 1)})

    def fractions(self, pixels: int) -> Tensor:
        """The x of the points: the true fraction of changed pixels; for `rise` evenly spaced, including the last step."""
        counts = torch.tensor(self.counts(pixels), dtype=torch.float64)
        return torch.linspace(0, 1, len(counts), dtype=torch.float64) if self.variant == "rise" else counts / pixels

    def orders(self, case: Case) -> list[Tensor]:
        if self.variant == "rise" or self.ties == "authors":
            return [case.authors_ranks]
        return [case.ranks, case.reversed_ranks] if self.ties == "both" else [case.ranks]

    def curves(self, case: Case, baseline: AnyScoreBaseline, *, insert: bool) -> Measuring:
        """Run every point except the clean photo, which is known, and the baseline, which is shared; then integrate."""
        pixels = case.size[0] * case.size[1]
        inner = torch.tensor(self.counts(pixels)[1:-1], dtype=torch.int32, device=case.device)
        orders = self.orders(case)
        copies: list[Copies] = case.baseline_copies(baseline)
        for ranks in orders:
            for item in range(len(case)):
                photo, instead = case.photo(item), case.baseline(item, baseline)
                first, rest = (photo, instead) if insert else (instead, photo)
                copies.append(replaced(item, ranks[item], inner, first, rest))
        outcomes = yield copies
        bare = outcomes[: len(case)]
        between = outcomes[len(case) :].view(len(orders), len(case), len(inner))
        ends = (bare, case.clean) if insert else (case.clean, bare)
        return self.integrate(case, ends, between, bare)

    def integrate(self, case: Case, ends: tuple[Outcomes, Outcomes], between: Outcomes, bare: Outcomes) -> Scores:
        followed: Literal["probability", "overlap"] = "overlap" if self.output == "iou" else "probability"

        def curve(name: Literal["probability", "log_odds", "overlap"]) -> Tensor:
            first, inner, last = (in_float64(getattr(part, name)) for part in (ends[0], between, ends[1]))
            return torch.cat([first[:, None], inner.mean(dim=0), last[:, None]], dim=1)

        points = curve(followed)
        places = self.fractions(case.size[0] * case.size[1]).to(points.device)
        values = torch.trapezoid(points, places, dim=1)
        full, empty = in_float64(getattr(case.clean, followed)), in_float64(getattr(bare, followed))
        if self.output == "iou":
            # A class that is predicted nowhere has no overlap to lose.
            values = values.masked_fill(full == 0, torch.nan)
        readouts = {
            "log_odds": torch.trapezoid(curve("log_odds"), places, dim=1) * (torch.nan if self.output == "iou" else 1.0),
            "normalised": (values - empty) / (full - empty),
            "p0": full,
            "p_baseline": empty,
            "tied": case.tied,
        }
        return Scores(values, readouts, (places, points))


@dataclass(frozen=True, kw_only=True)
class Deletion(PixelCurve):
    """Area under the probability while the most salient pixels are removed.

    `integral over t in 0..1 of p(t)`: p(t) is the target's probability with the most salient share t of the pixels replaced by
    the baseline. The curve has `steps` equal fractions, both ends included (29 points by default); the area is a trapezoid over
    the true fraction of pixels removed. 0 to 1, lower is better. The class decided on the clean photo stays the target. Equal
    pixels go in one random order per photo, drawn from its seed. `variant=rise` is the authors' own definition: `step` pixels
    at a time (a 28th of them), equal pixels in raster order, points evenly spaced. `output=iou`, for segmentation networks:
    p(t) is the intersection over union of where the class is predicted and where it was on the clean photo, within the region
    unless that is `predicted` (Nguyen et al., XEdgeAI, 2024, there against ground truth).

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
    of different baselines cannot be compared. `output=iou` is as in `deletion`.

    `xai score photos/ --method grad-cam --metric insertion`
    """

    name = "insertion"
    direction = Direction.HIGHER

    baseline: ScoreBaseline = param("blur", f"what the photo is put back onto: {SCORE_BASELINE_HELP}")

    def score(self, case: Case) -> Measuring:
        return self.curves(case, "rise-blur" if self.variant == "rise" else self.baseline, insert=True)
