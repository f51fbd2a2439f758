"""UCAG (Hong, Nam, Jeon and Lee, 2023): enlarged slices of a photo explained one by one, their maps folded back and averaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from xaicli.errors import InputError, RunError, UsageError, is_out_of_memory
from xaicli.method import Cost, Maps, Method, Needs, Sign, Wrapper, param
from xaicli.methods.grad_cam import GradCAM
from xaicli.methods.ucag.slices import Divisor, Slicing, authors_starts, evenly_spread
from xaicli.network.classifier import Classifier
from xaicli.network.tokens import Axes
from xaicli.passes.blur import gaussian_blur
from xaicli.passes.layout import fastest_layout, is_refused
from xaicli.passes.memory import SMALLER_INPUT, chunk_for, in_chunks
from xaicli.passes.queue import clean_logits
from xaicli.passes.seeds import digest
from xaicli.passes.upsampling import unit_range
from xaicli.targets import Resolved, Targets

REFERENCE = 224
"""The side, in pixels, that `crop` refers to."""

OF_ANOTHER_SIZE = re.compile(r"shape|size|dimension|height|width|does(n't| not) match", re.IGNORECASE)
"""What a network says of inputs of a size that it does not take."""


@dataclass(frozen=True, kw_only=True)
class UCAG(Wrapper):
    """Unfold and conquer: overlapping slices, enlarged and explained each for itself, folded back to one map.

    `map = relu(sum_s w_s U_s(map_s) / n)`: slice s is cut out of the photo, enlarged and explained by the base; U_s puts its
    map back in its place, `w_s = exp(probability of the target on the slice)`, and n counts the slices that cover a pixel. The
    decision is made once, on the whole photo. The result is finer than the base's own map and shows evidence that one dominant
    region hides. Maps are (B, T, H, W) at the input's resolution, in the units of the base. For a base that reads a layer the
    map is blurred after the ReLU; for a base on pixels there is neither ReLU nor blur.

    Slices are enlarged `scale` times, or, for a network that takes inputs of one size alone, such as a vision transformer, to
    that size. The cost counts the photo's own pass and one for each slice; at the default sizes a slice's pass has 2.07 times
    the pixels of the photo's.

    Where the default differs from the authors' code: it divides by the number of slices that cover a pixel, not by one more
    (which favours the centre), and slices end at the border whatever their size. `variant=official` is the authors' code,
    scaled to 0..1 before the blur. With `parts`, extras: `confidence` and `weight` (B, T, slices).

    `xai explain cat.jpg --method ucag@base=layer-cam`
    """

    base: Method = param(GradCAM(), "the gradient or CAM method that explains slices, with its parameters")
    crop: int | tuple[int, int] = param(124, "side of a slice, in pixels of a photo of 224, or ROWS+COLUMNS", ge=1, le=REFERENCE)
    slices: int | tuple[int, int] = param(6, "slices along each axis, or ROWS+COLUMNS", ge=1)
    scale: float = param(2.6, "how many times slices are enlarged", gt=0)
    size: Literal["auto"] | int | tuple[int, int] = param(
        "auto", "side of an enlarged slice, or HEIGHT+WIDTH; auto: by scale, or the network's own", ge=1
    )
    weight: Literal["exp", "linear", "softmax_logit", "none"] = param("exp", "what a slice counts, by its confidence")
    temperature: float = param(1.0, "of weight=softmax_logit", gt=0)
    fold: Divisor = param("count", "what sums are divided by: slices that cover a pixel, one more, or their weights")
    slice_norm: Literal["none", "max_abs"] = param("none", "bring each slice's map to one scale before they are added")
    signed: bool | None = param(None, "keep what speaks against the target, and no blur; none: for bases on pixels alone")
    blur: tuple[int, float] | None = param((5, 3.0), "side, an odd number, and sigma of the blur of maps without signs", gt=0)
    variant: Literal["ours", "official"] = param("ours", "the authors' divisor, starts and range in place of ours")
    parts: bool = param(False, "also keep confidence and weight of each slice")

    name = "ucag"
    paper = "Hong, Nam, Jeon and Lee, AAAI 2023, arXiv:2312.14201"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.base, UCAG) or not self.base.needs & (Needs.GRADIENTS | Needs.FEATURES):
            raise UsageError(f"ucag cannot wrap {self.base.name}", expected="a gradient or CAM method", hint="Try base=grad-cam.")
        if self.blur is not None and self.blur[0] % 2 == 0:
            raise UsageError(f"ucag: a blur of {self.blur[0]} pixels has no middle", expected="an odd number")
        if self.variant == "official" and self.fold != "count":
            raise UsageError("ucag: variant=official already sets fold", hint="Leave one of them out.")
        # Slices are always explained with their signs, so `relu` of the base must not make two labels for one map.
        object.__setattr__(self, "base", self.base.with_negative(keep=False))

    @property
    def signed_base(self) -> Method:
        """The base as slices are explained with it: what speaks against the target is kept until maps are folded."""
        return self.base.with_negative(keep=True)

    @property
    def class_specific(self) -> bool:  # type: ignore[override]
        return True

    @property
    def keeps_signs(self) -> bool:
        return Needs.FEATURES not in self.base.needs if self.signed is None else self.signed

    @property
    def sign(self) -> Sign:
        return self.signed_base.sign if self.keeps_signs else Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """The pass of the whole photo, in which the decision is made, and the base's passes, once a slice."""
        rows, columns = pair(self.slices)
        each = self.base.cost(classifier)
        return Cost(1 + rows * columns * each.forward, rows * columns * each.backward, each.at_most)

    def require(self, classifier: Classifier) -> None:
        if classifier.pixels is not None:
            found = f"ucag explains slices of the photo, and a region of {classifier.name} lies in the whole photo"
            raise UsageError(found, hint=f"Leave ucag out: --method {self.base.label}.")
        if classifier.decoding is not None:
            found = f"ucag explains slices of the photo, and boxes of {classifier.name} lie in the whole photo"
            raise UsageError(found, hint=f"Leave ucag out: --method {self.base.label}.")
        super().require(classifier)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        # Tensors made in a caller's inference mode would be of no use to the base's gradients.
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
            slicing = self.slicing((inputs.shape[2], inputs.shape[3]))
            self.require_blur(slicing.size)
            logits = clean_logits(classifier, inputs)
            chosen = targets.resolve(logits)
            maps, parts = [], []
            for explained in Slices(self, classifier, slicing, inputs.detach(), chosen, seeds.tolist()).photos():
                maps.append(self.conquer(explained, slicing))
                parts.append((explained.confidence.T, explained.weights.T))
        extras = {name: torch.stack(part) for name, part in zip(("confidence", "weight"), zip(*parts, strict=True), strict=True)}
        return Maps(torch.stack(maps), chosen, logits, extras if self.parts else {})

    def slicing(self, size: tuple[int, int]) -> Slicing:
        """Where slices of inputs of `size` (H, W) lie."""
        crop = [max(1, part * whole // REFERENCE) for part, whole in zip(pair(self.crop), size, strict=True)]
        lay_out = authors_starts if self.variant == "official" else evenly_spread
        return lay_out(size, (crop[0], crop[1]), pair(self.slices))

    def require_blur(self, size: tuple[int, int]) -> None:
        """Raise UsageError where the blur reaches farther beyond the border than a map of `size` (H, W) can be mirrored."""
        most = 2 * min(size) - 1
        if self.blur is not None and not self.keeps_signs and self.blur[0] > most:
            raise UsageError(
                f"ucag: a blur of {self.blur[0]} pixels is too wide for maps of {size[0]} x {size[1]}", expected=f"at most {most}"
            )

    def weights(self, confidence: Tensor, logits: Tensor) -> Tensor:
        """What slices count, (S, T), by the probability (S, T) of the target on each, and its logit (S, T)."""
        if self.weight == "exp":
            return (confidence - confidence.amax(dim=0)).exp()
        if self.weight == "softmax_logit":
            return (logits / self.temperature).softmax(dim=0)
        return confidence if self.weight == "linear" else torch.ones_like(confidence)

    def conquer(self, explained: ExplainedSlices, slicing: Slicing) -> Tensor:
        """The map (T, H, W) of a photo, of the maps of its slices."""
        maps = explained.maps
        if self.slice_norm == "max_abs":
            largest = maps.abs().amax(dim=(2, 3), keepdim=True)
            maps = maps / torch.where(largest == 0, 1.0, largest)
        official = self.variant == "official"
        folded = slicing.fold(maps, explained.weights, "authors" if official else self.fold)
        if self.keeps_signs:
            return slicing.stretch(folded)
        folded = slicing.stretch(folded.relu())
        folded = unit_range(folded) if official else folded
        if self.blur is None:
            return folded
        side, sigma = self.blur
        return gaussian_blur(folded, side, side, sigma)


class ExplainedSlices(NamedTuple):
    """All S slices of one photo: their maps (S, T, u, v), the target's probability on each and what each counts, (S, T)."""

    maps: Tensor
    confidence: Tensor
    weights: Tensor


class Slices:
    """The slices of all photos of a batch in one queue, whose chunks are as long as memory allows."""

    def __init__(
        self, ucag: UCAG, classifier: Classifier, slicing: Slicing, inputs: Tensor, chosen: Resolved, seeds: list[int]
    ) -> None:
        self.ucag, self.classifier, self.slicing = ucag, classifier, slicing
        self.inputs, self.chosen, self.seeds = inputs, chosen, seeds
        self.base = ucag.signed_base
        self.count = len(slicing.corners)
        self.size = self.enlarged_size()
        self.chunk = chunk_for(classifier, self.size, what=self.base.label, smaller=self.smaller)
        # Of the photo in work, for the size in use.
        self.bands: dict[tuple[int, tuple[int, int]], Tensor] = {}
        self.layout = fastest_layout(classifier)

    def enlarged_size(self) -> tuple[int, int]:
        """Height and width of enlarged slices."""
        ucag, (rows, columns) = self.ucag, self.slicing.crop
        if ucag.size != "auto":
            return pair(ucag.size)
        try:
            any_size = self.classifier.default_layer.layout.axes is Axes.CHANNELS_FIRST
        except InputError:
            any_size = False
        # Tokens, and windows of them, are laid out for one size of input.
        if not any_size and self.may_fall_back:
            return self.slicing.size
        return max(1, int(ucag.scale * rows)), max(1, int(ucag.scale * columns))

    @property
    def smaller(self) -> str:
        """What makes slices smaller, in words."""
        if self.may_fall_back:
            return SMALLER_INPUT
        return "ucag a smaller size" if self.ucag.size != "auto" else "ucag a smaller scale"

    @property
    def may_fall_back(self) -> bool:
        """Whether slices may have the photo's own size, since the user named no other."""
        return self.ucag.size == "auto" and self.ucag.scale == UCAG.scale

    def photos(self) -> Iterator[ExplainedSlices]:
        """The slices of each photo, explained, in order."""
        maps: list[Tensor] = []
        probabilities: list[Tensor] = []
        scores: list[Tensor] = []
        for start, made in in_chunks(self.explain, self.count * len(self.inputs), self.chunk):
            chosen = self.chosen[self.rows_of(start, start + len(made.values))]
            # Of a contrast: how sure the network is of the class itself.
            maps += made.values.unbind()
            probabilities += chosen.outputs.probabilities(made.logits).gather(1, chosen.classes).unbind()
            scores += chosen.logit(made.logits).unbind()
            while len(maps) >= self.count:
                confidence = torch.stack(probabilities[: self.count])
                weights = self.ucag.weights(confidence, torch.stack(scores[: self.count]))
                yield ExplainedSlices(torch.stack(maps[: self.count]), confidence, weights)
                del maps[: self.count], probabilities[: self.count], scores[: self.count]

    def rows_of(self, start: int, stop: int) -> Tensor:
        """Which photo each slice of the queue is of."""
        return torch.arange(start, stop, device=self.chosen.classes.device) // self.count

    def explain(self, start: int, stop: int) -> Maps:
        """The base's maps of slices `start` to `stop` of the queue, in a layout and at a size that the network takes."""
        rows = self.rows_of(start, stop)
        own = [digest(self.seeds[at // self.count], "slice", at % self.count) >> 1 for at in range(start, stop)]
        targets, seeds = Targets.decided(self.chosen[rows]), torch.tensor(own)
        while True:
            try:
                return self.base.attribute(self.classifier, self.enlarged(start, stop), targets, seeds)
            except RunError as error:
                if is_out_of_memory(error):
                    raise
                self.adapt(error, start)

    def enlarged(self, start: int, stop: int) -> Tensor:
        """Slices `start` to `stop` of the queue, (stop - start, 3, *size), laid out as convolutions like them."""
        pieces = []
        while start < stop:
            photo, first = divmod(start, self.count)
            last = min(self.count, first + stop - start)
            key = (photo, self.size)
            if key not in self.bands:
                self.bands = {key: self.slicing.bands(self.inputs[photo], self.size[1])}
            pieces.append(self.slicing.slices(self.bands[key], range(first, last), self.size))
            start += last - first
        return (torch.cat(pieces) if len(pieces) > 1 else pieces[0]).contiguous(memory_format=self.layout)

    def adapt(self, error: RunError, start: int) -> None:
        """After a failure: plain layout, for networks that flatten with view(); then the photo's own size, for networks that take
        no other. All else is raised, in words where the user chose a size that the network does not take."""
        cause = error.__cause__ or error
        said = str(cause)
        if is_refused(self.layout, cause):
            self.layout = torch.contiguous_format
        elif start == 0 and self.size != self.slicing.size and OF_ANOTHER_SIZE.search(said):
            if not self.may_fall_back:
                raise self.refusal(said) from error
            self.size = self.slicing.size
        else:
            raise error

    def refusal(self, said: str) -> UsageError:
        """Of a size that the user chose."""
        given = "scale" if self.ucag.size == "auto" else "size"
        (height, width), reason = self.size, said.partition("\n")[0][:120].rstrip(" .")
        return UsageError(
            f"ucag: {self.classifier.name} takes no slices of {height} x {width} pixels ({reason})",
            hint=f"Leave {given} out, or try another.",
        )


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
