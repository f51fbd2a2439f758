"""What can be trained, by name: methods that have a task, and plain classifiers."""

from __future__ import annotations

from xaicli.errors import UsageError
from xaicli.models.classifier import Classifier
from xaicli.params import parse_spec
from xaicli.registry import make_method
from xaicli.task import Augmentation, Schedule, Task, TaskOptions, Trainable

__all__ = ["Augmentation", "Schedule", "Task", "TaskOptions", "Trainable", "make_task"]

TRAINED = ("lfi-cam", "t-tame", "tame", "p-tame", "classifier")


def make_task(spec: str, classifier: Classifier, options: TaskOptions) -> Task:
    """The task that a specification names (`t-tame@layers=...`); raises UsageError where nothing is to be trained."""
    method = make_method(parse_spec(spec))
    if not isinstance(method, Trainable):
        raise UsageError(f"{method.name} needs no training", expected=" or ".join(TRAINED))
    return method.task(classifier, options)
