"""DICOM files, read by pydicom: rescaled to their own units, with the window that they state."""

from __future__ import annotations

import math
from collections.abc import Callable, MutableSequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.errors import InputError, text_of
from xaicli.images.decode_limits import Timed
from xaicli.images.footprint import refuse_heavy_numbers
from xaicli.images.in_one_go import DICOM, MANY, try_apart
from xaicli.images.samples import Samples, of_bands
from xaicli.images.window import Range
from xaicli.packages import require
from xaicli.words import count as counted

MARK, PREAMBLE = b"DICM", 128
PACKED_WHOLE = b"1.2.840.10008.1.2.1.99"
"""A file that is packed as a whole says so in its header; how much it unpacks to is not known before."""

HEADER = 4096
FLOAT = 8
"""Bytes of a rescaled value."""


def is_dicom(content: bytes) -> bool:
    return content[PREAMBLE : PREAMBLE + 4] == MARK


AS_STORED, THROUGH_TABLES = 12, 32
"""Bytes a pixel while stored values become floats: by slope and intercept, or by tables."""


def read_dicom(
    timed: Timed,
    content: bytes,
    frame: int,
    max_pixels: int,
    admit: Callable[[int], None],
    *,
    declared: bool = True,
) -> Samples:
    """A frame of a DICOM file.

    timed: the same content, with a clock; declared: whether black and white are as the file says, so that its table of values of
    interest is applied; admit: called with the bytes of its numbers before they are decoded. Raises InputError, and whatever
    pydicom raises on damaged bytes.
    """
    pydicom = require("pydicom", "dicom")
    if PACKED_WHOLE in content[:HEADER]:
        raise InputError("a DICOM file that is packed as a whole (deflated)", expected="one that is not")
    dataset = pydicom.dcmread(timed)
    frames = check(dataset, frame, max_pixels)
    pixels = int(dataset.Rows) * int(dataset.Columns)
    # pydicom holds the file's pixels a second time.
    refuse_heavy_numbers(pixels, pixels * (THROUGH_TABLES if has_tables(dataset) else AS_STORED), 2 * len(content))
    admit(pixels * FLOAT)
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is not None and syntax.is_compressed and int(dataset.Rows) * int(dataset.Columns) > MANY:
        try_apart(DICOM, content, frame, timed)
    values = pixels_of(dataset, frame)
    timed.check()
    notes = (f"{frames} frames: frame {frame} used",) if frames > 1 else ()
    if values.ndim == 3:
        made = of_bands(np.moveaxis(values, -1, 0))
        whole = made.declared if is_palette(dataset) else full_range(dataset, (1.0, 0.0))
        return Samples(made.values, whole, whole, False, frames, notes)
    values, widest = in_own_units(values, dataset)
    inverted = str(dataset.PhotometricInterpretation) == "MONOCHROME1"
    window = window_of(dataset)
    if declared and window is None and (found := table(dataset, "VOILUTSequence")) is not None:
        values, widest = looked_up(values, found)
    return Samples(of_bands(values[None]).values, window or widest, widest, inverted, frames, notes)


def has_tables(dataset: Any) -> bool:
    return any(table(dataset, name) is not None for name in ("ModalityLUTSequence", "VOILUTSequence"))


def in_own_units(values: NDArray[Any], dataset: Any) -> tuple[NDArray[np.float64], Range]:
    """Stored values in the file's own units, and what the stored bits can hold there: by its modality table (DICOM PS3.3,
    C.11.1), or else by its slope and intercept. Always floats: a window is the file's, or the user's, also of eight stored
    bits."""
    if (found := table(dataset, "ModalityLUTSequence")) is not None:
        return looked_up(values, found)
    rescale = rescale_of(dataset)
    made = values.astype(np.float64)
    made *= rescale[0]
    made += rescale[1]
    return made, full_range(dataset, rescale)


def table(dataset: Any, name: str) -> Any:
    """The first table of that kind; None where there is none."""
    sequence = getattr(dataset, name, None)
    return sequence[0] if sequence else None


