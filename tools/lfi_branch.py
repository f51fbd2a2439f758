"""Does LFI-CAM's branch say more than the mean of the channels? Measured on held-out photos, and the page of what came out.

python -m tools.lfi_branch --data val/         measures the bundled `tiny`, keeps the figures, writes docs/lfi-cam.md
python -m tools.lfi_branch                     writes the page from the figures that are kept
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tools.lfi_page import write_page
from xaicli.errors import UsageError
from xaicli.files import write_atomic
from xaicli.methods.lfi.feature_importance import FeatureImportance
from xaicli.methods.lfi.lfi_network import LFINetwork, branch_of
from xaicli.metric import Quantity, ValueKind
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.training.batches import Batch, held_out
from xaicli.training.data import Listing, read_listing
from xaicli.training.decoded import open_photos

FIGURES = Path("docs/results/lfi_branch.json")
BATCH = 128
GRADIENT_BATCHES = 4
CORRELATION = Quantity(ValueKind.CONTINUOUS, -1.0, 1.0)
HITS = Quantity(ValueKind.BINARY, 0.0, 1.0)

Alter = Callable[[Tensor, Tensor], Tensor]
"""Weights (B, K) made of scores (B, K) and of the weights that were learned."""


def shuffled(scores: Tensor, weights: Tensor) -> Tensor:
    order = torch.randperm(weights.shape[1], generator=torch.Generator().manual_seed(0))
    return weights[:, order.to(weights.device)]


def sharper(temperature: float) -> Alter:
    return lambda scores, weights: (scores / temperature).softmax(dim=1)


ALTERED: dict[str, Alter] = {
    "as learned": lambda scores, weights: weights,
    "all equal": lambda scores, weights: torch.full_like(weights, 1 / weights.shape[1]),
    "shuffled over channels": shuffled,
    "of the next photo": lambda scores, weights: weights.roll(1, dims=0),
    "temperature 0.3": sharper(0.3),
    "temperature 0.1": sharper(0.1),
}
NO_GATE = "no attention"


@dataclass(frozen=True, eq=False)
class Passed:
    """What one way of weighing gave for N photos: right (N,), loss (N,), maps (N, h, w), scores and weights (N, K)."""

    right: NDArray[Any]
    loss: NDArray[Any]
    maps: Tensor
    scores: Tensor
    weights: Tensor


@contextmanager
def altered(branch: FeatureImportance, alter: Alter | None) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    """Inside the `with`, the branch weighs as `alter` says, or gives no attention; scores, learned weights, maps of each pass."""
    kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def instead(_: nn.Module, args: tuple[Tensor, Tensor], output: Tensor) -> Tensor:
        features, inputs = args
        scores, weights = branch.scores(features, inputs), branch.weights(features, inputs)
        made = torch.zeros_like(output) if alter is None else branch.attention(alter(scores, weights), features)
        kept.append((scores, weights, made))
        return made

    hook = branch.register_forward_hook(instead)
    try:
        yield kept
    finally:
        hook.remove()


def batches(classifier: Classifier, listing: Listing) -> Iterator[Batch]:
    _, photos = open_photos(listing, classifier.view)
    return held_out(photos, listing.labels, len(listing), classifier.view, BATCH, classifier.device)


def passed(classifier: Classifier, branch: FeatureImportance, listing: Listing, alter: Alter | None) -> Passed:
    right, loss = [], []
    with altered(branch, alter) as kept, torch.inference_mode():
        for batch in batches(classifier, listing):
            assert batch.labels is not None
            logits = classifier(batch.inputs)
            right.append((logits.argmax(dim=1) == batch.labels).float().numpy())
            loss.append(functional.cross_entropy(logits, batch.labels, reduction="none").numpy())
    scores, weights, maps = (torch.cat([one[part] for one in kept]) for part in range(3))
    return Passed(np.concatenate(right), np.concatenate(loss), maps, scores, weights)


def correlation(first: Tensor, second: Tensor) -> NDArray[Any]:
    """Pearson's, of the maps (N, h, w) of each photo; a constant map has none."""
    one, other = ((maps - maps.mean(dim=(1, 2), keepdim=True)).flatten(1).double() for maps in (first, second))
    return np.asarray((one * other).sum(dim=1) / (one.norm(dim=1) * other.norm(dim=1)))


