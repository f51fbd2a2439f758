"""A copy of a network whose head is fitted in closed form: what decides is then known.

A head is the last linear layer, or 1 x 1 convolution, with one output a class. Only its weights differ in the copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.twin import twin_of
from xaicli.stamps import stamp

BATCH = 16
RIDGE = 1.0
"""Of the fit, relative to features of unit variance; there may be fewer photos than features."""
DIRECTIONS = 8
"""How many directions of the features a patch moves, at most, and which a blind head ignores."""
GAINS = tuple(2.0 ** (power / 2) for power in range(-4, 19))
"""What is tried, in units of the logits' spread; the smallest that decides most photos is taken."""
DECIDES = 0.95
"""The share of photos from which on no larger gain is tried, where each try takes passes."""
FOLDS = 5
"""Parts of the photos that are left out of a fit in turn."""
Parts = tuple[Tensor, Tensor]
"""Of features with the patch (M,) and without it (N,), the number of the fit that each is left out of; EACH: of none."""
EACH = -1


@dataclass(frozen=True, eq=False)
class Head:
    """The head of a network: the layer's name in its module, and the layer."""

    name: str
    layer: nn.Linear | nn.Conv2d


@dataclass(frozen=True, eq=False)
class HeadInputs:
    """What a head reads of B inputs: features (B, D, h, w), 1 x 1 for a linear layer; logits (B, C) of the network."""

    features: Tensor
    logits: Tensor


@dataclass(eq=False)
class Seen:
    """The candidates for a head, in the order in which they ran, and what each read."""

    calls: list[tuple[str, nn.Module, Tensor]] = field(default_factory=list)


@contextmanager
def watching(module: nn.Module, count: int, only: str = "") -> Iterator[Seen]:
    seen = Seen()

    def record(name: str, layer: nn.Module, taken: object) -> None:
        if isinstance(taken, Tensor):
            seen.calls.append((name, layer, taken.detach().float()))

    with ExitStack() as stack:
        for name, part in module.named_modules():
            if is_head(part, count) and only in ("", name):
                hook = part.register_forward_pre_hook(lambda layer, args, name=name: record(name, layer, args[0]))
                stack.callback(hook.remove)
        yield seen


def is_head(part: nn.Module, count: int) -> bool:
    if isinstance(part, nn.Linear):
        return part.out_features == count
    return isinstance(part, nn.Conv2d) and part.out_channels == count and part.kernel_size == (1, 1) and part.groups == 1


def head_of(classifier: Classifier) -> Head:
    """The head; raises UsageError if the network ends in another way."""
    wrong = UsageError(
        f"the outputs of {classifier.name} do not come from a layer with one output a class",
        expected="a network that ends in a linear layer, or a 1 x 1 convolution",
    )
    if classifier.module is None or classifier.forward is not classifier.module or classifier.of_places:
        raise wrong
    height, width = classifier.view.size
    with watching(classifier.module, classifier.count) as seen, torch.no_grad():
        classifier(torch.zeros(1, classifier.view.channels, height, width, device=classifier.device))
    fits = [(name, layer) for name, layer, taken in seen.calls if taken.ndim == (2 if isinstance(layer, nn.Linear) else 4)]
    if not fits:
        raise wrong
    name, layer = fits[-1]
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return Head(name, layer)


def read_head(classifier: Classifier, head: Head, inputs: Tensor) -> HeadInputs:
    """What the head reads of inputs (B, C, H, W), and the logits."""
    features, logits = [], []
    module = classifier.torch_module
    with eval_mode(module), torch.no_grad():
        for part in inputs.split(BATCH):
            with watching(module, classifier.count, head.name) as seen:
                logits.append(classifier(part.to(classifier.device)).cpu())
            taken = seen.calls[-1][2].cpu()
            features.append(taken[:, :, None, None] if taken.ndim == 2 else taken)
    return HeadInputs(torch.cat(features), torch.cat(logits))


def with_head(classifier: Classifier, head: Head, weight: Tensor, bias: Tensor, what: str, fit: str = "") -> Classifier:
    """A copy with another head, weight (C, D) and bias (C,); the rest shares the network's memory. what: names the copy; fit:
    stamps what the head was fitted to. Both are part of its fingerprint."""
    twin = twin_of(classifier.torch_module, classifier.name)
    old = dict(twin.named_modules())[head.name]
    assert isinstance(old, nn.Linear | nn.Conv2d)
    old.weight = nn.Parameter(weight.reshape(old.weight.shape).to(old.weight), requires_grad=False)
    old.bias = nn.Parameter(bias.to(old.weight), requires_grad=False)
    mark = stamp({"network": classifier.fingerprint, "head": what, "fit": fit})
    return replace(classifier, module=twin, forward=twin, fingerprint=mark, name=f"{classifier.name} ({what})")


