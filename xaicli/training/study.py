"""`xaicli.study`: is LFI-CAM's branch worth its place? The same network, data and schedule with it, without it, and with a plain
head as large; and how stable its attention is from one setting of the training to another.

Every training has a file and a record of its own in the study's folder, so the same call goes on where it was stopped. One study
at a time works in a folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch.nn import functional

from xaicli.errors import InputError, UsageError
from xaicli.files import make_folder, write_atomic
from xaicli.models.checkpoint import ENDING, read_checkpoint
from xaicli.models.load import load_classifier
from xaicli.progress import SILENT, Progress
from xaicli.registry import make_method
from xaicli.targets import DECISION, Targets
from xaicli.training.batches import Batch, held_out
from xaicli.training.data import Listing
from xaicli.training.decoded import open_photos
from xaicli.training.learner import refuse_model
from xaicli.training.map_overlap import Floats
from xaicli.training.plan import prepare
from xaicli.training.run import TrainRun
from xaicli.training.study_arms import EPOCHS, StudyArm, arms_of, overrides_of, pairs, settings_of
from xaicli.training.study_result import StudiedNetwork, Study, overlaps_of
from xaicli.training.train import carry_out
from xaicli.training.train_request import TrainRequest
from xaicli.untrusted import is_file, read

STUDIED = "lfi-cam"
BATCH = 128
START_OVER = "Delete it to train it again, or choose another folder with -o."
MAPS = ("lfi-cam", "lfi-cam@weights=equal", "grad-cam")
"""Whose stability is measured: the attention, the plain mean over channels, and a method that needs no branch."""


@dataclass(frozen=True, eq=False)
class StudyRun:
    """A study: its folder, and how the first arm is trained, from which the others follow."""

    folder: Path
    first: TrainRequest
    seeds: int
    photos: int
    progress: Progress

    def prepared(self, arm: StudyArm, usual: TrainRun | None = None) -> TrainRun:
        """The training of an arm; usual: of the first one, whose schedule the others share."""
        given = {} if usual is None else overrides_of(arm, usual.schedule)
        parameters = {} if usual is None else arm.parameters(usual.task.augmentation)
        request = {**vars(self.first), "method": arm.method, "parameters": parameters, "seed": arm.seed}
        request |= {"replacing": START_OVER, "again": START_OVER}
        request |= {"overrides": {**self.first.overrides, **given}, "output": self.folder / f"{arm.name}{ENDING}"}
        # Of the first one only the plan is wanted here; it is prepared again as an arm.
        return prepare(TrainRequest(**request), notice=self.progress.say, decode=usual is not None)

    def made(self) -> Study:
        usual = self.prepared(settings_of_first())
        if usual.held is None:
            raise UsageError("a study without held-out photos", expected="--val DIR, or --hold-out N above 0")
        arms = arms_of(self.seeds, usual.schedule)
        trained = []
        with self.progress.task("trainings", len(arms)) as step:
            for arm in arms:
                trained.append(self.trained(arm, usual))
                step()
        shown = usual.held.sample(self.photos, seed=0)
        settings = settings_of(usual.schedule)
        maps = {name: [self.maps(arm, name, shown) for arm in settings] for name in MAPS}
        stable = [
            overlaps_of(name, f"{one.setting} | {other.setting}", *(of_method[settings.index(arm)] for arm in (one, other)))
            for name, of_method in maps.items()
            for one, other in pairs(settings)
        ]
        return Study(tuple(trained), tuple(stable), dict(about(usual)))

    def trained(self, arm: StudyArm, usual: TrainRun) -> StudiedNetwork:
        """Train an arm unless it is complete, and decide the held-out photos; both are kept in the folder."""
        run = self.prepared(arm, usual)
        assert run.held is not None
        path, held = self.folder / f"{arm.name}.json", run.held.fingerprint()
        if run.complete:
            known = record_of(path, run)
            if known is not None and known["held"] != held:
                raise UsageError(
                    f"the study in {self.folder} has other held-out photos",
                    expected="the --val or --hold-out that it began with",
                    hint="Or choose another folder with -o.",
                )
            self.progress.say(f"{run.output} is complete")
            if known is not None:
                return StudiedNetwork.of(arm, known)
        else:
            carry_out(run, lambda event: None, self.progress)
        checkpoint = read_checkpoint(run.output)
        network = run.task.modules["network"]
        network.load_state_dict(checkpoint.state("network"))
        known = {
            "run": checkpoint.metadata["run"],
            "held": held,
            "parameters": sum(tensor.numel() for tensor in network.parameters()),
            "best": max(row["held accuracy"] for row in checkpoint.metadata["history"]),
            "right": right(run).astype(int).tolist(),
        }
        content = json.dumps(known).encode()
        write_atomic(path, lambda file: file.write(content))
        return StudiedNetwork.of(arm, known)

    def maps(self, arm: StudyArm, method: str, photos: Listing) -> Floats:
        """The maps (N, H, W) of a trained arm, 0 to 1, at the photos' size."""
        device = self.first.model_options.get("device", "auto")
        classifier = load_classifier(str(self.folder / f"{arm.name}{ENDING}"), device=device)
        explainer = make_method(method)
        found = []
        _, decoded = open_photos(photos, classifier.view)
        for batch in held_out(decoded, None, len(photos), classifier.view, BATCH, classifier.device):
            seeds = torch.zeros(len(batch.inputs), dtype=torch.int64)
            made = explainer.attribute(classifier, batch.inputs, Targets.same(DECISION, len(batch.inputs)), seeds)
            found.append(at_size(made.values.detach(), classifier.view.size))
        return np.concatenate(found)


