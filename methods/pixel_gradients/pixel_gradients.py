"""Gradients of a target's logit with respect to pixels: plain, times the input, averaged over noise, a path, baselines.

All five read the same gradients; they differ in the points at which these are taken and in their weights. Points of all
photos share batches, whose size follows from the device's memory, and random numbers are drawn a photo and a sample, so
that neither batch nor order changes a map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.pixel_gradients.input_gradients import Point, clean_pass, weighted_gradients
from xaicli.network.channels import CHANNELS_HELP, ChannelRule, channel_maps, reduce_channels, sign_of
from xaicli.network.classifier import Classifier
from xaicli.passes.baselines import BASELINE_HELP, Baseline, baseline_inputs
from xaicli.passes.queue import clean_logits
from xaicli.passes.seeds import stream
from xaicli.targets import Targets


@dataclass(frozen=True, kw_only=True)
class PixelGradients(Method):
    """The common base of these methods: they need gradients, and their maps (B, T, H, W) have the input's size."""

    channels: ChannelRule = param("sum", CHANNELS_HELP)

    needs = Needs.GRADIENTS
    of_frames = True

    @property
    def sign(self) -> Sign:
        return sign_of(self.channels)

    def require(self, classifier: Classifier) -> None:
        """Raise UsageError where each channel of each frame of a sequence should have a map of its own."""
        if classifier.view.frames and self.channels == "each":
            raise UsageError(f"{self.name}: channels=each is for photos", expected="sum, abs-sum or max-abs for a sequence")

    def map_of(self, values: Tensor, classifier: Classifier) -> Tensor:
        """From values (B, T, C, H, W) to maps (B, T, H, W); of a sequence (B, T, F, H, W), a map for each frame."""
        frames = classifier.view.frames
        return reduce_channels(values.unflatten(2, (frames, -1)) if frames else values, self.channels)


@dataclass(frozen=True, kw_only=True)
class Saliency(PixelGradients):
    """Gradient of the target's logit with respect to each pixel.

    `map = max over colours of |dy/dx|` for the target's logit y (paper, section 3). Maps are (B, T, H, W) at the input's size,
    in logits per unit of normalised input.

    `xai explain cat.jpg --method saliency`
    """

    channels: ChannelRule = param("max-abs", CHANNELS_HELP)

    name = "saliency"
    aliases = ("gradient", "vanilla-gradient")
    paper = "Simonyan et al., ICLR workshop 2014, arXiv 1312.6034"

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1, backward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        clean = clean_pass(classifier, inputs, targets)
        extras = channel_maps(clean.gradients, self.channels)
        return Maps(self.map_of(clean.gradients, classifier), clean.chosen, clean.logits, extras)


@dataclass(frozen=True, kw_only=True)
class InputXGradient(PixelGradients):
    """Gradient of the target's logit times the pixel's value.

    `map = sum over colours of x dy/dx` for the target's logit y. The input x is normalised, so that the mean colour counts as
    nothing. Maps are (B, T, H, W) at the input's size, signed, in logits. For a network of ReLUs without biases they sum to the
    logit.

    On a vision transformer signs change from pixel to pixel. In the order of such a map pixels lie scattered over the photo,
    and it does not beat a random map. `saliency` and `smoothgrad`, which show magnitudes, do.

    `xai explain cat.jpg --method input-x-gradient`
    """

    name = "input-x-gradient"
    aliases = ("gradient-x-input", "grad-x-input")
    paper = "Shrikumar et al., 2016, arXiv 1605.01713"

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1, backward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        clean = clean_pass(classifier, inputs, targets)
        values = clean.gradients * inputs[:, None]
        extras = channel_maps(values, self.channels)
        return Maps(self.map_of(values, classifier), clean.chosen, clean.logits, extras)


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(PixelGradients):
    """Gradients along the straight line from a baseline to the photo.

    `map = (x - x') * mean over a in 0..1 of dy/dx at x' + a (x - x')`, summed over colours, for the target's logit y and the
    baseline x'. Maps are (B, T, H, W) at the input's size, signed, in logits. They sum to the photo's logit less the baseline's
    (paper, proposition 1), up to the error of the quadrature, which `extras["gap"]` (B, T) holds. Gauss-Legendre points need
    fewer steps than the paper's Riemann sum, `rule=right`.

    On a vision transformer signs change from pixel to pixel. In the order of such a map pixels lie scattered over the photo,
    and it does not beat a random map. `saliency` and `smoothgrad`, which show magnitudes, do.

    `xai explain cat.jpg --method integrated-gradients@n_steps=100`
    """

    n_steps: int = param(50, "points on the line", ge=1)
    baseline: Baseline = param("zero", BASELINE_HELP)
    rule: Literal["gauss-legendre", "right", "middle"] = param("gauss-legendre", "where the points lie and how they are weighted")

    name = "integrated-gradients"
    aliases = ("ig",)
    paper = "Sundararajan et al., ICML 2017, arXiv 1703.01365"

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=2 + self.n_steps, backward=self.n_steps)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        starts = baseline_inputs(self.baseline, classifier.view, inputs)
        difference = inputs - starts
        places, weights = quadrature(self.rule, self.n_steps)
        points = (
            Point(row, starts[row] + float(place) * difference[row], float(weight))
            for row in range(len(inputs))
            for place, weight in zip(places, weights, strict=True)
        )
        (gradients,) = weighted_gradients(classifier, points, chosen, inputs.shape)
        values = gradients * difference[:, None]
        gap = chosen.scores - chosen.logit(clean_logits(classifier, starts)) - values.sum(dim=(2, 3, 4))
        return Maps(self.map_of(values, classifier), chosen, logits, {"gap": gap, **channel_maps(values, self.channels)})


