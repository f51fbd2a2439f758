"""A network as what makes an embedding of a photo, and its likeness to another photo's.

| outputs of the network | embedding |
|---|---|
| of a text-image model | the features of its image side |
| values, or outputs that no linear layer gives and nothing names | the outputs themselves |
| all others | what enters the last linear layer, the head |
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.noise import noise
from xaicli.network.observe import Call, observing
from xaicli.network.reference import Reference
from xaicli.outputs import Outputs


@dataclass(frozen=True, eq=False)
class Embedder:
    """module: gives embeddings (B, D), its layers are the network's own, None for a black box; what: the embedding, in words."""

    module: nn.Module | None
    what: str


def embedder_of(classifier: Classifier) -> Embedder:
    """What makes embeddings; raises UsageError where nothing says which part of the network does."""
    module = classifier.module
    if classifier.pixels is not None or classifier.decoding is not None:
        raise no_embedding(classifier.name)
    image = getattr(module, "embedder", None)
    if isinstance(image, nn.Module):
        return Embedder(image, "the features of its image side")
    head = "" if module is None or classifier.outputs is Outputs.VALUES else head_of(classifier)
    if module is not None and head:
        return Embedder(replaced(module, head), f"what enters its head {head}")
    if classifier.classes or (module is None and classifier.outputs is not Outputs.VALUES):
        raise no_embedding(classifier.name)
    return Embedder(module, "its outputs")


def class_weights(classifier: Classifier) -> Tensor:
    """One row per class, (C, K): of a text-image model the embeddings of the prompts, else the weights of the linear layer that
    gives the outputs. Raises UsageError where no such layer does."""
    module = classifier.torch_module
    texts = getattr(module, "texts", None)
    if isinstance(texts, Tensor) and texts.shape[:1] == (classifier.count,):
        return texts.detach().float()
    path = "" if classifier.of_places else head_of(classifier)
    head = module.get_submodule(path) if path else None
    if not isinstance(head, nn.Linear) or head.weight.shape[0] != classifier.count:
        raise UsageError(
            f"the classes of {classifier.name} have no weights to compare: its outputs do not come from a linear layer",
            expected="a network that ends in a linear layer, or a text-image model",
        )
    return head.weight.detach().float()


def head_of(classifier: Classifier) -> str:
    """The path of the linear layer whose output is the network's own; empty where there is none."""
    module = classifier.torch_module
    given: list[tuple[str, Any]] = []

    def after(call: Call, args: object, kwargs: object, output: Any) -> None:
        if isinstance(call.module, nn.Linear):
            given.append((call.path, output))

    with torch.no_grad(), eval_mode(module), observing(module, after=after):
        output = module(noise(module, classifier.view.size, classifier.view.channels))
        found = classifier.layers_known.outputs(output)
    path, last = given[-1] if given else ("", None)
    return path if isinstance(last, Tensor) and torch.equal(found, last.float()) else ""


def replaced(module: nn.Module, path: str) -> nn.Module:
    """The network with the identity at a path; it shares all other parts with the network, which stays as it is."""
    first, _, rest = path.partition(".")
    inner = module._modules[first]
    assert inner is not None
    made = copy.copy(module)
    made._modules = {**module._modules, first: replaced(inner, rest) if rest else nn.Identity()}
    return made


def likeness_to(classifier: Classifier, photo: Tensor, name: str) -> tuple[Classifier, str]:
    """A classifier of two values, the cosine similarity of a photo's embedding and that of `photo` (C, H, W), and its negative;
    and what the embedding is, in words."""
    embedder = embedder_of(classifier)
    forward = classifier.forward if embedder.module is None else embedder.module
    names = (f"similar to {name}", f"different from {name}")
    changes: dict[str, Any] = {
        "forward": forward,
        "module": embedder.module,
        "outputs": Outputs.VALUES,
        "features": False,
        "count": len(names),
        "classes": names,
    }
    bound = dataclasses.replace(classifier, **changes, probabilities=False, reference=Reference())
    with torch.no_grad(), torch.autocast(classifier.device.type, enabled=False):
        (features,) = bound(photo[None].to(classifier.device))
    reference = Reference(functional.normalize(features, dim=0))
    return dataclasses.replace(bound, reference=reference), f"{embedder.what} ({len(features)} features)"


def no_embedding(name: str) -> UsageError:
    return UsageError(
        f"{name} has no embedding to compare: its outputs do not come from a linear layer",
        expected="a network with a linear head, a text-image model, or one whose outputs are an embedding",
        hint="For outputs that are an embedding add --outputs values.",
    )