def settings_of_first() -> StudyArm:
    """The first arm, before its schedule is known."""
    return StudyArm("branch.0", "branch", 0)


def record_of(path: Path, run: TrainRun) -> dict[str, Any] | None:
    """What the study measured of a complete training before; None if it was not measured, or if its record is damaged."""
    if not is_file(path):
        return None
    try:
        known = json.loads(read(path, "a network that the study trained"))
    except ValueError:
        return None
    whole = isinstance(known, dict) and known.keys() >= {"run", "held", "parameters", "best", "right"}
    return known if whole and known["run"] == read_checkpoint(run.output).metadata["run"] else None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Raise UsageError if another study is at work in the folder; a lock of a process that has ended does not count."""
    lock = FileLock(folder / "study.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another xai study is at work in {folder}", hint="Wait for its end, or choose another folder with -o."
        ) from None
    except OSError as error:
        raise InputError(
            f"{lock.lock_file} cannot be locked ({error.strerror})", expected="a file", hint="Choose another folder with -o."
        ) from error
    try:
        yield
    finally:
        lock.release()


def at_size(values: torch.Tensor, size: tuple[int, int]) -> Floats:
    """Maps (B, 1, h, w), each brought to 0..1, then to the size of the photos: (B, H, W)."""
    low, high = values.amin(dim=(2, 3), keepdim=True), values.amax(dim=(2, 3), keepdim=True)
    scaled = (values - low) / torch.where(high == low, 1.0, high - low)
    return functional.interpolate(scaled.float(), size, mode="bilinear", align_corners=False)[:, 0].double().cpu().numpy()


def right(run: TrainRun) -> NDArray[np.bool_]:
    """Which held-out photos the trained network of a run decides rightly."""
    found = []
    network, classifier = run.task.modules["network"].eval(), run.task.classifier
    with torch.inference_mode():
        for batch in batches(run):
            assert batch.labels is not None
            logits = classifier.logits(network(batch.inputs), len(batch.inputs))
            found.append((logits.argmax(dim=1) == batch.labels).cpu().numpy())
    return np.concatenate(found)


def batches(run: TrainRun) -> Iterator[Batch]:
    assert run.held is not None
    view = run.task.classifier.view
    _, photos = open_photos(run.held, view)
    return held_out(photos, run.held.labels, len(run.held), view, BATCH, run.task.classifier.device)


def about(run: TrainRun) -> Iterator[tuple[str, Any]]:
    """What all trainings share."""
    yield "model", run.task.classifier.name
    yield "trained on", len(run.listing)
    yield "held out", 0 if run.held is None else len(run.held)
    yield "epochs", run.schedule.epochs
    yield "precision", run.request.precision


def study(
    method: str,
    data: str | Path,
    *,
    val: str | Path | None = None,
    hold_out: int | None = None,
    limit: int | None = 20_000,
    epochs: int = EPOCHS,
    batch_size: int | None = None,
    lr: float | None = None,
    seeds: int = 3,
    photos: int = 500,
    model: str = "tiny",
    classes: str | Path | None = None,
    resize: int | tuple[int, int] | None = None,
    crop: int | tuple[int, int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    output: str | Path = "xai-study",
    save_every: float = 300.0,
    progress: Progress = SILENT,
) -> Study:
    """Train the same network with a method's branch, without it, and with a plain head of as many parameters; compare them.

    method: `lfi-cam`; data, val, hold_out, limit, classes, resize, crop: as in `train`; epochs, batch_size, lr: of the branch's
    published schedule, which all networks share; seeds: trainings of each kind; photos: how many held-out ones are mapped for the
    stability of the attention over three settings; output: the folder of all trainings, from which the same call goes on. The
    result has top-1 of each kind with its 95 % interval over photos, the differences, paired, and intersection over union of
    what maps mark, as it is defined and as LFI-CAM's authors compute it. Raises XaiError.

        xaicli.study("lfi-cam", "train/", val="val/", output="study/")
    """
    refuse_model(method, STUDIED, f"xai study {STUDIED} --model {method}")
    if method != STUDIED:
        raise UsageError(f"a study of {method}", expected=STUDIED)
    for what, number in (("seeds", seeds), ("photos", photos)):
        if number < 1:
            raise UsageError(f"a study with {number} {what}", expected="at least 1")
    folder = Path(output)
    make_folder(folder)
    entries: Mapping[str, Any] = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    options: Mapping[str, Any] = {"classes": classes, "resize": resize, "crop": crop, "device": device}
    first = TrainRequest(
        method=method,
        data=str(data),
        model=model,
        val=None if val is None else str(val),
        overrides={key: value for key, value in entries.items() if value is not None},
        model_options={key: value for key, value in options.items() if value is not None},
        limit=limit,
        held=hold_out,
        bf16=precision == "bf16",
        save_every=save_every,
    )
    with alone_in(folder):
        made = StudyRun(folder, first, seeds, photos, progress).made()
    content = json.dumps({"about": made.about, "rows": made.records()}, indent=1).encode()
    write_atomic(folder / "study.json", lambda file: file.write(content + b"\n"))
    return made
