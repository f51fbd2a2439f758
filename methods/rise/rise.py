"""RISE (Petsiuk, Das and Saenko, 2018): the mean of random masks, weighted by the score of the masked photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.rise.mask_estimates import Estimator, MapEstimate, Sample, estimate
from xaicli.methods.rise.mask_laws import MaskLaw, Sampling
from xaicli.methods.rise.masks import Border, MaskGrid, MaskPainter
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import CopyJob, clean_logits, run
from xaicli.targets import Resolved, Targets

AUTHORS = {"estimator": "naive", "sampling": "iid", "border": "mirror"}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"n_masks": 4000, "grid": 7, "p1": 0.5, **AUTHORS},
    "notebook": {"n_masks": 6000, "grid": 8, "p1": 0.1, **AUTHORS},
}


@dataclass(frozen=True, kw_only=True)
class RISE(Method):
    """Mean of random masks, weighted by the score of the masked photo.

    `S(l) = E[f(x * M) M(l)] / E[M(l)]` (paper, section 3.1): the expected score of the photo x where pixel l is seen, over
    random masks M; f is the target's probability or, with `score=logit`, its logit; of a class map `score=dice` is Seg-RISE, the
    Dice coefficient of where the class is predicted with and without the mask (XEdgeAI, 2024). Maps are (B, T, H, W) at the
    input's resolution. Only differences within a map mean something: its level is the mean score of a masked photo.

    Where the default differs from the paper: masks come in pairs of a grid and its complement, which cancels the noise of
    coverage, and outer cells are continued, not mirrored. `preset=paper` is the authors' (for ResNet-50 they take 8000 masks),
    `preset=notebook` that of their first notebook. Extras: `masks_used`; `error`, noise over signal of the map, NaN below eight
    independent units of masks; with `return_se`, `se`, the standard error of each pixel.

    `xai explain cat.jpg --method rise@n_masks=2000`
    """

    n_masks: int = param(4000, "maximum masks per photo", ge=2)
    grid: int | tuple[int, int] = param(7, "coarse cells a side, or ROWS+COLUMNS where the input is not square", ge=1)
    p1: float | tuple[float, ...] = param(0.5, "probability of an open cell; of several, masks take turns", gt=0, lt=1)
    score: Literal["probability", "logit", "dice"] = param(
        "probability", "what of the target is averaged; `dice` is Seg-RISE's weight, for segmentation networks"
    )
    baseline: float = param(0.0, "value under a closed mask, after normalisation: 0 is the mean colour")
    estimator: Estimator = param("center", "how scores become a map")
    sampling: Sampling = param("antithetic", "how masks depend on each other")
    border: Border = param("clamp", "what lies beyond the centres of the outer cells")
    tol: float | None = param(None, "stop at this relative error of the map", gt=0)
    n_min: int = param(512, "masks before the first look at the error; further looks are 256 apart", ge=2)
    return_se: bool = param(False, "also keep the standard error of each pixel")
    preset: Literal["paper", "notebook"] | None = param(None, "the authors' settings in place of those above")

    name = "rise"
    paper = "Petsiuk, Das, Saenko: RISE, BMVC 2018, arXiv:1806.07421"
    needs = Needs.FORWARD
    stochastic = True
    masks_input = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.estimator == "regress" and isinstance(self.p1, tuple) and len(set(self.p1)) > 1:
            raise UsageError("rise: estimator=regress cannot be used with several p1", hint="Use estimator=center.")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for key in PRESETS[self.preset] if self.preset else ():
            if getattr(self, key) != defaults[key]:
                raise UsageError(f"rise: preset={self.preset} already sets {key}", hint=f"Leave out preset or {key}.")

    @property
    def applied(self) -> RISE:
        """The effective parameters: those of the preset, if one is given."""
        return dataclasses.replace(self, preset=None, **PRESETS[self.preset]) if self.preset else self

    @property
    def sign(self) -> Sign:
        """Non-negative if every estimate of a probability is; other estimates may fall below zero by noise, and logits may be
        negative.

        The map of a contrast is a difference and has both signs.
        """
        rise = self.applied
        law = rise.law(rise.cells)
        even = law.even and rise.n_masks % law.unit == 0
        weighted = rise.estimator == "naive" or (rise.estimator == "center" and even)
        return Sign.NONNEGATIVE if weighted and rise.score != "logit" else Sign.SIGNED

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """One pass per mask, in addition to the clean pass."""
        return Cost(forward=self.applied.n_masks)

    def require(self, classifier: Classifier) -> None:
        if self.score == "dice" and classifier.pixels is None:
            raise UsageError(
                f"{self.label} compares class maps, and {classifier.name} gives none",
                hint="Leave score out, or choose a segmentation model.",
            )

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self.grid if isinstance(self.grid, tuple) else (self.grid, self.grid)

    def law(self, size: tuple[int, int]) -> MaskLaw:
        """How masks are drawn for inputs of `size` (height, width)."""
        p = self.p1 if isinstance(self.p1, tuple) else (self.p1,)
        return MaskLaw(MaskGrid(size, self.cells, self.border), p, self.sampling)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        rise, inputs = self.applied, inputs.detach()
        law = rise.law((inputs.shape[2], inputs.shape[3]))
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        passes = MaskedPasses(rise, law, inputs, chosen, seeds.tolist())
        estimates: list[list[MapEstimate]] = [[] for _ in inputs]
        used = torch.zeros(len(inputs), dtype=torch.int64)
        rows, done, size = list(range(len(inputs))), 0, classifier.batch_size
        while rows:
            upto = rise.next_look(law, done)
            jobs, expected = passes.jobs(rows, done, upto), rise.n_masks * len(inputs)
            size = run(classifier, jobs, passes.shape, batch_size=size, passes=expected, exact=False)
            for row in rows:
                estimates[row] = [estimate(sample, rise.estimator) for sample in passes.samples(row, upto)]
                used[row] = upto
            rows = [row for row in rows if upto < rise.n_masks and not rise.settled(estimates[row])]
            done = upto
        return Maps(stack(estimates, "values").to(inputs.device), chosen, logits, rise.extras(estimates, used))

    def next_look(self, law: MaskLaw, done: int) -> int:
        """How many masks to run before the error is checked again; without `tol`, all."""
        if self.tol is None:
            return self.n_masks
        chunks = max(-(-self.n_min // law.chunk), done // law.chunk + 1)
        return min(self.n_masks, chunks * law.chunk)

    def settled(self, estimates: list[MapEstimate]) -> bool:
        """Whether the error of each target's map is below `tol`."""
        return self.tol is not None and all(each.error < self.tol for each in estimates)

    def extras(self, estimates: list[list[MapEstimate]], used: Tensor) -> dict[str, Tensor]:
        error = torch.tensor([[each.error for each in row] for row in estimates])
        extras = {"masks_used": used, "error": error}
        return {**extras, "se": stack(estimates, "standard_error")} if self.return_se else extras


