"""Maps and scores against other tools and the plain loops of the specifications: the same numbers first, then the clock.

Peers that are not installed are left out: `pip install -e '.[bench]'` in an environment of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.folder_command import grad_cam_of_a_folder
from benchmarks.networks import SIDE, classifier, mobilenet, real_photos, settled
from benchmarks.score_peers import against_quantus, against_the_loop, deletion_and_insertion, deletion_and_insertion_by_openvino
from benchmarks.side_by_side import Job, Side, present, race
from benchmarks.xaitk_rise import against_xaitk
from xaicli.methods.ablation_cam import AblationCAM
from xaicli.methods.occlusion.occlusion import Occlusion
from xaicli.methods.pixel_gradients.pixel_gradients import IntegratedGradients
from xaicli.methods.rise.masks import MaskPainter
from xaicli.methods.rise.rise import RISE
from xaicli.methods.score_cam import ScoreCAM
from xaicli.network.classifier import Classifier
from xaicli.passes.runtimes import installed
from xaicli.passes.upsampling import unit_range, upsample
from xaicli.targets import DECISION, Targets

SEED = torch.tensor([1])


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
            return rise_loop(network, photo, rise)

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
        if installed("openvino"):
            converted = dataclasses.replace(network, engine="openvino")
            job = Job("RISE a mask, OpenVINO", words, 2.3, "plain loop", 1e-4)
            by_openvino = Side("xai", "openvino", lambda converted=converted: ours(converted), masks + 1)  # type: ignore[misc]
            yield race(job, [by_openvino, Side("plain loop", "64 a pass", loop)], None, rounds)


def rise_loop(network: Classifier, photo: Tensor, rise: RISE) -> Tensor:
    """The map (h, w) by the loop of the specification."""
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
    return total / (rise.n_masks * law.mean)


def score_cam(rounds: int) -> Iterator[list[Figure]]:
    network, layer = settled(classifier("resnet18")), "layer4"
    photo = real_photos(network, 1)
    module = network.torch_module

    def ours() -> Tensor:
        return unit_range(plain(ScoreCAM(layer=layer), network, photo)[None])[0]

    def by_torchcam(batch_size: int) -> Tensor:
        return score_cam_by_torchcam(network, photo, layer, batch_size)

    job = Job("Score-CAM", "512 channels, ResNet-18", 1.5, "torchcam", 0.05)
    peers = [("torchcam", "default, 32 a pass", lambda: by_torchcam(32)), ("torchcam", "tuned, 8 a pass", lambda: by_torchcam(8))]
    yield race(job, [Side("xai", "default", ours, 513), *present(*peers)], module, rounds)


def score_cam_by_torchcam(network: Classifier, photo: Tensor, layer: str, batch_size: int) -> Tensor:
    """The map (h, w), 0 to 1."""
    from torchcam.methods import ScoreCAM as Theirs

    module = network.torch_module
    with torch.no_grad(), Theirs(module, layer, batch_size=batch_size) as extractor:
        logits = module(photo)
        found: Tensor = extractor(int(logits.argmax()), logits)[0]
    return found[0]


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


JOBS: dict[str, Callable[[int], Iterator[list[Figure]]]] = {
    "deletion-and-insertion": deletion_and_insertion,
    "deletion-and-insertion-by-openvino": deletion_and_insertion_by_openvino,
    "deletion-by-quantus": against_quantus,
    "deletion-and-insertion-of-224-steps": against_the_loop,
    "rise-a-mask": rise_a_mask,
    "rise-by-xaitk": against_xaitk,
    "score-cam": score_cam,
    "ablation-cam": ablation_cam,
    "occlusion": occlusion,
    "integrated-gradients": integrated_gradients,
    "grad-cam-of-a-folder": grad_cam_of_a_folder,
}


def measure(rounds: int, job: str) -> list[Figure]:
    return [figure for figures in JOBS[job](rounds) for figure in figures]
