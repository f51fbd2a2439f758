"""From a moving picture, a folder of frames, an array or a video to the frames that a view takes, within limits."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from xaicli import words
from xaicli.errors import InputError
from xaicli.images.array_file import is_array, read_array
from xaicli.images.contact_print import ContactPrint
from xaicli.images.containers import container_of
from xaicli.images.damage import kind_of, unidentified
from xaicli.images.decode import WHITE, Admit, Colour, Photo, at_once, decode, read
from xaicli.images.decode_limits import SECONDS, SKIP, took_too_long
from xaicli.images.moving_picture import moving_frames
from xaicli.images.photo_input import drawn, input_of, reading_of
from xaicli.images.source import LARGEST_FILE, Source, as_array, content_hash
from xaicli.images.video import video_frames
from xaicli.images.view import View
from xaicli.images.view_values import MOST_FRAMES

KINDS = "a GIF, WebP or APNG of several frames, a folder of frames, or a video"


@dataclass(frozen=True, eq=False)
class Frames:
    """A sequence that is being read. each: those frames that are wanted, each as a photo; total: how many there are, 0 if only
    decoding tells; content: SHA-256 of the whole sequence."""

    each: Iterator[Photo]
    total: int
    content: str


@dataclass(frozen=True)
class SequenceReading:
    """How sequences are read. seconds: for all frames together; bands: those that are drawn; admit: as in `decode`."""

    background: Colour = WHITE
    seconds: float = SECONDS
    bands: tuple[int, ...] = ()
    admit: Admit = at_once


def decode_sequence(source: Source, view: View, how: SequenceReading = SequenceReading()) -> tuple[Photo, Tensor]:
    """The frames of a sequence that a view takes, from `source.frame` on: a photo that shows them all side by side, with the size
    of one frame, and the network's input (frames C, H, W).

    A sequence is a moving picture (GIF, WebP, APNG, AVIF, TIFF), an `.npy` of four axes, a video, or the parts of the source.
    Raises InputError if it is shorter than the view's window, if its frames differ in size, or if a frame cannot be decoded.
    """
    wanted = range(source.frame, source.frame + view.frames * view.frame_step, view.frame_step)
    frames = open_frames(source, view, wanted, how)
    if 0 < frames.total <= wanted[-1]:
        raise too_short(source.path, frames.total, wanted)
    inputs: list[Tensor] = []
    notes: dict[str, None] = {}
    sheet: ContactPrint | None = None
    for number, photo in zip(wanted, islice(frames.each, view.frames), strict=False):
        sheet = sheet or ContactPrint.of(photo.size, view.frames)
        if photo.size != sheet.frame_size:
            first, other = ("{} x {}".format(*size) for size in (sheet.frame_size, photo.size))
            found = f"frame {number} of {source.path} has {other} pixels, and the first has {first}"
            raise InputError(found, expected="frames of one size", hint=SKIP)
        inputs.append(input_of(photo, view.of_frame))
        sheet.add(drawn(photo, how.bands).image)
        notes |= dict.fromkeys(photo.notes)
    if sheet is None or len(inputs) < view.frames:
        # Of a video nothing but its end tells how long it is: at least up to the last frame that was wanted and there.
        raise too_short(source.path, wanted[len(inputs) - 1] + 1 if inputs else 0, wanted)
    said = (taken(wanted, frames.total), *notes)
    shown = Photo(sheet.picture, frames.content, source.frame, frames.total or 1, said, source.path, size=sheet.frame_size)
    return shown, torch.cat(inputs)


def taken(wanted: range, total: int) -> str:
    """Which frames were taken, in words."""
    of_all = f" of {total}" if total else ""
    return f"frames {wanted[0]} to {wanted[-1]}{of_all}" + (f", one of {wanted.step}" if wanted.step > 1 else "")


def too_short(name: str, count: int, wanted: range) -> InputError:
    """The refusal of a sequence that ends before the window does."""
    held = f"{count} frame{'s' if count != 1 else ''}"
    hint = f"Give --frames {-(-(count - wanted[0]) // wanted.step)} or fewer." if count > wanted[0] + wanted.step else ""
    found = f"{name} holds {held}, and the network reads frames {wanted[0]} to {wanted[-1]}"
    return InputError(found, expected=f"at least {words.count(wanted[-1] + 1, 'frame')}: {KINDS}", hint=hint or SKIP)


def open_frames(source: Source, view: View, wanted: range, how: SequenceReading) -> Frames:
    """The frames of a source at the places that are wanted."""
    if source.parts:
        parts = [source.parts[number] for number in wanted if number < len(source.parts)]
        return Frames(each_apart(parts, source.path, view, how), len(source.parts), content_hash(source) or "")
    if source.file is None:
        return of_memory(source, view, wanted, how)
    content = read(source.file, source.path, LARGEST_FILE)
    known = hashlib.sha256(content).hexdigest()
    if is_array(content) and (array := read_array(content)).ndim == 4:
        return of_array(array, source.path, known, view, wanted, how)
    if kind_of(content):
        total, each = moving_frames(content, source.path, wanted, how.background, how.seconds, how.admit)
        return Frames(each, total, known)
    if container_of(content):
        return Frames(video_frames(content, source.path, wanted, how.seconds), 0, known)
    raise InputError(f"{source.path} is no sequence of frames: {unidentified(content)}", expected=KINDS, hint=SKIP)


def frames_in_all(sources: Sequence[Source], first: int, step: int) -> int:
    """How many frames a view takes of sequences of one length, one of `step` from `first` on; raises InputError if their lengths
    differ."""
    counted = {source.path: count_frames(source) for source in sources}
    lengths = sorted(set(counted.values()))
    if len(lengths) > 1:
        one, other = (next(name for name, count in counted.items() if count == length) for length in (lengths[0], lengths[-1]))
        found = f"{one} holds {words.count(lengths[0], 'frame')}, and {other} {lengths[-1]}"
        raise InputError(found, expected="sequences of one length for all frames", hint=f"Give --frames {lengths[0]}.")
    if lengths[0] <= first:
        raise too_short(next(iter(counted)), lengths[0], range(first, first + step, step))
    return -(-(lengths[0] - first) // step)


def count_frames(source: Source, seconds: float = SECONDS) -> int:
    """How many frames a sequence holds; of a video that is known when it is decoded."""
    if source.file is not None and not source.parts:
        content = read(source.file, source.path, LARGEST_FILE)
        if not is_array(content) and not kind_of(content) and container_of(content):
            return sum(1 for _ in video_frames(content, source.path, range(MOST_FRAMES), seconds, pictures=False))
    return open_frames(source, View(), range(1), SequenceReading(seconds=seconds)).total


def each_apart(parts: Iterable[Source], name: str, view: View, how: SequenceReading) -> Iterator[Photo]:
    """Frames that lie in files of their own, or apart in memory, all within one time."""
    end, reading, admit = time.monotonic() + how.seconds, reading_of(view.of_frame, how.bands), how.admit
    for part in parts:
        left = end - time.monotonic()
        if left <= 0:
            raise took_too_long(name, how.seconds)
        yield decode(part, 0, how.background, reading=reading, seconds=left, admit=admit)
        admit = at_once


def of_memory(source: Source, view: View, wanted: range, how: SequenceReading) -> Frames:
    """An array (T, H, W, C), (T, C, H, W) or (T, H, W), or a moving PIL image; any other picture is one frame."""
    known = content_hash(source) or ""
    if isinstance(source.memory, Image.Image):
        each = each_apart((Source.of(frame) for frame in moved(source.memory, wanted)), source.path, view, how)
        return Frames(each, int(getattr(source.memory, "n_frames", 1)), known)
    array = as_array(source.memory)
    return of_array(array if array.ndim == 4 else array[None], source.path, known, view, wanted, how)


def moved(picture: Image.Image, wanted: range) -> Iterator[Image.Image]:
    """Copies of a moving picture's frames; it shows the same frame afterwards as before."""
    shown = picture.tell()
    try:
        for number in wanted:
            picture.seek(number)
            yield picture.copy()
    finally:
        picture.seek(shown)


def of_array(array: NDArray, name: str, known: str, view: View, wanted: range, how: SequenceReading) -> Frames:
    parts = (Source.of(array[number], name=name) for number in wanted if number < len(array))
    return Frames(each_apart(parts, name, view, how), len(array), known)
