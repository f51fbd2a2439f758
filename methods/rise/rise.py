"""RISE (Petsiuk, Das and Saenko, 2018): the mean of random masks, weighted by the score of the masked photo."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.rise.mask_estimates import Estimator, MapEstimate, estimate
from xaicli.methods.rise.mask_laws import MaskLaw, Sampling
from xaicli.methods.rise.mask_passes import MaskedPasses, Passes, PatchPasses, RiseScore
from xaicli.methods.rise.masks import Border, MaskGrid
from xaicli.network.classifier import Classifier
from xaicli.network.kept_patches import REMOVE_HELP, Removed, patch_layout, require_patches
from xaicli.passes.queue import clean_logits
from xaicli.targets import Resolved, Targets

AUTHORS = {"estimator": "naive", "sampling": "iid", "border": "mirror"}
MOST_MASKS, AUTO_ERROR = 4000, 0.3
"""Of `n_masks=auto`: maximum masks, and the relative error of the map at which no more are drawn. Noise of 0.3 of the signal is a
correlation of 0.96 with the map of all masks."""

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

    `remove=tokens`, for vision transformers with a class token: a mask is 0 or 1 at each patch, and the patches at 0 are left out
    of the sequence, with nothing in their place. Maps are then (B, T, rows, columns) of patches. This is another definition, at
    about half the cost.

    `xai explain cat.jpg --method rise@n_masks=2000`
    """

    n_masks: int | Literal["auto"] = param(
        4000, "maximum masks per photo; auto: at most 4000, as many as an error of 0.3 needs (see tol)", ge=2
    )
    grid: int | tuple[int, int] = param(7, "coarse cells a side, or ROWS+COLUMNS where the input is not square", ge=1)
    p1: float | tuple[float, ...] = param(0.5, "probability of an open cell; of several, masks take turns", gt=0, lt=1)
    score: RiseScore = param(
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
    remove: Removed = param("pixels", REMOVE_HELP, later=True)

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
        painted = [key for key in ("baseline", "border", "preset") if getattr(self, key) != defaults[key]]
        if self.remove == "tokens" and (painted or self.score == "dice"):
            key = painted[0] if painted else "score=dice"
            raise UsageError(f"rise: remove=tokens leaves patches out, and {key} is of pixels", hint=f"Leave out {key}.")

    @property
    def applied(self) -> RISE:
        """The effective parameters: those of the preset, if one is given; of `n_masks=auto`, a maximum and an error."""
        if self.n_masks == "auto":
            return dataclasses.replace(self, n_masks=MOST_MASKS, tol=AUTO_ERROR if self.tol is None else self.tol)
        return dataclasses.replace(self, preset=None, **PRESETS[self.preset]) if self.preset else self

    @property
    def most(self) -> int:
        """Maximum masks a photo."""
        return MOST_MASKS if self.n_masks == "auto" else self.n_masks

    @property
    def sign(self) -> Sign:
        """Non-negative if every estimate of a probability is; other estimates may fall below zero by noise, and logits may be
        negative.

        The map of a contrast is a difference and has both signs.
        """
        rise = self.applied
        law = rise.law(rise.cells)
        even = law.even and rise.most % law.unit == 0
        weighted = rise.estimator == "naive" or (rise.estimator == "center" and even)
        return Sign.NONNEGATIVE if weighted and rise.score != "logit" else Sign.SIGNED

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """One pass per mask, in addition to the clean pass; with `tol`, at most."""
        return Cost(forward=self.applied.most, at_most=self.applied.tol is not None)

    def require(self, classifier: Classifier) -> None:
        if self.remove == "tokens":
            require_patches(classifier, self.label)
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
        """How masks are drawn for inputs of `size` (height, width), in pixels or patches."""
        p = self.p1 if isinstance(self.p1, tuple) else (self.p1,)
        return MaskLaw(MaskGrid(size, self.cells, self.border, smooth=self.remove == "pixels"), p, self.sampling)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        rise, inputs = self.applied, inputs.detach()
        law = rise.law(rise.places(classifier, inputs))
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        passes = rise.passes(classifier, inputs, chosen, seeds.tolist(), law)
        estimates: list[list[MapEstimate]] = [[] for _ in inputs]
        used = torch.zeros(len(inputs), dtype=torch.int64)
        rows, done = list(range(len(inputs))), 0
        while rows:
            upto = rise.next_look(law, done)
            passes.run(rows, done, upto)
            for row in rows:
                estimates[row] = [estimate(sample, rise.estimator) for sample in passes.samples(row, upto)]
                used[row] = upto
            rows = [row for row in rows if upto < rise.most and not rise.settled(estimates[row])]
            done = upto
        return Maps(stack(estimates, "values").to(inputs.device), chosen, logits, rise.extras(estimates, used))

    def places(self, classifier: Classifier, inputs: Tensor) -> tuple[int, int]:
        """Rows and columns of what masks open or close: pixels, or patches."""
        if self.remove == "tokens":
            return patch_layout(classifier, self.label).grid
        return inputs.shape[2], inputs.shape[3]

    def passes(self, classifier: Classifier, inputs: Tensor, chosen: Resolved, seeds: list[int], law: MaskLaw) -> Passes:
        given = (classifier, inputs, chosen, seeds, law, self.score, self.most)
        return PatchPasses(*given, what=self.label) if self.remove == "tokens" else MaskedPasses(*given, baseline=self.baseline)

    def next_look(self, law: MaskLaw, done: int) -> int:
        """How many masks to run before the error is checked again; without `tol`, all."""
        if self.tol is None:
            return self.most
        chunks = max(-(-self.n_min // law.chunk), done // law.chunk + 1)
        return min(self.most, chunks * law.chunk)

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
