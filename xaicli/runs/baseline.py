"""`xaicli.baseline`: a suite's results, stored to compare later runs with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.claims import claim
from xaicli.errors import UsageError
from xaicli.files import require_writable
from xaicli.gate.baseline import Baseline, make_baseline, photos_to_run
from xaicli.gate.baseline_file import RECORD, exists, save
from xaicli.gate.measure import ReadySuite, make_ready
from xaicli.gate.suite import find_suite, read_suite
from xaicli.named_files import files_named, texts_in
from xaicli.progress import SILENT, Progress
from xaicli.tabular import Tabular
from xaicli.words import count, volume


@dataclass(frozen=True, eq=False)
class MadeBaseline(Tabular):
    """A baseline on disk, with a record for each photo. size: bytes in `folder`; methods: labels."""

    baseline: Baseline
    folder: Path
    size: int
    methods: tuple[str, ...]

    columns = ("image", "target", "decision", "probability")

    def records(self) -> list[dict[str, Any]]:
        return [
            {
                "image": photo.image,
                "target": photo.target,
                "decision": photo.decision,
                "probability": photo.probability,
                "photo": photo.content,
                "frame": photo.frame,
            }
            for photo in self.baseline.photos
        ]

    def __str__(self) -> str:
        photos = count(len(self.baseline.photos), "photo")
        where = f"baseline in {self.folder} ({volume(self.size)})"
        return f"{photos} x {', '.join(self.methods)}: {where}, model {self.baseline.fingerprint[:8]}"


def baseline(
    suite: str | Path | None = None,
    *,
    trust: bool = False,
    model: str | None = None,
    weights: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> MadeBaseline:
    """Run a suite and keep its maps, scores and decisions as the baseline that `xaicli.check` compares with.

    suite: its file, by default xai.toml or [tool.xai] in pyproject.toml of the current folder; trust: let the suite's own model
    file run; model, weights: used instead of the suite's; overwrite: replace an existing baseline. Raises XaiError.

        xaicli.baseline("xai.toml")
    """
    read = read_suite(find_suite(None if suite is None else str(suite)))
    folder = read.baseline_folder
    record = folder / RECORD
    if exists(folder) and not overwrite:
        claim(record, overwrite=overwrite)
        hint = "Replace it deliberately: xai baseline --overwrite, or xai check --update."
        raise UsageError(f"{folder} holds a baseline", hint=hint)
    require_writable(folder)
    ready = make_ready(read, trust=trust, model=model, weights=None if weights is None else str(weights))
    named = [read.folder / text for text in texts_in(read)] + files_named({"model": model, "weights": weights})
    claim(record, [*named, *(source.file for source in ready.sources)], overwrite=overwrite)
    return write_baseline(ready, folder, progress)


def write_baseline(ready: ReadySuite, folder: Path, progress: Progress) -> MadeBaseline:
    """Run a suite that is ready and write its results."""
    with progress.task("photos", photos_to_run(ready)) as step:
        made = make_baseline(ready, lambda done: step())
    return MadeBaseline(made, folder, save(made, folder), tuple(method.label for method in ready.methods))
