"""A twin of a network: structure copied, weights shared.

Rules that change how activations or gradients pass through a network are put on its twin, which is thrown away. So the user's
network never gets a hook, an attribute or another weight, even after an exception, and two threads may explain it at once.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._pytree import tree_map

from xaicli.errors import UsageError


def twin_of(module: nn.Module, name: str) -> nn.Module:
    """A copy of `module` in evaluation mode whose parameters and buffers share the original's memory, frozen; in-place
    activations work out of place in it. Raises UsageError where the network cannot be
    copied."""
    if any(is_parametrized(part) for part in module.modules()):
        raise UsageError(
            f"{name} computes its weights anew in every pass (torch.nn.utils.parametrize), and this method works on a copy",
            hint="Fix them first: torch.nn.utils.parametrize.remove_parametrizations(module, 'weight').",
        )
    memo: dict[int, object] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(shared(parameter), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = shared(buffer)
    try:
        twin = copy.deepcopy(module, memo)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{name} cannot be copied ({error}), and this method works on a copy of the network",
            hint="A network that keeps a tensor of its last pass, or a file, a lock or a generator, cannot be.",
        ) from error
    for part in twin.modules():
        part.training = False
        if getattr(part, "inplace", False) is True:
            setattr(part, "inplace", False)  # noqa: B010
    return twin


def shared(tensor: Tensor) -> Tensor:
    """Another tensor on the same memory; a copy if the tensor was made in inference mode, since no gradient passes such a
    tensor."""
    return tensor.clone() if tensor.is_inference() else tensor.data


def replace_module(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever `old` stands below `root`."""
    for parent in list(root.modules()):
        # Not `named_children`, which gives a module that stands at two places of one parent only once.
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)


def give_copies(root: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Let each module of these kinds work on a copy of its input.

    captum changes the gradient of the tensor that enters a module. Another reader of that tensor, such as a residual connection,
    would lose its part of the gradient, and the activation that made it (a ReLU right before a max pooling) would receive the
    gradient from before the change.
    """
    for module in list(root.modules()):
        if isinstance(module, kinds):
            replace_module(root, module, nn.Sequential(Copy(), module))


def fix_side_branches(root: nn.Module) -> None:
    """Let parts that declare `side_branch = True` answer as they do, but as constants, out of reach of rules and hooks: no
    gradient enters them. What they gate is then linear in the features."""
    for module in list(root.modules()):
        if getattr(module, "side_branch", False) is True:
            replace_module(root, module, Fixed(module))


class Fixed(nn.Module):
    """A part of a network whose answer counts as constant; its modules are none of the network's."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        # In a tuple it is no submodule.
        self.hidden = (part,)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        fixed = tree_map(lambda value: value.detach() if isinstance(value, Tensor) else value, (args, kwargs))
        with torch.no_grad():
            return self.hidden[0](*fixed[0], **fixed[1])


class Copy(nn.Module):
    """Passes its input on as a copy that nothing else reads."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.clone()


class PerCall(nn.Module):
    """One activation that is used several times in a pass, as several activations that are each used once."""

    def __init__(self, activation: nn.Module, calls: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copy.deepcopy(activation) for _ in range(calls))
        self.called = 0

    def forward(self, inputs: Tensor) -> Tensor:
        activation = self.copies[self.called % len(self.copies)]
        self.called += 1
        outputs: Tensor = activation(inputs)
        return outputs


class SharedMaxPool(nn.Module):
    """Max pooling whose gradient is DeepLIFT's rule: photos and their baselines come as the two halves of a batch.

    The pixels of the larger of the two maxima get the credit for the difference, in equal parts if several are largest, as all
    are in a window of a uniform baseline. Without a graph it is plain pooling.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = pair(pool.kernel_size), pair(pool.stride), pair(pool.padding)
        self.ceil_mode = pool.ceil_mode

    def forward(self, inputs: Tensor) -> Tensor:
        steps = [self.steps(side, axis) for axis, side in enumerate(inputs.shape[-2:])]
        windows = self.windows(inputs, steps)
        largest = windows.amax(dim=-1)
        if torch.is_grad_enabled() and windows.requires_grad:
            fixed = windows.detach()
            multipliers = rescaled(*fixed.chunk(2)).repeat(2, *[1] * (fixed.dim() - 1))
            largest = largest.detach() + (multipliers * (windows - fixed)).sum(dim=-1)
        return largest.reshape(*inputs.shape[:2], *steps)

    def windows(self, inputs: Tensor, steps: list[int]) -> Tensor:
        """The windows (N, C, windows, cells) of inputs (N, C, H, W), padded with the lowest float."""
        ends = [(steps[axis] - 1) * self.stride[axis] + self.kernel[axis] - self.padding[axis] for axis in (0, 1)]
        after = [ends[axis] - inputs.shape[2 + axis] for axis in (0, 1)]
        lowest = torch.finfo(inputs.dtype).min
        padded = nn.functional.pad(inputs, (self.padding[1], after[1], self.padding[0], after[0]), value=lowest)
        cut = padded.unfold(2, self.kernel[0], self.stride[0]).unfold(3, self.kernel[1], self.stride[1])
        return cut.reshape(*inputs.shape[:2], steps[0] * steps[1], -1)

    def steps(self, side: int, axis: int) -> int:
        """Windows along one axis, as torch counts them."""
        room = side + 2 * self.padding[axis] - self.kernel[axis]
        if not self.ceil_mode:
            return room // self.stride[axis] + 1
        steps = -(-room // self.stride[axis]) + 1
        return steps - 1 if (steps - 1) * self.stride[axis] >= side + self.padding[axis] else steps


def rescaled(photos: Tensor, starts: Tensor) -> Tensor:
    """The factors of the cells' differences such that the products over a window (..., K) sum to the change of its maximum."""
    best, reference = photos.amax(dim=-1, keepdim=True), starts.amax(dim=-1, keepdim=True)
    winners = torch.where(best > reference, photos == best, starts == reference)
    credit = (best - reference) * winners / winners.sum(dim=-1, keepdim=True)
    apart = photos - starts
    same = apart.abs() < 1e-10
    # For cells that did not change, the gradient.
    gradient = (photos == best) / (photos == best).sum(dim=-1, keepdim=True)
    return torch.where(same, gradient, credit / torch.where(same, 1.0, apart))


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
