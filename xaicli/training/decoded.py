"""Decoded photos as arrays: bytes for networks of three colours, floats for others; all in memory if they fit, else decoded when
needed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xaicli.errors import InputError, XaiError
from xaicli.images.decode import decode
from xaicli.images.photo_input import input_of, reading_of
from xaicli.images.source import Source
from xaicli.images.view import INTERPOLATIONS, View
from xaicli.runs.photo_room import PhotoRoom
from xaicli.training.data import Listing

Pixels = NDArray[Any]
"""Bytes of three colours, red first; else bands in 0..1, as many as the network takes channels."""
COLOURS = 3
CHUNK = 256
"""Number of photos decoded between two reports of progress."""
SHARE = 0.5
"""Share of the free memory that decoded photos may take."""
MEMORY_INFO = Path("/proc/meminfo")
MEMORY_MAX = Path("/sys/fs/cgroup/memory.max")
MEMORY_NOW = Path("/sys/fs/cgroup/memory.current")
UNKNOWN = 2 << 30
"""Bytes assumed to be free if the system does not say."""

Advance = Callable[[int, int], None]


class Photos(Protocol):
    """Photos of one size, by index."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    def take(self, indices: NDArray[np.int64]) -> Pixels:
        """(B, H, W, C)."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """All photos decoded, in one array (N, H, W, C)."""

    pixels: Pixels

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[2]

    def take(self, indices: NDArray[np.int64]) -> Pixels:
        return self.pixels[indices]


@dataclass(frozen=True, eq=False)
class FromDisk:
    """Photos decoded when needed, by a few threads."""

    sources: Sequence[Source]
    view: View
    room: PhotoRoom = field(default_factory=PhotoRoom)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(threads(), thread_name_prefix="decode"))

    @property
    def size(self) -> tuple[int, int]:
        return self.view.size

    def take(self, indices: NDArray[np.int64]) -> Pixels:
        return np.stack(list(self.pool.map(lambda row: pixels_of(self.sources[row], self.view, self.room), indices.tolist())))


def stored_view(view: View, margin: float) -> View:
    """The view in which photos are kept: `margin` times as large as the network's, so that there is room for random crops.

    With a margin of 1 it is the network's own.
    """
    if margin == 1:
        return view
    height, width = (round(side * margin) for side in view.size)
    resize = (height, width) if isinstance(view.resize, tuple) or view.resize is None else max(height, width)
    return dataclasses.replace(view, resize=resize, crop=(height, width))


def pixels_of(source: Source, view: View, room: PhotoRoom) -> Pixels:
    """A photo, resized and cropped by the view, (H, W, C), decoded when there is room; raises InputError."""
    with room.passing() as admit:
        photo = decode(source, frame=source.frame, reading=reading_of(view), admit=admit)
        if view.channels == COLOURS:
            return np.asarray(view.resize_and_crop(photo.pixels, INTERPOLATIONS[view.interpolation]), dtype=np.uint8)
        plain = dataclasses.replace(view, mean=(0.0,) * view.channels, std=(1.0,) * view.channels, scale=1.0)
        return input_of(photo, plain).permute(1, 2, 0).numpy()


def kind_of(view: View) -> np.dtype[Any]:
    """The type of the numbers that are kept of a photo."""
    return np.dtype(np.uint8 if view.channels == COLOURS else np.float32)


def open_photos(
    listing: Listing,
    view: View,
    *,
    budget: int | None = None,
    on_error: Callable[[XaiError], None] | None = None,
    report: Advance = lambda done, total: None,
) -> tuple[Listing, Photos]:
    """The photos of a listing, in memory if they fit into `budget` bytes (by default half of the free memory).

    on_error: called for each photo that cannot be decoded, which is then left out of the returned listing; without it InputError
    is raised. report: called with the numbers of photos done and of all.
    """
    height, width = view.size
    kind = kind_of(view)
    needed = len(listing) * height * width * view.channels * kind.itemsize
    fits = needed <= (int(free_memory() * SHARE) if budget is None else budget)
    if not fits and on_error is None:
        return listing, FromDisk(listing.sources, view)
    pixels = np.empty((len(listing) if fits else 0, height, width, view.channels), dtype=kind)
    kept: list[int] = []
    for row, result in enumerate(decode_all(listing.sources, view, report)):
        if isinstance(result, XaiError):
            if on_error is None:
                raise result
            on_error(result)
            continue
        if fits:
            pixels[len(kept)] = result
        kept.append(row)
    if not kept:
        raise InputError("not one photo can be decoded", expected="photos to train on")
    listing = listing if len(kept) == len(listing) else listing.rows(kept)
    return listing, InMemory(pixels[: len(kept)]) if fits else FromDisk(listing.sources, view)


def decode_all(sources: Sequence[Source], view: View, report: Advance) -> Iterator[Pixels | XaiError]:
    """Decode each photo in order, or give the error that says why it cannot be decoded."""
    room = PhotoRoom()

    def attempt(source: Source) -> Pixels | XaiError:
        try:
            return pixels_of(source, view, room)
        except XaiError as error:
            return error.about(source.path)

    with ThreadPoolExecutor(threads(), thread_name_prefix="decode") as pool:
        for start in range(0, len(sources), CHUNK):
            part = sources[start : start + CHUNK]
            yield from pool.map(attempt, part)
            report(start + len(part), len(sources))


def threads() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, 16)


def free_memory() -> int:
    """Free bytes: the system's available memory or a container's remainder, whichever is less."""
    available = UNKNOWN
    try:
        lines = MEMORY_INFO.read_text(encoding="ascii", errors="replace").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        granted = int(MEMORY_MAX.read_text(encoding="ascii")) - int(MEMORY_NOW.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return available
    return max(0, min(available, granted))
