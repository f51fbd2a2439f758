"""Scores against torch-cam, Quantus and the authors' loop: maps that are given, the same steps and baseline for all."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.figures import Figure
from benchmarks.networks import SIDE, mobilenet, real_photos
from benchmarks.scoring import explanation, scored, step_by_step
from benchmarks.side_by_side import Job, Side, present, race
from xaicli.metrics.deletion import Deletion, Insertion
from xaicli.network.classifier import Classifier
from xaicli.passes.runtimes import installed
from xaicli.passes.upsampling import upsample
from xaicli.scoring.scoring import score_photo

PHOTOS = int(os.environ.get("XAI_BENCH_PHOTOS", "16"))
MAPS, STEPS = 5, 28
QUANTUS_STEPS = 42
"""Quantus takes steps of values, not pixels, whose number divides that of the pixels."""
DEFAULT, TUNED = 32, 8
"""Photos a pass of torch-cam, by default and tuned to a processor."""


def deletion_and_insertion(rounds: int) -> Iterator[list[Figure]]:
    yield from of_maps(rounds, PHOTOS, MAPS, (DEFAULT, TUNED))


def deletion_and_insertion_by_openvino(rounds: int) -> Iterator[list[Figure]]:
    """Ours by an extra engine; nothing where it is not installed."""
    if installed("openvino"):
        yield from of_maps(rounds, PHOTOS, MAPS, (TUNED,), engine="openvino")


def of_maps(rounds: int, photos: int, count: int, sizes: Sequence[int], engine: str = "torch") -> Iterator[list[Figure]]:
    """`count` maps of each photo; sizes: photos a pass of torch-cam; engine: of ours."""
    network = dataclasses.replace(mobilenet(), engine=engine)
    inputs, maps = real_photos(network, photos), random_maps(count)
    targets = network(inputs).argmax(dim=1).tolist()
    metrics = [Deletion(steps=STEPS), Insertion(steps=STEPS, baseline="zero")]

    def ours() -> Tensor:
        return torch.tensor([row.value for row in rows_of(network, inputs, maps, targets, metrics)])

    def by_torchcam(batch_size: int) -> Tensor:
        from torchcam.metrics import DeletionInsertionMetric

        found = []
        for photo, target in zip(inputs.split(1), targets, strict=True):
            for saliency in maps:
                given = given_map(network.torch_module, saliency)
                metric = DeletionInsertionMetric(given, probabilities, steps=STEPS, batch_size=batch_size)
                with torch.inference_mode():
                    metric.update(photo, target)
                found += [metric.summary()["deletion_auc"], metric.summary()["insertion_auc"]]
        return torch.tensor(found)

    of = f"{count} map{'s' if count > 1 else ''} of {photos} photo{'s' if photos > 1 else ''}, {STEPS} steps, MobileNetV2"
    passes = photos * (2 + count * 2 * (STEPS - 1))
    job = Job("deletion and insertion", of, 3.5, "torchcam", 1e-3)
    words = {DEFAULT: f"default, {DEFAULT} a pass", TUNED: f"tuned, {TUNED} a pass"}
    peers = [("torchcam", words[size], lambda size=size: by_torchcam(size)) for size in sizes]
    ours_is = Side("xai", "default" if engine == "torch" else engine, ours, passes)
    yield race(job, [ours_is, *present(*peers)], network.module, rounds)


def random_maps(count: int) -> Tensor:
    """Maps (count, 1, 1, 14, 14)."""
    return torch.rand(count, 1, 1, 14, 14, generator=torch.Generator().manual_seed(3))


def rows_of(network: Classifier, inputs: Tensor, maps: Tensor, targets: list[int], metrics: list[Any]) -> list[Any]:
    """Our rows of every map of every photo."""
    rows = []
    for number, (photo, target) in enumerate(zip(inputs.split(1), targets, strict=True)):
        given = [explanation(each, target, f"map {at}") for at, each in enumerate(maps)]
        rows += score_photo(scored(network, photo, number), given, metrics)
    return rows


def probabilities(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


def given_map(module: nn.Module, saliency: Tensor) -> Any:
    """A map in place of torch-cam's own."""

    class Given(SimpleNamespace):
        def __call__(self, class_idx: object, scores: object = None, **further: object) -> list[Tensor]:
            return [saliency[:, 0]]

    return Given(model=module, fuse_cams=lambda found: found[0], _hooks_off=nullcontext)


