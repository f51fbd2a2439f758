"""A twin of a network with batch norms and activations folded into the convolutions before them: the same logits in less time.

In evaluation mode a batch norm scales and shifts each channel, which the convolution's weights can do as well; on a processor
oneDNN applies an activation while it writes the convolution's output. One observed pass shows where nothing else reads that
output; there the twin computes the same numbers up to rounding. Where that is faster, linear layers of tokens compute as
convolutions.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xaicli.errors import XaiError
from xaicli.float64 import in_float64
from xaicli.network.classifier import Classifier
from xaicli.network.convolution_chains import Chain, chains
from xaicli.network.linear_layers import has_tokens, let_compute_as_convolutions
from xaicli.network.modes import eval_mode
from xaicli.network.observe import observing
from xaicli.network.twin import replace_module, twin_of


def folded(classifier: Classifier, photo: Tensor, *, fuses: bool = True, convolves: bool = False) -> tuple[Tensor, Classifier]:
    """Logits (1, C) of `photo` (1, 3, H, W) from the network itself, and the classifier over its folded twin; the same classifier
    if there is nothing to fold. The twin is made for passes in the classifier's `masked_dtype`. The network is not changed; the
    twin holds copies of its convolutions' weights. fuses: convolution and activation may be one operation of oneDNN; convolves:
    linear layers of tokens compute as convolutions."""
    module = classifier.module
    with eval_mode(module), torch.inference_mode(), torch.autocast(photo.device.type, enabled=False):
        if module is None:
            return classifier(photo).clone(), classifier
        with observing(module, operations=True) as seen:
            logits = classifier(photo).clone()
    foldable = chains(seen)
    has_norm, convolves = any(chain.norm for chain in foldable), convolves and has_tokens(module)
    if classifier.forward is not module or not (has_norm or convolves):
        return logits, classifier
    try:
        twin = twin_of(module, classifier.name)
    except XaiError:
        return logits, classifier
    parts = dict(twin.named_modules())
    # In half precision, two separate operations are faster than the fused one (measured on a ResNet-50).
    fuses = fuses and photo.device.type == "cpu" and classifier.masked_dtype == torch.float32 and has_fused()
    for chain in foldable if has_norm else ():
        shorten(twin, parts, chain, fuses)
    if convolves:
        let_compute_as_convolutions(twin)
    return logits, dataclasses.replace(classifier, forward=twin, module=twin)


def shorten(twin: nn.Module, parts: dict[str, nn.Module], chain: Chain, fuses: bool) -> None:
    """Let the convolution of a chain do the work of the modules after it, and replace these by identities."""
    convolution = parts[chain.convolution]
    assert isinstance(convolution, nn.Conv2d)
    norm = parts[chain.norm] if chain.norm else None
    assert norm is None or isinstance(norm, nn.BatchNorm2d)
    if norm is not None:
        replace_module(twin, norm, nn.Identity())
    if fuses and isinstance(convolution.padding, tuple) and convolution.padding_mode == "zeros":
        activation = parts[chain.activation] if chain.activation else None
        replace_module(twin, convolution, Fused(convolution, norm, activation))
        if activation is not None:
            replace_module(twin, activation, nn.Identity())
    elif norm is not None:
        take_in(convolution, norm)


def take_in(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Put a batch norm into the weights of the convolution before it."""
    made = with_norm(convolution, norm)
    convolution.weight, convolution.bias = made.weight, made.bias


def with_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The same convolution with a batch norm in its weights, computed in float64; neither is changed."""
    kind, made = convolution.weight.dtype, copy.copy(convolution)
    made._parameters = dict(convolution._parameters)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.inference_mode(False), torch.no_grad():
        statistics = in_float64(norm.running_mean), in_float64(norm.running_var), norm.eps
        bias, scale, shift = (
            None if given is None else in_float64(given) for given in (convolution.bias, norm.weight, norm.bias)
        )
        weight, bias = fuse_conv_bn_weights(in_float64(convolution.weight), bias, *statistics, scale, shift)
        at = convolution.weight.device
        made.weight = nn.Parameter(weight.to(at, kind, memory_format=torch.channels_last), requires_grad=False)
        made.bias = nn.Parameter(bias.to(at, kind), requires_grad=False)
    return made


class Fused(nn.Module):
    """A convolution, the batch norm and the activation after it as one operation of oneDNN, its weights laid out once.

    The layout depends on the size of the inputs: with a layout for another size, oneDNN reorders the weights in every pass, which
    takes longer than a small convolution itself. Batches of any length share a layout. Beside it no weights with the norm in
    them are kept until inputs of a second size come. apart: run convolution and activation as separate operations, for
    `taken_apart`.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d | None, activation: nn.Module | None) -> None:
        super().__init__()
        self.apart = False
        # In tuples, so that torch does not register them as submodules.
        self.parts = (convolution, norm, activation or nn.Identity())
        self.kept: tuple[nn.Conv2d, ...] = ()
        self.geometry: tuple[Any, ...] = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        self.activation: tuple[str, list[float]] = ("none", [])
        if activation is not None:
            self.activation = NAMES[type(activation)]
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.size = torch.Size()

    def normed(self) -> nn.Conv2d:
        """The convolution with the norm in its weights."""
        convolution, norm, _ = self.parts
        if self.kept:
            return self.kept[0]
        return convolution if norm is None else with_norm(convolution, norm)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.apart:
            self.kept = (self.normed(),)
            return self.parts[2](self.kept[0](inputs))  # type: ignore[no-any-return]
        if self.weight is None or self.size != inputs.shape[1:]:
            self.lay_out(inputs.shape[1:])
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(
            inputs, self.weight, self.bias, *self.geometry, *self.activation, ""
        )
        return made

    def lay_out(self, size: torch.Size) -> None:
        """Lay out the weights for inputs of that size."""
        convolution = self.normed()
        self.kept = () if self.weight is None else (convolution,)
        self.size, self.bias = size, convolution.bias
        with torch.inference_mode(False), torch.no_grad():
            weight = convolution.weight.detach().contiguous()
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, [1, *size])


@contextmanager
def taken_apart(module: nn.Module) -> Iterator[None]:
    """Inside the `with`, the convolutions and activations of a twin run as separate operations: their work can be counted, and
    NaN passes through them (oneDNN's ReLU stops it)."""
    fused = [part for part in module.modules() if isinstance(part, Fused)]
    try:
        for part in fused:
            part.apart = True
        yield
    finally:
        for part in fused:
            part.apart = False


NAMES: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}
"""Activations by oneDNN's names, with their constants."""


def has_fused() -> bool:
    """Whether this build of torch has the fused operation, and it computes what a convolution and an activation compute.

    torch made it for its compiler and does not document it, so it is tried out first.
    """
    with torch.random.fork_rng(devices=[]):
        convolution = nn.Conv2d(8, 8, 3, padding=1, groups=2).requires_grad_(False)
    inputs = torch.linspace(-3, 3, 8 * 25).view(1, 8, 5, 5)
    try:
        for kind in NAMES:
            activation = kind()
            expected = activation(functional.conv2d(inputs, convolution.weight, convolution.bias, padding=1, groups=2))
            if not torch.allclose(Fused(convolution, None, activation)(inputs), expected, atol=1e-5):
                return False
    # An undocumented operation may raise anything; then it cannot be used.
    except Exception:
        return False
    return True
