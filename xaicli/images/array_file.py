"""`.npy` and `.npz`: arrays that NumPy saved, within limits and never unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.errors import InputError, text_of
from xaicli.images.footprint import LARGEST
from xaicli.words import count

NPY, ZIP, EMPTY_ZIP = b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06"
NAMES = ("image", "arr_0")
"""Which array of an archive of several is the photo."""

LONGEST_HEADER = 65_536
"""Bytes of a header at most: it is parsed as Python."""


def is_array(content: bytes) -> bool:
    """Whether bytes are an `.npy` file, or an archive that holds some, or that is empty."""
    return content.startswith((NPY, EMPTY_ZIP)) or (content.startswith(ZIP) and b".npy" in content[:512])


def read_array(content: bytes) -> NDArray[Any]:
    """The array of an `.npy` file, or of an `.npz` of one, or of several where one is called `image`; raises InputError."""
    return of_npy(content) if content.startswith(NPY) else of_npz(content)


def of_npy(content: bytes) -> NDArray[Any]:
    """An array whose header asks for no more than the bytes hold; raises InputError, and never unpickles."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(stream, max_header_size=LONGEST_HEADER)
    # NumPy parses a header as Python; on hostile bytes that may raise anything at all.
    except Exception as error:
        raise InputError(f"an .npy file whose header is damaged ({text_of(error)})", expected="one array") from error
    if dtype.hasobject:
        raise InputError("an array of Python objects, which are not unpickled", expected="an array of numbers")
    if dtype.names is not None or dtype.subdtype is not None or dtype.itemsize == 0:
        raise InputError(f"an array of {dtype!s:.80}", expected="an array of numbers")
    wanted, held = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if wanted > held or min(shape, default=0) < 0:
        raise InputError(
            f"an array of {count(wanted, 'byte')} in a file that holds {held:,} of them", expected="a whole .npy file"
        )
    # Not a copy: of a large photo the bytes are there once.
    flat = np.frombuffer(content, dtype, math.prod(shape), stream.tell())
    return flat.reshape(shape, order="F" if by_columns else "C")


def of_npz(content: bytes) -> NDArray[Any]:
    """The photo's array of an archive; raises InputError where it is not clear which, or where it unpacks to too much."""
    most = LARGEST - len(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if not names:
                raise InputError("an .npz archive with no array in it", expected="one array, or one called image")
            chosen = names[0] if len(names) == 1 else next((name for name in NAMES if name in names), "")
            if not chosen:
                listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
                raise InputError(f"an archive of the arrays {listed}", expected="one array, or one called image")
            with archive.open(f"{chosen}.npy") as file:
                unpacked = file.read(most + LONGEST_HEADER)
    except InputError:
        raise
    # A damaged archive raises errors of zlib, of an unknown way of packing, of a password: they have no common type.
    except Exception as error:
        raise InputError(f"an .npz archive that cannot be read ({text_of(error)})", expected="arrays that NumPy saved") from error
    if len(unpacked) > most:
        raise InputError(f"an array that unpacks to more than {count(most, 'byte')}", expected="a smaller one")
    return of_npy(unpacked)
