"""The output folder of `xai explain`: names of files, what is already complete, what must not be replaced."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from xaicli.errors import UsageError, XaiError
from xaicli.images.names import safe_label
from xaicli.images.source import Source, content_hash
from xaicli.method import Method, content_on
from xaicli.network.classifier import Classifier
from xaicli.record import Record, load_record
from xaicli.runs.method_differences import moved_parameters
from xaicli.runs.region_target import canonical
from xaicli.runs.remote_folder import RemoteFolder, folder_of
from xaicli.runs.result_claim import ENDINGS, HINT, begun_before, refuse_foreign, refuse_foreign_picture
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.stamps import definition_stamp, subject_stamp
from xaicli.untrusted import is_file, is_folder

TARGET = re.compile(r"\d+(-\d+)?|box_\d+-[0-9a-f]{6}")
"""Resolved targets in file names: classes, contrasts, boxes."""


@dataclass(frozen=True)
class OutputFolder:
    """Where results go. `stems` holds the file stem of each photo, with folders if names clash; remote: where the folder is the
    copy of one at a URL."""

    folder: Path
    stems: dict[Source, str]
    remote: RemoteFolder | None = None

    @classmethod
    def of(cls, output: str | Path | None, stems: dict[Source, str]) -> OutputFolder:
        """The folder that an output names, with the records that lie at a URL. Raises InputError."""
        remote = None if output is None else RemoteFolder.of(output)
        if remote is not None:
            remote.open()
        return cls(folder_of(output, remote), stems, remote)

    def named(self) -> AbstractContextManager[None]:
        """Errors inside name files as the user does."""
        return nullcontext() if self.remote is None else self.remote.named()

    def shown(self, text: str) -> str:
        """A path of the folder as the user names it."""
        return text if self.remote is None else self.remote.shown(text)

    def fetch(self, stem: Path, record: Record) -> None:
        """Bring the arrays of a complete result, if they are elsewhere."""
        if self.remote is not None:
            self.remote.fetch(stem, [".npy", *(f".{name}.npy" for name in record.arrays)])

    def stem(self, source: Source, method: Method, targets: TargetChoice, target: str) -> str:
        """`STEM.LABEL`, with the target if it is not the model's decision."""
        ending = "" if targets.is_decision else f".{safe_label(target)}"
        return f"{self.stems[source]}.{safe_label(method.label)}{ending}"

    def path(self, source: Source, method: Method, targets: TargetChoice, target: str, ending: str) -> Path:
        return self.folder / f"{self.stem(source, method, targets, target)}{ending}"

    def sidecars(self, source: Source, method: Method, targets: TargetChoice) -> list[Path]:
        """Existing sidecars where this photo's results would go."""
        rule = targets.rule_of(source)
        if rule.known or targets.is_decision:
            paths = [self.path(source, method, targets, canonical(rule), ".json")]
        else:
            stem = self.folder / f"{self.stems[source]}.{safe_label(method.label)}"
            found = stem.parent.glob("*.json") if is_folder(stem.parent) else []
            paths = sorted(p for p in found if TARGET.fullmatch(p.name.removeprefix(f"{stem.name}.").removesuffix(".json")))
        return [path for path in paths if is_file(path)]


@dataclass(frozen=True)
class Complete:
    """The part of a run that an output folder already holds: complete records by photo and method label."""

    records: dict[tuple[Source, str], list[Record]] = field(default_factory=dict)

    def has(self, source: Source, method: Method) -> bool:
        return (source, method.label) in self.records


