"""Taps: a layer's activations and the gradients of scores with respect to them, read while a network runs.

    with tap(classifier) as features:
        logits = classifier(inputs)
        for gradient in features.gradients_of(targets.resolve(logits).scores):
            ...  # gradient and features.activation are (B, K, h, w)

The layer's tensor is replaced by a copy of itself that starts a graph of its own (a graft). So the graph covers only what
follows the layer, frozen networks have gradients, and an in-place activation after the layer changes neither what was read nor
its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import RunError, UsageError
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.modes import attribution_mode
from xaicli.network.nested import change_first_argument, replace_first_tensor

SMALLEST_ACTIVATION = 1e-30
"""Added to activations that the network passes through its own ReLU after ours, which would have derivative 0 at 0. It is far
below float32's resolution of any activation and keeps that derivative at 1."""

CHOOSE_ANOTHER = "Choose another: xai list layers --model SPEC."

HALF_SCALE = 1024.0
"""Scores of a half-precision layer are multiplied by this, and their gradients divided: small gradients underflow in float16."""


class Features:
    """What one tap has read in the last forward pass."""

    def __init__(self, layer: FeatureLayer) -> None:
        self.layer = layer
        self.calls: list[Tensor] = []
        self.forward = True
        """Whether a forward pass is going on; checkpointed parts run again during the backward pass, and those calls do not
        count."""

    @property
    def raw(self) -> Tensor:
        """The layer's tensor as the network lays it out, part of the graph. Raises if the layer did not run, or ran several times
        and no call is named."""
        call = self.layer.call
        if not self.calls:
            raise RunError(f"layer {self.layer} did not run in the forward pass", hint=CHOOSE_ANOTHER)
        if call is None and len(self.calls) > 1:
            raise UsageError(
                f"layer {self.layer} runs {len(self.calls)} times in one forward pass",
                expected="the call that counts",
                hint=f"Write layer={self.layer}#-1 for the last.",
            )
        try:
            return self.calls[-1 if call is None else call]
        except IndexError:
            raise UsageError(f"layer {self.layer} runs {len(self.calls)} times; there is no call {call}") from None

    @property
    def activation(self) -> Tensor:
        """Activations (B, K, h, w), float32, without a graph."""
        return self.layer.to_grid(self.raw.detach()).float()

    def gradients_of(self, scores: Tensor) -> Iterator[Tensor]:
        """For scores (B, T), the gradient (B, K, h, w), float32, of each of the T; one partial backward pass each."""
        for gradients in gradients_at([self], scores):
            yield self.layer.to_grid(gradients[0]).float()


def gradients_at(features: Sequence[Features], scores: Tensor) -> Iterator[list[Tensor]]:
    """For scores (B, T), the gradients of each of the T at several taps, laid out as in the network.

    One backward pass per score serves all taps. In eval mode photos do not mix, so the gradient of the sum over the batch is each
    photo's own. Raises RunError if no path leads from the taps to the scores.
    """
    tensors = [feature.raw for feature in features]
    if not scores.requires_grad:
        raise RunError(f"no gradient reaches layer {features[0].layer}", hint=CHOOSE_ANOTHER)
    for feature in features:
        feature.forward = False
    scale = HALF_SCALE if any(tensor.dtype == torch.float16 for tensor in tensors) else 1.0
    for index in range(scores.shape[1]):
        last = index == scores.shape[1] - 1
        gradients = torch.autograd.grad(scores[:, index].sum() * scale, tensors, retain_graph=not last, materialize_grads=True)
        yield [gradient.float() / scale if scale != 1.0 else gradient for gradient in gradients]


@contextmanager
def tap(classifier: Classifier, layer: str = "auto", *, gradients: bool = True) -> Iterator[Features]:
    """Read a classifier's feature layer: the one found for it, or the one named. Without `gradients` no graph is kept."""
    chosen = classifier.feature_layer(layer)
    with tap_many(classifier.torch_module, {chosen.name: chosen}, gradients=gradients) as features:
        yield features[chosen.name]


@contextmanager
def tap_many(
    module: nn.Module, layers: Mapping[str, FeatureLayer], *, graft: bool = True, gradients: bool = True
) -> Iterator[dict[str, Features]]:
    """Read several layers of a network in one forward pass, each under a key of the caller's.

    With `graft` the graph begins at the first of them that runs; without it, where the inputs or parameters require a gradient.
    Without `gradients` there is no graph. The network is in eval mode inside the `with`; its modes are restored afterwards.
    """
    taps = {key: Features(layer) for key, layer in layers.items()}
    with ExitStack() as stack:
        stack.enter_context(attribution_mode(module, frozen=graft))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.callback(module.register_forward_pre_hook(fresh_start(taps, detach=graft), with_kwargs=True, prepend=True).remove)
        for feature in taps.values():
            stack.callback(attach(feature, graft, gradients).remove)
        yield taps


@contextmanager
def listening(layers: Sequence[FeatureLayer]) -> Iterator[list[Features]]:
    """Read several layers of a network that is already frozen and in eval mode, as in training of an explainer. Modes and
    precision stay as the caller set them; there are no gradients."""
    taps = [Features(layer) for layer in layers]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for feature in taps:
            stack.callback(attach(feature, graft=False, gradients=False).remove)
        yield taps


def fresh_start(taps: Mapping[str, Features], *, detach: bool) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    """A hook for the whole network: forget the previous pass; detach inputs, which may come from inference mode."""

    def own(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.is_inference():
            value = value.clone()
        return value.detach() if detach else value

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for feature in taps.values():
            feature.calls.clear()
            feature.forward = True
        return tuple(map(own, args)), {key: own(value) for key, value in kwargs.items()}

    return hook


def attach(feature: Features, graft: bool, gradients: bool) -> torch.utils.hooks.RemovableHandle:
    """Hook the layer so that it records its tensor and hands a copy on."""

    def record(tensor: Tensor) -> Tensor:
        if feature.layer.rectified:
            tensor = tensor.relu()
        # A graft is made where no graph arrives. With several layers only the first is grafted: a later graft would cut the
        # gradient of the earlier layers. What is handed on is a copy: the next operation may work in place, and a leaf forbids
        # that. A network may run its own backbone without gradients; what follows it may still have them.
        with torch.set_grad_enabled(gradients):
            begin = graft and gradients and not tensor.requires_grad
            kept = tensor.detach().clone().requires_grad_() if begin else tensor.clone()
            if feature.forward:
                feature.calls.append(kept)
            return kept + SMALLEST_ACTIVATION if feature.layer.rectified else kept * 1

    def at_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return change_first_argument(args, kwargs, record)

    def at_output(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return replace_first_tensor(output, record)

    if feature.layer.side == "input":
        return feature.layer.module.register_forward_pre_hook(at_input, with_kwargs=True)
    return feature.layer.module.register_forward_hook(at_output)
