"""Making a memory bank: features of a folder of labelled photos, saved part by part, so that a run can continue where it
stopped."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from xaicli.claims import claim
from xaicli.errors import InputError, RunError, UsageError, XaiError, fault_in_content
from xaicli.files import require_writable, write_atomic
from xaicli.images.source import Source
from xaicli.models.checkpoint import ENDING
from xaicli.models.feature_bank import Bank, read_bank, read_metadata
from xaicli.named_files import files_named
from xaicli.needs import of_sequences
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import clean_logits
from xaicli.progress import SILENT, Progress
from xaicli.runs.labelled import LabelledPhotos, find_labelled
from xaicli.runs.open_model import Model, open_model
from xaicli.runs.photos import Failure, LoadedPhoto, load_ahead
from xaicli.stamps import stamp
from xaicli.tabular import Tabular
from xaicli.untrusted import is_folder, is_there
from xaicli.words import count, span

BATCH = 16
PART_PHOTOS = 256
PART_SECONDS = 20.0
"""A part is written when it holds this many photos or is this old; no more is lost when a run is killed."""


@dataclass(frozen=True)
class BankRun:
    """One call of `xai bank`: the photos, the network that makes their features, and the file of the bank."""

    photos: LabelledPhotos
    classifier: Classifier
    path: Path
    overwrite: bool = False
    keep_going: bool = False
    batch_size: int = BATCH

    @property
    def parts(self) -> Path:
        """The folder of the parts finished so far."""
        return self.path.with_name(f"{self.path.name}.parts")

    def check(self) -> None:
        """Raise UsageError if the path of the bank is a folder, or does not end in .safetensors."""
        if is_folder(self.path):
            raise UsageError(f"{self.path} is a folder", expected="a file", hint="Give -o FILE.")
        if self.path.suffix != ENDING:
            raise UsageError(f"-o {self.path.name}", expected=f"a name that ends in {ENDING}")

    def is_complete(self) -> bool:
        """Whether the bank exists; raises UsageError if the file is another bank or something else."""
        self.check()
        if self.overwrite or not is_there(self.path):
            return False
        try:
            metadata = read_metadata(self.path)
        except InputError as error:
            raise UsageError(error.found, hint="Choose another file with -o FILE, or --overwrite it.") from error
        if metadata["fingerprint"] != self.classifier.weights_fingerprint:
            raise another(self.path, "network")
        if metadata["photos"] != self.photos.stamp:
            raise another(self.path, "set of photos or labels")
        return True

    def finished(self) -> set[int]:
        """Photos whose features an earlier, stopped run has saved; raises UsageError if they belong to another network."""
        if self.overwrite:
            shutil.rmtree(self.parts, ignore_errors=True)
        known = {key for keys, _ in self.kept() for key in keys}
        return {place for place, key in enumerate(self.photos.keys) if key in known}

    def kept(self) -> Iterator[tuple[list[str], Tensor]]:
        """The keys of photos and their features, for each part on disk."""
        for path in sorted(self.parts.glob("*.safetensors")):
            try:
                with safetensors.safe_open(path, "pt") as file:
                    metadata, features = file.metadata() or {}, file.get_tensor("features")
                keys: list[str] = json.loads(metadata["keys"])
            except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
                raise UsageError(
                    f"{path} cannot be read ({fault_in_content(error)})", hint="Begin again with --overwrite."
                ) from error
            if metadata.get("fingerprint") != self.classifier.weights_fingerprint:
                raise another(self.parts, "network")
            yield keys, features

    def run(self) -> Generator[Source | Failure, None, None]:
        """Yield each photo once its features are known, first those of an earlier run; then write the bank.

        A Failure is yielded for a photo that cannot be used; it is the last item unless the run keeps going. What is finished is
        kept when the run is stopped.
        """
        require_writable(self.path.parent)
        done = self.finished()
        yield from (self.photos.sources[place] for place in sorted(done))
        todo = [place for place in range(len(self.photos.sources)) if place not in done]
        part = Part(self.parts, self.photos.keys, self.classifier.weights_fingerprint)
        stopped = False
        try:
            for item in self.passed(todo, part):
                yield item
                stopped = isinstance(item, Failure) and not self.keep_going
                if stopped:
                    break
        finally:
            part.write()
        if not stopped:
            self.assemble()

    def passed(self, todo: Sequence[int], part: Part) -> Iterator[Source | Failure]:
        sources = [self.photos.sources[place] for place in todo]
        batch: list[tuple[int, LoadedPhoto]] = []
        loaded = load_ahead(sources, self.classifier.view, ahead=2 * self.batch_size, picture=False)
        for place, item in zip(todo, loaded, strict=True):
            if isinstance(item, LoadedPhoto):
                batch.append((place, item))
            if batch and (isinstance(item, Failure) or len(batch) == self.batch_size):
                yield from self.features(batch, part)
                batch = []
            if isinstance(item, Failure):
                yield item
        if batch:
            yield from self.features(batch, part)

    def features(self, batch: list[tuple[int, LoadedPhoto]], part: Part) -> Iterator[Source | Failure]:
        """Run a batch and keep its features, each normalised to length 1."""
        inputs = torch.stack([loaded.input for _, loaded in batch]).to(self.classifier.device)
        features = functional.normalize(clean_logits(self.classifier, inputs).cpu(), dim=1)
        for (place, loaded), row in zip(batch, features, strict=True):
            if bool(row.isfinite().all()):
                part.add(place, row)
                yield loaded.source
            else:
                found = f"{self.classifier.name} gave NaN or infinite features for {loaded.source.path}"
                yield Failure(loaded.source, RunError(found, hint="Check weights and preprocessing (xai doctor --model SPEC)."))

    def assemble(self) -> None:
        """Write the bank of all photos that have features, in their order, and delete the parts."""
        parts = list(self.kept())
        row_of = {key: row for row, key in enumerate(key for keys, _ in parts for key in keys)}
        places = [place for place, key in enumerate(self.photos.keys) if key in row_of]
        if not places:
            raise InputError(f"no photo of {len(self.photos.sources)} can be used", expected="at least one")
        rows = torch.tensor([row_of[self.photos.keys[place]] for place in places])
        features = torch.cat([features for _, features in parts])[rows]
        labels = torch.tensor([self.photos.labels[place] for place in places])
        model = self.classifier
        Bank(features, labels, self.photos.classes, model.name, model.weights_fingerprint, self.photos.stamp).save(self.path)
        shutil.rmtree(self.parts, ignore_errors=True)


def another(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} is the bank of another {what}", hint="Choose another file with -o FILE, or --overwrite it.")


class Part:
    """A part of the bank in memory: features that are not on disk yet."""

    def __init__(self, folder: Path, keys: Sequence[str], fingerprint: str) -> None:
        self.folder, self.keys, self.fingerprint = folder, keys, fingerprint
        self.waiting: dict[int, Tensor] = {}
        self.since = time.monotonic()

    def add(self, place: int, row: Tensor) -> None:
        self.waiting[place] = row
        if len(self.waiting) >= PART_PHOTOS or time.monotonic() - self.since > PART_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the waiting features, under a name that follows from the photos."""
        if not self.waiting:
            return
        keys = [self.keys[place] for place in self.waiting]
        metadata = {"fingerprint": self.fingerprint, "keys": json.dumps(keys)}
        content = safetensors.torch.save({"features": torch.stack(list(self.waiting.values()))}, metadata)
        write_atomic(self.folder / f"{stamp(keys)}.safetensors", lambda file: file.write(content))
        self.waiting, self.since = {}, time.monotonic()


