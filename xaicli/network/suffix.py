"""Running what follows a layer, and nothing before it, on activations put in its place.

While a photo passes once, every module that ends before the layer begins is remembered with its output. Later passes let those
modules answer from memory, and the layer with the activations put in its place: only what follows is computed. The network's own
code runs as it is, so nothing has to be traced, and what it computes outside of modules is right because all its inputs are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import RunError, UsageError, is_out_of_memory
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.modes import attribution_mode
from xaicli.network.nested import change_first_argument, first_tensor, replace_first_tensor
from xaicli.network.observe import Call, argument, observing

Answer = Callable[..., Any]
Memory = tuple[tuple[nn.Module, Any], ...]

CHUNK_BYTES = 2**25
"""Of altered activations that are passed on together: few enough for a processor's caches."""
TOLERANCE = 1e-4
"""Of the largest logit: how far a suffix may be off the whole network, which batches of another size alone bring about."""


@dataclass(frozen=True, eq=False)
class Suffix:
    """What follows a layer, for one photo.

    activation: the layer's tensor for that photo, laid out as in the network, (1, ...); logits: the photo's, (1, C), float32.
    """

    classifier: Classifier
    layer: FeatureLayer
    photo: Tensor
    activation: Tensor
    logits: Tensor
    given: Any = field(repr=False)
    """What the layer gave: its tensor, or a tuple that holds it."""
    memory: Memory = field(repr=False)
    """Modules and what they gave before the layer began, in order."""
    copies: bool = False
    """Remembered tensors are handed out as copies, to networks that write into them; else as views."""

    def __call__(self, activations: Tensor) -> Tensor:
        """Logits (n, C) of the photo with each of n activations (n, ...), laid out as in the network, in the place of its own."""
        count = activations.shape[0]
        with ExitStack() as stack:
            for module in {module for module, _ in self.memory}:
                answers = [self.broadcast(value, count) for owner, value in self.memory if owner is module]
                stack.enter_context(answering(module, recall(answers, module.forward)))
            if self.layer.side == "output":
                put = replace_first_tensor(self.broadcast(self.given, count), lambda _: activations)
                stack.enter_context(answering(self.layer.module, lambda *_, **__: put))
            else:
                hook = self.layer.module.register_forward_pre_hook(
                    lambda _, args, kwargs: change_first_argument(args, kwargs, lambda _: activations), with_kwargs=True
                )
                stack.callback(hook.remove)
            return self.classifier(self.photo.expand(count, *self.photo.shape[1:]))

    def copies_at_once(self, limit: int | None) -> int:
        """How many altered activations are passed on together, `limit` at most."""
        most = max(1, CHUNK_BYTES // (self.activation.numel() * self.activation.element_size()))
        return most if limit is None else min(most, limit)

    def broadcast(self, value: Any, count: int) -> Any:
        """What a module gave for one photo, for `count` copies of it."""
        if isinstance(value, Tensor):
            many = value.expand(count, *value.shape[1:])
            return many.clone() if self.copies or count == 1 else many
        return type(value)(self.broadcast(item, count) for item in value) if isinstance(value, tuple | list) else value

    def gives_own_logits(self) -> bool:
        """Whether the photo's own activation, twice, gives the photo's logits twice."""
        try:
            found = self(self.activation.repeat(2, *[1] * (self.activation.ndim - 1)))
        except RuntimeError as error:
            # Torch refuses to write into a view that stands for many copies.
            if is_out_of_memory(error):
                raise
            return False
        if found.shape[0] != 2 or not self.logits.isfinite().all():
            return found.shape[0] == 2
        near = TOLERANCE * self.logits.abs().max().clamp_min(1.0)
        return bool(((found - self.logits).abs() <= near).all())


@contextmanager
def suffix(classifier: Classifier, layer: FeatureLayer, photo: Tensor) -> Iterator[Suffix]:
    """What follows `layer` in the pass of one photo (1, 3, H, W), without gradients, in float32.

    It is tried on the photo's own activation first. A network that does not give its own logits then, because it writes into
    tensors or keeps a state, has remembered tensors copied, or else runs in full with the layer's tensor replaced.
    """
    if layer.call is not None:
        found = f"layer {layer} runs more than once, and what follows it cannot be run alone"
        raise UsageError(found, hint="Choose another: xai list layers --model SPEC.")
    with attribution_mode(classifier.torch_module), torch.no_grad():
        whole = record(classifier, layer, photo.clone())
        forms = (whole, dataclasses.replace(whole, copies=True), dataclasses.replace(whole, memory=(), copies=True))
        fitting = next((form for form in forms if form.gives_own_logits()), None)
        if fitting is None:
            raise RunError(f"{classifier.name} does not give the same logits twice", hint="Use a method that alters no features.")
        yield fitting


def record(classifier: Classifier, layer: FeatureLayer, photo: Tensor) -> Suffix:
    """Pass the photo once, remembering what every module gave that ended before the layer, nested ones within their callers."""
    module = classifier.torch_module
    ended: list[list[tuple[nn.Module, Any]]] = [[]]
    """What the modules gave that ended so far, by each call that is running."""
    found: dict[str, Any] = {}
    # What a user's own hooks made of an output would be made of it twice; hooks on what goes in do no harm.
    hooked = {part for part in module.modules() if part._forward_hooks}

    def remember(tensor: Tensor | None, given: Any) -> None:
        found.update(activation=tensor, given=given, memory=tuple(pair for calls in ended for pair in calls))

    def before(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if call.module is layer.module and layer.side == "input":
            remember(argument(args, kwargs), None)
        ended.append([])

    def after(call: Call, args: object, kwargs: object, output: Any) -> None:
        ended.pop()
        if call.module is layer.module and layer.side == "output":
            remember(first_tensor(output), output)
        elif not found and call.module not in hooked and is_one_photos(output):
            ended[-1].append((call.module, copied(output)))

    with observing(module, before=before, after=after):
        logits = classifier(photo)
    if found.get("activation") is None:
        raise RunError(f"layer {layer} did not run in the forward pass", hint="Choose another: xai list layers --model SPEC.")
    activation = found["activation"].relu() if layer.rectified else found["activation"].clone()
    return Suffix(classifier, layer, photo, activation, logits, found["given"], found["memory"])


def is_one_photos(value: Any) -> bool:
    """Whether what a module gave can be handed out for many copies of the photo: every tensor has a first axis of length one."""
    if isinstance(value, Tensor):
        return value.ndim >= 2 and value.shape[0] == 1
    if isinstance(value, tuple | list):
        return not hasattr(value, "_fields") and all(map(is_one_photos, value))
    return value is None or isinstance(value, int | float | str | torch.Size)


def copied(value: Any) -> Any:
    """A copy: the network may go on to write into what a module gave."""
    if isinstance(value, Tensor):
        return value.clone()
    return type(value)(map(copied, value)) if isinstance(value, tuple | list) and not isinstance(value, torch.Size) else value


def recall(answers: list[Any], forward: Answer) -> Answer:
    """A forward that gives the remembered answers one after the other, and behind the layer works as ever."""
    remembered = iter(answers)

    def answer(*args: Any, **kwargs: Any) -> Any:
        for value in remembered:
            return value
        return forward(*args, **kwargs)

    return answer


@contextmanager
def answering(module: nn.Module, answer: Answer) -> Iterator[None]:
    """Let a module answer so instead of computing; afterwards it has the forward it had."""
    own = module.__dict__.get("forward")
    module.forward = answer
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