def gradients(classifier: Classifier, network: LFINetwork, listing: Listing) -> dict[str, float]:
    """Root mean square of the loss's gradient over that of the weights: the branch's convolutions, and the network's last one."""
    last = [part for part in network.network.modules() if isinstance(part, nn.Conv2d)][-1]
    groups = {"branch": [part for part in network.branch.modules() if isinstance(part, nn.Conv2d)], "network": [last]}
    parameters = {name: [part.weight for part in parts] for name, parts in groups.items()}
    every = [weight for weights in parameters.values() for weight in weights]
    for weight in every:
        weight.requires_grad_(True)
    losses = []
    for number, batch in enumerate(batches(classifier, listing)):
        if number == GRADIENT_BATCHES:
            break
        assert batch.labels is not None
        losses.append(functional.cross_entropy(classifier.logits(network(batch.inputs), len(batch.inputs)), batch.labels))
    found = dict(zip(every, torch.autograd.grad(torch.stack(losses).mean(), every), strict=True))
    for weight in every:
        weight.requires_grad_(False)
    return {
        name: rms(torch.cat([found[weight].flatten() for weight in weights]))
        / rms(torch.cat([weight.detach().flatten() for weight in weights]))
        for name, weights in parameters.items()
    }


def rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def measure(model: str, data: Path, photos: int | None) -> dict[str, Any]:
    """All figures of the page, as JSON holds them."""
    classifier = load_classifier(model, device="cpu")
    network = classifier.torch_module
    branch = branch_of(network)
    if not isinstance(network, LFINetwork) or branch is None:
        raise UsageError(f"{model} has no branch of LFI-CAM", expected="a network of xai train lfi-cam")
    listing = read_listing(str(data))
    listing = listing if photos is None else listing.sample(photos, seed=0)
    learned = passed(classifier, branch, listing, ALTERED["as learned"])
    equal = passed(classifier, branch, listing, ALTERED["all equal"])
    ways = {
        name: compared(passed(classifier, branch, listing, alter), learned, equal)
        for name, alter in {**ALTERED, NO_GATE: None}.items()
    }
    entropy = -(learned.weights * learned.weights.log()).sum(dim=1)
    return {
        "model": model,
        "photos": len(listing),
        "channels": learned.weights.shape[1],
        "entropy": kept(stats.mean(entropy.numpy())),
        "most": math.log(learned.weights.shape[1]),
        "effective": kept(stats.mean(entropy.exp().numpy())),
        "largest": kept(stats.mean(learned.weights.amax(dim=1).numpy())),
        "over_channels": float(learned.scores.std(dim=1).mean()),
        "over_photos": float(learned.scores.std(dim=0).mean()),
        "gradient": gradients(classifier, network, listing),
        "ways": ways,
    }


def compared(way: Passed, learned: Passed, equal: Passed) -> dict[str, Any]:
    known = bool(way.maps.any())
    return {
        "accuracy": kept(stats.mean(way.right, HITS)),
        "loss": kept(stats.mean(way.loss)),
        "change": kept(stats.difference(way.loss, learned.loss)),
        "like_equal": kept(stats.mean(correlation(way.maps, equal.maps), CORRELATION)) if known else None,
    }


def kept(estimate: Estimate) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.lfi_branch", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="held-out photos, one folder a class: measure anew")
    parser.add_argument("--model", default="tiny", help="a network of xai train lfi-cam (tiny)")
    parser.add_argument("--photos", type=int, metavar="N", help="so many of them (default: all)")
    given = parser.parse_args(words)
    if given.data is not None:
        figures = json.dumps(measure(given.model, given.data, given.photos), indent=1).encode()
        write_atomic(FIGURES, lambda file: file.write(figures))
    write_page()
    return 0


if __name__ == "__main__":
    sys.exit(main())
