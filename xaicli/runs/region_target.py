"""The region of a class map that a target names, fixed on the clean photo."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from xaicli.errors import InputError, UsageError
from xaicli.images.decode import decode
from xaicli.images.geometry import Geometry
from xaicli.images.reduced_photo import ReducedPhoto
from xaicli.images.source import Source
from xaicli.later import ndimage
from xaicli.network.classifier import Classifier
from xaicli.stamps import sha256_file
from xaicli.targets import COMPONENT, PREDICTED, REGION, REGIONS, TargetRule
from xaicli.untrusted import is_file

BACKGROUND = ("background", "__background__", "unlabeled", "void")
NUMBER = r"\d+(?:\.\d*)?"
PLACE = re.compile(f"{NUMBER}(:{NUMBER}){{1}}|{NUMBER}(:{NUMBER}){{3}}")
"""A point, or a box."""
Region = NDArray[np.bool_]


def named(region: str) -> str:
    """A region's name in results; a mask is named by its file's name and content, not by its folder."""
    path = Path(region)
    return f"{path.name}~{sha256_file(path)[:6]}" if path.suffix and is_file(path) else region


def canonical(rule: TargetRule) -> str:
    """A rule's name in results."""
    return str(replace(rule, region=named(rule.region)) if rule.region else rule)


def decided_class(predicted: Tensor, classifier: Classifier) -> int:
    """The class that covers most of a prediction, bool (C, h, w), beside the background; the background where it covers all."""
    counts = predicted.sum(dim=(1, 2))
    background = [index for index in range(classifier.count) if classifier.class_name(index).lower() in BACKGROUND]
    beside = counts.clone()
    beside[background] = 0
    return int((beside if beside.any() else counts).argmax())


def region_of(text: str, index: int, predicted: Tensor, geometry: Geometry, classifier: Classifier) -> Tensor:
    """The region (h, w), bool, at the class map's resolution.

    text: `predicted` (where the class was predicted), `component` (the largest connected part of that), a mask file over the
    photo, a box `x0:y0:x1:y1` or a point `x:y` in pixels of the photo; predicted: where the class `index` was, bool (h, w).
    Raises InputError if the region is empty.
    """
    height, width = predicted.shape
    if text in (PREDICTED, COMPONENT):
        found = predicted.cpu().numpy()
        region = largest_component(found) if text == COMPONENT else found
    elif PLACE.fullmatch(text):
        numbers = text.split(":")
        if (box := sorted_box(numbers)) != numbers:
            raise UsageError(
                f"the box {text} ends before it begins",
                expected="x0:y0:x1:y1 with x0 below x1 and y0 below y1",
                hint=f"Type --target CLASS{REGION}{':'.join(box)}",
            )
        region = drawn([float(number) for number in numbers], geometry, (height, width))
    elif not Path(text).suffix:
        raise UsageError(f'no region "{text}"', expected=REGIONS)
    else:
        region = of_mask(Path(text), geometry, classifier, (height, width))
    if not region.any():
        raise InputError(
            f"the region {text} of {classifier.class_name(index)} is empty in the part that the model sees",
            hint=f"Name another class or region: {REGIONS}.",
        )
    return torch.from_numpy(region).to(predicted.device)


def sorted_box(numbers: list[str]) -> list[str]:
    """The numbers of a box from its left upper to its right lower corner; a point as it is."""
    if len(numbers) == 2:
        return numbers
    (left, right), (top, bottom) = (sorted(numbers[at::2], key=float) for at in (0, 1))
    return [left, top, right, bottom]


def largest_component(found: Region) -> Region:
    """The largest 8-connected part of a mask."""
    parts, count = ndimage.label(found, structure=np.ones((3, 3)))
    if not count:
        return found
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == int(sizes.argmax())  # type: ignore[no-any-return]


def drawn(numbers: list[float], geometry: Geometry, size: tuple[int, int]) -> Region:
    """The cells that a box or point of the photo touches on a class map of `size` (height, width)."""
    corners = numbers if len(numbers) == 4 else [*numbers, *numbers]
    left, top = geometry.to_view(*corners[:2])
    right, bottom = geometry.to_view(*corners[2:])
    across, down = size[1] / geometry.size[0], size[0] / geometry.size[1]
    region = np.zeros(size, dtype=bool)
    columns = slice(max(0, int(np.floor(left * across))), max(0, int(np.floor(right * across)) + 1))
    rows = slice(max(0, int(np.floor(top * down))), max(0, int(np.floor(bottom * down)) + 1))
    region[rows, columns] = True
    return region


def of_mask(path: Path, geometry: Geometry, classifier: Classifier, size: tuple[int, int]) -> Region:
    """A mask file over the photo (non-zero: inside), as the model sees the photo, sampled at the class map's cells."""
    try:
        photo = decode(Source(str(path)))
    except InputError as error:
        raise InputError(f"the mask {error.found}", expected="a mask of the photo's size, inside where it is not 0") from error
    # A mask is decoded whole, whatever --fast-decode says of photos.
    assert not isinstance(photo.pixels, ReducedPhoto)
    mask = np.asarray(photo.pixels.crop((0, 0, *photo.size))).max(axis=2) > 0
    if (mask.shape[1], mask.shape[0]) != geometry.source:
        raise InputError(
            f"the mask {path.name} has {mask.shape[1]} x {mask.shape[0]} pixels, but the photo {geometry.source[0]} x "
            f"{geometry.source[1]}",
            expected="a mask of the photo's size",
        )
    seen = Image.fromarray(classifier.view.prepare_mask(mask).astype(np.uint8))
    return np.asarray(seen.resize((size[1], size[0]), Image.Resampling.NEAREST)) > 0
