"""What can be trained, by name: methods that have a task, and plain classifiers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from xaicli.errors import UsageError
from xaicli.grammar import fold
from xaicli.method import Method
from xaicli.models.catalogue import is_model
from xaicli.network.classifier import Classifier
from xaicli.params import Definition, parameters, parse_spec
from xaicli.registry import METHODS, definition_class, make_method
from xaicli.task import Task, TaskOptions, Trainable
from xaicli.training.classifier_task import ClassifierTask, ClassifierTraining

TRAINED = ("lfi-cam", "t-tame", "tame", "p-tame", "l-cam", "bee", "u-cam@measure=variance", "classifier")


@dataclass(frozen=True)
class Learner:
    """What is trained: a method's explainer, or a classifier (then `method` is None). parameters: of its training, as typed."""

    label: str
    method: Method | None
    parameters: dict[str, str]

    @property
    def name(self) -> str:
        return ClassifierTraining.name if self.method is None else self.method.name

    @property
    def version(self) -> int:
        return ClassifierTraining.version if self.method is None else self.method.version

    @property
    def trains_network(self) -> bool:
        """Whether training makes a network, rather than an explainer of an existing one."""
        return self.method is None or self.method.trains_network

    def task(self, classifier: Classifier, seed: int) -> Task:
        """The task; its initial weights come from torch's generator. Raises UsageError if it cannot be trained."""
        options = TaskOptions(seed=seed, parameters=self.parameters)
        if self.method is None:
            return ClassifierTask.of({}, classifier, options)
        assert isinstance(self.method, Trainable)
        return self.method.task(classifier, options)


def parse_learner(text: str, settings: dict[str, str]) -> Learner:
    """The learner that a specification names. settings: further parameters of training, from `--set`.

    Parameters after the name belong to the method, to its training, or to both (P-TAME's auxiliary network). Raises UsageError.
    """
    spec = parse_spec(text)
    refuse_model(text, ", ".join(TRAINED), f"xai train classifier --model {text}")
    if spec.flag or spec.base is not None:
        raise UsageError(f'"{text}" cannot be trained', expected=", ".join(TRAINED))
    if fold(spec.name) == fold(ClassifierTraining.name):
        return Learner(ClassifierTraining.name, None, joined(dict(spec.params), settings))
    cls = definition_class(METHODS, spec.name)
    assert issubclass(cls, Method)
    own, learned = names_of(cls), names_of(cls.training)
    rest = {key: value for key, value in spec.params if fold(key) in learned or fold(key) not in own}
    method = make_method(dataclasses.replace(spec, params=tuple(pair for pair in spec.params if fold(pair[0]) in own)))
    if not isinstance(method, Trainable):
        raise UsageError(f"{method.name} needs no training", expected=" or ".join(TRAINED))
    return Learner(method.label, method, joined(rest, settings))


def refuse_model(text: str, trained: str, instead: str) -> None:
    """Raise UsageError, with the command to type instead, for a model's name where what is trained should stand."""
    if is_model(text):
        raise UsageError(f"{text} is a model", expected=f"what to train: {trained}", hint=f"Type {instead} …")


def names_of(definition: type[Definition] | None) -> set[str]:
    return set() if definition is None else {fold(parameter.name) for parameter in parameters(definition)}


def joined(after_name: dict[str, str], by_set: dict[str, str]) -> dict[str, str]:
    """Both together; raises UsageError if a key is in both."""
    folded = {fold(key) for key in after_name}
    twice = next((key for key in by_set if fold(key) in folded), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice, after the name and by --set", hint="Keep one of them.")
    return {**after_name, **by_set}
