"""A dry run: one forward and one backward pass on noise, in which every layer's tensors and their gradients are seen."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

from xaicli.errors import RunError
from xaicli.network.modes import attribution_mode
from xaicli.network.nested import change_first_argument, first_tensor, replace_first_tensor
from xaicli.network.tokens import Axes, Layout, token_layout

IMAGE_SHAPED = (
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.InstanceNorm2d,
    nn.GroupNorm,
    _MaxPoolNd,
    _AvgPoolNd,
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
)


@dataclass(eq=False)
class Seen:
    """What one module took and gave in its last call.

    tensors, gradients, layouts: by side, "input" and "output"; None where there was no such tensor, gradient or grid. behind: by
    side, the share of the network's work that follows, 0 to 1. patches: grids of all convolutions that ran before its end.
    """

    name: str
    module: nn.Module
    calls: int = 0
    tensors: dict[str, Tensor | None] = field(default_factory=dict)
    patches: tuple[tuple[int, int], ...] = ()
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    layouts: dict[str, Layout | None] = field(default_factory=dict)
    behind: dict[str, float] = field(default_factory=dict)

    def reaches_logits(self, side: str) -> bool:
        """Whether the gradient on the grid (prefix tokens left out) is anywhere non-zero."""
        gradient, layout = self.gradients.get(side), self.layouts.get(side)
        return gradient is not None and layout is not None and bool(layout.to_grid(gradient).any())


def dry_run(module: nn.Module, size: tuple[int, int]) -> dict[str, Seen]:
    """Every module that ran, by name, in the order in which they ended; the network as a whole is not among them.

    size: height and width of the input. The score is a fixed mixture of all outputs, so that no one class decides.
    """
    seen: dict[str, Seen] = {}
    forward = True
    grids: list[tuple[int, int]] = []
    begun: dict[nn.Module, float] = {}
    done = 0.0
    names = {part: name for name, part in module.named_modules() if name and not isinstance(part, torch.jit.ScriptModule)}

    def before(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        begun[part] = done
        return change_first_argument(args, kwargs, with_graph)

    def after(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        nonlocal done
        output = replace_first_tensor(output, with_graph)
        # Checkpointed parts run again on the way back.
        if not forward:
            return output
        given = first_tensor(output)
        taken = first_tensor(args)
        if isinstance(part, nn.Conv2d) and given is not None:
            grids.append((given.shape[-2], given.shape[-1]))
        done += multiplications(part, given)
        name = names[part]
        entry = seen.pop(name, None) or Seen(name, part)
        entry.calls += 1
        entry.tensors = {"input": first_tensor(kwargs) if taken is None else taken, "output": given}
        entry.patches = tuple(dict.fromkeys(reversed(grids)))
        entry.behind = {"input": begun[part], "output": done}
        seen[name] = entry
        return output

    with ExitStack() as stack:
        stack.enter_context(attribution_mode(module))
        for part in names:
            stack.callback(part.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(part.register_forward_hook(after, with_kwargs=True).remove)
        output = first_tensor(module(noise(module, size)))
        forward = False
        if output is None:
            raise RunError("the network returns no tensor", expected="logits (photos, classes)")
        fill_gradients(seen.values(), output)
        fill_layouts(seen)
    for entry in seen.values():
        entry.behind = {side: 1 - before / max(done, 1.0) for side, before in entry.behind.items()}
    return seen


def noise(module: nn.Module, size: tuple[int, int]) -> Tensor:
    """A fixed input (1, 3, H, W): coarse and fine noise, on the network's device and in its precision."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(1, 3, *size, generator=generator)
    coarse = torch.randn(1, 3, 8, 8, generator=generator)
    inputs = nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False) + 0.3 * fine
    parameter = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), None)
    return inputs if parameter is None else inputs.to(parameter.device, parameter.dtype)


def multiplications(part: nn.Module, given: Tensor | None) -> float:
    """How many multiplications a convolution or linear layer took, the bulk of a network's work."""
    if given is None or not isinstance(part, nn.Conv2d | nn.Linear):
        return 0.0
    return float(given.numel() * part.weight[0].numel())


