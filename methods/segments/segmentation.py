"""Segments of a photo: the features that perturbation methods hide and show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.images.view import View
from xaicli.passes.baselines import BASELINE_HELP, Baseline, baseline_inputs

Segments = Literal["grid", "slic"]
SegmentBaseline = Baseline | Literal["segment"]

SEGMENT_BASELINE_HELP = f"what a hidden segment becomes: segment (its own mean colour), {BASELINE_HELP}"
SEGMENTS_HELP = "how the photo is divided: squares of a grid, or superpixels that follow its edges"

ROUNDS = 10
COMPACTNESS = 10.0
"""How much a superpixel's shape counts beside its colour, in CIELAB units at a distance of one superpixel (Achanta et
al., 2012)."""

SRGB_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = SRGB_TO_XYZ.sum(axis=1)


def segment(kind: Segments, view: View, photo: Tensor, count: int) -> Tensor:
    """The segment at each pixel of one preprocessed photo (C, H, W): (H, W) int64 from 0, none missing, about `count` of
    them."""
    height, width = photo.shape[-2:]
    if count > height * width:
        raise UsageError(f"{count} segments in a photo of {height} x {width} pixels", expected=f"at most {height * width}")
    if kind == "grid":
        return grid(height, width, count).to(photo.device)
    return torch.from_numpy(slic(view.colours(photo).cpu().double().numpy(), count)).to(photo.device)


def hidden_inputs(name: SegmentBaseline, view: View, inputs: Tensor, labels: Sequence[Tensor]) -> Tensor:
    """The replacement for hidden pixels of photos (B, 3, H, W): a baseline, or for `segment`, each segment in its own mean
    colour."""
    if name == "segment":
        return torch.stack([segment_means(photo, own) for photo, own in zip(inputs, labels, strict=True)])
    return baseline_inputs(name, view, inputs)


def segment_count(count: int, view: View | None) -> int:
    """The maximum number of segments of a photo when about `count` are asked for; without a view, that of a square."""
    height, width = view.size if view else (224, 224)
    return cells(height, width, count) * cells(width, height, count)


def cells(side: int, other: int, count: int) -> int:
    """Grid cells along `side` such that about `count` of them, as square as can be, fill the photo."""
    return max(1, min(side, round(math.sqrt(count * side / other))))


def grid(height: int, width: int, count: int) -> Tensor:
    """A grid of about `count` cells of equal size, to a pixel."""
    rows, columns = cells(height, width, count), cells(width, height, count)
    across = torch.arange(width) * columns // width
    down = torch.arange(height) * rows // height
    return down[:, None] * columns + across


def slic(pixels: np.ndarray, count: int) -> np.ndarray:
    """Superpixels of colours (3, H, W) in 0..1: k-means over colour and place from a grid of seeds (SLIC, Achanta et al.,
    2012).

    Each superpixel is one connected piece. Deterministic.
    """
    height, width = pixels.shape[-2:]
    labels = grid(height, width, count).numpy()
    spacing = math.sqrt(height * width / (labels.max() + 1))
    place = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")) * (COMPACTNESS / spacing)
    features = np.concatenate([lab(pixels), place]).reshape(5, -1).T
    labels = labels.reshape(-1)
    for _ in range(ROUNDS):
        sizes = np.bincount(labels)
        centres = np.stack([np.bincount(labels, weights=column) / sizes for column in features.T], axis=1)
        # |f - c|^2 without |f|^2, which does not alter the nearest centre.
        labels = compact((np.square(centres).sum(axis=1) - 2 * features @ centres.T).argmin(axis=1))
    return connected(labels.reshape(height, width))


def lab(pixels: np.ndarray) -> np.ndarray:
    """CIELAB colours (3, H, W) of sRGB colours in 0..1 under D65."""
    light = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    relative = np.tensordot(SRGB_TO_XYZ, light, axes=1) / WHITE[:, None, None]
    x, y, z = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def connected(labels: np.ndarray) -> np.ndarray:
    """Keep the largest piece of each segment; other pixels go to the nearest kept one."""
    kept = np.zeros(labels.shape, dtype=bool)
    for at, box in enumerate(ndimage.find_objects(labels + 1)):
        pieces, found = ndimage.label(labels[box] == at)
        sizes = np.bincount(pieces.reshape(-1), minlength=found + 1)
        sizes[0] = 0
        kept[box] |= pieces == sizes.argmax()
    nearest = ndimage.distance_transform_edt(~kept, return_distances=False, return_indices=True)
    return compact(labels[tuple(nearest)])


def compact(labels: np.ndarray) -> np.ndarray:
    """Labels renumbered from 0 without gaps, in the same order."""
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def segment_means(photo: Tensor, labels: Tensor) -> Tensor:
    """The photo (C, H, W) with each segment in its mean colour."""
    count = int(labels.max()) + 1
    member = torch.nn.functional.one_hot(labels.reshape(-1), count).to(photo.dtype)
    means = photo.reshape(len(photo), -1) @ member / member.sum(dim=0)
    return means[:, labels]
