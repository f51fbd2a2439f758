"""Maps that grow step by step, such as a transformer's block by block: as a strip, and as a moving picture."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw

from xaicli.claims import MARK
from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.images.colour import Scale, palette
from xaicli.images.geometry import Geometry
from xaicli.images.marks import TargetMark
from xaicli.images.overlay import ALPHA, overlay
from xaicli.images.scan_path import draw_path
from xaicli.images.sheet import BAR, GAP, MARGIN, PAPER, WIDTH, draw_bar, thumbnail
from xaicli.images.text import line_height, write
from xaicli.sign import Sign
from xaicli.words import count as counted

MOVING = ("gif", "webp")
HOLD = 4
"""The last step is shown this many times as long as the others."""

Maps = NDArray[np.float32]
Places = NDArray[np.floating]


def strip(
    photo: Image.Image,
    maps: Maps,
    geometry: Geometry,
    sign: Sign,
    *,
    labels: Sequence[str] = (),
    scale: Scale | None = None,
    colormap: str | None = None,
    alpha: float = ALPHA,
    path: Places | None = None,
    side: int = 240,
    width: int = WIDTH,
    marks: Sequence[TargetMark] = (),
) -> Image.Image:
    """Step maps (L, h, w) side by side on one common scale, with one colour bar; as many lines as `width` asks for.

    labels: one per step, by default 1 to L; path: the place (L, 2) that each step looked at, as in `draw_path`; marks: as in
    `overlay`. Raises InputError for maps that are not finite.
    """
    scale = scale or common_scale(maps, sign)
    pictures = list(drawn_steps(photo, maps, geometry, sign, scale, colormap, alpha, side, marks, path))
    names = step_names(labels, len(maps))
    size = max(12, side // 15)
    step_width, step_height = pictures[0].width + GAP, pictures[0].height + line_height(size) + 2 * GAP
    across = min(len(pictures), max(1, (width - 2 * MARGIN + GAP) // step_width))
    down = math.ceil(len(pictures) / across)
    bar = BAR + 2 + line_height(size)
    canvas = Image.new("RGB", (2 * MARGIN + across * step_width - GAP, 2 * MARGIN + down * step_height + bar), PAPER)
    draw = ImageDraw.Draw(canvas)
    for at, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        x, y = MARGIN + at % across * step_width, MARGIN + at // across * step_height
        canvas.paste(picture, (x, y + line_height(size)))
        write(draw, (x, y), name, size, width=picture.width)
    bar_width = min(canvas.width - 2 * MARGIN, 2 * side)
    draw_bar(canvas, scale, palette(sign, colormap), (MARGIN, canvas.height - MARGIN - bar, bar_width, BAR), size)
    return canvas


def animation(
    photo: Image.Image,
    maps: Maps,
    geometry: Geometry,
    sign: Sign,
    *,
    kind: str = "gif",
    labels: Sequence[str] = (),
    scale: Scale | None = None,
    colormap: str | None = None,
    alpha: float = ALPHA,
    path: Places | None = None,
    side: int = 480,
    milliseconds: int = 350,
    marks: Sequence[TargetMark] = (),
) -> bytes:
    """A moving picture of step maps (L, h, w) on one common scale, as the bytes of a GIF or WebP file; it loops forever.

    milliseconds: how long a step is shown; the last one is held longer. Raises UsageError for another kind of file.
    """
    if kind not in MOVING:
        raise UsageError(f'no moving picture of kind "{kind}"', expected=" or ".join(MOVING), hint=did_you_mean(kind, MOVING))
    if milliseconds < 20:
        raise UsageError(f"{milliseconds} milliseconds a step", expected="at least 20")
    scale = scale or common_scale(maps, sign)
    size = max(12, side // 28)
    names = step_names(labels, len(maps))
    frames = []
    pictures = drawn_steps(photo, maps, geometry, sign, scale, colormap, alpha, side, marks, path)
    for name, picture in zip(names, pictures, strict=True):
        frame = Image.new("RGB", (picture.width, picture.height + BAR + 2 * line_height(size) + 8), PAPER)
        frame.paste(picture, (0, line_height(size) + 4))
        write(ImageDraw.Draw(frame), (4, 1), name, size, width=picture.width - 8)
        field = (0, picture.height + line_height(size) + 6, picture.width, BAR)
        draw_bar(frame, scale, palette(sign, colormap), field, size)
        frames.append(frame)
    return moving(frames, kind, [milliseconds] * (len(frames) - 1) + [milliseconds * HOLD])


def moving(frames: list[Image.Image], kind: str, times: list[int]) -> bytes:
    """Pictures of one size as the bytes of a GIF or WebP file that loops forever; times: how long each is shown, in
    milliseconds."""
    stream = io.BytesIO()
    if kind == "gif":
        frames = [few_colours(frame) for frame in frames]
        own = MARK.encode()
        frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0, disposal=1, comment=own)
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.Software] = MARK
        frames[0].save(
            stream, "WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0, quality=85, method=4, exif=exif
        )
    return stream.getvalue()


def drawn_steps(
    photo: Image.Image,
    maps: Maps,
    geometry: Geometry,
    sign: Sign,
    scale: Scale,
    colormap: str | None,
    alpha: float,
    side: int,
    marks: Sequence[TargetMark],
    path: Places | None,
) -> Iterator[Image.Image]:
    """Each step on a copy of the photo whose longer side is `side`, with the path so far."""
    small = thumbnail(photo, side)
    where = replace(geometry, source=small.size)
    for step, values in enumerate(maps, start=1):
        picture = overlay(small, values, where, sign, scale=scale, colormap=colormap, alpha=alpha, marks=marks)
        yield picture if path is None else draw_path(picture, path[:step], where)


def stretched(maps: Maps) -> Maps:
    """Step maps (L, h, w) as the authors of DAAM show them: each scaled to 0..1, after a sigmoid of its values relative to the
    last map's maximum.

    Every step then uses all colours, and early steps are no dimmer than late ones; a constant step becomes zeros.
    """
    peak = float(maps[-1].max())
    if not peak > 0:
        return np.zeros_like(maps)
    curved = 1 / (1 + np.exp(-5 * maps.astype(np.float64) / peak)) - 0.5
    low, high = curved.min(axis=(1, 2), keepdims=True), curved.max(axis=(1, 2), keepdims=True)
    return np.where(high > low, (curved - low) / np.where(high > low, high - low, 1), 0).astype(maps.dtype)


def few_colours(frame: Image.Image) -> Image.Image:
    """A frame in its own 256 colours, dithered, so that a smooth map shows no rings."""
    chosen = frame.quantize(256, Image.Quantize.MEDIANCUT)
    return frame.quantize(palette=chosen, dither=Image.Dither.FLOYDSTEINBERG)


def common_scale(maps: Maps, sign: Sign) -> Scale:
    """One range for all steps; raises InputError if there are none."""
    if np.ndim(maps) != 3 or not len(maps):
        raise InputError(f"step maps of shape {np.shape(maps)}", expected="(steps, height, width)")
    return Scale.of(list(np.asarray(maps)), sign)


def step_names(labels: Sequence[str], count: int) -> list[str]:
    """The given labels, or "1 of 12" and so on."""
    if labels and len(labels) != count:
        raise UsageError(f"{counted(len(labels), 'label')} for {counted(count, 'step')}", expected="one per step")
    return list(labels) or [f"{at} of {count}" for at in range(1, count + 1)]