@dataclass(frozen=True, eq=False)
class BuiltBank(Tabular):
    """A complete bank; errors: of photos that are missing in it, under `keep_going`."""

    path: Path
    bank: Bank
    errors: tuple[XaiError, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        bank = self.bank
        return [
            {
                "bank": str(self.path),
                "photos": len(bank.labels),
                "classes": len(bank.classes),
                "features": bank.features.shape[1],
                "model": bank.model,
                "fingerprint": bank.fingerprint,
            }
        ]


def build_bank(
    folder: str | Path,
    classifier: Model,
    output: str | Path = "bank.safetensors",
    *,
    labels: str | Path | None = None,
    per_class: int | None = None,
    overwrite: bool = False,
    keep_going: bool = False,
    batch_size: int | None = None,
    progress: Progress = SILENT,
) -> BuiltBank:
    """Make a memory bank of the features of a folder's photos, FOLDER/CLASS/photo.jpg, in the file `output`.

    classifier: a network without head, whose outputs are its features, or its specification; labels: a CSV file with columns
    image and label, instead of folder names; per_class: use only this many photos of each class, the first ones; keep_going:
    continue past photos that fail; batch_size: inputs per pass. A complete file is only read; a run that was stopped continues.
    Raises XaiError.

        xaicli.build_bank("train/", "timm:vit_small_patch16_224.dino", "dino.safetensors").bank
    """
    claim(Path(output), files_named(locals()), overwrite=True)
    photos = find_labelled(folder, labels, per_class, progress)
    model = open_model(classifier, progress=progress)
    if model.view.frames:
        raise of_sequences("xai bank", model.name)
    model.refuse_places("a bank of features")
    if model.classes:
        progress.warn(f"{model.name} is a classifier: the bank will hold its class scores, not its features")
    run = BankRun(photos, model, Path(output), overwrite, keep_going, batch_size or BATCH)
    errors: list[XaiError] = []
    if run.is_complete():
        progress.say(f"{run.path} is complete (--overwrite makes it again)")
    else:
        errors = carry_out(run, progress)
    return BuiltBank(run.path, read_bank(run.path), tuple(errors))


def carry_out(run: BankRun, progress: Progress) -> list[XaiError]:
    """Make the bank; returns the errors. Without `keep_going`, the first error is raised."""
    start, total = time.monotonic(), len(run.photos.sources)
    if not run.overwrite and (earlier := len(run.finished())):
        progress.say(f"{count(earlier, 'photo')} finished before")
    errors: list[XaiError] = []
    with closing(run.run()) as results:
        for item in progress.track(results, "features", total):
            if isinstance(item, Failure):
                errors.append(item.error)
                if run.keep_going:
                    progress.warn(item.error.found)
    if errors and not run.keep_going:
        raise errors[0]
    done = count(total - len(errors), "photo")
    progress.say(f"{done} in {span(time.monotonic() - start)}; daam@target=features@bank={run.path} reads them")
    return errors