def stack(estimates: list[list[MapEstimate]], field: Literal["values", "standard_error"]) -> Tensor:
    """One field of the estimates of B photos and T targets: (B, T, H, W) float32."""
    return torch.stack([torch.stack([getattr(each, field) for each in row]) for row in estimates]).float()


class MaskedPasses:
    """The masked copies of B photos: how they are made, and their scores (B, masks, T)."""

    def __init__(self, rise: RISE, law: MaskLaw, inputs: Tensor, chosen: Resolved, seeds: list[int]) -> None:
        self.rise, self.law, self.chosen, self.seeds = rise, law, chosen, seeds
        self.shape = (inputs.shape[1], inputs.shape[2], inputs.shape[3])
        self.contents = inputs - rise.baseline
        self.painter = MaskPainter.on(inputs.device, law.grid)
        self.scores = torch.full((len(inputs), rise.n_masks, chosen.classes.shape[1]), torch.nan, device=inputs.device)

    def jobs(self, rows: Sequence[int], done: int, upto: int) -> Iterator[CopyJob]:
        """Jobs for the masks from `done` to `upto` of the photos `rows`, one per chunk."""
        for row in rows:
            for start in range(done, upto, self.law.chunk):
                yield self.job(row, start, min(start + self.law.chunk, upto))

    def job(self, row: int, first: int, last: int) -> CopyJob:
        drawn = self.law.draw(self.seeds[row], first // self.law.chunk)
        device, baseline = self.contents.device, self.rise.baseline
        bits, shifts = drawn.bits.to(device, torch.float32), drawn.shifts.to(device)
        content, scores = self.contents[row], self.scores[row, first:last]
        score_of = {"probability": Resolved.probability, "logit": Resolved.logit, "dice": Resolved.dice}

        def write(out: Tensor, start: int, stop: int) -> None:
            masks = self.painter.masks(bits[start:stop], shifts[start:stop])
            torch.mul(content, masks[:, None], out=out)
            if baseline:
                out.add_(baseline)

        def receive(logits: Tensor, start: int, stop: int) -> None:
            copies = self.chosen[torch.full((stop - start,), row, device=device)]
            scores[start:stop] = score_of[self.rise.score](copies, logits)

        return CopyJob(last - first, write, receive)

    def samples(self, row: int, upto: int) -> list[Sample]:
        """The estimates from the first masks of a photo, one for each target."""
        scores = self.scores[row, :upto].cpu().double()
        return [Sample(self.law, self.seeds[row], column.contiguous()) for column in scores.unbind(dim=1)]
