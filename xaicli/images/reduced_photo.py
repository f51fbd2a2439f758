"""A JPEG that was decoded at a half, a quarter or an eighth of its size (`--fast-decode`), and is resized from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from xaicli.images.pixels import FROM_BELOW, FROM_THE_RIGHT, SIDEWAYS, orientation_of

Size = tuple[int, int]
Box = tuple[float, float, float, float]

MARGIN = 2
"""A JPEG is decoded at the smallest size that is still this many times as long and wide as it is resized to.

What is resized from there differs less from what is resized from the whole photo than bilinear and bicubic differ from each other
(`tests/images/test_reduced_photo.py`).
"""

FORMATS = ("JPEG", "MPO")
FACTORS = (2, 4, 8)


@dataclass(frozen=True, eq=False)
class ReducedPhoto:
    """What a view asks of a picture, from a smaller one.

    image: upright; box: where the photo lies in it (left, top, right, bottom), since the pixels at its edges may reach
    past the photo; size: width and height of the photo itself; factor: how many times smaller the picture is.
    """

    image: Image.Image
    box: Box
    size: Size
    factor: int

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    @property
    def mode(self) -> str:
        return self.image.mode

    @property
    def note(self) -> str:
        """What the record says of it."""
        return f"decoded {self.factor} times smaller, as its overlay is (--fast-decode)"

    def convert(self, mode: str) -> ReducedPhoto:
        return dataclasses.replace(self, image=self.image.convert(mode))

    def resize(self, size: Size, resample: Image.Resampling) -> Image.Image:
        return self.image.resize(size, resample, box=self.box)


def draft(image: Image.Image, resized: Callable[[int, int], Size]) -> None:
    """Let a JPEG, read as far as its header, be decoded smaller, if that is enough for what it is resized to.

    resized: width and height to which an upright photo of that size is resized. The image's size is then the smaller one.
    """
    if image.format not in FORMATS:
        return
    turned = orientation_of(image)[0] in SIDEWAYS
    width, height = image.size[::-1] if turned else image.size
    across, down = (MARGIN * side for side in resized(width, height))
    image.draft(None, (down, across) if turned else (across, down))


def reduced_photo(picture: Image.Image, size: Size, orientation: int) -> ReducedPhoto:
    """A photo whose file says that it is `size` large, from a smaller picture of it, upright."""
    width, height = size[::-1] if orientation in SIDEWAYS else size
    factor = next(factor for factor in FACTORS if (-(-width // factor), -(-height // factor)) == picture.size)
    across, down = width / factor, height / factor
    left = picture.width - across if orientation in FROM_THE_RIGHT else 0.0
    top = picture.height - down if orientation in FROM_BELOW else 0.0
    return ReducedPhoto(picture, (left, top, left + across, top + down), (width, height), factor)
