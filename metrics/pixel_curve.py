"""The common part of deletion and insertion: a curve of probabilities while pixels, or patches, are taken in an order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.float64 import in_float64
from xaicli.metric import Measuring, Metric, Needs, Ratio, Scores, param
from xaicli.metrics.curve_points import KnownPoints, first_points
from xaicli.metrics.removals import LeftOutPatches, PaintedPixels, Removal
from xaicli.network.classifier import Classifier
from xaicli.network.kept_patches import REMOVE_HELP, Removed, require_patches
from xaicli.params import parameters
from xaicli.scoring.case import Case
from xaicli.scoring.copies import Copies, Outcomes
from xaicli.scoring.photo import AnyScoreBaseline
from xaicli.scoring.ranking import Ties

READOUTS = {
    "log_odds": "area under the curve of log(p / (1 - p)), which confidence alone only scales",
    "normalised": "(value - p_baseline) / (p0 - p_baseline); over photos the ratio of the means, not the mean of the ratios",
    "p0": "probability of the target on the clean photo",
    "p_baseline": "probability of the target on the baseline",
    "tied": "share of pixels whose saliency another pixel has too",
    "points": "with auc_error: how many points of the curve were passed",
    "area_error": "with auc_error: the estimated error of the area",
}
NORMALISED = Ratio(above=("value", "p_baseline"), below=("p0", "p_baseline"))
RISE_POINTS = 28
"""Steps of the authors' evaluation at 224 x 224."""

