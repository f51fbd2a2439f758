"""One map and everything known about it."""

from __future__ import annotations

import dataclasses
import io
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.description import facts, sentence
from xaicli.errors import InputError, text_of
from xaicli.files import write_atomic
from xaicli.images.boxes_drawn import box_marks
from xaicli.images.colour import Scale
from xaicli.images.geometry import Geometry
from xaicli.images.marks import TargetMark, marks_of
from xaicli.images.overlay import ALPHA, HEAT, overlay
from xaicli.images.picture_file import save_png, write_png
from xaicli.images.view import View
from xaicli.record import Record, load_record
from xaicli.sign import Sign
from xaicli.stamps import array_checksum
from xaicli.untrusted import opened
from xaicli.words import count

MAP = "map"
"""The map's name among the arrays of a record."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """A map (h, w), float32, exactly as its method defines it, and its record.

    `extras` holds the method's further arrays by name; `steps` the maps (L, h, w) of methods that have steps; `region`, bool (h,
    w) over the model's view, is the region of a class map to which the target belongs. `picture` is the original photo, if it is
    at hand. A notebook shows it as a picture.
    """

    values: NDArray[np.float32]
    record: Record
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)
    picture: Image.Image | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        record = self.record
        return f"Attribution({record.method} of {record.image!r} for {record.target_name}, {self.values.shape}, {record.status})"

    @property
    def sign(self) -> Sign:
        return Sign(self.record.sign)

    @property
    def status(self) -> str:
        return self.record.status

    @property
    def steps(self) -> NDArray[np.float32] | None:
        """The maps of all steps (L, h, w), or None if the method has no steps."""
        return self.extras.get("steps")

    @property
    def marks(self) -> tuple[TargetMark, ...]:
        """What pictures show of the target besides the map: the outline of its region."""
        return (*marks_of(self.extras), *box_marks(self.record.box, self.record.size))

    @cached_property
    def view(self) -> View:
        return View.from_dict(self.record.view)

    def overlay(
        self,
        *,
        scale: Scale | None = None,
        colormap: str | None = None,
        alpha: float = ALPHA,
        look: str = HEAT,
        in_place: bool = False,
    ) -> Image.Image:
        """The map drawn over the original photo at its own resolution, as `xaicli.images.overlay.overlay` says; in_place: on the
        picture itself, which takes no further memory."""
        if self.picture is None:
            raise InputError(
                f"the photo of {self.record.image} is not at hand", hint="Read it: dataclasses.replace(attribution, picture=…)."
            )
        geometry = self.geometry_on(self.picture)
        drawn: dict[str, Any] = {"scale": scale, "colormap": colormap, "alpha": alpha, "look": look, "marks": self.marks}
        return overlay(self.picture, self.values, geometry, self.sign, **drawn, in_place=in_place)

    def geometry_on(self, picture: Image.Image) -> Geometry:
        """Where the view lies on a picture of the photo, which may be smaller than the photo."""
        return dataclasses.replace(self.view.geometry(*self.record.size), source=picture.size)

    def facts(self) -> dict[str, Any]:
        """Where the map is, how concentrated, and what its removal does, as plain JSON values: `xaicli.description.facts`."""
        return facts(self.values, self.record)

    def describe(self) -> str:
        """The same as one plain sentence, made by fixed rules."""
        return sentence(self.facts())

    def show(self) -> None:
        """Open the overlay in the system's picture viewer."""
        self.overlay().show()

    def _repr_png_(self) -> bytes | None:
        if self.picture is None or self.status == "non-finite":
            return None
        buffer = io.BytesIO()
        save_png(self.overlay(), buffer)
        return buffer.getvalue()

    def save(self, folder: str | Path, stem: str | None = None, *, drawing: Image.Image | None = None) -> list[Path]:
        """Write `STEM.npy`, `STEM.png` (if the map is finite and the photo at hand) and, last, `STEM.json`; returns the paths.

        So an existing sidecar means that all three are complete. Raises InputError if the folder cannot be written to.
        """
        folder = Path(folder)
        stem = stem or f"{Path(self.record.image).stem}.{self.record.method}"
        place = {ending: folder / f"{stem}{ending}" for ending in (".npy", ".png", ".json")}
        place[".json"].unlink(missing_ok=True)
        written = [place[".npy"]]
        write_atomic(place[".npy"], lambda file: np.save(file, self.values, allow_pickle=False))
        for name, array in self.extras.items():
            path = folder / f"{stem}.{name}.npy"
            write_atomic(path, lambda file, array=array: np.save(file, array, allow_pickle=False))  # type: ignore[misc]
            written.append(path)
        if drawing is None and self.picture is not None and self.status != "non-finite":
            drawing = self.overlay()
        if drawing is not None:
            write_png(place[".png"], drawing)
            written.append(place[".png"])
        arrays = {MAP: self.values, **self.extras}
        record = dataclasses.replace(self.record, checksums={name: array_checksum(array) for name, array in arrays.items()})
        write_atomic(place[".json"], lambda file: file.write(record.to_json().encode()))
        return [*written, place[".json"]]

    @classmethod
    def load(cls, path: str | Path, picture: Image.Image | None = None) -> Attribution:
        """Read `STEM.json` and the arrays beside it; raises InputError if one is missing or does not match its record."""
        path = Path(path).with_suffix(".json") if Path(path).suffix != ".json" else Path(path)
        record = load_record(path)
        stem = path.name.removesuffix(".json")
        extras = {name: load_own_array(path.with_name(f"{stem}.{name}.npy"), record, name) for name in record.arrays}
        return cls(load_own_array(path.with_name(f"{stem}.npy"), record, MAP), record, extras, picture)


def load_own_array(path: Path, record: Record, name: str) -> NDArray[Any]:
    """Read an array of a record; raises InputError where it is not the one written with it, as far as the record tells."""
    array = load_array(path)
    if name in record.checksums and array_checksum(array) != record.checksums[name]:
        raise InputError(f"{path} is not the array that its record was written with", hint="Explain again, with --overwrite.")
    return array


def load_array(path: Path) -> NDArray[Any]:
    """Read one `.npy`; raises InputError if it is missing, damaged or holds objects."""
    wanted = "a .npy file of one array, written by xai explain"
    try:
        with opened(path, wanted) as file:
            refuse_short(path, file)
            loaded = np.load(file, allow_pickle=False)
    except InputError:
        raise
    # NumPy parses the header as Python; on hostile bytes that may raise anything.
    except Exception as error:
        raise InputError(f"{path} cannot be read as an array: {text_of(error)}", expected=wanted) from error
    if not isinstance(loaded, np.ndarray):
        raise InputError(f"{path} is an archive", expected=wanted)
    return loaded


def refuse_short(path: Path, file: BinaryIO) -> None:
    """Raise InputError, before memory is allocated, for an array whose header asks for more than the file holds."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    start = file.tell()
    wanted, held = math.prod(shape) * dtype.itemsize, file.seek(0, 2) - start
    file.seek(0)
    if wanted > held:
        raise InputError(f"{path} asks for an array of {count(wanted, 'byte')}, and holds {held:,}", expected="a whole .npy file")


def status_of(values: NDArray[Any]) -> str:
    """`ok`, `constant` (all values equal: it ranks nothing) or `non-finite`."""
    if not np.isfinite(values).all():
        return "non-finite"
    return "constant" if values.size and values.min() == values.max() else "ok"
