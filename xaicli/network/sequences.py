"""Networks on sequences of frames, called as networks on photos are: with inputs (B, frames C, H, W), frame after frame."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map


class SequenceNetwork(nn.Module):
    """A network that is given F frames of C channels each, in the place of F C channels of a photo.

    So whatever alters, repeats or differentiates a photo's channels does the same with frames. `network` is the network itself,
    whose layers keep their names.
    """

    def __init__(self, network: nn.Module, frames: int) -> None:
        super().__init__()
        self.network, self.frames = network, frames

    @property
    def traced_frames(self) -> int:
        """How many frames one pass of `network` takes for one sequence: all of them, or one."""
        return self.frames

    def enter(self, inputs: Tensor) -> Tensor:
        """Inputs (B, F C, H, W) in the form that `network` takes."""
        raise TypeError(f"{type(self).__name__} says not how inputs reach its network")


class ClipNetwork(SequenceNetwork):
    """A network of (B, C, F, H, W): it reads all frames of a sequence together."""

    def enter(self, inputs: Tensor) -> Tensor:
        return inputs.unflatten(1, (self.frames, -1)).transpose(1, 2)

    def forward(self, inputs: Tensor) -> Any:
        return self.network(self.enter(inputs))


class FrameByFrame(SequenceNetwork):
    """A network of photos over a window of frames: `logits = mean over frames of network(frame)`."""

    @property
    def traced_frames(self) -> int:
        return 1

    def enter(self, inputs: Tensor) -> Tensor:
        return inputs

    def forward(self, inputs: Tensor) -> Any:
        outputs = self.network(inputs.unflatten(1, (self.frames, -1)).flatten(0, 1))
        return tree_map(lambda part: self.over_frames(part, inputs.shape[0]), outputs)

    def over_frames(self, part: Any, sequences: int) -> Any:
        """The mean over frames of one output, of whatever form, that holds a row for each."""
        if not isinstance(part, Tensor) or not part.ndim or len(part) != sequences * self.frames:
            return part
        return part.unflatten(0, (sequences, self.frames)).mean(dim=1)


def itself(module: nn.Module) -> nn.Module:
    """The network that reads frames, or the module itself if it reads photos."""
    return module.network if isinstance(module, SequenceNetwork) else module
