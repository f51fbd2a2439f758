"""A toy task, small enough for a run of seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaicli.images.view import View
from xaicli.network.classifier import Classifier
from xaicli.task import Augmentation, Schedule, Task
from xaicli.training.batches import Batches
from xaicli.training.decoded import InMemory
from xaicli.training.loop import Training

SIDE = 16


class Brightness(Task):
    """Learns a scale and a shift that turn a frozen network's first logit into a photo's mean brightness."""

    name = "brightness"

    def __init__(self, classifier: Classifier, **schedule: Any) -> None:
        self.classifier = classifier
        self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 1, 1))
        settings = {"epochs": 3, "batch_size": 4, "lr": 0.05, **schedule}
        self.schedule = Schedule(**settings)
        self.augmentation = Augmentation(margin=1.0, padding=2, colour=0.1)
        self.weights = {"area": 5.0}
        self.spoil: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda terms: terms

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"head": self.head}

    @property
    def frozen(self) -> dict[str, nn.Module]:
        return {"classifier": self.classifier.torch_module}

    def losses(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        maps = self.head(inputs).sigmoid()
        logits = self.classifier(inputs * torch.nn.functional.interpolate(maps, inputs.shape[2:]))
        return self.spoil({"fit": (logits[:, 0] - inputs.mean(dim=(1, 2, 3))).square().mean(), "area": maps.mean()})

    def metadata(self) -> dict[str, Any]:
        return {"parameters": {}, "layers": []}


@pytest.fixture
def brightness(tiny_cnn: nn.Module, classifier_of: Callable[..., Classifier]) -> Callable[..., Brightness]:
    """A function that makes the toy task for a frozen tiny network, always with the same initial weights."""

    def make(**schedule: Any) -> Brightness:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return Brightness(classifier_of(tiny_cnn, size=(SIDE, SIDE)), **schedule)

    return make


@pytest.fixture
def training_of(tmp_path: Path) -> Callable[..., Training]:
    """A function that makes the loop of a task over twelve fixed photos; settings go to `Training`."""

    def make(task: Task, **settings: Any) -> Training:
        pixels = np.random.default_rng(2).integers(0, 256, (12, SIDE, SIDE, 3), dtype=np.uint8)
        view = View(SIDE, SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        size = task.schedule.batch_size
        batches = Batches(InMemory(pixels), None, 12, view, task.augmentation, size, 7, torch.device("cpu"))
        given = {"snapshot": tmp_path / "run.resume", "identity": {"seed": 7}, **settings}
        return Training(task=task, batches=batches, schedule=task.schedule, **given)

    return make
