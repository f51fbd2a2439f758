"""The engine: which network runs passes that need no gradient, the classifier's own or its folded twin."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaicli.network.classifier import Classifier
from xaicli.network.folding import folded
from xaicli.network.modes import eval_mode

WORTH_FOLDING = 64
"""Passes from which on a twin is made: it takes as long as about fifteen passes (MobileNetV2, ResNet-18 and 50)."""

TOLERANCE = 1e-5
"""Of the largest logit: how far a twin may be off the network, as batches of another size are."""


@dataclass(frozen=True, eq=False)
class Twin:
    """A network's folded twin, None where there is nothing to fold or it fails; versions: of the tensors it was made from."""

    network: nn.Module | None
    versions: tuple[tuple[int, int], ...]


TWINS: WeakKeyDictionary[nn.Module, dict[torch.dtype, Twin]] = WeakKeyDictionary()
"""Twins by network and precision: made once, gone with the network."""


def engine_for(classifier: Classifier, photo: Tensor, passes: float, *, exact: bool) -> Classifier:
    """The classifier over the network that runs `passes` passes of inputs like `photo` (1, 3, H, W), without gradients, soonest.

    That is the network itself where passes are fewer than 64, or where its twin does not give the same logits for the photo. The
    choice depends on nothing that ran before, so that the same call gives the same bytes. exact: float32, else `masked_dtype`.
    """
    module = classifier.module
    if passes < WORTH_FOLDING or module is None or classifier.forward is not module:
        return classifier
    meant = classifier.with_masked_dtype(torch.float32) if exact else classifier
    with eval_mode(module):
        known, versions = TWINS.setdefault(module, {}), versions_of(module)
        twin = known.get(meant.masked_dtype)
        # Logits are compared each time, for weights can change without a new version.
        if twin is None or twin.versions != versions or not agrees(classifier, twin, photo):
            made = folded(meant, photo.clone())[1].module
            twin = Twin(None if made is module else made, versions)
            known[meant.masked_dtype] = twin if agrees(classifier, twin, photo) else Twin(None, versions)
        network = known[meant.masked_dtype].network
    return classifier if network is None else over(classifier, network)


def over(classifier: Classifier, network: nn.Module) -> Classifier:
    return dataclasses.replace(classifier, forward=network, module=network)


def versions_of(module: nn.Module) -> tuple[tuple[int, int], ...]:
    """Identity and version of each weight and buffer: another wherever one is replaced or changed in place."""
    tensors = (tensor for part in module.modules() for own in (part._parameters, part._buffers) for tensor in own.values())
    return tuple((id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in tensors if tensor is not None)


def agrees(classifier: Classifier, twin: Twin, photo: Tensor) -> bool:
    """Whether a twin gives the network's own logits for a photo; True where there is none to compare."""
    if twin.network is None:
        return True
    with torch.inference_mode(), torch.autocast(photo.device.type, enabled=False):
        # Copies, for networks that change their input in place.
        own = classifier(photo.clone())
        found = over(classifier, twin.network)(photo.clone())
        return bool(((found - own).abs() <= TOLERANCE * own.abs().max()).all())
