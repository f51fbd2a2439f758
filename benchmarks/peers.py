"""Maps and scores against other tools and the plain loops of the specifications: the same numbers first, then the clock.

Peers that are not installed are left out: `pip install -e '.[bench]'` in an environment of its own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.figures import Figure
from benchmarks.folder_command import grad_cam_of_a_folder
from benchmarks.networks import SIDE, classifier, mobilenet, real_photos, settled
from benchmarks.scoring import explanation, scored, step_by_step
from benchmarks.side_by_side import Job, Side, race
from xaicli.methods.ablation_cam import AblationCAM
from xaicli.methods.occlusion.occlusion import Occlusion
from xaicli.methods.pixel_gradients.pixel_gradients import IntegratedGradients
from xaicli.methods.rise.masks import MaskPainter
from xaicli.methods.rise.rise import RISE
from xaicli.methods.score_cam import ScoreCAM
from xaicli.metrics.deletion import Deletion, Insertion
from xaicli.network.classifier import Classifier
from xaicli.passes.upsampling import unit_range, upsample
from xaicli.scoring.scoring import score_photo
from xaicli.targets import DECISION, Targets

SEED = torch.tensor([1])


def version(name: str) -> str | None:
    """A peer's name with its version, None where it is not installed."""
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def present(*sides: tuple[str, str, Callable[[], Tensor]]) -> list[Side]:
    """The sides whose tool is installed: (distribution, row, work)."""
    return [Side(named, row, work) for name, row, work in sides if (named := version(name)) is not None]


def plain(method: Any, network: Classifier, photo: Tensor) -> Tensor:
    """Our map (h, w) of a photo's decision, in float32."""
    own = network.with_masked_dtype(torch.float32)
    values: Tensor = method.attribute(own, photo, Targets.same(DECISION, 1), SEED).values
    return values[0, 0]


