"""LFI-CAM: a network that learns, with its classes, how much each channel matters; its gate is the explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.lfi.feature_importance import FeatureImportance, Importance, unit_map
from xaicli.methods.lfi.lfi_network import LFINetwork, branch_of, described, reading, with_branch
from xaicli.network.classifier import Classifier
from xaicli.network.modes import attribution_mode
from xaicli.params import Definition
from xaicli.targets import Targets
from xaicli.task import Augmentation, Schedule, Task, TaskOptions

SMALL = 64
"""Up to this side of the input the recipe for CIFAR is used, above it the one for ImageNet."""


@dataclass(frozen=True, kw_only=True)
class LFITraining(Definition):
    """How an LFI network is built, before it is trained."""

    fin_relu: Literal["pair", "every"] = param("pair", "a ReLU after every second convolution of the branch, or after every one")
    fin_width: int | None = param(None, "channels inside the branch, none: all of them as published; ours: 256 spares much", ge=1)
    temperature: float = param(1.0, "of the softmax over channels", gt=0)
    gate: Literal["authors", "post_act"] = param("authors", "DenseNet, ResNet V2: before the last norm, or after its activation")
    zero_rule: Literal["none", "authors"] = param("none", "authors: what is exactly 0 in the features stays 0 in the mask stack")
    antialias: bool = param(False, "smooth the grey picture as it is made small")
    detach_map: bool = param(False, "no gradient through the attention: an ablation")
    role: Literal["gate", "plain"] = param("gate", "plain: no attention, a head with as many weights, as a control")
    fin_lr: float = param(1.0, "learning rate of the branch, times that of the network", gt=0)

    name = "lfi-cam"

    def importance(self) -> Importance:
        if self.role == "plain" and self.fin_width is not None:
            raise UsageError("role=plain with fin_width", hint="Leave one of them out.")
        return Importance(
            plain=self.role == "plain",
            fin_relu=self.fin_relu,
            fin_width=self.fin_width,
            temperature=self.temperature,
            zero_rule=self.zero_rule,
            antialias=self.antialias,
            detach_map=self.detach_map,
        )


@dataclass(frozen=True, kw_only=True)
class LFICAM(Method):
    """LFI-CAM: the attention by which a network that was trained for it gates its own last features; one map for all classes.

    `map = A = unit(relu(sum_k w_k F_k))`: F_k are the channels of the last feature map, `w = softmax` of the importance that a
    trained branch gives each of them, and unit scales to 0..1. The rest of the network reads (1 + A) F. One forward pass gives
    decision and map. The network is any convolutional classifier with such a branch, trained from labels (`xai train lfi-cam`).
    No class enters the map: it is the same for every target, so `xai explain` takes no target but the decision. Maps are
    (B, T, h, w), 0 to 1, at the last feature map's resolution. A branch narrower than the features (`fin_width`) and
    `gate=post_act` are ours, not the paper's. On the bundled `tiny` the learned weights are not shown to be better than equal
    ones (`weights=equal`).

    `xai explain cat.jpg --model tiny --method lfi-cam`
    """

    weights: Literal["learned", "equal"] = param("learned", "equal: the channels' plain mean, a control for what was learned")

    name = "lfi-cam"
    paper = "Lee, Park, Oh and Kwak, ICCV 2021, arXiv:2105.00937"
    needs = Needs.FEATURES | Needs.CHECKPOINT
    class_specific = False
    decision_only = True
    training = LFITraining
    trains_network = True

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1)

    def require(self, classifier: Classifier) -> None:
        branch(classifier)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with attribution_mode(classifier.torch_module), torch.no_grad(), reading(branch(classifier)) as seen:
            logits = classifier(inputs)
            features, attention = seen[-1]
        if self.weights == "equal":
            attention = unit_map(features.float().mean(dim=1).relu())
        maps = attention[:, None].repeat(1, targets.count, 1, 1)
        return Maps(maps, targets.resolve(logits).detached(), logits)

    def task(self, classifier: Classifier, options: TaskOptions) -> LFITask:
        return LFITask(classifier, LFITraining.from_text(dict(options.parameters)))


def branch(classifier: Classifier) -> FeatureImportance:
    """The classifier's feature importance branch; raises UsageError, which says what to type, if it has none."""
    found = branch_of(classifier.torch_module)
    if found is not None and found.importance.plain:
        found_plain = f"{classifier.name} was trained with role=plain, as a control, and gives no attention"
        raise UsageError(found_plain, hint="Take grad-cam for it, or train it without role=plain.")
    if found is None:
        model = classifier.name.partition("@")[0]
        if Needs.ATTENTION in classifier.provides:
            way = f"A transformer cannot have one; train t-tame for it: xai train t-tame --model {model} --data DIR"
        else:
            way = f"Train one: xai train lfi-cam --model {model} --data DIR -o my-lfi.safetensors"
        raise UsageError(
            f"lfi-cam is a network of its own, and {classifier.name} has no such branch",
            hint=f"{way}; or take the bundled one: --model tiny --method lfi-cam.",
        )
    return found


class LFITask(Task):
    """A classifier and its branch, trained together by cross-entropy alone."""

    name = "lfi-cam"
    needs_labels = True

    def __init__(self, classifier: Classifier, training: LFITraining) -> None:
        self.classifier, self.training = classifier, training
        size, small = classifier.view.size, max(classifier.view.size) <= SMALL
        importance, layer = training.importance(), classifier.layer
        self.network = with_branch(classifier.torch_module, size, importance, gate=training.gate, layer=layer)
        self.schedule = Schedule(
            epochs=300, batch_size=128 if small else 256, lr=0.1, weight_decay=1e-4, momentum=0.9, shape="step"
        )
        self.augmentation = Augmentation(margin=1.0, padding=4) if small else Augmentation()

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.network}

    def rate_of(self, name: str) -> float:
        return self.training.fin_lr if name.startswith("network.branch.") else 1.0

    def losses(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        logits = self.classifier.logits(self.network(inputs), len(inputs))
        return {"ce": functional.cross_entropy(logits, self.required(labels))}

    def evaluate(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        logits, wanted = self.classifier.logits(self.network(inputs), len(inputs)), self.required(labels)
        right = (logits.argmax(dim=1) == wanted).float()
        return {"loss": functional.cross_entropy(logits, wanted, reduction="none"), "accuracy": right}

    @staticmethod
    def required(labels: Tensor | None) -> Tensor:
        if labels is None:
            raise UsageError("lfi-cam is trained from labels, and this data has none", hint="Put photos in one folder a class.")
        return labels

    def metadata(self) -> dict[str, Any]:
        network: LFINetwork = self.network
        return {
            "parameters": self.training.parameters_as_given(),
            "layers": [network.site.layer],
            "branch": described(network),
        }
