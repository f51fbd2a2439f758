"""A whole training run: the files it writes, and the record in its checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.models import architecture
from xaicli.models.checkpoint import about_classifier, write_checkpoint
from xaicli.packages import versions
from xaicli.stamps import stamp
from xaicli.task import Schedule, Task
from xaicli.training.curve import curve_path, draw_curve
from xaicli.training.data import Listing
from xaicli.training.learner import Learner
from xaicli.training.loop import Epoch, Row, Step, Training
from xaicli.training.train_request import TrainRequest


def run_stamp(request: TrainRequest, identity: Mapping[str, Any]) -> str:
    """A stamp that is equal for runs that make the same checkpoint."""
    return stamp({**identity, "half": request.half})


@dataclass(eq=False)
class TrainRun:
    """A run that is ready to start: `events()` trains and writes the checkpoint to `output`; complete: it existed before."""

    request: TrainRequest
    learner: Learner
    task: Task
    training: Training
    output: Path
    listing: Listing
    held: Listing | None
    spec: str
    complete: bool = False

    @property
    def schedule(self) -> Schedule:
        return self.training.schedule

    @property
    def history(self) -> list[Row]:
        return self.training.history

    def events(self) -> Iterator[Step | Epoch]:
        """Train; afterwards write the checkpoint and the picture, and remove the snapshot. A complete run yields no events."""
        if self.complete:
            return
        yield from self.training.run()
        if not self.training.processes.leads:
            return
        write_checkpoint(self.output, self.task.finish(), self.metadata(), half=self.request.half)
        title = f"{self.learner.label}, {self.task.classifier.name}"
        draw_curve(curve_path(self.output), self.training.trace, self.history, title)
        self.training.snapshot.unlink(missing_ok=True)

    def metadata(self) -> dict[str, Any]:
        """The record in the checkpoint: what was trained, on what, how, with which versions."""
        classifier = self.task.classifier
        about = about_classifier(classifier)
        record = {
            "run": run_stamp(self.request, self.training.identity),
            "method": self.learner.name,
            "version": self.learner.version,
            "data": {
                "fingerprint": self.listing.fingerprint(),
                "photos": len(self.listing),
                "held": 0 if self.held is None else len(self.held),
                "classes": stamp(list(self.listing.classes)),
            },
            "seed": self.request.seed,
            "schedule": dataclasses.asdict(self.schedule),
            "augmentation": dataclasses.asdict(self.task.augmentation),
            "precision": self.request.precision,
            "history": [{name: round(value, 6) for name, value in row.items()} for row in self.history],
            "versions": versions(),
        }
        if self.learner.trains_network:
            # This is the fingerprint of the initial weights, which no longer exist.
            del about["fingerprint"]
            record["architecture"] = architecture.record(self.spec, classifier.count)
            record["class_names"] = list(classifier.classes)
        return {**record, **about, **self.task.metadata()}
