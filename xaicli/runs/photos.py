"""Photos on their way to the network: decoded ahead in threads, in the order given."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from xaicli.errors import XaiError
from xaicli.images.decode import Photo, decode
from xaicli.images.decode_limits import SECONDS
from xaicli.images.source import Source
from xaicli.images.view import View

DECODE_THREADS = 2


@dataclass(frozen=True, eq=False)
class Loaded:
    """A decoded photo and the input (3, H, W) that the network sees of it."""

    source: Source
    photo: Photo
    input: Tensor


@dataclass(frozen=True)
class Failure:
    """A photo that could not be used, and why."""

    source: Source
    error: XaiError


def load(source: Source, view: View, background: tuple[int, int, int], seconds: float = SECONDS) -> Loaded | Failure:
    """Decode and prepare one photo; a photo that cannot be used becomes a Failure."""
    try:
        photo = decode(source, frame=source.frame, background=background, seconds=seconds)
        return Loaded(source, photo, view.prepare(photo.image))
    except XaiError as error:
        return Failure(source, error.about(source.name))


def load_ahead(
    sources: Iterable[Source],
    view: View,
    background: tuple[int, int, int] = (255, 255, 255),
    seconds: float = SECONDS,
    ahead: int = 16,
) -> Iterator[Loaded | Failure]:
    """Photos in order, up to `ahead` of them decoded before they are asked for."""
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        waiting: deque[Future[Loaded | Failure]] = deque()
        try:
            for source in sources:
                waiting.append(pool.submit(load, source, view, background, seconds))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