def against_quantus(rounds: int) -> Iterator[list[Figure]]:
    """Deletion alone: Quantus flips pixels one way. All photos and maps are one batch there."""
    network = mobilenet()
    inputs, maps = real_photos(network, PHOTOS), random_maps(MAPS)
    targets = network(inputs).argmax(dim=1).tolist()

    def ours() -> Tensor:
        rows = rows_of(network, inputs, maps, targets, [Deletion(steps=QUANTUS_STEPS)])
        return torch.tensor([row.curve.y[1:] for row in rows])

    def theirs(batch_size: int) -> Tensor:
        import quantus

        metric = quantus.PixelFlipping(
            features_in_step=3 * SIDE * SIDE // QUANTUS_STEPS, perturb_baseline=0.0, disable_warnings=True, return_aggregate=False
        )
        large = upsample(maps[:, 0, 0], (SIDE, SIDE)).expand(len(inputs), MAPS, SIDE, SIDE).flatten(0, 1)
        found = metric(
            model=network.torch_module,
            x_batch=inputs.repeat_interleave(MAPS, 0).numpy(),
            y_batch=torch.tensor(targets).repeat_interleave(MAPS).numpy(),
            a_batch=large[:, None].expand(-1, 3, -1, -1).numpy().copy(),
            device="cpu",
            batch_size=batch_size,
        )
        return torch.tensor(found)

    of = f"{MAPS} maps of {PHOTOS} photo{'s' if PHOTOS > 1 else ''}, {QUANTUS_STEPS} steps, MobileNetV2"
    job = Job("deletion", of, 5.0, "quantus", 0.02)
    passes = PHOTOS * (2 + MAPS * (QUANTUS_STEPS - 1))
    peers = [("quantus", "default, 64 a pass", lambda: theirs(64)), ("quantus", "tuned, 8 a pass", lambda: theirs(8))]
    yield race(job, [Side("xai", "default", ours, passes), *present(*peers)], network.module, rounds)


def against_the_loop(rounds: int) -> Iterator[list[Figure]]:
    """One photo and map: the authors' loop of 224 steps, a pass each, and ours to an error of 0.002."""
    network = mobilenet()
    photo = real_photos(network, 1)
    saliency = torch.rand(1, 1, 14, 14, generator=torch.Generator().manual_seed(3))
    target = int(network(photo).argmax())

    def loop() -> Tensor:
        return torch.tensor([step_by_step(network, photo, saliency, target, insert) for insert in (False, True)])

    def ours(metrics: list[Any]) -> Tensor:
        rows = score_photo(scored(network, photo), [explanation(saliency, target)], metrics)
        return torch.tensor([row.value for row in rows if row.value is not None])

    same = [Deletion(variant="rise", step=SIDE), Insertion(variant="rise", step=SIDE)]
    of = "224 steps, 1 map, MobileNetV2"
    sides = [Side("xai", "default", lambda: ours(same), 448), Side("plain loop", "1 a pass", loop)]
    yield race(Job("deletion and insertion", of, 2.5, "plain loop", 1e-4), sides, network.module, rounds)
    quick = [Deletion(auc_error=0.002), Insertion(auc_error=0.002)]
    sides = [Side("xai", "auc_error=0.002", lambda: ours(quick)), Side("plain loop", "1 a pass", loop, compared=False)]
    yield race(Job("deletion and insertion to 0.002", of, 8.0, "plain loop", 1e-4), sides, network.module, rounds)
