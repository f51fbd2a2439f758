"""How cost grows, here and elsewhere: with photos, methods, masks and channels. Each point is a job of its own."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.folder_command import unit
from benchmarks.memory import run_command
from benchmarks.networks import classifier, mobilenet, real_photos, settled
from benchmarks.peers import plain, rise_loop, score_cam_by_torchcam
from benchmarks.score_peers import TUNED, of_maps
from benchmarks.side_by_side import Job, Measured, Side, present, race, seconds, version
from xaicli.images.find import find
from xaicli.methods.rise.rise import RISE
from xaicli.methods.score_cam import ScoreCAM
from xaicli.passes.upsampling import unit_range

PHOTOS = tuple(int(part) for part in os.environ.get("XAI_BENCH_GROWTH", "10,100,1000,10000").split(","))
MASKS = (64, 128, 256)
METHODS = (1, 3, 5, 10)
STAGES = {"layer1": 64, "layer3": 256}
SMALL, LAYER = 96, "network.stages"
MOST, FEW, COMPARED = 1000, 100, 100
"""From how many photos on ours runs alone, once; of how many memory is compared with; maps that are compared."""
CONSTANT = 100.0
"""MiB that a run over the most photos may take above one over a few."""

SCRIPT = """
import sys, torch, numpy as np, xaicli
from pathlib import Path
from PIL import Image
from torchvision import transforms as T
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image
source, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir(exist_ok=True)
tiny = xaicli.load_classifier("tiny")
size, mean, std = tiny.view.size, tiny.view.mean, tiny.view.std
prepare = T.Compose([T.Resize(size), T.ToTensor(), T.Normalize(mean, std)])
with GradCAM(model=tiny.torch_module, target_layers=[tiny.torch_module.get_submodule(sys.argv[3])]) as cam:
    for path in sorted(source.glob("*.jpg")):
        photo = Image.open(path).convert("RGB")
        [found] = cam(input_tensor=prepare(photo)[None], targets=None)
        np.save(out / (path.stem + ".npy"), found)
        heat = np.asarray(Image.fromarray(found).resize(photo.size, Image.BILINEAR))
        shown = show_cam_on_image(np.float32(photo) / 255, heat, use_rgb=True)
        Image.fromarray(shown).save(out / (path.stem + ".png"))
"""
"""pytorch-grad-cam as its manual has it, photo by photo, over the same small network."""


def measure(rounds: int, job: str) -> list[Figure]:
    return [figure for figures in JOBS[job](rounds) for figure in figures]


def placed(figures: list[Figure], axis: str, at: int) -> list[Figure]:
    """The same figures, with what grows and how large it is here."""
    return [dataclasses.replace(figure, detail={**figure.detail, "axis": axis, "at": at}) for figure in figures]


def masks(rounds: int) -> Iterator[list[Figure]]:
    network = mobilenet()
    photo = real_photos(network, 1)
    for count in MASKS:
        rise = RISE(n_masks=count, sampling="iid", estimator="naive")
        sides = [
            Side("xai", "default", lambda rise=rise: plain(rise, network, photo), count + 1),  # type: ignore[misc]
            Side("plain loop", "64 a pass", lambda rise=rise: rise_loop(network, photo, rise)),  # type: ignore[misc]
        ]
        job = Job("RISE", f"{count} masks, MobileNetV2", None, "", 1e-4)
        yield placed(race(job, sides, network.module, rounds), "masks", count)


def channels(rounds: int) -> Iterator[list[Figure]]:
    network = settled(classifier("resnet18"))
    photo = real_photos(network, 1)
    for layer, count in STAGES.items():

        def ours(layer: str = layer) -> Tensor:
            return unit_range(plain(ScoreCAM(layer=layer), network, photo)[None])[0]

        def theirs(layer: str = layer) -> Tensor:
            return score_cam_by_torchcam(network, photo, layer, 8)

        job = Job("Score-CAM", f"{count} channels, ResNet-18", None, "", 0.2)
        sides = [Side("xai", "default", ours, count + 1), *present(("torchcam", "tuned, 8 a pass", theirs))]
        yield placed(race(job, sides, network.module, rounds), "channels", count)


def methods(rounds: int) -> Iterator[list[Figure]]:
    for count in METHODS:
        for figures in of_maps(rounds, 1, count, (TUNED,)):
            yield placed(figures, "methods", count)


def photos(rounds: int) -> Iterator[list[Figure]]:
    """Grad-CAM by the bundled network `tiny`, whole commands. Of the most photos one round, and ours alone."""
    memory: dict[int, float] = {}
    for count in PHOTOS:
        with tempfile.TemporaryDirectory() as place:
            work = Path(place)
            write_photos(work / "photos", count)
            xai = [sys.executable, "-m", "xaicli.cli.main", "explain", str(work / "photos")]
            command = [*xai, "--method", "grad-cam", "--overwrite", "-o", str(work / "ours")]
            sides = [command_side("xai", "default", command, work / "ours")]
            if count >= MOST:
                yield [placed_alone(sides[0], f"Grad-CAM, whole command, {count} small photos, tiny", count)]
                memory[count] = sides[0].peak() if sides[0].peak else 0.0
                continue
            if version("grad-cam") is not None:
                script = [sys.executable, "-c", SCRIPT, str(work / "photos"), str(work / "theirs"), LAYER]
                sides.append(command_side(version("grad-cam") or "", "script, 1 a pass", script, work / "theirs"))
            job = Job("Grad-CAM, whole command", f"{count} small photos, tiny", None, "", 0.05)
            found = race(job, sides, None, rounds)
            yield placed(found, "photos", count)
            memory[count] = sides[0].peak() if sides[0].peak else 0.0
    few, most = min(memory, key=lambda count: abs(count - FEW)), max(memory)
    if most > few:
        yield [Figure(f"memory of {most:,} photos above that of {few:,}", "MiB", (memory[most] - memory[few],), CONSTANT)]


def placed_alone(side: Side, what: str, at: int) -> Figure:
    """One run of ours, without a peer."""
    own = Measured(side.tool, side.row)
    wall, processor = seconds(side.work)
    own.wall, own.processor, own.memory = [wall], [processor], side.peak() if side.peak else None
    return Figure(f"{what}: {side.tool}", "s", (wall,), detail={"ours": asdict(own), "axis": "photos", "at": at})


def command_side(tool: str, row: str, command: list[str], folder: Path) -> Side:
    """A command that writes one map, `.npy`, for each photo into a folder."""
    taken = {"memory": 0.0}

    def work() -> Tensor:
        taken["memory"] = run_command(command)
        return unit(np.stack([np.load(path) for path in sorted(folder.glob("*.npy"))[:COMPARED]]))

    return Side(tool, row, work, peak=lambda: taken["memory"])


def write_photos(folder: Path, count: int) -> None:
    """The sample on 96 pixels, moved by a few pixels each time."""
    folder.mkdir()
    [sample] = find(["sample:hopper"])
    with Image.open(str(sample.file)) as opened:
        photo = opened.convert("RGB").resize((SMALL + 100, SMALL + 100), Image.Resampling.BICUBIC)
    for number in range(count):
        left, top = number % 100, number // 100 % 100
        photo.crop((left, top, left + SMALL, top + SMALL)).save(folder / f"{number:05}.jpg", quality=90)


JOBS: dict[str, Callable[[int], Iterator[list[Figure]]]] = {
    "photos": photos,
    "methods": methods,
    "masks": masks,
    "channels": channels,
}