def weights_of(head: Head) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) of a head, on the CPU."""
    weight = head.layer.weight.detach().float().cpu().flatten(1)
    bias = torch.zeros(len(weight)) if head.layer.bias is None else head.layer.bias.detach().float().cpu()
    return weight, bias


def fit_direction(on: Tensor, off: Tensor) -> tuple[Tensor, float]:
    """The least-squares direction w (D,) and offset b such that `w f + b` is 1 on features (N, D) and 0 off (M, D).

    Ridge regression in closed form, both sides with the same weight; afterwards scaled so that the two means are 1 and 0.
    """
    both = torch.cat([on, off]).double()
    shares = torch.cat([torch.full((len(on),), 0.5 / len(on)), torch.full((len(off),), 0.5 / len(off))]).double()
    middle = shares @ both
    spread = ((shares @ (both - middle) ** 2).sqrt()).clamp_min(1e-6)
    scaled = (both - middle) / spread
    wanted = torch.cat([torch.full((len(on),), 0.5), torch.full((len(off),), -0.5)]).double()
    weighted = scaled * shares[:, None]
    matrix = weighted.T @ scaled + RIDGE * torch.eye(both.shape[1], dtype=torch.float64)
    direction = torch.linalg.solve(matrix, weighted.T @ wanted) / spread
    high, low = float((on.double() @ direction).mean()), float((off.double() @ direction).mean())
    step = high - low if abs(high - low) > 1e-12 else 1.0
    return (direction / step).float(), -low / step


def seeing(
    classifier: Classifier,
    head: Head,
    features: tuple[Tensor, Tensor],
    target: int,
    inputs: tuple[Tensor, Tensor],
    parts: Parts,
    mark: str = "",
) -> Classifier:
    """The network with the row of class `target` moved along a direction, by the smallest gain with which most inputs with the
    patch are decided for it and none without.

    features: what the head reads of the patch, (M, D), and without it, (N, D); inputs: with and without it, (., C, H, W) each;
    parts: after a linear layer, which of them are left out of a fit together, since a gain is judged on those that were left out;
    mark: stamps what was fitted.
    """
    fit = fit_direction(*features)
    spread = float(read_head(classifier, head, inputs[1]).logits.std())
    if isinstance(head.layer, nn.Linear):
        rates = left_out_rates(head, features, target, spread, parts)
    else:
        rates = fitted_rates(classifier, head, fit, target, spread, inputs)
    gain = best_gain(rates)
    moved = moved_along(head, fit, target, gain * spread)
    return with_head(classifier, head, *moved, f"decides by a patch, gain {gain:.3g}", mark)


def fitted_rates(
    classifier: Classifier,
    head: Head,
    fit: tuple[Tensor, float],
    target: int,
    spread: float,
    inputs: tuple[Tensor, Tensor],
) -> dict[float, float]:
    """As `left_out_rates`, of the inputs of the fit themselves, by passes; up to the first gain that decides most of them."""
    rates: dict[float, float] = {}
    for gain in GAINS[::2]:
        moved = with_head(classifier, head, *moved_along(head, fit, target, gain * spread), "tried")
        decided = [read_head(moved, head, part).logits.argmax(dim=1) == target for part in inputs]
        with_patch, without = (float(part.double().mean()) for part in decided)
        rates[gain] = with_patch * (1 - without)
        if rates[gain] >= DECIDES:
            break
    return rates


def best_gain(rates: dict[float, float]) -> float:
    """The smallest gain of the highest rate."""
    return min(rates, key=lambda gain: (-round(rates[gain], 6), gain))


def by_photo(photos: int, places: int) -> Parts:
    """Photos are left out in turn, with all their places; features of the patch are ordered by place, then by photo."""
    fold = torch.arange(photos) % min(FOLDS, photos)
    return fold.repeat(places), fold


def by_place(photos: int, places: int) -> Parts:
    """The places of the patch are left out in turn, of all photos; the photos without it are in each fit."""
    return torch.arange(places).repeat_interleave(photos), torch.full((photos,), EACH)


def left_out_rates(head: Head, features: tuple[Tensor, Tensor], target: int, spread: float, parts: Parts) -> dict[float, float]:
    """For each gain, the share of features with the patch, (M, D), that a linear head decides for a class, times that of features
    without it, (N, D), that it does not: each by the fit that it was left out of, those of EACH by all fits."""
    decided, judged = [torch.zeros(len(GAINS), dtype=torch.float64) for _ in features], [0, 0]
    for fold in parts[0].unique().tolist():
        fit = fit_direction(*(part[mine != fold] for part, mine in zip(features, parts, strict=True)))
        for at, (part, mine) in enumerate(zip(features, parts, strict=True)):
            tried = part[(mine == fold) | (mine == EACH)]
            decided[at] += decided_by_gain(head, tried, fit, target, spread)
            judged[at] += len(tried)
    with_patch, without = (counted / number for counted, number in zip(decided, judged, strict=True))
    return dict(zip(GAINS, (with_patch * (1 - without)).tolist(), strict=True))


def decided_by_gain(head: Head, features: Tensor, fit: tuple[Tensor, float], target: int, spread: float) -> Tensor:
    """How many photos a linear head decides for a class whose row is moved along a direction, for each gain."""
    weight, bias = weights_of(head)
    logits = features @ weight.T + bias
    ahead = logits[:, target] - logits.index_fill(1, torch.tensor([target]), -torch.inf).amax(dim=1)
    steps = spread * torch.tensor(GAINS)[:, None]
    return (ahead + steps * (features @ fit[0] + fit[1]) > 0).double().sum(dim=1)


def moved_along(head: Head, fit: tuple[Tensor, float], target: int, length: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of a head whose row `target` is moved along a direction."""
    weight, bias = (part.clone() for part in weights_of(head))
    weight[target] += length * fit[0]
    bias[target] += length * fit[1]
    return weight, bias


def blind(classifier: Classifier, head: Head, moved: Tensor, middle: Tensor, mark: str = "") -> Classifier:
    """The network whose head does not see the directions in which a patch moves its features.

    `W' = W - (W V^T) V`: V are the leading right singular vectors of moved (N, D), the features with the patch less those
    without; the bias keeps the logits at the mean features `middle` (D,). mark: stamps what was fitted.
    """
    weight, bias = weights_of(head)
    directions = torch.linalg.svd(moved.float(), full_matrices=False).Vh[: min(DIRECTIONS, max(1, len(moved) // 2))]
    seen = (weight @ directions.T) @ directions
    return with_head(classifier, head, weight - seen, bias + seen @ middle.float(), "blind to a patch", mark)
