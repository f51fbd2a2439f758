"""The request for a source of models, and the source's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.images.view import View
from xaicli.models.program_input import Accepted
from xaicli.models.prompts import Prompts
from xaicli.network.layers import Cuts
from xaicli.network.proposals import Decoding
from xaicli.outputs import Outputs
from xaicli.params import escape

Notice = Callable[[str], None]
"""Called with one line that a user should read: about code that is run, names that were dropped, a softmax that was undone."""


@dataclass(frozen=True)
class Request:
    """One model, as the command line names it, and how it may be loaded.

    name: the part after the source's prefix; flag: the qualifier without `=` (torchvision's weights, a revision); weights: a file
    that replaces the source's own; any_device: the user did not choose `device`, so a source may take the CPU instead; offline:
    forbids downloads; progress: shows a bar for them; trust: allows the user's own code; prompts: the texts with which a
    text-image model compares photos; layer: the tensor at which an exported network is cut, empty for one that stays whole;
    outputs, output_name: what the outputs are, and which entry of a tuple or dict, where the user says so.
    """

    name: str
    flag: str = ""
    weights: Path | None = None
    device: torch.device = torch.device("cpu")
    any_device: bool = True
    offline: bool = False
    progress: bool = False
    trust: bool = True
    notice: Notice = lambda text: None
    prompts: Prompts = Prompts()
    layer: str = ""
    outputs: Outputs | None = None
    output_name: str = ""

    def canonical(self, source: str, name: str) -> str:
        """The specification in canonical form, with the weights file's name but not its path."""
        prefix = f"{source}:" if source else ""
        flag = f"@{escape(self.flag)}" if self.flag else ""
        weights = f"@weights={escape(self.weights.name)}" if self.weights else ""
        layer = f"@layer={escape(self.layer)}" if self.layer else ""
        return f"{prefix}{escape(name)}{flag}{weights}{layer}"

    def refuse_weights(self, what: str) -> None:
        """Raise UsageError if a weights file was given to a source that has its own weights."""
        if self.weights is not None:
            raise UsageError(f"--weights {self.weights.name} with {what}", expected="no --weights: such a file holds its own")

    def refuse_layer(self, what: str) -> None:
        """Raise UsageError if a tensor was named at which the network is to be cut."""
        if self.layer:
            raise UsageError(
                f'"@layer={self.layer}" with {what}',
                expected="@layer=TENSOR after a whole exported network, onnx:FILE or FILE.pt2",
                hint="A method takes its layer itself: --method grad-cam@layer=NAME.",
            )

    def refuse_flag(self, hint: str) -> None:
        if self.flag:
            raise UsageError(f'"@{self.flag}" after {self.name} has no meaning', hint=hint)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """The answer of a source: a torch module, or a black box (`forward`, and the hash of its `content`).

    device: where a black box runs, None for the requested device; outputs, output_name: the kind of outputs and their entry in a
    tuple or dict, according to the model's configuration; decoding: of a detector, how its outputs become boxes; cuts: finds the
    tensors at which an exported network can be cut; accepts: what photos a program was exported for.
    """

    name: str
    view: View
    module: nn.Module | None = None
    forward: Callable[[Tensor], Tensor] | None = None
    content: str = ""
    classes: tuple[str, ...] = ()
    layer: str = "auto"
    device: torch.device | None = None
    outputs: Outputs | None = None
    output_name: str = ""
    decoding: Decoding | None = None
    cuts: Cuts | None = None
    accepts: Accepted | None = None
