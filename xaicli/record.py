"""Everything known about a map except its values: the sidecar's contents."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xaicli.errors import InputError, fault_in_content
from xaicli.images.view import View
from xaicli.segment_pairs import SegmentPair
from xaicli.sign import Sign
from xaicli.stamps import with_checksum, without_checksum
from xaicli.untrusted import read
from xaicli.words import type_of
from xaicli.writable_text import json_text

SCHEMA_VERSION = 2
BASELINE_VALUE = "baseline_value"
"""Among a record's numbers, of a model of values: that of a photo of the mean colour, which the photo's own is held against."""
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
    `score` of the explained box, else empty; fitted_to: the metric by which the map was chosen, and which is therefore no
    judge of it, else empty; engine: names and versions of what ran passes without gradients beside torch, else empty; pairs: of
    segments, the strongest first, as `SegmentPair.as_dict` has them, where a method lists such; explains: of a network of
    features, which decides nothing (`decision` is None, and numbers of `top` are its largest outputs), what the map explains, in
    words, else empty. `definition` and `subject` are
    the two stamps. Fields after `subject` are recorded but not stamped.
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
    decision: Prediction | None
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
    engine: str = ""
    masked_dtype: str = "float32"
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()
    extras: dict[str, float] = field(default_factory=dict)
    arrays: tuple[str, ...] = ()
    look: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    box: dict[str, Any] = field(default_factory=dict)
    pairs: tuple[dict[str, Any], ...] = ()
    schema_version: int = SCHEMA_VERSION
    checksums: dict[str, str] = field(default_factory=dict, compare=False)
    fitted_to: str = ""
    explains: str = ""

    def to_json(self) -> str:
        content = dataclasses.asdict(self)
        for name in ("box", "engine", "explains", "fitted_to", "pairs"):
            if not content[name]:
                del content[name]
        return json_text(with_checksum(content)) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Record:
        """Read a record from a sidecar's text; raises InputError if it is not one, or of a newer version."""
        try:
            given = json.loads(text)
            newer = int(given["schema_version"]) > SCHEMA_VERSION
            if not newer:
                given = without_checksum(given, given["schema_version"])
                given["decision"] = None if given["decision"] is None else Prediction(**given["decision"])
                given["top"] = tuple(Prediction(**row) for row in given["top"])
                given.setdefault("pairs", [])
                for name in ("size", "targets", "notes", "arrays", "pairs"):
                    given[name] = tuple(listed(given[name]))
                return checked(cls(**given))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"{where} is not a record of an attribution ({fault_in_content(error)})") from error
        raise InputError(
            f"{where} was written by a newer version", expected=f"schema {SCHEMA_VERSION} or older", hint="Upgrade xaicli."
        )


PLAIN: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "tuple": tuple, "dict": dict, "Prediction": Prediction}
"""The types of a record's fields, by the first word of their annotation."""
MOST = 2**63


def listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{type_of(value)} where a list is expected")
    return value


def checked(record: Record) -> Record:
    """The record, if its fields have their declared types and its numbers fit into files and arrays; otherwise TypeError."""
    if (record.decision is None) is not bool(record.explains):
        raise ValueError("no decision, or one of a network of features")
    parts: tuple[Any, ...] = (record, *([] if record.decision is None else [record.decision]), *record.top)
    for entry in parts:
        for part in dataclasses.fields(entry):
            value, kind = getattr(entry, part.name), str(part.type).partition("[")[0]
            if kind in PLAIN and (not isinstance(value, PLAIN[kind]) or isinstance(value, bool)):
                raise TypeError(f"{part.name} is {type_of(value)}, not a {kind}")
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
    for pair in record.pairs:
        SegmentPair.from_dict(pair)
    Sign(record.sign)
    View.from_dict(record.view)
    return record


def load_record(path: Path) -> Record:
    """Read a sidecar; raises InputError if it is missing, too large or not a record."""
    content = read(path, "a sidecar written by xai explain", LARGEST_RECORD)
    return Record.from_json(content.decode("utf-8", "replace"), str(path))
