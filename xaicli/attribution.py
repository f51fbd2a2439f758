"""One map and everything known about it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.description import facts, sentence
from xaicli.errors import InputError, described, text_of
from xaicli.files import write_atomic
from xaicli.images.boxes_drawn import box_marks
from xaicli.images.colour import Scale
from xaicli.images.geometry import Geometry
from xaicli.images.marks import TargetMark, marks_of
from xaicli.images.overlay import ALPHA, HEAT, overlay
from xaicli.images.picture_file import save_png, write_png
from xaicli.images.view import View
from xaicli.sign import Sign
from xaicli.stamps import array_checksum, with_checksum, without_checksum
from xaicli.untrusted import opened, read

SCHEMA_VERSION = 2
MAP = "map"
"""The map's name among the arrays of a record."""
LARGEST_RECORD = 4_000_000


@dataclass(frozen=True)
class Prediction:
    """One class with its name and probability (0 to 1), by the model's softmax or sigmoid; for a model of values, the value."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Record:
    """The contents of the sidecar: everything known about a map except its values.

    image: path as given; photo: SHA-256 of its content; target: canonical text, `281` or `386-340`; targets: all that the run
    explained of this photo; scores: metric values by label; box: for a detector, `corners` in pixels of the photo, `label` and
    `score` of the explained box, else empty. `definition` and `subject` are the two stamps. Fields after `subject` are recorded
    but not stamped.
    """

    image: str
    photo: str
    frame: int
    size: tuple[int, int]
    method: str
    parameters: dict[str, Any]
    version: int
    rule: str
    target: str
    target_name: str
    target_probability: float
    targets: tuple[str, ...]
    decision: Prediction
    top: tuple[Prediction, ...]
    sign: str
    status: str
    model: str
    fingerprint: str
    view: dict[str, Any]
    precision: str
    definition: str
    subject: str
    seed: int
    layer: str = ""
    passes: str = ""
    device: str = "cpu"
    masked_dtype: str = "float32"
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()
    extras: dict[str, float] = field(default_factory=dict)
    arrays: tuple[str, ...] = ()
    look: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    box: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    checksums: dict[str, str] = field(default_factory=dict, compare=False)

    def to_json(self) -> str:
        content = dataclasses.asdict(self)
        if not self.box:
            del content["box"]
        return json.dumps(with_checksum(content), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Record:
        """Read a record from a sidecar's text; raises InputError if it is not one, or of a newer version."""
        try:
            given = json.loads(text)
            newer = int(given["schema_version"]) > SCHEMA_VERSION
            if not newer:
                given = without_checksum(given, given["schema_version"])
                given["decision"] = Prediction(**given["decision"])
                given["top"] = tuple(Prediction(**row) for row in given["top"])
                for name in ("size", "targets", "notes", "arrays"):
                    given[name] = tuple(listed(given[name]))
                return checked(cls(**given))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"{where} is not a record of an attribution ({described(error)})") from error
        raise InputError(
            f"{where} was written by a newer version", expected=f"schema {SCHEMA_VERSION} or older", hint="Upgrade xaicli."
        )


PLAIN: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "tuple": tuple, "dict": dict, "Prediction": Prediction}
"""The types of a record's fields, by the first word of their annotation."""
MOST = 2**63


def listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a {type(value).__name__} where a list is expected")
    return value


def checked(record: Record) -> Record:
    """The record, if its fields have their declared types and its numbers fit into files and arrays; otherwise TypeError."""
    parts: tuple[Any, ...] = (record, record.decision, *record.top)
    for entry in parts:
        for part in dataclasses.fields(entry):
            value, kind = getattr(entry, part.name), str(part.type).partition("[")[0]
            if kind in PLAIN and (not isinstance(value, PLAIN[kind]) or isinstance(value, bool)):
                raise TypeError(f"{part.name} is a {type(value).__name__}, not a {kind}")
            if isinstance(value, int) and abs(value) >= MOST:
                raise ValueError(f"{part.name} is out of range")
    texts = (*record.targets, *record.notes, *record.arrays, *record.versions.values(), *record.checksums.values())
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("targets, notes, arrays, versions and checksums hold texts")
    if len(record.size) != 2 or not all(isinstance(side, int) and 0 < side < MOST for side in record.size):
        raise ValueError(f"size {record.size!r:.40}")
    if not record.top or not record.targets:
        raise ValueError("no targets, or no classes")
    # Names of arrays become file names beside the record.
    if any(not name.replace("-", "").replace("_", "").isalnum() for name in record.arrays):
        raise ValueError(f"arrays {record.arrays!r:.40}")
    Sign(record.sign)
    View.from_dict(record.view)
    return record


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
        write_atomic(place[".json"], lambda file: file.write(record.to_json().encode("utf-8", "backslashreplace")))
        return [*written, place[".json"]]

    @classmethod
    def load(cls, path: str | Path, picture: Image.Image | None = None) -> Attribution:
        """Read `STEM.json` and the arrays beside it; raises InputError if one is missing or does not match its record."""
        path = Path(path).with_suffix(".json") if Path(path).suffix != ".json" else Path(path)
        record = load_record(path)
        stem = path.name.removesuffix(".json")
        extras = {name: load_own_array(path.with_name(f"{stem}.{name}.npy"), record, name) for name in record.arrays}
        return cls(load_own_array(path.with_name(f"{stem}.npy"), record, MAP), record, extras, picture)


def load_record(path: Path) -> Record:
    """Read a sidecar; raises InputError if it is missing, too large or not a record."""
    content = read(path, "a sidecar written by xai explain", LARGEST_RECORD)
    return Record.from_json(content.decode("utf-8", "replace"), str(path))


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
        raise InputError(f"{path} asks for an array of {wanted:,} bytes, and holds {held:,}", expected="a whole .npy file")


def status_of(values: NDArray[Any]) -> str:
    """`ok`, `constant` (all values equal: it ranks nothing) or `non-finite`."""
    if not np.isfinite(values).all():
        return "non-finite"
    return "constant" if values.size and values.min() == values.max() else "ok"
