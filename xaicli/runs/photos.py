"""Photos on their way to the network: decoded ahead in threads, in the order given."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Condition

from torch import Tensor

from xaicli.errors import XaiError
from xaicli.images.decode import Photo, decode
from xaicli.images.decode_limits import SECONDS
from xaicli.images.source import Source
from xaicli.images.view import View

DECODE_THREADS = 2

ROOM = 96 << 20
"""Bytes of decoded photos that may wait for the network; as much again may be in its batch, and for those who draw. A photo of 24
megapixels takes that much, and is let in by itself however large it is."""

BYTES_A_PIXEL = 4
"""Of an RGB photo in Pillow's memory."""


@dataclass(frozen=True, eq=False)
class LoadedPhoto:
    """A decoded photo and the input (3, H, W) that the network sees of it."""

    source: Source
    photo: Photo
    input: Tensor

    @property
    def bytes(self) -> int:
        """What the decoded photo takes of the memory."""
        return BYTES_A_PIXEL * self.photo.image.width * self.photo.image.height


@dataclass(frozen=True)
class Failure:
    """A photo that could not be used, and why."""

    source: Source
    error: XaiError


def load(source: Source, view: View, background: tuple[int, int, int], seconds: float = SECONDS) -> LoadedPhoto | Failure:
    """Decode and prepare one photo; a photo that cannot be used becomes a Failure."""
    try:
        photo = decode(source, frame=source.frame, background=background, seconds=seconds)
        return LoadedPhoto(source, photo, view.prepare(photo.image))
    except XaiError as error:
        return Failure(source, error.about(source.name))


@dataclass(eq=False)
class Waiting:
    """The decoded photos that nobody has asked for yet: while they fill their room, only the photo that is asked for is decoded.

    held: their bytes; decoding: photos in the decoders' hands, each counted as `last`, the bytes of the last decoded; asked:
    the number of the photo that is asked for.
    """

    held: int = 0
    last: int = 0
    decoding: int = 0
    asked: float = 0
    changed: Condition = field(default_factory=Condition)

    def load(
        self, number: int, source: Source, view: View, background: tuple[int, int, int], seconds: float
    ) -> LoadedPhoto | Failure:
        """Decode and prepare a photo when there is room for it."""
        with self.changed:
            self.changed.wait_for(lambda: self.held + self.decoding * self.last < ROOM or number <= self.asked)
            self.decoding += 1
        item: LoadedPhoto | Failure | None = None
        try:
            item = load(source, view, background, seconds)
            return item
        finally:
            with self.changed:
                self.decoding -= 1
                if isinstance(item, LoadedPhoto):
                    self.last = item.bytes
                    self.held += item.bytes
                self.changed.notify_all()

    def take(self, number: int, future: Future[LoadedPhoto | Failure]) -> LoadedPhoto | Failure:
        """The photo of that number, once it is decoded."""
        self.ask(number)
        item = future.result()
        if isinstance(item, LoadedPhoto):
            with self.changed:
                self.held -= item.bytes
                self.changed.notify_all()
        return item

    def ask(self, number: float) -> None:
        with self.changed:
            self.asked = number
            self.changed.notify_all()


def load_ahead(
    sources: Iterable[Source],
    view: View,
    background: tuple[int, int, int] = (255, 255, 255),
    seconds: float = SECONDS,
    ahead: int = 16,
) -> Iterator[LoadedPhoto | Failure]:
    """Photos in order, up to `ahead` of them decoded before they are asked for, and fewer where they are large."""
    photos = Waiting()
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        waiting: deque[tuple[int, Future[LoadedPhoto | Failure]]] = deque()
        try:
            for number, source in enumerate(sources):
                waiting.append((number, pool.submit(photos.load, number, source, view, background, seconds)))
                if len(waiting) > ahead:
                    yield photos.take(*waiting.popleft())
            while waiting:
                yield photos.take(*waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()
            # Threads that wait for room end too.
            photos.ask(math.inf)
