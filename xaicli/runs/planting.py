"""A patch planted in photos and in two copies of a network: in one it decides, in the other it is not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from xaicli.errors import InputError, RunError
from xaicli.images.source import content_hash
from xaicli.network.classifier import Classifier
from xaicli.network.planted_head import RIDGE, Head, blind, by_photo, by_place, read_head, seeing
from xaicli.runs.planted_photos import Look, MarkedPhoto, a_look, inputs_of, pasted
from xaicli.stamps import stamp

PLACES = 3
"""Places of the patch on each photo of the fit."""
FEWEST_LEFT_OUT = 8
"""Photos that are left out of a fit, to be scored; where there would be fewer, all photos are fitted to, and scored."""
UNMOVED = 0.1
"""How far the probability of the decision may move by a patch that a network does not see."""


@dataclass(frozen=True, eq=False)
class Planting:
    """A patch on photos, and networks of which it is known whether it decides. target: the class that it decides."""

    look: Look
    seeing: Classifier
    blind: Classifier
    target: int
    decided: tuple[MarkedPhoto, ...]
    ignored: tuple[MarkedPhoto, ...]


def plant(classifier: Classifier, head: Head, photos: Sequence[MarkedPhoto], seed: int, number: int) -> Planting:
    """Fit two heads to a patch on photos, and find the photos on which they do what they are fitted to, with the patch at a place
    that the fit has not seen.

    Raises InputError if the patch decides no photo, RunError where the network's outputs are not finite.
    """
    look = a_look(classifier.view, seed, number)
    apart = leaves_out(photos)
    fitted, held = (photos[0::2], photos[1::2]) if apart else (photos, photos)
    shown = [
        pasted(f"{at}-{place}-fit{number}.png", photo.pixels, look, seed, number)
        for place in range(PLACES)
        for at, photo in enumerate(fitted)
    ]
    clean, patched = inputs_of(fitted, classifier.view), inputs_of(shown, classifier.view)
    before, after = read_head(classifier, head, clean), read_head(classifier, head, patched)
    if not bool(before.logits.isfinite().all()):
        raise RunError(
            f"{classifier.name} gave NaN or infinite logits for these photos",
            hint="Check weights and preprocessing (xai doctor --model SPEC).",
        )
    cells = torch.stack([cells_of(photo, after.features.shape[2:]) for photo in shown])
    on = after.features.permute(0, 2, 3, 1)[cells]
    off = before.features.permute(0, 2, 3, 1).flatten(0, 2)
    paired = before.features.repeat(PLACES, 1, 1, 1).permute(0, 2, 3, 1)[cells]
    target = rival_of(before.logits)
    mark = stamp({"fitted": [content_hash(photo.source) for photo in (*fitted, *shown)], "target": target, "ridge": RIDGE})
    parts = (by_photo if apart else by_place)(len(fitted), PLACES)
    sees = seeing(classifier, head, (on, off), target, (patched, clean), parts, mark)
    ignores = blind(classifier, head, on - paired, off.mean(dim=0), mark)
    tried = [pasted(f"{at}-held{number}.png", photo.pixels, look, seed, number) for at, photo in enumerate(held)]
    return Planting(look, sees, ignores, target, *held_photos(classifier, head, (sees, ignores), target, held, tried))


def leaves_out(photos: Sequence[MarkedPhoto]) -> bool:
    """Whether every other photo is left out of the fit, and only those are scored."""
    return len(photos[1::2]) >= FEWEST_LEFT_OUT


def cells_of(photo: MarkedPhoto, grid: torch.Size) -> torch.Tensor:
    """The cells (h, w) of a head's grid that the patch covers at least by half; for a grid of one cell, that one."""
    if grid == torch.Size((1, 1)):
        return torch.ones(1, 1, dtype=torch.bool)
    share = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(photo.mask)[None, None].float(), (grid[0], grid[1]))[0, 0]
    return share >= min(0.5, float(share.max()))


def rival_of(logits: torch.Tensor) -> int:
    """The class with the highest mean logit that is the decision of no photo; class 0 where each is that of one."""
    means = logits.mean(dim=0)
    means[logits.argmax(dim=1)] = -torch.inf
    return int(means.argmax())


def held_photos(
    classifier: Classifier,
    head: Head,
    networks: tuple[Classifier, Classifier],
    target: int,
    held: Sequence[MarkedPhoto],
    tried: Sequence[MarkedPhoto],
) -> tuple[tuple[MarkedPhoto, ...], tuple[MarkedPhoto, ...]]:
    """Of photos with the patch, those that it decides in the one network, and those on which it moves nothing in the other."""
    sees, ignores = networks
    clean, patched = inputs_of(held, classifier.view), inputs_of(tried, classifier.view)
    without, decided = (read_head(sees, head, inputs).logits.argmax(dim=1) for inputs in (clean, patched))
    quiet, still = (read_head(ignores, head, inputs).logits.softmax(dim=1) for inputs in (clean, patched))
    best = quiet.argmax(dim=1)
    moved = (quiet.gather(1, best[:, None]) - still.gather(1, best[:, None]))[:, 0].abs()
    one = [photo for at, photo in enumerate(tried) if decided[at] == target != without[at]]
    two = [photo for at, photo in enumerate(tried) if best[at] == still[at].argmax() and moved[at] <= UNMOVED]
    if not one and not two:
        raise InputError("the head could not be fitted to a patch on these photos", hint="Give more photos.")
    return tuple(one), tuple(two)
