"""The class-sparse fuser of trainable attention against the dense formula: time, memory, and whole steps of P-TAME.

The fuser alone: features of a ResNet-18 at 224 pixels (64 x 56 x 56 to 512 x 7 x 7), 1000 classes, a batch of 32, the loss of all
labels' maps for all photos, forward and backward. Memory is what a fresh process needs above the features and their gradients.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import memory
from benchmarks.figures import Figure
from benchmarks.networks import classifier, device, photos
from benchmarks.timing import ratios
from xaicli.methods.tame.fuser import Fuser
from xaicli.methods.tame.mask_losses import area, over_reference, variation
from xaicli.methods.tame.p_tame import PTAMETask, PTAMETraining

BATCH, CLASSES = 32, 1000
SIZES = ((64, 56), (128, 28), (256, 14), (512, 7))
FORMS = ("sparse", "dense")


def measure(rounds: int) -> list[Figure]:
    work = {form: prepared(form) for form in FORMS}
    ratio, dense = ratios(work["sparse"], work["dense"], rounds)
    # Forms take turns, so that both see the machine in the same state.
    peaks = [{form: peak(form) - peak("features") for form in FORMS} for _ in range(min(rounds, 3))]
    share = tuple(one["sparse"] / one["dense"] for one in peaks)
    step, _ = ratios(p_tame_step(fast=True), p_tame_step(fast=False), max(1, rounds // 2))
    return [
        Figure("fuser, forward and backward: sparse over dense", "", tuple(ratio), 0.1),
        Figure("dense fuser, forward and backward", "s", tuple(dense)),
        Figure("fuser, memory above its features and their gradients: sparse over dense", "", share, 0.1),
        Figure("dense fuser, memory above its features and their gradients", "MiB", tuple(one["dense"] for one in peaks)),
        Figure("a step of P-TAME with a light classifier: sparse over dense", "", tuple(step), 0.5),
    ]


def inputs() -> tuple[list[Tensor], Tensor]:
    """Features that take gradients, and a label each."""
    generator = torch.Generator().manual_seed(0)
    features = [torch.rand(BATCH, count, side, side, generator=generator).to(device()) for count, side in SIZES]
    return [feature.requires_grad_() for feature in features], torch.randint(CLASSES, (BATCH,), generator=generator).to(device())


def prepared(form: str) -> Callable[[], None]:
    """The fuser, forward and backward, in one of its forms."""
    features, labels = inputs()
    torch.manual_seed(0)
    fuser = Fuser([count for count, _ in SIZES], CLASSES, bias=False, upsampling="doubling").to(device())

    def work() -> None:
        side = SIZES[0][1]
        if form == "dense":
            maps, row = fuser.dense(features, (side, side))[:, labels], torch.arange(BATCH, device=labels.device)
        else:
            classes, row = labels.unique(return_inverse=True)
            maps = fuser(features, classes, (side, side))
        masks = maps.sigmoid()
        size, _ = over_reference(area(masks)[:, row], None)
        _, rough = over_reference(variation(masks)[:, row], None)
        torch.autograd.grad(size + rough, [*features, fuser.weight])

    return work


def peak(form: str) -> float:
    """Peak memory in MiB of a fresh process that does the work once; `features` only makes them and their gradients."""
    command = [sys.executable, "-m", "benchmarks.fuser", form]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def work_once(form: str) -> float:
    if form == "features":
        features, _ = inputs()
        # A product, so that gradients are tensors of their own and not one number expanded.
        torch.autograd.grad(sum((feature * feature.detach()).sum() for feature in features), features)
    else:
        prepared(form)()
    return memory.peak()


def p_tame_step(*, fast: bool) -> Callable[[], None]:
    """A training step for a MobileNetV3, with a ResNet-18 as auxiliary network, without the optimiser."""
    training = PTAMETraining(fast_fuser=fast, recipe="resnet")
    task = PTAMETask(classifier("mobilenet_v3_large"), training, "resnet18", classifier("resnet18"))
    batch = photos(BATCH)

    def step() -> None:
        torch.autograd.grad(task.total(task.losses(batch, None)), list(task.head.parameters()))

    return step


if __name__ == "__main__":
    print(json.dumps(work_once(sys.argv[1])))
