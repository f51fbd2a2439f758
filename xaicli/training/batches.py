"""Batches to train on: the choice of photos, and how each is cropped, mirrored, coloured and mixed, all decided by (seed, epoch,
index)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xaicli.images.view import View
from xaicli.passes.seeds import stream
from xaicli.task import Augmentation
from xaicli.training.decoded import Photos, Pixels
from xaicli.training.processes import ALONE, Processes

DRAWS = 5
"""Numbers drawn for each photo and epoch: row and column of the crop, mirror, brightness, contrast."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs (B, C, H, W), preprocessed, and labels, (B,) or mixed (B, C), or None."""

    inputs: Tensor
    labels: Tensor | None


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of each epoch; one seed always gives the same.

    count: how many classes the labels have, for mixing them; epochs: how many there will be; processes: those that share a batch,
    of which each gets its own part. An epoch leaves out the last photos
    if they do not fill a batch.
    """

    photos: Photos
    labels: NDArray[np.int64] | None
    total: int
    view: View
    augmentation: Augmentation
    batch_size: int
    seed: int
    device: torch.device
    count: int = 0
    epochs: int = 1
    processes: Processes = ALONE

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return max(1, self.total // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from the `start`-th on; each is made while the previous one is trained on."""
        order = stream(self.seed, "order of training photos", epoch).permutation(self.total)
        draws = stream(self.seed, "augmentation", epoch).random((self.total, DRAWS))
        # A share is drawn also where none is used: Beta has no parameter 0.
        spread = max(self.augmentation.mixup, 1e-3)
        shares = stream(self.seed, "mixup", epoch).beta(spread, spread, self.steps)
        with ThreadPoolExecutor(1, thread_name_prefix="batch") as pool:

            def make(step: int) -> Batch:
                rows = self.processes.share(order[step * self.batch_size : (step + 1) * self.batch_size])
                return self.batch(rows, draws[rows], float(shares[step]), self.side(epoch))

            waiting = pool.submit(make, start)
            for step in range(start, self.steps):
                batch = waiting.result()
                if step + 1 < self.steps:
                    waiting = pool.submit(make, step + 1)
                yield batch

    def side(self, epoch: int) -> tuple[int, int]:
        """Height and width of the crops of an epoch."""
        height, width = self.view.size
        if epoch >= round(self.augmentation.early * self.epochs):
            return height, width
        return max(1, round(height * self.augmentation.early_side)), max(1, round(width * self.augmentation.early_side))

    def batch(self, rows: NDArray[np.int64], draws: NDArray[np.float64], share: float, size: tuple[int, int]) -> Batch:
        """One batch: photos cropped and mirrored as bytes, then coloured, normalised and mixed as tensors."""
        pixels = crops(self.photos.take(rows), size, self.augmentation, draws)
        colours = scaled(pixels, self.view, self.device)
        inputs = self.view.normalise(recoloured(colours, self.augmentation.colour, draws[:, 3:]))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        labels = None if self.labels is None else torch.from_numpy(self.labels[rows]).to(self.device)
        if self.augmentation.mixup and labels is not None:
            shares = functional.one_hot(labels, self.count).float()
            return Batch(mixed(inputs, share), mixed(shares, share))
        return Batch(inputs, labels)


def held_out(
    photos: Photos, labels: NDArray[np.int64] | None, total: int, view: View, batch: int, on: torch.device
) -> Iterator[Batch]:
    """Held-out photos under the network's view, with classes mixed, always in the same order.

    A loss may look at a whole batch (the area of maps of all its classes), so batches of a single class, as folders would give
    them, would not be comparable with those of training.
    """
    order = stream(0, "order of held-out photos").permutation(total)
    for start in range(0, total, batch):
        rows = order[start : start + batch]
        inputs = view.normalise(scaled(photos.take(rows), view, on)).contiguous(memory_format=torch.channels_last)
        yield Batch(inputs, None if labels is None else torch.from_numpy(labels[rows]).to(on))


def crops(pixels: Pixels, size: tuple[int, int], augmentation: Augmentation, draws: NDArray[np.float64]) -> Pixels:
    """(B, h, w, C) out of (B, H, W, C): cropped at a random place within the photo and its padding, and mirrored half of the
    time."""
    height, width = pixels.shape[1:3]
    rows, columns = reflected(height, augmentation.padding), reflected(width, augmentation.padding)
    result = np.empty((len(pixels), *size, pixels.shape[3]), dtype=pixels.dtype)
    for at, photo in enumerate(pixels):
        top = int(draws[at, 0] * (len(rows) - size[0] + 1))
        left = int(draws[at, 1] * (len(columns) - size[1] + 1))
        across = columns[left : left + size[1]]
        if augmentation.flip and draws[at, 2] < 0.5:
            across = across[::-1]
        result[at] = photo[rows[top : top + size[0]]][:, across]
    return result


def reflected(side: int, padding: int) -> NDArray[np.int64]:
    """Indices of `side` pixels with `padding` more at both ends, mirrored at the edge pixel (repeatedly for small photos)."""
    period = max(2 * side - 2, 1)
    place = np.abs(np.arange(-padding, side + padding)) % period
    return np.minimum(place, period - place) if side > 1 else np.zeros_like(place)


def scaled(pixels: Pixels, view: View, device: torch.device) -> Tensor:
    """Pixels (B, H, W, C) as colours, or bands, 0..1, (B, C, H, W), in the network's order, channels last in memory."""
    values = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    if values.dtype != torch.uint8:
        return values
    colours = values.float().div_(255)
    return colours if view.order == "rgb" else colours.flip(1)


def recoloured(colours: Tensor, strength: float, draws: NDArray[np.float64]) -> Tensor:
    """Brightness and contrast changed by factors between 1 - strength and 1 + strength, a pair per photo; clipped to 0..1."""
    if strength == 0:
        return colours
    factors = torch.from_numpy(1 + strength * (2 * draws - 1)).to(colours).view(-1, 2, 1, 1, 1)
    mean = colours.mean(dim=(1, 2, 3), keepdim=True)
    return (((colours - mean) * factors[:, 1] + mean) * factors[:, 0]).clamp_(0, 1)


def mixed(values: Tensor, share: float) -> Tensor:
    """Each row of a batch mixed with the row opposite to it, `share` being its own part."""
    return values * share + values.flip(0) * (1 - share)
