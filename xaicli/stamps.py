"""Content hashes and the two stamps that every result carries.

The definition stamp says how a number was made (name, version, parameters as given, target rule, precision); the subject stamp
says of what (photo content, model fingerprint, resolved target). Results of different definitions are never compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaicli.params import Definition, as_json
from xaicli.untrusted import in_words, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

STAMP_LENGTH = 16
CHECKSUM = "checksum"
"""The entry of a JSON object that tells whether the others are as they were written."""
FIRST_SCHEMA = 1
"""Sidecars, baselines and checkpoints of this version have no checksum."""


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; raises InputError if it cannot be read."""
    with opened(path, "a file") as file, in_words(path, "a file"):
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(content: Any) -> str:
    """16 hex digits over the canonical JSON of `content`: sorted keys, no spaces, non-finite numbers refused."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:STAMP_LENGTH]


def definition_stamp(definition: Definition | Mapping[str, Any], target_rule: str, precision: str) -> str:
    """The stamp of how a map or score is made; definition: itself, or its content on a classifier (`method.content_on`)."""
    return stamp({**as_json(definition), "target": target_rule, "precision": precision})


def subject_stamp(photo: str, frame: int, fingerprint: str, target: str, partner: str = "") -> str:
    """The stamp of what was explained: photo content hash, frame, model fingerprint, resolved target (`281` or `386-340`).

    partner: for the control `other`, the photo whose map is used.
    """
    content = {"photo": photo, "frame": frame, "model": fingerprint, "target": target}
    return stamp(content | {"partner": partner} if partner else content)


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with one more entry, by which `without_checksum` knows it again."""
    return {**content, CHECKSUM: checksum_of(content)}


def without_checksum(content: Mapping[str, Any], schema: object) -> dict[str, Any]:
    """The object that was given to `with_checksum`; raises ValueError where it has changed since."""
    if schema == FIRST_SCHEMA:
        return dict(content)
    rest = {name: value for name, value in content.items() if name != CHECKSUM}
    if content.get(CHECKSUM) != checksum_of(rest):
        raise ValueError("something in it is not what was written: its checksum is another")
    return rest


def checksum_of(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=dict)
    return hashlib.sha256(text.encode()).hexdigest()[:STAMP_LENGTH]


def array_checksum(array: NDArray[Any]) -> str:
    """16 hex digits over an array's values, shape and type."""
    about = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(about + array.tobytes()).hexdigest()[:STAMP_LENGTH]
