"""Training a plain classifier: cross-entropy with smoothed labels, and distillation from a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.models.load import load_classifier
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.params import Definition, param
from xaicli.task import Augmentation, Schedule, Task, TaskOptions, branched_networks


@dataclass(frozen=True, kw_only=True)
class ClassifierTraining(Definition):
    """Parameters of training a classifier: `xai train classifier@smoothing=0`."""

    branch: bool = param(False, "train LFI-CAM's branch along, so that --method lfi-cam works on the network")
    smoothing: float = param(0.1, "share of each label that is spread over all classes", ge=0, lt=1)
    teacher: str = param("none", "a network with the same classes and view, whose outputs are learned too")
    share: float = param(0.5, "of the loss that comes from the teacher", ge=0, le=1)
    temperature: float = param(2.0, "that softens the teacher's outputs", gt=0)
    mixup: float = param(0.0, "Beta(mixup, mixup) mixes photos in pairs, 0 for never", ge=0)
    padding: int = param(4, "pixels around each photo before it is cropped at random", ge=0)
    margin: float = param(1.0, "side of photos before the crop, in sides of the network's view", ge=1, le=4)
    colour: float = param(0.1, "largest change of brightness and contrast", ge=0, lt=1)
    early: float = param(0.0, "share of epochs, from the first, on crops of three quarters of the side", ge=0, le=1)
    recipe: Literal["auto", "convolutional", "transformer"] = param("auto", "default schedule; auto: as the network is")

    name = "classifier"


class ClassifierTask(Task):
    """Trains the classifier's own network."""

    name = "classifier"
    needs_labels = True

    def __init__(self, classifier: Classifier, training: ClassifierTraining) -> None:
        self.classifier = classifier
        self.training = training
        module = classifier.torch_module
        size = classifier.view.size
        self.network: nn.Module = branched_networks().with_branch(module, size) if training.branch else module
        self.teacher = None if training.teacher == "none" else read_teacher(training.teacher, classifier)
        self.schedule = schedule_for(classifier, training)
        self.augmentation = Augmentation(
            margin=training.margin,
            padding=training.padding,
            colour=training.colour,
            mixup=training.mixup,
            early=training.early,
        )
        if self.teacher is not None:
            self.weights = {"cross-entropy": 1 - training.share, "distillation": training.share}

    @classmethod
    def of(cls, parameters: Mapping[str, str], classifier: Classifier, options: TaskOptions) -> ClassifierTask:
        """The task, with parameters as typed after the name or by `--set`."""
        return cls(classifier, ClassifierTraining.from_text({**parameters, **options.parameters}))

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.network}

    @property
    def frozen(self) -> dict[str, nn.Module]:
        return {} if self.teacher is None else {"teacher": self.teacher.torch_module}

    def losses(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        assert labels is not None
        logits = self.network(inputs).float()
        terms = {"cross-entropy": functional.cross_entropy(logits, labels, label_smoothing=self.training.smoothing)}
        if self.teacher is not None:
            with torch.no_grad():
                wanted = functional.log_softmax(self.teacher(inputs) / self.training.temperature, dim=1)
            given = functional.log_softmax(logits / self.training.temperature, dim=1)
            divergence = functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
            # Hinton et al., 2015, section 2: this keeps the size of gradients independent of the temperature.
            terms["distillation"] = divergence * self.training.temperature**2
        return terms

    def evaluate(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        assert labels is not None
        logits = self.network(inputs).float()
        return {
            "accuracy": (logits.argmax(dim=1) == labels).float(),
            "cross-entropy": functional.cross_entropy(logits, labels, reduction="none"),
        }

    def metadata(self) -> dict[str, Any]:
        record: dict[str, Any] = {"parameters": self.training.parameters_as_given()}
        # A network that begins with pretrained weights may have a branch already, and keeps it.
        if branched_networks().branch_of(self.network) is not None:
            record["branch"] = branched_networks().described(self.network)
        if self.teacher is not None:
            record["teacher"] = {"name": self.teacher.name, "fingerprint": self.teacher.weights_fingerprint}
        return record


def schedule_for(classifier: Classifier, training: ClassifierTraining) -> Schedule:
    """The usual recipe for the kind of network: Nesterov's momentum for convolutions, AdamW for transformers."""
    attends = Needs.ATTENTION in classifier.provides
    if training.recipe == "transformer" or (training.recipe == "auto" and attends):
        return Schedule(
            epochs=60,
            batch_size=128,
            lr=1e-3,
            weight_decay=0.05,
            optimizer="adamw",
            warm_up=0.1,
            cycle_momentum=False,
            decay="matrices",
            ema=0.999,
            clip=1.0,
        )
    return Schedule(
        epochs=40, batch_size=128, lr=0.2, weight_decay=5e-4, nesterov=True, warm_up=0.15, decay="matrices", ema=0.999, clip=5.0
    )


def read_teacher(spec: str, classifier: Classifier) -> Classifier:
    """The network to learn from; raises UsageError if its classes or view differ."""
    teacher = load_classifier(spec, device=classifier.device)
    if teacher.count != classifier.count or (teacher.classes and teacher.classes != classifier.classes):
        raise UsageError(f"the teacher {teacher.name} has other classes ({teacher.count}, not {classifier.count})")
    if teacher.view != classifier.view:
        seen = teacher.view.describe()
        raise UsageError(f"the teacher {teacher.name} sees photos by {seen}", expected=classifier.view.describe())
    if teacher.module is None:
        raise UsageError(f"the teacher {teacher.name} is a black box", expected="a network of torch")
    return teacher
