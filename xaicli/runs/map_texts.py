"""What is said of each map in words and numbers: the sentence of `--text`, and the JSON file of `--facts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xaicli.attribution import load_array
from xaicli.claims import MARK, claim
from xaicli.description import REMOVAL, facts, sentence
from xaicli.files import write_atomic
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.runs.written_map import WrittenMap
from xaicli.writable_text import json_text

ENDING = ".facts.json"


@dataclass(frozen=True)
class MapTexts:
    """text: a sentence a map; facts: a file a map, `STEM.facts.json`; overwrite: also over a file of others."""

    text: bool = False
    facts: bool = False
    overwrite: bool = False

    COLUMNS: ClassVar[tuple[str, ...]] = ("image", "text")

    @property
    def wanted(self) -> bool:
        return self.text or self.facts

    def metrics(self, classifier: Classifier) -> tuple[str, ...]:
        """The metric whose score the sentence needs; none where the outputs are no probabilities."""
        return (REMOVAL,) if self.wanted and classifier.outputs is not Outputs.VALUES and not classifier.features else ()

    def of(self, written: WrittenMap) -> dict[str, Any]:
        """Entries of the map's row; writes the file."""
        if not self.wanted:
            return {}
        known = facts(load_array(written.path(".npy")), written.record)
        entries: dict[str, Any] = {"text": sentence(known)} if self.text else {}
        if self.facts:
            path, content = written.path(ENDING), {"generator": MARK, **known, "text": sentence(known)}
            claim(path, overwrite=self.overwrite)
            text = json_text(content) + "\n"
            write_atomic(path, lambda file: file.write(text.encode()))
            entries["facts"] = f"{written.stem}{ENDING}"
        return entries