def find_complete(
    output: OutputFolder,
    sources: Iterable[Source],
    methods: Sequence[Method],
    targets: TargetChoice,
    classifier: Classifier,
    settings: Settings,
) -> Complete:
    """Read the existing sidecars; raises UsageError, naming what differs, if one belongs to another result."""
    found = Complete()
    for source in sources:
        for method in methods:
            records = []
            for path in output.sidecars(source, method, targets):
                record = read(path)
                if targets.count != 1 and record.rule != targets.text:
                    continue
                refuse_other(path, source, method, targets, classifier, settings)
                records.append(record)
            if records and {record.target for record in records} >= set(records[0].targets):
                order = {target: at for at, target in enumerate(records[0].targets)}
                found.records[source, method.label] = sorted(records, key=lambda record: order.get(record.target, 0))
    return found


def refuse_taken(
    output: OutputFolder,
    sources: Sequence[Source],
    methods: Sequence[Method],
    targets: TargetChoice,
    inputs: Sequence[Path],
    endings: Sequence[str],
    *,
    overwrite: bool,
) -> None:
    """Raise UsageError, before any work, if a result would replace a file that the run reads, or one that xai did not write.

    endings: of the files of a result, pictures of steps and links among them.
    """
    read = {os.path.realpath(path): path for path in inputs}
    folder = os.path.realpath(output.folder)
    for source in sources:
        rule = targets.rule_of(source)
        for method in methods if rule.count == 1 else ():
            stem = output.stem(source, method, targets, str(rule))
            for ending in endings:
                if (taken := read.get(os.path.join(folder, f"{stem}{ending}"))) is not None:
                    raise UsageError(
                        f"{stem}{ending} would replace {taken}, which this run reads", hint="Choose another folder with -o DIR."
                    )
            if not overwrite:
                refuse_foreign(output.folder / stem, begun=begun_before(output.folder / stem))
                for ending in endings[len(ENDINGS) :] if method.stepwise or method.of_frames or method.pairwise else ():
                    refuse_foreign_picture(output.folder / f"{stem}{ending}")


def refuse_other(
    path: Path, source: Source, method: Method, targets: TargetChoice, classifier: Classifier, settings: Settings
) -> None:
    """Raise UsageError if a sidecar belongs to another result than this run's."""
    if different := differences(read(path), source, method, targets, classifier, settings):
        raise UsageError(f"{path} holds another result: {', '.join(different)}", hint=HINT)


def read(path: Path) -> Record:
    try:
        return load_record(path)
    except XaiError as error:
        raise UsageError(error.found, hint=HINT) from error


def differences(
    record: Record, source: Source, method: Method, targets: TargetChoice, classifier: Classifier, settings: Settings
) -> list[str]:
    """The differences between a record and this run's result, in words; empty if there are none."""
    different = []
    content = content_on(method, classifier)
    if record.definition != definition_stamp(content, targets.text, settings.precision):
        given = {"method": method.label, "target": targets.text, "precision": settings.precision, "version": method.version}
        held = {"method": record.method, "target": record.rule, "precision": record.precision, "version": record.version}
        different += [f"{name} {held[name]} there, {value} here" for name, value in given.items() if held[name] != value] or [
            "the code in its file, or a parameter"
            if method.file_hash
            else ", ".join(moved_parameters(record.parameters, content["parameters"])) or "definition"
        ]
    if record.fingerprint != classifier.fingerprint:
        different.append(f"model {record.fingerprint} there, {classifier.fingerprint} here{prepared(record, classifier)}")
    if method.stochastic and record.seed != settings.seed:
        different.append(f"seed {record.seed} there, {settings.seed} here")
    photo = content_hash(source)
    if photo is not None and (record.photo, record.frame) != (photo, source.frame):
        different.append(f"photo content {record.photo[:8]} there, {photo[:8]} here")
    elif not different and record.subject != subject_stamp(record.photo, record.frame, record.fingerprint, record.target):
        different.append("its subject stamp does not match its record")
    return different


def prepared(record: Record, classifier: Classifier) -> str:
    """The settings in which the views differ, in words: they are part of a model's fingerprint."""
    there, here = record.view, classifier.view.as_dict()
    moved = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    return f" (photos are prepared differently: {', '.join(moved)})" if moved else ""