FINE_STEPS, EXPECTED_POINTS = 224, 55
"""Steps of the curve whose area `auc_error` is about, and how many points are passed for an error of 0.002, as measured."""


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

    remove: Removed = param("pixels", REMOVE_HELP, later=True)
    auc_error: float | None = param(
        None, "pass only as many points of the curve of 224 steps as its area needs to be known to this", gt=0, later=True
    )

    needs = Needs.FORWARD
    follows_output = True
    of_frames = True
    range = (0.0, 1.0)
    readouts = READOUTS
    ratios = {"normalised": NORMALISED}
    paper = "Petsiuk, Das, Saenko: RISE, BMVC 2018, section 4.3, arXiv 1806.07421"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse_mixtures()
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

    def refuse_mixtures(self) -> None:
        """Raise UsageError where `auc_error` or `remove=tokens` stand beside what they leave without a meaning."""
        defaults = {each.name: each.default for each in parameters(type(self))}
        keys = ("steps", "variant", "step", "baseline", "output")
        given = [key for key in keys if getattr(self, key) != defaults[key]]
        painted = [key for key in given if key in ("variant", "step", "baseline", "output")]
        if self.remove == "tokens" and painted:
            found = f"{self.name}: remove=tokens leaves patches out, and {painted[0]} is of pixels"
            raise UsageError(found, hint=f"Leave out {painted[0]}.")
        fixed = [key for key in given if key in ("steps", "variant", "step")]
        if self.auc_error and fixed:
            found = f"{self.name}: auc_error chooses points of a curve of {FINE_STEPS} steps, and {fixed[0]} of another"
            raise UsageError(found, hint=f"Leave out auc_error or {fixed[0]}.")

    def parameters_as_given(self) -> dict[str, Any]:
        """The parameters, including the order of ties that variant rise fixes."""
        fixed = {"ties": "authors"} if self.variant == "rise" else {}
        return super().parameters_as_given() | fixed

    @property
    def needs_class_map(self) -> bool:
        return self.output == "iou"

    def require(self, classifier: Classifier) -> None:
        if self.remove == "tokens":
            require_patches(classifier, self.label)

    def passes(self, size: tuple[int, int]) -> float:
        inner = EXPECTED_POINTS if self.auc_error else len(self.counts(size[0] * size[1])) - 2
        return (2 if self.ties == "both" else 1) * inner + 1

    def counts(self, pixels: int) -> list[int]:
        """How many pixels are changed at each point of the curve, from none to all."""
        if self.variant == "rise":
            step = self.step or math.ceil(pixels / RISE_POINTS)
            return [min(i * step, pixels) for i in range(math.ceil(pixels / step) + 1)]
        # Rounded to whole pixels; a picture of fewer pixels than steps has fewer points.
        steps = FINE_STEPS if self.auc_error else self.steps
        return sorted({(2 * i * pixels + steps) // (2 * steps) for i in range(steps + 1)})

    def places(self, pixels: int) -> Tensor:
        """The x of the points: the true fraction of changed pixels; for `rise` evenly spaced, including the last step."""
        counts = torch.tensor(self.counts(pixels), dtype=torch.float64)
        return torch.linspace(0, 1, len(counts), dtype=torch.float64) if self.variant == "rise" else counts / pixels

    @property
    def tie_orders(self) -> tuple[Ties, ...]:
        ways = {"random": (Ties.SEEDED,), "both": (Ties.SEEDED, Ties.REVERSED), "authors": (Ties.AUTHORS,)}
        return ways["authors" if self.variant == "rise" else self.ties]

    def removal(self, case: Case, baseline: AnyScoreBaseline) -> Removal:
        return LeftOutPatches(case, self.label) if self.remove == "tokens" else PaintedPixels(case, baseline)

    def curves(self, case: Case, baseline: AnyScoreBaseline, *, insert: bool) -> Measuring:
        """Run the points, except the clean photo, which is known, and the baseline, which is shared; then integrate."""
        removal = self.removal(case, baseline)
        pixels = math.prod(removal.grid)
        counts = torch.tensor(self.counts(pixels), dtype=torch.int32, device=case.device)
        rankings = [(item, order[item]) for order in map(removal.ranks, self.tie_orders) for item in range(len(case))]

        def copies(asked: Sequence[Sequence[int]]) -> list[Copies]:
            wanted = zip(rankings, asked, strict=True)
            return [removal.copies(item, ranks, counts[list(own)], insert=insert) for (item, ranks), own in wanted if own]

        known = KnownPoints.of(len(rankings), self.places(pixels), case.device, case.classifier.outputs)
        first = first_points(len(counts)) if self.auc_error else list(range(len(counts)))
        asked: list[list[int]] = [first[1:-1]] * len(rankings)
        outcomes = yield [*removal.bare(), *copies(asked)]
        bare = outcomes[: len(case)]
        known.put_ends(*((bare, case.clean) if insert else (case.clean, bare)))
        known.put(asked, outcomes[len(case) :])
        while self.auc_error and any(asked := known.further(self.followed, self.auc_error)):
            outcomes = yield copies(asked)
            known.put(asked, outcomes)
        return self.integrate(case, known, bare, removal.tied)

    @property
    def followed(self) -> Literal["probability", "overlap"]:
        return "overlap" if self.output == "iou" else "probability"

    def integrate(self, case: Case, known: KnownPoints, bare: Outcomes, tied: Tensor) -> Scores:
        def curve(name: Literal["probability", "log_odds", "overlap"]) -> Tensor:
            return known.curve(name).unflatten(0, (-1, len(case))).mean(dim=0)

        points = curve(self.followed)
        # Where float64 is: on some devices it is not.
        places = known.places.to(points.device)
        values = torch.trapezoid(points, places, dim=1)
        full, empty = in_float64(getattr(case.clean, self.followed)), in_float64(getattr(bare, self.followed))
        if self.output == "iou":
            # A class that is predicted nowhere has no overlap to lose.
            values = values.masked_fill(full == 0, torch.nan)
        readouts = {
            "log_odds": torch.trapezoid(curve("log_odds"), places, dim=1) * (torch.nan if self.output == "iou" else 1.0),
            "normalised": (values - empty) / (full - empty),
            "p0": full,
            "p_baseline": empty,
            "tied": tied,
        }
        if self.auc_error:
            readouts |= known.readouts(self.followed, len(case))
        return Scores(values, readouts, (places, points))
