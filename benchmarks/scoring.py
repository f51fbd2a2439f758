"""Deletion and insertion against the loop of the specification, a pass a step, and against torch-cam's batched passes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import memory
from benchmarks.figures import Figure
from benchmarks.networks import SIDE, classifier, photos, settled
from benchmarks.timing import ratios
from xaicli.method import Maps, Sign
from xaicli.metrics.deletion import Deletion, Insertion
from xaicli.network.classifier import Classifier
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.scoring.photo import ScoredPhoto
from xaicli.scoring.removal import rise_blur
from xaicli.scoring.scoring import score_photo
from xaicli.targets import Resolved

STEPS = 224
PIXELS = SIDE * SIDE
FASTER, FASTER_THAN_TORCHCAM = 2.5, 1.3
MANY_PHOTOS, MANY_METHODS, MEMORY = 64, 5, 1024.0


def measure(rounds: int) -> list[Figure]:
    network, photo, saliency = settled(classifier("mobilenet_v2")), photos(1), coarse(1, 0)
    target = int(network(photo).argmax())
    metrics = [Deletion(variant="rise", step=PIXELS // STEPS), Insertion(variant="rise", step=PIXELS // STEPS)]

    def ours() -> list[float]:
        rows = score_photo(scored(network, photo), [explanation(saliency, target)], metrics)
        return [row.value for row in rows if row.value is not None]

    def plain() -> list[float]:
        return [step_by_step(network, photo, saliency, target, insert) for insert in (False, True)]

    difference = max(abs(one - other) for one, other in zip(ours(), plain(), strict=True))
    ratio, loop = ratios(ours, plain, rounds)
    words = f"deletion and insertion at {STEPS} steps, MobileNetV2,"
    figures = [
        Figure(f"{words} over the plain loop", "", tuple(ratio), 1 / FASTER),
        Figure(f"{words} the plain loop", "s", tuple(loop)),
        Figure(f"{words} largest difference of the areas", "", (difference,), 1e-5),
        Figure(f"{words} photos passed", "", (counted(network, ours),), 2 * STEPS + 1),
    ]
    figures += against_torchcam(network, photo, saliency, target, rounds)
    bare = [peak(False) for _ in range(min(rounds, 3))]
    above = tuple(peak(True) - own for own in bare)
    what = f"scores of {MANY_PHOTOS} photos x {MANY_METHODS} methods above the network's own peak"
    return [*figures, Figure(what, "MiB", above, MEMORY)]


def coarse(count: int, seed: int) -> Tensor:
    """Maps (count, 1, 7, 7), as a network's last layer gives them."""
    return torch.rand(count, 1, 7, 7, generator=torch.Generator().manual_seed(seed))


def scored(network: Classifier, photo: Tensor, name: int = 0) -> ScoredPhoto:
    return ScoredPhoto(network, str(name), f"{name:064d}", 0, photo[0])


def explanation(maps: Tensor, target: int, label: str = "given") -> Explanation:
    """A map (1, 1, h, w) for a target."""
    chosen = torch.tensor([[target]])
    targets = Resolved(chosen, torch.full_like(chosen, -1), torch.zeros(chosen.shape))
    content = {"name": label, "version": 1, "parameters": {}}
    return Explanation.of(Explainer(label, content, Sign.NONNEGATIVE), Maps(maps, targets, torch.zeros(1, 1000)))


def step_by_step(network: Classifier, photo: Tensor, saliency: Tensor, target: int, insert: bool) -> float:
    """The authors' metric: 224 pixels a step, one photo a pass, in a loop."""
    size = PIXELS // STEPS
    order = upsampled(saliency).flatten().argsort(descending=True, stable=True)
    start, finish = (rise_blur(photo), photo.clone()) if insert else (photo.clone(), torch.zeros_like(photo))
    current, scores = start.flatten(2), []
    with torch.inference_mode():
        for step in range(STEPS + 1):
            scores.append(float(network(current.view_as(photo)).softmax(dim=1)[0, target]))
            places = order[size * step : size * (step + 1)]
            current[..., places] = finish.flatten(2)[..., places]
    return (sum(scores) - scores[0] / 2 - scores[-1] / 2) / STEPS


def upsampled(saliency: Tensor) -> Tensor:
    return functional.interpolate(saliency.double(), (SIDE, SIDE), mode="bilinear", align_corners=False).float()


def counted(network: Classifier, work: Callable[[], object]) -> float:
    """How many photos pass through the network, or a copy of it, meanwhile."""
    passed: list[int] = []

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = network.torch_module.features[0]

        def forward(self, inputs: Tensor) -> Tensor:
            passed.append(len(inputs))
            return self.first(inputs)

    features = network.torch_module.features
    features[0] = Counting()
    try:
        work()
    finally:
        features[0] = features[0].first
    return float(sum(passed))


def against_torchcam(network: Classifier, photo: Tensor, saliency: Tensor, target: int, rounds: int) -> list[Figure]:
    """Nothing where torch-cam is not installed."""
    if importlib.util.find_spec("torchcam") is None:
        return []
    from torchcam.metrics import DeletionInsertionMetric

    class Given(SimpleNamespace):
        """A map in place of torch-cam's own."""

        def __call__(self, class_idx: object, scores: object = None, **further: object) -> list[Tensor]:
            return [saliency[:, 0]]

    extractor = Given(model=network.torch_module, fuse_cams=lambda maps: maps[0], _hooks_off=nullcontext)
    found: list[dict[str, float]] = []

    def theirs() -> None:
        metric = DeletionInsertionMetric(extractor, lambda logits: logits.softmax(dim=1), steps=STEPS)
        with torch.inference_mode():
            metric.update(photo, target)
        found.append(metric.summary())

    rows: list[float] = []

    def ours() -> None:
        metrics = [Deletion(steps=STEPS), Insertion(steps=STEPS, baseline="zero")]
        made = score_photo(scored(network, photo), [explanation(saliency, target)], metrics)
        rows[:] = [row.value for row in made if row.value is not None]

    ratio, bare = ratios(ours, theirs, rounds)
    difference = max(abs(rows[0] - found[-1]["deletion_auc"]), abs(rows[1] - found[-1]["insertion_auc"]))
    words = f"deletion and insertion at {STEPS} steps from one baseline, MobileNetV2,"
    return [
        Figure(f"{words} over torch-cam's batched passes", "", tuple(ratio), 1 / FASTER_THAN_TORCHCAM),
        Figure(f"{words} torch-cam", "s", tuple(bare)),
        Figure(f"{words} largest difference of the areas", "", (difference,)),
    ]


def peak(scores: bool) -> float:
    """Peak memory in MiB of a fresh process that scores many maps, or only passes two batches."""
    command = [sys.executable, "-m", "benchmarks.scoring", str(int(scores))]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def work(scores: bool) -> float:
    """Many maps under a network that costs next to nothing, so that the figure is what scoring itself takes."""
    network, inputs = classifier("pooling"), photos(MANY_PHOTOS)
    if scores:
        for number, photo in enumerate(inputs.split(1)):
            many = [explanation(coarse(1, at), 0, f"method {at}") for at in range(MANY_METHODS)]
            score_photo(scored(network, photo, number), many, [Deletion(), Insertion()])
    else:
        network(inputs[:16])
    return memory.peak()


if __name__ == "__main__":
    print(json.dumps(work(sys.argv[1] == "1")))
