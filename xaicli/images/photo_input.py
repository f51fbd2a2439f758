"""From a decoded photo to what the network takes of it, and to what is kept of it to be drawn on."""

from __future__ import annotations

import dataclasses

from PIL import Image
from torch import Tensor

from xaicli.freed_memory import give_back
from xaicli.images.decode import WHITE, Colour, Photo, decode
from xaicli.images.decode_limits import SECONDS
from xaicli.images.samples import Reading, redrawn
from xaicli.images.source import Source
from xaicli.images.view import View
from xaicli.images.window import Window

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601), as Pillow has them."""


def reading_of(view: View, bands: tuple[int, ...] = ()) -> Reading:
    """How files are read for a view; bands: those that are drawn."""
    return Reading(view.channels, Window.parse(view.window), bands, view.resized if view.fast_decode else None)


def input_of(photo: Photo, view: View) -> Tensor:
    """The input (C, H, W) of a photo that was decoded for the view.

    Colours become grey for a network of one channel, grey becomes three equal colours for one of three; any other number of
    bands than the network takes is refused with InputError.
    """
    bands = photo.bands
    if bands is None:
        return view.prepare(photo.pixels)
    if len(bands) == 1 and view.channels == 3:
        bands = bands.repeated(3)
    if len(bands) == 3 and view.channels == 1:
        bands = dataclasses.replace(bands, shares=GREY)
    return view.prepare_bands(bands)


def drawn(photo: Photo, bands: tuple[int, ...] = ()) -> Photo:
    """The photo without its numbers, as it is drawn: its picture, or the colours that are named in the place of others.

    Raises UsageError for a band that it does not have.
    """
    image = redrawn(photo.image, bands) if photo.bands is None else photo.image
    return dataclasses.replace(photo, image=image, bands=None, whole=None)


def picture_of_photo(
    source: Source, view: View, background: Colour = WHITE, seconds: float = SECONDS, bands: tuple[int, ...] = ()
) -> Image.Image:
    """The picture of a photo that is drawn on; raises XaiError where it cannot be decoded."""
    photo = decode(source, frame=source.frame, background=background, reading=reading_of(view, bands), seconds=seconds)
    picture, is_large = drawn(photo, bands).image, photo.whole is not None
    del photo
    if is_large:
        give_back()
    return picture