def looked_up(values: NDArray[Any], found: Any) -> tuple[NDArray[np.float64], Range]:
    """Values through a table, below its first and above its last the entry there, and what its bits can hold; raises InputError
    where it is damaged."""
    count, first_value, bits = (int(number) for number in found.LUTDescriptor)
    count = count or 1 << 16
    data = found.LUTData
    if isinstance(data, bytes):
        # Entries of 8 bits lie in words, or two in one.
        narrow = bits <= 8 and len(data) < 2 * count
        data = np.frombuffer(data, dtype=np.uint8 if narrow else "<u2", count=len(data) if narrow else len(data) // 2)
    entries = np.asarray(data)[:count]
    if len(entries) < count or not 1 <= bits <= 16:
        raise InputError(
            f"a DICOM table of {counted(len(entries), 'entry', 'entries')} and {bits} bits",
            expected=f"{count} entries of 1 to 16 bits",
        )
    places = (np.rint(values).astype(np.int64) - first_value).clip(0, count - 1)
    return entries[places].astype(np.float64), (0.0, 2.0**bits - 1)


def check(dataset: Any, frame: int, max_pixels: int) -> int:
    """How many frames there are; raises InputError, before a pixel is decoded, for a file without pixels or of too many."""
    if "PixelData" not in dataset:
        kind = str(getattr(dataset, "Modality", "") or "no modality")
        raise InputError(f"a DICOM file without pixels ({kind:.40})", expected="an image")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frames = int(getattr(dataset, "NumberOfFrames", None) or 1)
    if rows < 1 or columns < 1 or rows * columns > max_pixels:
        raise InputError(f"{columns} x {rows} pixels", expected=f"at most {max_pixels:,} pixels in all")
    if not 0 <= frame < frames:
        last = f"0 to {frames - 1}" if frames > 1 else "0"
        many = f"{frames} frames" if frames > 1 else "1 frame"
        raise InputError(f"{many}, and none with the number {frame}", expected=f"--frame {last}")
    return frames


def pixels_of(dataset: Any, frame: int) -> NDArray[Any]:
    """The stored values of a frame, (rows, columns) or with three colours last; raises InputError where no decoder is at hand."""
    pixels = require("pydicom.pixels", "dicom")
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    try:
        array: NDArray[Any] = pixels.pixel_array(dataset, index=frame)
    except (RuntimeError, AttributeError) as error:
        if syntax is not None and syntax.is_compressed:
            packed = f"a DICOM file packed as {syntax.name}"
            raise InputError(packed, expected="a decoder for it", hint='Type: pip install "pylibjpeg[all]"') from error
        raise InputError(f"a DICOM file whose pixels cannot be read ({text_of(error)})", expected="an image") from error
    return pixels.apply_color_lut(array, dataset) if is_palette(dataset) else array


def is_palette(dataset: Any) -> bool:
    return str(dataset.PhotometricInterpretation) == "PALETTE COLOR"


def rescale_of(dataset: Any) -> tuple[float, float]:
    """Slope and intercept that lead to the file's own units, such as Hounsfield's; 1 and 0 where it states none."""
    slope, intercept = first(dataset, "RescaleSlope"), first(dataset, "RescaleIntercept")
    return slope or 1.0, intercept or 0.0


def full_range(dataset: Any, rescale: tuple[float, float]) -> Range:
    """What the stored bits can hold, in the file's own units."""
    bits = min(max(int(getattr(dataset, "BitsStored", 8)), 1), 32)
    signed = int(getattr(dataset, "PixelRepresentation", 0)) == 1
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    ends = sorted(end * rescale[0] + rescale[1] for end in (low, high))
    return ends[0], ends[1]


def window_of(dataset: Any) -> Range | None:
    """The first window that the file states, as its limits (DICOM PS3.3, C.11.2.1.2); None where it states none."""
    centre, width = first(dataset, "WindowCenter"), first(dataset, "WindowWidth")
    if centre is None or width is None or width < 1:
        return None
    if str(getattr(dataset, "VOILUTFunction", "LINEAR")) == "LINEAR" and width > 1:
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return centre - width / 2, centre + width / 2


def first(dataset: Any, name: str) -> float | None:
    """A finite number of the file, the first of several; None where it is absent or no number."""
    value: Any = getattr(dataset, name, None)
    value = value[0] if isinstance(value, MutableSequence) and value else value
    try:
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
