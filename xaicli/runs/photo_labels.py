"""The true class of each photo, from a table or from the names of folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xaicli.errors import UsageError
from xaicli.images.source import Source
from xaicli.network.classifier import Classifier
from xaicli.progress import SILENT, Progress
from xaicli.runs.labelled import labels_in
from xaicli.target_text import name_table
from xaicli.words import count


@dataclass(frozen=True)
class PhotoLabels:
    """The true class of photos, as text and as an index of the model."""

    by_source: dict[Source, tuple[str, int]] = field(default_factory=dict)

    def name(self, source: Source) -> str | None:
        return self.by_source[source][0] if source in self.by_source else None

    def index(self, source: Source) -> int | None:
        return self.by_source[source][1] if source in self.by_source else None


def photo_labels(
    sources: Sequence[Source], classifier: Classifier, table: str | Path | None = None, progress: Progress = SILENT
) -> PhotoLabels:
    """Labels from a CSV with the columns image and label; without one, from the folders in which the
    photos lie, if each of these has the name of a class.

    Raises UsageError where a label of the table is no class of the model, or where it labels no photo; InputError where it cannot
    be read.
    """
    names = name_table(tuple(classifier.classes), classifier.count)
    if table is None:
        folders = {source: Path(source.path).parent.name for source in sources}
        # A folder called 2024 is no class 2024 of a model.
        known = {name: names.find(name) for name in set(folders.values()) if name and not name.isdecimal()}
        if not all(len(known.get(name, ())) == 1 for name in folders.values()):
            return PhotoLabels()
        progress.say(f"labels from the names of {count(len(known), 'folder')}: {', '.join(sorted(known)[:4])}")
        return PhotoLabels({source: (folder, known[folder][0]) for source, folder in folders.items()})
    found: dict[Source, tuple[str, int]] = {}
    for source, label in labels_in(Path(table), {source: source.path for source in sources}, progress).items():
        if len(indices := names.find(label)) != 1:
            raise UsageError(
                f'{table} gives {source.path} the label "{label}", which is no class of {classifier.name}',
                expected="names or indices of its classes",
                hint="Name the classes with --classes FILE.",
            )
        found[source] = label, indices[0]
    if not found:
        raise UsageError(f"{table} labels none of the photos", expected="rows IMAGE,LABEL with the photos' paths or names")
    progress.say(f"labels of {len(found)} of {count(len(sources), 'photo')} from {table}")
    return PhotoLabels(found)
