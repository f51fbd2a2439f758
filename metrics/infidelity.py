"""Infidelity (Yeh et al., On the (in)fidelity and sensitivity of explanations, 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xaicli.float64 import in_float64
from xaicli.metric import Direction, Measuring, Metric, Needs, Scores, Sign, ValueKind, param
from xaicli.passes.seeds import stream
from xaicli.scoring.case import Case
from xaicli.scoring.copies import Copies
from xaicli.scoring.removal import SCORE_BASELINE_HELP, ScoreBaseline


@dataclass(frozen=True, kw_only=True)
class Infidelity(Metric):
    """Squared error of what the map predicts a change to cost.

    `mean over draws of (b sum(I * S) - (f(x) - f(x - I)))^2`: S is the upsampled map, f the target's probability, I a random
    change. `perturbation=square`: I removes a random square, and the map is read as each pixel's contribution, so that sum(I *
    S) is its sum over the square. `perturbation=noise`: I is Gaussian noise, and the map is read as a gradient. Most maps have
    no unit, so b is the least-squares factor; `scaled=false` sets it to 1. 0 or above, lower is better. Maps must be signed or
    non-negative, not mere ranks.

    `xai score photos/ --method integrated-gradients --metric infidelity`
    """

    name = "infidelity"
    direction = Direction.LOWER
    range = (0.0, float("inf"))
    kind = ValueKind.SKEWED
    needs = Needs.FORWARD
    signs = frozenset({Sign.SIGNED, Sign.NONNEGATIVE})
    readouts = {"correlation": "Pearson correlation of predicted and true changes, -1 to 1"}
    paper = "Yeh et al.: On the (in)fidelity and sensitivity of explanations, NeurIPS 2019, section 2, arXiv 1901.09392"

    perturbation: Literal["square", "noise"] = param("square", "what is done to the photo")
    draws: int = param(64, "changed photos", ge=2, le=100_000)
    side: float = param(0.25, "of the square, as a share of the photo's sides", gt=0, le=1)
    sigma: float = param(0.2, "of the noise, in normalised units", gt=0, le=100)
    scaled: bool = param(True, "scale the map to fit best")
    baseline: ScoreBaseline = param("zero", f"what a square becomes: {SCORE_BASELINE_HELP}")
    output: Literal["probability", "logit"] = param("probability", "what is predicted")

    def passes(self, size: tuple[int, int]) -> float:
        return float(self.draws)

    def score(self, case: Case) -> Measuring:
        make = self.squares if self.perturbation == "square" else self.noise
        made = [make(case, item) for item in range(len(case))]
        outcomes = (yield [copies for copies, _ in made]).view(len(case), self.draws)
        predicted = torch.stack([sums for _, sums in made])
        actual = in_float64(getattr(case.clean, self.output)[:, None]) - in_float64(getattr(outcomes, self.output))
        power = predicted.square().sum(dim=1, keepdim=True)
        fit = torch.where(power > 0, (predicted * actual).sum(dim=1, keepdim=True) / power, 0) if self.scaled else 1.0
        error = (fit * predicted - actual).square().mean(dim=1)
        return Scores(error, {"correlation": correlation(predicted, actual)})

    def squares(self, case: Case, item: int) -> tuple[Copies, Tensor]:
        """Copies with a square removed, and the map's sum over each square."""
        height, width = case.size
        tall, wide = max(1, round(self.side * height)), max(1, round(self.side * width))
        draw = stream(case.seeds[item], self.name)
        tops = torch.from_numpy(draw.integers(height - tall + 1, size=self.draws)).to(case.device)
        lefts = torch.from_numpy(draw.integers(width - wide + 1, size=self.draws)).to(case.device)
        down, across = (torch.arange(length, device=case.device) for length in (height, width))
        photo, baseline = case.photo(item), case.baseline(item, self.baseline)

        def square(rows: slice) -> Tensor:
            inside = (down >= tops[rows, None]) & (down < tops[rows, None] + tall)
            return inside[:, :, None] & ((across >= lefts[rows, None]) & (across < lefts[rows, None] + wide))[:, None, :]

        def write(out: Tensor, start: int, stop: int) -> None:
            torch.where(square(slice(start, stop))[:, None], baseline, photo, out=out)

        values = in_float64(case.upsampled[item])
        sums = torch.stack([(square(slice(at, at + 1))[0].to(values.device) * values).sum() for at in range(self.draws)])
        return Copies(item, self.draws, write), sums

    def noise(self, case: Case, item: int) -> tuple[Copies, Tensor]:
        """Copies minus noise, and the product of each noise with the map, which is the same for all colours."""
        photo, values = case.photo(item), in_float64(case.upsampled[item])

        def drawn(at: int) -> Tensor:
            normal = stream(case.seeds[item], self.name, at).standard_normal(tuple(photo.shape), dtype=np.float32)
            return torch.from_numpy(normal).to(photo) * self.sigma

        def write(out: Tensor, start: int, stop: int) -> None:
            for row, at in enumerate(range(start, stop)):
                torch.sub(photo, drawn(at), out=out[row])

        sums = torch.stack([(in_float64(drawn(at)) * values).sum() for at in range(self.draws)])
        return Copies(item, self.draws, write), sums


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation (N,) of the rows of two tensors (N, M); NaN if one of them is constant."""
    one, other = (part - part.mean(dim=1, keepdim=True) for part in (first, second))
    return (one * other).sum(dim=1) / (one.square().sum(dim=1) * other.square().sum(dim=1)).sqrt()
