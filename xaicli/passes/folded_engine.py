"""The engine of torch: which network runs passes that need no gradient, the classifier's own or its folded twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaicli.freed_memory import give_back
from xaicli.network.classifier import Classifier
from xaicli.network.folding import folded
from xaicli.network.layers import FeatureLayer
from xaicli.network.linear_layers import has_tokens
from xaicli.network.modes import eval_mode
from xaicli.network.state import State, state_of
from xaicli.network.taps import tap_many
from xaicli.passes.device import mkl_is_slow

WORTH_FOLDING = 64
"""A twin is made if at least this many passes are expected: making it takes as long as about fifteen (MobileNetV2, ResNet-18 and
50)."""

TOLERANCE = 1e-5
"""How far a twin's logits may differ from the network's, relative to the largest; batches of another size differ as much."""


@dataclass(frozen=True, eq=False)
class Twin:
    """A network's folded twin; None if there is nothing to fold or if its logits differ.

    state: of the network when the twin was made; readable: by name of a layer, whether the twin has the same features there.
    """

    network: nn.Module | None
    state: State
    readable: dict[str, bool] = field(default_factory=dict)


TWINS: WeakKeyDictionary[nn.Module, Twin] = WeakKeyDictionary()
"""Twins by network: each is made once and dropped with its network."""


def folded_engine_for(classifier: Classifier, photo: Tensor, passes: float, *, exact: bool) -> Classifier:
    """The classifier over the network that runs `passes` passes of inputs like `photo` (1, 3, H, W), without gradients, in the
    shortest time.

    It is the network itself if fewer than 64 passes are expected (here and in the whole run), if its twin gives other logits for
    the photo, or in bf16, where folding would change the rounding by more than 1e-5. The choice depends on nothing that ran
    before, so that the same call gives the same bytes. exact: float32, else `masked_dtype`.
    """
    twin = twin_for(classifier, photo, passes, exact=exact)
    return classifier if twin is None or twin.network is None else over(classifier, twin.network)


def reading_engine_for(
    classifier: Classifier, photo: Tensor, passes: float, layers: Sequence[FeatureLayer]
) -> tuple[Classifier, Sequence[FeatureLayer]]:
    """The same for float32 passes in which layers are read; returns these layers in the network that runs, too.

    It is the network itself if its twin has other features at one of the layers, such as the input of a batch norm.
    """
    twin = twin_for(classifier, photo, passes, exact=True)
    if twin is None or twin.network is None:
        return classifier, layers
    engine, parts = over(classifier, twin.network), dict(twin.network.named_modules())
    own = [dataclasses.replace(layer, module=parts[layer.name]) for layer in layers]
    if any(str(layer) not in twin.readable for layer in layers):
        expected, found = features(classifier, photo, layers), features(engine, photo, own)
        for layer, there, here in zip(layers, expected, found, strict=True):
            twin.readable[str(layer)] = near(here, there)
    return (engine, own) if all(twin.readable[str(layer)] for layer in layers) else (classifier, layers)


def twin_for(classifier: Classifier, photo: Tensor, passes: float, *, exact: bool) -> Twin | None:
    """The network's twin, if there are enough passes to pay for it: the known one unless the network has changed since, or else a
    new one."""
    module = classifier.module
    too_few = max(passes, classifier.expected_passes) < WORTH_FOLDING
    rounded = not exact and classifier.masked_dtype != torch.float32
    convolves = photo.device.type == "cpu" and mkl_is_slow()
    if too_few or rounded or module is None or classifier.forward is not module or not may_fold(module, convolves):
        return None
    meant, state = classifier.with_masked_dtype(torch.float32), state_of(module)
    twin = TWINS.get(module)
    if twin is None or twin.state != state:
        with eval_mode(module):
            logits, quick = folded(meant, photo.clone(), convolves=convolves)
            network = quick.module if quick is not meant and gives(over(classifier, quick.torch_module), photo, logits) else None
        twin = TWINS[module] = Twin(network, state)
        # Every activation of a pass was kept meanwhile, and batches need other pieces of memory than these.
        give_back()
    return twin


def over(classifier: Classifier, network: nn.Module) -> Classifier:
    return dataclasses.replace(classifier, forward=network, module=network)


def may_fold(module: nn.Module, convolves: bool) -> bool:
    """Whether the network may have something to fold: batch norms or, if they are to compute as convolutions, linear layers of
    tokens."""
    return any(isinstance(part, nn.BatchNorm2d) for part in module.modules()) or (convolves and has_tokens(module))


def gives(engine: Classifier, photo: Tensor, logits: Tensor) -> bool:
    """Whether an engine gives the network's own logits for a photo."""
    with torch.inference_mode(), torch.autocast(photo.device.type, enabled=False):
        # A copy, for networks that change their input in place.
        return near(engine(photo.clone()), logits)


def features(classifier: Classifier, photo: Tensor, layers: Sequence[FeatureLayer]) -> list[Tensor]:
    """The features of a classifier's layers for a photo."""
    with tap_many(classifier.torch_module, {str(layer): layer for layer in layers}, gradients=False) as taps:
        classifier(photo.clone())
        return [tap.raw for tap in taps.values()]


def near(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are equal up to rounding; never if one is not finite."""
    return found.shape == expected.shape and bool(((found - expected).abs() <= TOLERANCE * expected.abs().max()).all())