def rise_a_mask(rounds: int) -> Iterator[list[Figure]]:
    """The specification's loop: a mask at a time made as in section 3.1, 64 a pass, in float32."""
    for name, masks in (("mobilenet_v2", 256), ("resnet50", 128)):
        network = mobilenet() if name == "mobilenet_v2" else classifier(name)
        photo = real_photos(network, 1)
        rise = RISE(n_masks=masks, sampling="iid", estimator="naive")
        half = network.with_masked_dtype(torch.bfloat16)

        def loop(network: Classifier = network, photo: Tensor = photo, rise: RISE = rise) -> Tensor:
            with torch.no_grad():
                target, total = int(network(photo).argmax()), torch.zeros(SIDE, SIDE)
                law = rise.law((SIDE, SIDE))
                for start in range(0, rise.n_masks, 64):
                    drawn = law.draw(int(SEED), start // law.chunk)
                    at = slice(start % law.chunk, start % law.chunk + 64)
                    painter = MaskPainter.on(photo.device, law.grid)
                    made = painter.masks(drawn.bits[at].float(), drawn.shifts[at])
                    probabilities = network.torch_module(photo * made[:, None]).softmax(dim=1)[:, target]
                    total += torch.einsum("n,nhw->hw", probabilities, made)
            return total / (rise.n_masks * rise.law((SIDE, SIDE)).mean)

        def in_half(half: Classifier = half, photo: Tensor = photo, rise: RISE = rise) -> Tensor:
            return rise.attribute(half, photo, Targets.same(DECISION, 1), SEED).values[0, 0]

        def ours(network: Classifier = network, photo: Tensor = photo, rise: RISE = rise) -> Tensor:
            return plain(rise, network, photo)

        words = f"{masks} masks, {'MobileNetV2' if name == 'mobilenet_v2' else 'ResNet-50'}"
        job = Job("RISE a mask", words, 2.0, "plain loop", 1e-4)
        sides = [Side("xai", "float32", ours, masks + 1), Side("plain loop", "64 a pass", loop)]
        yield race(job, sides, network.module, rounds)
        job = Job("RISE a mask, bfloat16", words, 4.0, "plain loop", 0.05)
        sides = [Side("xai", "bfloat16", in_half, masks + 1), Side("plain loop", "64 a pass", loop)]
        yield race(job, sides, network.module, rounds)


def score_cam(rounds: int) -> Iterator[list[Figure]]:
    network, layer = settled(classifier("resnet18")), "layer4"
    photo = real_photos(network, 1)
    module = network.torch_module

    def ours() -> Tensor:
        return unit_range(plain(ScoreCAM(layer=layer), network, photo)[None])[0]

    def by_torchcam(batch_size: int) -> Tensor:
        from torchcam.methods import ScoreCAM as Theirs

        with torch.no_grad(), Theirs(module, layer, batch_size=batch_size) as extractor:
            logits = module(photo)
            found: Tensor = extractor(int(logits.argmax()), logits)[0]
        return found[0]

    job = Job("Score-CAM", "512 channels, ResNet-18", 1.5, "torchcam", 0.05)
    peers = [("torchcam", "default, 32 a pass", lambda: by_torchcam(32)), ("torchcam", "tuned, 8 a pass", lambda: by_torchcam(8))]
    yield race(job, [Side("xai", "default", ours, 513), *present(*peers)], module, rounds)


def ablation_cam(rounds: int) -> Iterator[list[Figure]]:
    network, layer = settled(classifier("resnet18")), "layer4"
    photo = real_photos(network, 1)
    module = network.torch_module

    def ours() -> Tensor:
        return unit_range(upsample(plain(AblationCAM(layer=layer), network, photo)[None], (SIDE, SIDE)))[0]

    def theirs() -> Tensor:
        from pytorch_grad_cam import AblationCAM as Theirs

        # It shows a progress bar. Without targets it explains the decision.
        with contextlib.redirect_stderr(io.StringIO()), Theirs(model=module, target_layers=[module.get_submodule(layer)]) as cam:
            return torch.from_numpy(cam(input_tensor=photo, targets=None))[0]

    passes = AblationCAM(layer=layer).cost(network).forward
    job = Job("Ablation-CAM", "512 channels, ResNet-18", 100.0, "grad-cam", 1e-3)
    yield race(job, [Side("xai", "default", ours, passes), *present(("grad-cam", "default, 32 a pass", theirs))], module, rounds)


def occlusion(rounds: int) -> Iterator[list[Figure]]:
    network, window, stride = mobilenet(), 32, 16
    photo = real_photos(network, 1)

    def theirs(windows: int) -> Tensor:
        from captum.attr import Occlusion as Theirs

        with torch.inference_mode():
            target = network(photo).argmax(dim=1)
            method = Theirs(network.torch_module)
            sides, steps = (3, window, window), (3, stride, stride)
            found: Tensor = method.attribute(photo, sides, steps, target=target, perturbations_per_eval=windows)
        return found[0, 0]

    job = Job("occlusion", "169 windows, MobileNetV2", 1.5, "captum", 1e-3)
    sides = [Side("xai", "default", lambda: plain(Occlusion(window=window, stride=stride), network, photo))]
    peers = [("captum", "default, 1 a pass", lambda: theirs(1)), ("captum", "tuned, 8 a pass", lambda: theirs(8))]
    yield race(job, [*sides, *present(*peers)], network.module, rounds)


def integrated_gradients(rounds: int) -> Iterator[list[Figure]]:
    network = mobilenet()
    photo = real_photos(network, 1)
    method = IntegratedGradients()

    def theirs(at_once: int | None) -> Tensor:
        from captum.attr import IntegratedGradients as Theirs

        target = network(photo).argmax(dim=1).detach()
        found: Tensor = Theirs(network.torch_module).attribute(
            photo, target=target, n_steps=method.n_steps, internal_batch_size=at_once
        )
        return found[0].sum(dim=0).detach()

    job = Job("integrated gradients", f"{method.n_steps} steps, MobileNetV2", 1.1, "captum", 1e-3)
    peers = [("captum", "default, all at once", lambda: theirs(None)), ("captum", "tuned, 8 a pass", lambda: theirs(8))]
    yield race(job, [Side("xai", "default", lambda: plain(method, network, photo)), *present(*peers)], network.module, rounds)


MAPS, STEPS = 5, 28
QUANTUS_STEPS = 42
"""Quantus takes steps of values, not pixels, whose number divides that of the pixels."""


def deletion_and_insertion(rounds: int) -> Iterator[list[Figure]]:
    """Five maps of each of some photos; the same steps and baseline for all."""
    network = mobilenet()
    inputs = real_photos(network, int(os.environ.get("XAI_BENCH_PHOTOS", "4")))
    maps = torch.rand(MAPS, 1, 1, 14, 14, generator=torch.Generator().manual_seed(3))
    targets = network(inputs).argmax(dim=1).tolist()
    metrics = [Deletion(steps=STEPS), Insertion(steps=STEPS, baseline="zero")]

    def ours(metrics: list[Any] = metrics) -> Tensor:
        found = []
        for number, (photo, target) in enumerate(zip(inputs.split(1), targets, strict=True)):
            given = [explanation(each, target, f"map {at}") for at, each in enumerate(maps)]
            found += [row.value for row in score_photo(scored(network, photo, number), given, metrics)]
        return torch.tensor(found)

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

    of = f"{MAPS} maps of {len(inputs)} photos, {STEPS} steps, MobileNetV2"
    passes = len(inputs) * (2 + MAPS * 2 * (STEPS - 1))
    job = Job("deletion and insertion", of, 3.5, "torchcam", 1e-3)
    peers = [("torchcam", "default, 32 a pass", lambda: by_torchcam(32)), ("torchcam", "tuned, 8 a pass", lambda: by_torchcam(8))]
    yield race(job, [Side("xai", "default", ours, passes), *present(*peers)], network.module, rounds)
    yield from against_quantus(network, inputs, maps, targets, rounds)


def probabilities(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


def given_map(module: nn.Module, saliency: Tensor) -> Any:
    """A map in place of torch-cam's own."""

    class Given(SimpleNamespace):
        def __call__(self, class_idx: object, scores: object = None, **further: object) -> list[Tensor]:
            return [saliency[:, 0]]

    return Given(model=module, fuse_cams=lambda found: found[0], _hooks_off=nullcontext)


def against_quantus(network: Classifier, inputs: Tensor, maps: Tensor, targets: list[int], rounds: int) -> Iterator[list[Figure]]:
    """Deletion alone: Quantus flips pixels one way. All photos and maps are one batch there."""

    def ours() -> Tensor:
        found = []
        for number, (photo, target) in enumerate(zip(inputs.split(1), targets, strict=True)):
            given = [explanation(each, target, f"map {at}") for at, each in enumerate(maps)]
            rows = score_photo(scored(network, photo, number), given, [Deletion(steps=QUANTUS_STEPS)])
            found += [row.curve.y[1:] for row in rows if row.curve is not None]
        return torch.tensor(found)

    def theirs() -> Tensor:
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
            batch_size=64,
        )
        return torch.tensor(found)

    job = Job("deletion", f"{MAPS} maps of {len(inputs)} photos, {QUANTUS_STEPS} steps, MobileNetV2", 5.0, "quantus", 0.02)
    passes = len(inputs) * (2 + MAPS * (QUANTUS_STEPS - 1))
    yield race(job, [Side("xai", "default", ours, passes), *present(("quantus", "default", theirs))], network.module, rounds)


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


JOBS: dict[str, Callable[[int], Iterator[list[Figure]]]] = {
    "deletion-and-insertion": deletion_and_insertion,
    "deletion-and-insertion-of-224-steps": against_the_loop,
    "rise-a-mask": rise_a_mask,
    "score-cam": score_cam,
    "ablation-cam": ablation_cam,
    "occlusion": occlusion,
    "integrated-gradients": integrated_gradients,
    "grad-cam-of-a-folder": grad_cam_of_a_folder,
}


def measure(rounds: int, job: str) -> list[Figure]:
    return [figure for figures in JOBS[job](rounds) for figure in figures]