def quadrature(rule: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in 0..1 and weights that sum to 1, of an integral over 0..1."""
    if rule == "gauss-legendre":
        places, weights = np.polynomial.legendre.leggauss(steps)
        return (places + 1) / 2, weights / 2
    shift = 1.0 if rule == "right" else 0.5
    return (np.arange(steps) + shift) / steps, np.full(steps, 1 / steps)


@dataclass(frozen=True, kw_only=True)
class SmoothGrad(PixelGradients):
    """Gradients averaged over noisy copies of the photo.

    `map = max over colours of |mean over e of dy/dx at x + e|`, e Gaussian noise, y the target's logit. Maps are (B, T, H, W)
    at the input's size, in logits per unit of normalised input. `statistic=square` takes the mean of squared gradients (Hooker
    et al., 2019), `statistic=variance` their variance over the copies (VarGrad; Adebayo et al., 2018).

    `xai explain cat.jpg --method smoothgrad`
    """

    n_samples: int = param(50, "noisy copies", ge=1)
    noise: float = param(0.15, "standard deviation of the noise, as a fraction of the photo's range of values", gt=0)
    statistic: Literal["mean", "square", "variance"] = param("mean", "what is taken over the copies")
    channels: ChannelRule = param("max-abs", CHANNELS_HELP)

    name = "smoothgrad"
    paper = "Smilkov et al., 2017, arXiv 1706.03825"
    stochastic = True

    @property
    def sign(self) -> Sign:
        return sign_of(self.channels) if self.statistic == "mean" else Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1 + self.n_samples, backward=self.n_samples)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        powers = {"mean": (1,), "square": (2,), "variance": (1, 2)}[self.statistic]
        sums = weighted_gradients(classifier, self.points(inputs, seeds), chosen, inputs.shape, powers)
        values = (sums[1] - sums[0] ** 2).clamp_min(0) if self.statistic == "variance" else sums[0]
        return Maps(self.map_of(values, classifier), chosen, logits, channel_maps(values, self.channels))

    def points(self, inputs: Tensor, seeds: Tensor) -> Iterator[Point]:
        spread = self.noise * (inputs.amax(dim=(1, 2, 3)) - inputs.amin(dim=(1, 2, 3)))
        for row, seed in enumerate(seeds.tolist()):
            for sample in range(self.n_samples):
                noise = normal(seed, sample, inputs[row])
                yield Point(row, inputs[row] + spread[row] * noise, 1 / self.n_samples)


@dataclass(frozen=True, kw_only=True)
class GradientSHAP(PixelGradients):
    """Gradients at random points between random baselines and the photo.

    `map = mean over draws of (x - x') dy/dx at x' + a (x - x')`, summed over colours: x' is one of the baselines, a is uniform
    in 0..1, y is the target's logit. Maps are (B, T, H, W) at the input's size, signed, in logits. The expected sum is the
    photo's logit less the mean of the baselines' logits.

    On a vision transformer signs change from pixel to pixel. In the order of such a map pixels lie scattered over the photo,
    and it does not beat a random map. `saliency` and `smoothgrad`, which show magnitudes, do.

    `xai explain cat.jpg --method gradient-shap`
    """

    n_samples: int = param(50, "points", ge=1)
    baselines: tuple[Baseline, ...] = param(("zero", "black", "white", "blur"), "baselines that are drawn from")
    noise: float = param(0.0, "standard deviation of noise on the photo, as a fraction of its range of values", ge=0)

    name = "gradient-shap"
    aliases = ("expected-gradients",)
    paper = "Lundberg and Lee, NeurIPS 2017, arXiv 1705.07874; Erion et al., 2021, arXiv 1906.10670"
    stochastic = True

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1 + self.n_samples, backward=self.n_samples)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        starts = torch.stack([baseline_inputs(name, classifier.view, inputs) for name in self.baselines], dim=1)
        (values,) = weighted_gradients(classifier, self.points(inputs, starts, seeds), chosen, inputs.shape)
        return Maps(self.map_of(values, classifier), chosen, logits, channel_maps(values, self.channels))

    def points(self, inputs: Tensor, starts: Tensor, seeds: Tensor) -> Iterator[Point]:
        spread = self.noise * (inputs.amax(dim=(1, 2, 3)) - inputs.amin(dim=(1, 2, 3)))
        for row, seed in enumerate(seeds.tolist()):
            for sample in range(self.n_samples):
                draw = stream(seed, "path", sample)
                start = starts[row, int(draw.integers(len(self.baselines)))]
                place = float(draw.random())
                photo = inputs[row]
                if self.noise:
                    photo = photo + spread[row] * normal(seed, sample, photo)
                yield Point(row, start + place * (photo - start), (photo - start) / self.n_samples)


def normal(seed: int, sample: int, like: Tensor) -> Tensor:
    """Standard normal noise (3, H, W) of one sample of one photo."""
    draws = stream(seed, "noise", sample).standard_normal(tuple(like.shape), dtype=np.float32)
    return torch.from_numpy(draws).to(like.device)