def with_graph(tensor: Tensor) -> Tensor:
    """The tensor itself, or where no graph leads to it a copy that starts one: frozen parts of a network are seen too."""
    if tensor.requires_grad or not tensor.is_floating_point():
        return tensor
    with torch.enable_grad():
        return tensor.detach().requires_grad_() * 1


def fill_gradients(seen: Iterable[Seen], output: Tensor) -> None:
    slots = [
        (entry, side, tensor)
        for entry in seen
        for side, tensor in entry.tensors.items()
        if tensor is not None and tensor.requires_grad
    ]
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(output.shape, generator=generator).to(output)
    if not slots or not output.requires_grad:
        return
    gradients = torch.autograd.grad((output * weights).sum(), [tensor for *_, tensor in slots], allow_unused=True)
    for (entry, side, _), gradient in zip(slots, gradients, strict=True):
        entry.gradients[side] = gradient


def fill_layouts(seen: dict[str, Seen]) -> None:
    """Say of every tensor how it is laid out: by what takes and gives it, not by its size."""
    evidence: dict[int, Axes] = {}
    for entry in seen.values():
        axes = axes_of(entry.module)
        for tensor in entry.tensors.values():
            if axes is not None and tensor is not None and tensor.ndim == 4:
                evidence.setdefault(id(tensor), axes)
    sequences = {
        tensor.shape[1]
        for entry in seen.values()
        for tensor in entry.tensors.values()
        if tensor is not None and tensor.ndim == 3 and token_layout_of(tensor, entry) is not None
    }
    for entry in seen.values():
        for side, tensor in entry.tensors.items():
            if tensor is None or not tensor.is_floating_point() or tensor.shape[0] != 1:
                continue
            if tensor.ndim == 3:
                entry.layouts[side] = token_layout_of(tensor, entry)
            elif tensor.ndim == 4 and not is_attention(tensor, entry.module, sequences):
                axes = evidence.get(id(tensor)) or axes_within(entry, tensor.shape, seen)
                rows, columns = tensor.shape[1:3] if axes is Axes.CHANNELS_LAST else tensor.shape[2:]
                entry.layouts[side] = Layout(axes, (rows, columns))


def is_attention(tensor: Tensor, module: nn.Module, sequences: set[int]) -> bool:
    """Whether what a single operation (a softmax, a dropout, a norm of queries) takes or gives is (1, heads, tokens, ...) or
    (1, tokens, heads, ...): not a grid."""
    single = not isinstance(module, IMAGE_SHAPED) and not any(True for _ in module.children())
    return single and not sequences.isdisjoint(tensor.shape[1:3])


def axes_of(module: nn.Module) -> Axes | None:
    """The order of axes that a module demands of a four-dimensional tensor; None where it takes any."""
    if isinstance(module, IMAGE_SHAPED):
        return Axes.CHANNELS_FIRST
    if isinstance(module, nn.LayerNorm):
        # Layer norms of the kind called LayerNorm2d, or told so by an attribute, permute on their own.
        first = type(module).__name__.endswith("2d") or getattr(module, "data_format", "") == "channels_first"
        return Axes.CHANNELS_FIRST if first else Axes.CHANNELS_LAST
    return Axes.CHANNELS_LAST if isinstance(module, nn.Linear) else None


def axes_within(entry: Seen, shape: torch.Size, seen: dict[str, Seen]) -> Axes:
    """The order of axes of the first module inside `entry` that takes or gives this shape; channels first by default."""
    for name, inner in seen.items():
        axes = axes_of(inner.module)
        if axes and name.startswith(f"{entry.name}.") and any(t is not None and t.shape == shape for t in inner.tensors.values()):
            return axes
    return Axes.CHANNELS_FIRST


def token_layout_of(tensor: Tensor, entry: Seen) -> Layout | None:
    """Tokens on the grid of the convolution before them that leaves the fewest over; of several, the latest."""
    fitting = [layout for patches in entry.patches if (layout := token_layout(tensor.shape[1], patches)) is not None]
    return min(fitting, key=lambda layout: layout.prefix, default=None)
