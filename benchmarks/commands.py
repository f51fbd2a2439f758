"""Whole commands, start-up included, against plain scripts that do the same: one photo, and a folder."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision.models import get_model

from benchmarks.figures import Figure
from xaicli.images.find import find

NETWORK = "mobilenet_v2"
PHOTOS, WIDTH = 256, 500
ONE_PHOTO, FOLDER = 1.15, 3.0
XAI = (sys.executable, "-m", "xaicli.cli.main", "explain")

FORWARD_AND_BACKWARD = """
import sys
import torch, torchvision
from PIL import Image
from torchvision import transforms as T
weights, photo = sys.argv[1:]
network = torchvision.models.get_model("{network}", weights=None)
network.load_state_dict(torch.load(weights))
network.eval()
norm = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
prepare = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), norm])
inputs = prepare(Image.open(photo).convert("RGB"))[None].requires_grad_()
network(inputs).max().backward()
"""
"""The least that a script needs for a gradient of one photo."""

PYTORCH_GRAD_CAM = """
import sys
from pathlib import Path
import numpy as np, torch, torchvision
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image
from torchvision import transforms as T
weights, folder, output = sys.argv[1:]
network = torchvision.models.get_model("{network}", weights=None)
network.load_state_dict(torch.load(weights))
network.eval()
norm = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
prepare = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), norm])
Path(output).mkdir()
with GradCAM(model=network, target_layers=[network.features[-1]]) as cam:
    for path in sorted(Path(folder).iterdir()):
        photo = Image.open(path).convert("RGB")
        [grey] = cam(input_tensor=prepare(photo)[None], targets=None)
        np.save(Path(output) / (path.stem + ".npy"), grey)
        heat = np.asarray(Image.fromarray(grey).resize(photo.size, Image.BILINEAR))
        drawn = show_cam_on_image(np.float32(photo) / 255, heat, use_rgb=True)
        Image.fromarray(drawn).save(Path(output) / (path.stem + ".png"))
"""
"""pytorch-grad-cam as its manual has it, photo by photo, with pictures as large as ours."""


def measure(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        weights, folder = work / "weights.pth", work / "photos"
        torch.manual_seed(0)
        torch.save(get_model(NETWORK, weights=None).state_dict(), weights)
        write_photos(folder)
        model = ("--model", NETWORK, "--weights", str(weights), "--method", "grad-cam", "-o")
        one = str(folder / "000.jpg")
        script = [sys.executable, "-c", FORWARD_AND_BACKWARD.format(network=NETWORK), str(weights), one]
        figures = compared(
            "one photo: xai explain over a script that passes it forward and back", script, [one, *model], work, rounds
        )
        if importlib.util.find_spec("pytorch_grad_cam") is not None:
            peer = [sys.executable, "-c", PYTORCH_GRAD_CAM.format(network=NETWORK), str(weights), str(folder)]
            figures += folder_against(peer, [str(folder), *model], work, max(1, rounds // 2))
        return figures


def compared(what: str, script: list[str], words: list[str], work: Path, rounds: int) -> list[Figure]:
    def ours(at: int) -> float:
        return taken([*XAI, *words, str(work / f"one{at}")])

    pairs = []
    for at in range(rounds + 1):
        first, second, third, fourth = taken(script), ours(2 * at), ours(2 * at + 1), taken(script)
        pairs.append((second + third, first + fourth))
    kept = pairs[1:]
    return [
        Figure(what, "", tuple(mine / other for mine, other in kept), ONE_PHOTO),
        Figure("one photo: xai explain", "s", tuple(mine / 2 for mine, _ in kept)),
    ]


def folder_against(peer: list[str], words: list[str], work: Path, rounds: int) -> list[Figure]:
    pairs = []
    for at in range(rounds):
        theirs = taken([*peer, str(work / f"peer{at}")])
        mine = taken([*XAI, *words, str(work / f"ours{at}")])
        pairs.append((theirs, mine))
    what = f"Grad-CAM of {PHOTOS} photos: pytorch-grad-cam in a plain script over xai explain"
    return [
        Figure(what, "", tuple(theirs / mine for theirs, mine in pairs), least=FOLDER),
        Figure(f"Grad-CAM of {PHOTOS} photos: xai explain", "s", tuple(mine for _, mine in pairs)),
    ]


def write_photos(folder: Path) -> None:
    """The sample, each copy a little darker than the one before."""
    folder.mkdir()
    [sample] = find(["sample:hopper"])
    with Image.open(str(sample.file)) as opened:
        photo = opened.convert("RGB").resize((WIDTH, WIDTH * opened.height // opened.width), Image.Resampling.BICUBIC)
    for number in range(PHOTOS):
        photo.point(lambda value, less=number // 2: max(0, value - less)).save(folder / f"{number:03}.jpg", quality=90)


def taken(command: list[str]) -> float:
    """Wall-clock seconds of a command in a fresh process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ)
    return time.perf_counter() - start
