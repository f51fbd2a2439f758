"""Photos on their way to the network: decoded ahead in threads, in the order given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from xaicli.errors import XaiError, forget_frames
from xaicli.freed_memory import give_back
from xaicli.images.decode import Photo, decode
from xaicli.images.decode_limits import SECONDS
from xaicli.images.photo_input import drawn, input_of, reading_of
from xaicli.images.sequence import SequenceReading, decode_sequence
from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.runs.photo_room import PhotoRoom

DECODE_THREADS = 2

LARGE = 256 << 20
"""Bytes. What a larger photo took while it was decoded goes back to the system: nothing that follows needs as much."""

BYTES_A_PIXEL = 4
"""Bytes per pixel of an RGB photo in Pillow's memory."""


@dataclass(frozen=True, eq=False)
class LoadedPhoto:
    """A decoded photo and the input (C, H, W) that the network sees of it."""

    source: Source
    photo: Photo
    input: Tensor

    @property
    def bytes(self) -> int:
        """The memory of the decoded photo."""
        return BYTES_A_PIXEL * self.photo.image.width * self.photo.image.height


@dataclass(frozen=True)
class Failure:
    """A photo that could not be used, and why."""

    source: Source
    error: XaiError

    def __post_init__(self) -> None:
        # Under --keep-going errors are kept to the end of the run: without what their frames hold, such as half a photo.
        forget_frames(self.error)


def load(
    source: Source,
    view: View,
    background: tuple[int, int, int],
    seconds: float = SECONDS,
    admit: Callable[[int], None] = lambda size: None,
    bands: tuple[int, ...] = (),
    *,
    picture: bool = True,
) -> LoadedPhoto | Failure:
    """Decode and prepare one photo; a photo that cannot be used becomes a Failure. admit: as in `decode`; bands: those that are
    drawn; picture: whether the photo is drawn at all, else its input alone is kept."""
    try:
        if view.frames:
            frames = decode_sequence(source, view, SequenceReading(background, seconds, bands, admit))
            return LoadedPhoto(source, *frames)
        reading = reading_of(view, bands)
        photo = decode(source, frame=source.frame, background=background, reading=reading, seconds=seconds, admit=admit)
        return LoadedPhoto(source, drawn(photo, bands) if picture else photo.bare(), input_of(photo, view))
    except XaiError as error:
        return Failure(source, error.about(source.path))


def load_into(
    room: PhotoRoom,
    number: int,
    source: Source,
    view: View,
    background: tuple[int, int, int],
    seconds: float,
    bands: tuple[int, ...],
    picture: bool,
) -> list[LoadedPhoto | Failure]:
    """Decode and prepare a photo when there is room for it; the room is free again when nobody holds the photo.

    The photo is returned in a list, from which the caller takes it, so that the thread does not hold it longer than the caller.
    """
    taken = [0]

    def admit(size: int) -> None:
        room.enter(number, size)
        taken[0] += size

    try:
        item = load(source, view, background, seconds, admit, bands, picture=picture)
    except BaseException:
        room.take(-taken[0])
        raise
    finally:
        room.pass_on(number)
        if taken[0] > LARGE:
            give_back()
    if isinstance(item, Failure):
        room.take(-taken[0])
    else:
        room.keep(item, taken[0], room.copies * item.bytes)
    return [item]


def load_ahead(
    sources: Iterable[Source],
    view: View,
    background: tuple[int, int, int] = (255, 255, 255),
    seconds: float = SECONDS,
    ahead: int = 16,
    room: PhotoRoom | None = None,
    bands: tuple[int, ...] = (),
    *,
    picture: bool = True,
) -> Iterator[LoadedPhoto | Failure]:
    """Photos in order. Up to `ahead` of them are decoded before they are asked for, fewer if `room` is short.

    bands, picture: as in `load`.
    """
    room = room or PhotoRoom()
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        waiting: deque[tuple[int, Future[list[LoadedPhoto | Failure]]]] = deque()
        try:
            for number, source in enumerate(sources):
                waiting.append((number, pool.submit(load_into, room, number, source, view, background, seconds, bands, picture)))
                if len(waiting) > ahead:
                    yield taken_from(waiting, room)
            while waiting:
                yield taken_from(waiting, room)
        finally:
            for _, future in waiting:
                future.cancel()
            # Let threads that wait for room end, too.
            room.end()


def taken_from(waiting: deque[tuple[int, Future[list[LoadedPhoto | Failure]]]], room: PhotoRoom) -> LoadedPhoto | Failure:
    """The next photo, once it is decoded."""
    number, future = waiting.popleft()
    room.ask(number)
    return future.result().pop()
