"""Content hashes and the two stamps that every result carries.

The definition stamp says how a number was made (name, version, parameters as given, target rule, precision); the subject stamp
says of what (photo content, model fingerprint, resolved target). Results of different definitions are never compared.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from xaicli.params import Definition
from xaicli.untrusted import in_words, opened

STAMP_LENGTH = 16


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; raises InputError where it cannot be read."""
    with opened(path, "a file") as file, in_words(path, "a file"):
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(content: Any) -> str:
    """16 hex digits over the canonical JSON of `content`: sorted keys, no spaces, non-finite numbers refused."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:STAMP_LENGTH]


def definition_stamp(definition: Definition, target_rule: str, precision: str) -> str:
    """The stamp of how a map or score is made."""
    return stamp(
        {
            "name": definition.name,
            "version": definition.version,
            "parameters": definition.parameters_as_given(),
            "target": target_rule,
            "precision": precision,
        }
    )


def subject_stamp(photo: str, frame: int, fingerprint: str, target: str, partner: str = "") -> str:
    """The stamp of what was explained: photo content hash, frame, model fingerprint, resolved target (`281` or `386-340`).

    partner: of the control `other`, the photo whose map it is.
    """
    content = {"photo": photo, "frame": frame, "model": fingerprint, "target": target}
    return stamp(content | {"partner": partner} if partner else content)
