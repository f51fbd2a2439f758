"""A part of a photo filled with something else: from its edge inwards, blurred, with one colour, noise, or another photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.errors import UsageError, did_you_mean
from xaicli.later import ndimage

FILLS = ("inpaint", "blur", "mean", "noise", "other")
BLUR = 1 / 16
"""Standard deviation of the blur, as a share of the shorter side."""
SWEEPS = 8
"""How often each hidden pixel becomes the mean of its neighbours, at each resolution."""

Pixels = NDArray[np.float32]
Region = NDArray[np.bool_]


def filled(
    photo: Image.Image, region: Region, fill: str, random: np.random.Generator, other: Image.Image | None = None
) -> Image.Image:
    """A copy of an RGB photo with a region (h, w) filled; all other pixels stay.

    fill: `inpaint` spreads the colours around the region into it; `blur`, the photo blurred; `mean`, the mean colour of what is
    not in the region; `noise`, random colours; `other`, what another photo, stretched to this one's size, shows there.
    """
    refuse_unknown(fill)
    if not region.any():
        return photo.copy()
    pixels = np.asarray(photo, dtype=np.float32)
    if fill == "inpaint":
        new = inpainted(pixels, region)
    elif fill == "blur":
        sigma = BLUR * min(region.shape)
        new = ndimage.gaussian_filter(pixels, (sigma, sigma, 0), mode="reflect")
    elif fill == "mean":
        new = np.broadcast_to(mean_colour(pixels, ~region), pixels.shape)
    elif fill == "noise":
        new = random.integers(0, 256, pixels.shape).astype(np.float32)
    elif other is None:
        raise UsageError("fill other of a single photo", expected="at least two photos, each filled from the next")
    else:
        new = np.asarray(other.resize(photo.size, Image.Resampling.BICUBIC), dtype=np.float32)
    kept = np.where(region[:, :, None], np.rint(new), pixels)
    return Image.fromarray(kept.clip(0, 255).astype(np.uint8))


def refuse_unknown(fill: str) -> None:
    if fill not in FILLS:
        raise UsageError(f'no fill "{fill}"', expected=", ".join(FILLS), hint=did_you_mean(fill, FILLS))


def mean_colour(pixels: Pixels, known: Region) -> Pixels:
    """The mean colour (3,) of the known pixels; of all, if none is known."""
    chosen = pixels[known] if known.any() else pixels.reshape(-1, pixels.shape[2])
    mean: Pixels = chosen.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def inpainted(pixels: Pixels, hidden: Region) -> Pixels:
    """Hidden pixels from those around them: a membrane over the hole, found from coarse to fine.

    At each resolution every hidden pixel becomes the mean of its four neighbours several times, which tends to the solution of
    Laplace's equation with the known pixels as its border.
    """
    if hidden.all():
        return np.broadcast_to(mean_colour(pixels, ~hidden), pixels.shape)
    if min(hidden.shape) > 2:
        smaller, unknown = halved(pixels, ~hidden)
        below = inpainted(smaller, unknown)
        rows, columns = (np.arange(length) // 2 for length in hidden.shape)
        start = below[rows[:, None], columns[None, :]]
    else:
        start = np.broadcast_to(mean_colour(pixels, ~hidden), pixels.shape)
    found = np.where(hidden[:, :, None], start, pixels)
    for _ in range(SWEEPS):
        padded = np.pad(found, ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        found = np.where(hidden[:, :, None], around, pixels)
    return found.astype(np.float32)


def halved(pixels: Pixels, known: Region) -> tuple[Pixels, Region]:
    """Half the resolution: the mean of each 2 x 2 block's known pixels, and where a block has none."""
    height, width = known.shape
    even = ((0, height % 2), (0, width % 2))
    weights = np.pad(known.astype(np.float32), even)
    sums = np.pad(pixels, (*even, (0, 0))) * weights[:, :, None]
    down, across = weights.shape[0] // 2, weights.shape[1] // 2
    counts = weights.reshape(down, 2, across, 2).sum(axis=(1, 3))
    totals = sums.reshape(down, 2, across, 2, -1).sum(axis=(1, 3))
    return (totals / np.maximum(counts, 1)[:, :, None]).astype(np.float32), counts == 0
