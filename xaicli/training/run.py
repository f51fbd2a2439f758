"""A whole training run: what it leaves behind, and what its checkpoint says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
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
from xaicli.training.loop import Epoch, Row, Step, Training
from xaicli.training.task import What
from xaicli.training.wish import Wish


@dataclass(eq=False)
class TrainRun:
    """A run that is ready: `events()` carries it out, then the checkpoint is at `output`."""

    wish: Wish
    what: What
    task: Task
    training: Training
    output: Path
    listing: Listing
    held: Listing | None
    spec: str

    @property
    def schedule(self) -> Schedule:
        return self.training.schedule

    @property
    def history(self) -> list[Row]:
        return self.training.history

    def events(self) -> Iterator[Step | Epoch]:
        """Train; afterwards write the checkpoint and the picture, and remove the snapshot."""
        yield from self.training.run()
        write_checkpoint(self.output, self.task.finish(), self.metadata(), half=self.wish.half)
        title = f"{self.what.label}, {self.task.classifier.name}"
        draw_curve(curve_path(self.output), self.training.trace, self.history, title)
        self.training.snapshot.unlink(missing_ok=True)

    def metadata(self) -> dict[str, Any]:
        """What the checkpoint says of itself."""
        classifier = self.task.classifier
        about = about_classifier(classifier)
        told = {
            "method": self.what.name,
            "version": self.what.version,
            "data": {
                "fingerprint": self.listing.fingerprint(),
                "photos": len(self.listing),
                "held": 0 if self.held is None else len(self.held),
                "classes": stamp(list(self.listing.classes)),
            },
            "seed": self.wish.seed,
            "schedule": dataclasses.asdict(self.schedule),
            "augmentation": dataclasses.asdict(self.task.augmentation),
            "precision": "bf16" if self.wish.bf16 else "fp32",
            "history": [{name: round(value, 6) for name, value in row.items()} for row in self.history],
            "versions": versions(),
        }
        if self.what.trains_network:
            # The classifier that the task was made of had its initial weights: its fingerprint is of no use.
            del about["fingerprint"]
            told["architecture"] = architecture.record(self.spec, classifier.count)
            told["class_names"] = list(classifier.classes)
        return {**told, **about, **self.task.metadata()}
