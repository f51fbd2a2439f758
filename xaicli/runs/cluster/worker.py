"""A worker: an actor that opens the model once, and tells the ledger which photo it is at."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as arrow
import ray
import torch

from xaicli.errors import InputError, RunError, XaiError
from xaicli.images.source import Source
from xaicli.method import Method, content_on
from xaicli.network.classifier import Classifier
from xaicli.runs.cluster.ledger import TIMES, Begun
from xaicli.runs.cluster.shipping import ShippedModel, in_folder_of
from xaicli.runs.method_differences import require_same
from xaicli.runs.photos import Failure
from xaicli.runs.similar_target import compared
from xaicli.untrusted import is_there


@dataclass(frozen=True)
class Job:
    """What all workers of a run are given. run: without photos and model, as bytes; target: as it was typed; contents: by label
    what each method counts as where the run began, by `content_on`."""

    model: ShippedModel
    run: bytes
    target: str | int
    threads: int
    contents: Mapping[str, Mapping[str, Any]]

    def require_same_methods(self, methods: Sequence[Method], classifier: Classifier) -> None:
        """Raise RunError if a method finds another checkpoint here than the driver did."""
        for method in methods:
            require_same(method, classifier, self.contents[method.label], f"at the driver (on {socket.gethostname()})")


def contents_of(methods: Sequence[Method], classifier: Classifier) -> dict[str, dict[str, Any]]:
    return {method.label: content_on(method, classifier) for method in methods}


class Worker:
    """Called with a block of photos, it returns a table. Ray Data makes one for each actor.

    fault: why the model cannot be opened here. Raised in the constructor, it would be tried again for ever; as the fault of each
    photo it ends the run in one line.
    """

    def __init__(self, ledger: Any) -> None:
        self.job = ray.get(ray.get(ledger.job.remote())[0])
        self.ledger = ledger
        self.name = f"process {os.getpid()} on {socket.gethostname()}"
        torch.set_num_threads(self.job.threads)
        self.fault: XaiError | None = None
        with in_folder_of(self.job.model.folder):
            try:
                self.prepare(self.open())
            except XaiError as error:
                self.fault = error

    def open(self) -> Classifier:
        classifier, _ = compared(self.job.model.open(), self.job.target)
        self.job.model.require_same(classifier)
        return classifier

    def prepare(self, classifier: Classifier) -> None:
        """Make the run of this worker."""

    def work(self, table: arrow.Table, begun: Begun) -> arrow.Table:
        """What becomes of a block."""
        raise RunError("a worker without work")

    def __call__(self, table: arrow.Table) -> arrow.Table:
        name = table.column("block")[0].as_py()
        begun = ray.get(self.ledger.begin.remote(name, self.name))
        with in_folder_of(self.job.model.folder):
            made = self.work(table, begun)
        ray.get(self.ledger.done.remote(name))
        return made


@dataclass
class PhotoWatch:
    """Tells the ledger which photo a block is at; raises RunError for one that ended its worker too often."""

    ledger: Any
    block: str
    begun: Begun
    last: str = ""

    def __call__(self, source: Source) -> None:
        photo = name_of(source)
        if self.begun.ends.get(photo, 0) >= TIMES:
            raise RunError(
                f"{photo} ended its worker {TIMES} times (crashed, killed, or out of memory) and was set aside",
                hint=f"Try it alone, on one machine: xai score {source.path}",
            )
        self.note(photo)

    def note(self, photo: str) -> None:
        """Tell the ledger, unless it was told last."""
        if photo != self.last:
            self.last = photo
            told = self.ledger.at.remote(self.block, photo)
            if self.begun.again:
                # If the worker ends now, the ledger already knows.
                ray.get(told)


def name_of(source: Source) -> str:
    return f"{source.path} (frame {source.frame})" if source.frame else source.path


def told_of(failure: Failure) -> XaiError:
    """The error of a photo; of a photo that only the driver sees, in words that say so."""
    error, source = failure.error, failure.source
    if isinstance(error, InputError) and source.file is not None and not is_there(source.file):
        hint = "Workers read photos by their path: put them where every node sees them, or name them by URL."
        return InputError(f"{source.path} is not on {socket.gethostname()}", expected="a photo", hint=hint)
    return error
