"""The interface of something trainable, as `xai train` uses it.

A method that is trained has `task(classifier, options) -> Task` beside `attribute`; its dataclass fields are the parameters of
the finished explainer, `options.parameters` those of training alone. A task holds its modules, says what its loss is and how it
is trained by default; the loop, data, checkpoints and pictures are `xaicli.training`'s.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from xaicli import builtin

if TYPE_CHECKING:
    from torch import Tensor, nn

    from xaicli.network.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a task is trained by default; each entry can be overridden on the command line.

    optimizer: `sgd` (momentum, Nesterov where said) or `adamw` (`amsgrad` where said); shape: `one-cycle` (a step a batch: cosine
    from lr / `start_divisor` up to lr over the first `warm_up` of all steps, then down to lr / `start_divisor` / `end_divisor`;
    momentum, or AdamW's beta1, runs 0.95 to 0.85 and back unless `cycle_momentum` is False) or `step` (lr times `gamma` at each
    of `milestones`, in shares of all epochs). decay: on what weight decay acts: `all`, `weights` (all but biases) or `matrices`
    (tensors of two axes or more). ema: decay of the running mean of weights, which becomes the result, 0 for none. clip: largest
    norm of the gradient, 0 for none.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 0.0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    beta2: float = 0.999
    amsgrad: bool = False
    shape: Literal["one-cycle", "step"] = "one-cycle"
    warm_up: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4
    cycle_momentum: bool = True
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    decay: Literal["all", "weights", "matrices"] = "all"
    ema: float = 0.0
    clip: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training photos are varied, on tensors, by numbers drawn from (seed, epoch, index).

    margin: photos are kept at `margin` times the network's side and cropped to it at random (256 / 224 for resize 256, crop 224);
    padding: pixels of reflection around them before the crop; flip: mirrored half of the time; colour: brightness and contrast
    change by up to this share; mixup: two photos of a batch are mixed in shares drawn from Beta(mixup, mixup), and so are their
    labels, 0 for never. early: the share of epochs, from the first, in which crops have `early_side` of the network's side, for
    networks that take any size: a cheaper start. Held-out photos are prepared by the classifier's view and not varied.
    """

    margin: float = 256 / 224
    padding: int = 0
    flip: bool = True
    colour: float = 0.0
    mixup: float = 0.0
    early: float = 0.0
    early_side: float = 0.75


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Options for making a task. seed: of initial weights (the global generator is already seeded with it); parameters: of
    training alone, as typed (`--set ce=1.5`), to be read by `SomeDefinition.from_text(options.parameters)`."""

    seed: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)


class Task(ABC):
    """Something to train.

    `losses` and `evaluate` are called with inputs (B, 3, H, W), preprocessed, on the classifier's device, and labels (B,) int64,
    or (B, C) shares of classes where `augmentation.mixup` mixes photos, or None where the data has none. Under `--precision bf16`
    the loop calls `losses` inside autocast: terms that need float32 leave it themselves (`torch.autocast(..., enabled=False)`).
    Torch's own generator is seeded anew for each step, so that dropout too is the same after a resume.
    """

    name: ClassVar[str]
    """`lfi-cam`, `t-tame`, `p-tame`, `bee`, `classifier`."""
    needs_labels: bool = False

    variant: str = ""
    """What sets this explainer apart from others of its method for the same network: installed, each has a file of its own."""

    classifier: Classifier
    """The classifier that is explained or trained; its view prepares the photos."""
    schedule: Schedule
    augmentation: Augmentation = Augmentation()
    weights: Mapping[str, float] = {}
    """The weight of each term in the total; 1 if it is not named."""

    @property
    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """The trained modules by name, in train mode during training; their names prefix the checkpoint's tensors."""

    def rate_of(self, name: str) -> float:
        """What the learning rate of a parameter is multiplied by. name: `MODULE.` and the parameter's own."""
        return 1.0

    @property
    def frozen(self) -> dict[str, nn.Module]:
        """The networks that are only used, by name. The loop puts them into evaluation mode without gradients of their
        parameters, restores both afterwards, and checks that not a bit of them has changed."""
        return {}

    @abstractmethod
    def losses(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """The terms of the loss by name, scalars, unweighted, means over photos: the same for any batch size."""

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The loss that is minimised: the weighted sum of its terms."""
        parts = [self.weights.get(name, 1.0) * value.float() for name, value in losses.items()]
        return sum(parts[1:], start=parts[0])

    def evaluate(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """Figures for held-out photos, each (B,) or a scalar mean over the batch; called in evaluation mode without gradients."""
        terms = self.losses(inputs, labels)
        return {"loss": self.total(terms), **terms}

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """The task's part of the checkpoint's metadata, in plain JSON types: `parameters` (as given), `layers`, and whatever is
        needed to rebuild the modules. The loop adds method, version, classifier, fingerprint, class list hash, data fingerprint,
        seed, schedule."""

    def finish(self) -> dict[str, Tensor]:
        """The tensors of the checkpoint by name; by default the state of all `modules`, `MODULE.` before each name."""
        return {
            f"{prefix}.{name}": tensor.detach()
            for prefix, module in self.modules.items()
            for name, tensor in module.state_dict().items()
        }


@runtime_checkable
class Trainable(Protocol):
    """The protocol by which `xai train` recognises a method that is trained.

    If a method declares `trains_network` (LFI-CAM), the classifier that `task` receives holds a network to be trained, new or
    pretrained, with as many outputs as the data has classes; the task wraps its module, and names the whole trained network
    `network` in `modules`. Its checkpoint is a model of its own (`--model FILE`): `xaicli.models.architecture` builds the network
    again from what the loop records of it, and wraps it as `branch` in the task's metadata says
    (`branched_networks().described(network)`), where that is there.
    """

    def task(self, classifier: Classifier, options: TaskOptions) -> Task:
        """The task that trains this method for `classifier`; raises UsageError if that is impossible."""
        ...


class BranchedNetworks(Protocol):
    """The functions of the module `xaicli.builtin.BRANCHED_NETWORKS`; see there for each."""

    def with_branch(self, network: nn.Module, size: tuple[int, int]) -> nn.Module: ...

    def branch_of(self, module: nn.Module | None) -> nn.Module | None: ...

    def described(self, network: nn.Module) -> dict[str, Any]: ...

    def restored(self, network: nn.Module, description: Mapping[str, Any]) -> nn.Module: ...


def branched_networks() -> BranchedNetworks:
    """The method's module that adds a branch to a network; imported when a network with one is trained or read."""
    return cast(BranchedNetworks, importlib.import_module(builtin.BRANCHED_NETWORKS))
