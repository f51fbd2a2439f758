"""The variance that a small trained head expects of a network's logits, by which U-CAM's authors measure uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import InputError, UsageError
from xaicli.models.checkpoint import checkpoint_for
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.params import Definition, param
from xaicli.task import Schedule, Task

HEAD = "variance"
FIRST = 0.1
"""The variance of every photo before training."""


class VarianceHead(nn.Module):
    """`s2 = softplus(v . z + c)`: logits (B, C) to one variance a photo (B,)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.linear = nn.Linear(count, 1)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.fill_(math.log(math.expm1(FIRST)))

    def forward(self, logits: Tensor) -> Tensor:
        variance: Tensor = functional.softplus(self.linear(logits))
        return variance[:, 0]


@torch.no_grad()
def variance_head(classifier: Classifier, given: str) -> VarianceHead:
    """The head trained for a classifier, frozen, from the named checkpoint or, for `auto`, the installed one; raises InputError
    where there is none."""
    checkpoint = checkpoint_for(VarianceTask.name, classifier, given)
    head = VarianceHead(classifier.count)
    try:
        head.load_state_dict(checkpoint.state(HEAD))
    except RuntimeError as error:
        raise InputError(f"the variance head in {checkpoint.path.name} is damaged", hint="Train it again.") from error
    return head.eval().requires_grad_(False).to(classifier.device)


@torch.no_grad()
def noise_like(logits: Tensor, draws: int) -> Tensor:
    return torch.randn((draws, *logits.shape), device=logits.device)


def loss_terms(logits: Tensor, labels: Tensor, variance: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """The loss of the head as the authors' code has it, in three terms, each a mean over photos.

    With `u` the cross-entropy of the logits and `d_t` that of `z + e_t`, e_t from N(0, s2): `distorted` is the mean of d_t, `gap`
    of `-ELU(u - d_t)`, `size` of `exp(s2) - 1`. noise: standard normal, (T, B, C).
    """
    clean = functional.cross_entropy(logits, labels, reduction="none")
    shaken = logits + noise * variance.sqrt()[None, :, None]
    distorted = functional.cross_entropy(shaken.flatten(0, 1), labels.repeat(len(noise)), reduction="none").view(len(noise), -1)
    return {
        "distorted": distorted.mean(),
        "gap": -functional.elu(clean - distorted).mean(),
        "size": variance.expm1().mean(),
    }


@dataclass(frozen=True, kw_only=True)
class VarianceTraining(Definition):
    """How the variance head is trained: on labelled photos, while the network stays as it is."""

    draws: int = param(100, "disturbed copies of the logits in each step", ge=1)

    name = "u-cam"


class VarianceTask(Task):
    """A variance head on the logits of a frozen classifier."""

    name = "u-cam"
    needs_labels = True
    schedule = Schedule(epochs=10, batch_size=64, lr=1e-2, optimizer="adamw")

    def __init__(self, classifier: Classifier, training: VarianceTraining) -> None:
        if classifier.outputs is not Outputs.SOFTMAX:
            raise UsageError(
                f"u-cam@measure=variance is trained on classes, and {classifier.name} gives {classifier.outputs.value}",
                expected="a classifier",
            )
        self.classifier, self.training = classifier, training
        self.head = VarianceHead(classifier.count).to(classifier.device)

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {HEAD: self.head}

    @property
    def frozen(self) -> dict[str, nn.Module]:
        return {"classifier": self.classifier.torch_module}

    def losses(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        assert labels is not None
        with torch.no_grad():
            logits = self.classifier(inputs).float()
        with torch.autocast(inputs.device.type, enabled=False):
            return loss_terms(logits, labels, self.head(logits), noise_like(logits, self.training.draws))

    def metadata(self) -> dict[str, Any]:
        return {"parameters": self.training.parameters_as_given()}
