"""Whole commands against a plain script that does the same with pytorch-grad-cam: start-up, decoding, network, pictures."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.memory import run_command
from benchmarks.networks import SIDE, assets
from benchmarks.side_by_side import Job, Side, race
from xaicli.passes.upsampling import unit_range, upsample

SCRIPT = """
import sys, torch, numpy as np
from pathlib import Path
from PIL import Image
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2
from torchvision import transforms as T
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image, scale_cam_image
weights, source, out, size = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
model = mobilenet_v2(weights=None).eval()
model.load_state_dict({name: t.float() for name, t in load_file(weights).items()}, strict=False)
prepare = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
paths = sorted(source.glob("*.jpg"))
with GradCAM(model=model, target_layers=[model.features[-1]]) as cam:
    for start in range(0, len(paths), size):
        photos = [Image.open(path).convert("RGB") for path in paths[start : start + size]]
        maps = cam(input_tensor=torch.stack([prepare(photo) for photo in photos]), targets=None)
        for path, photo, found in zip(paths[start : start + size], photos, maps):
            np.save(out / (path.stem + ".npy"), found)
            # The overlay at the photo's own size, on the part that the network saw.
            side = round(224 * min(photo.size) / 256)
            left, top = (photo.width - side) // 2, (photo.height - side) // 2
            full = np.zeros((photo.height, photo.width), dtype=np.float32)
            full[top : top + side, left : left + side] = scale_cam_image(found[None], (side, side))[0]
            shown = show_cam_on_image(np.asarray(photo, dtype=np.float32) / 255, full, use_rgb=True)
            Image.fromarray(shown).save(out / (path.stem + ".png"))
"""


def grad_cam_of_a_folder(rounds: int) -> Iterator[list[Figure]]:
    """As many photos as XAI_BENCH_FOLDER says, 64 without; nothing without real weights and photos."""
    folder = assets()
    weights = folder / "weights" / "mobilenet_v2.safetensors"
    if not weights.is_file():
        return
    count = int(os.environ.get("XAI_BENCH_FOLDER", "64"))
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "photos"
        source.mkdir()
        for number, path in enumerate((sorted((folder / "photos").glob("*.jpg")) * 2)[:count]):
            (source / f"{number:04d}.jpg").write_bytes(path.read_bytes())
        script = Path(place) / "script.py"
        script.write_text(SCRIPT)
        xai, taken = [sys.executable, "-m", "xaicli.cli.main"], {"memory": 0.0}

        def ours() -> Tensor:
            out = Path(place) / "ours"
            model = ["--model", "mobilenet_v2", "--weights", str(weights)]
            method = ["--method", "grad-cam", "--overwrite", "-o", str(out)]
            taken["memory"] = run_command([*xai, "explain", str(source), *model, *method])
            return unit(np.stack([np.load(path) for path in sorted(out.glob("*.npy"))]))

        def theirs(size: int) -> Tensor:
            out = Path(place) / "theirs"
            out.mkdir(exist_ok=True)
            taken["memory"] = run_command([sys.executable, str(script), str(weights), str(source), str(out), str(size)])
            return unit(np.stack([np.load(path) for path in sorted(out.glob("*.npy"))]))

        job = Job("Grad-CAM, whole command", f"{count} photos, MobileNetV2", 3.0, "grad-cam", 0.05)
        try:
            named = f"grad-cam {importlib.metadata.version('grad-cam')}"
        except importlib.metadata.PackageNotFoundError:
            return
        works = {("xai", "default"): ours, (named, "script, 1 a pass"): lambda: theirs(1)}
        works[named, "script, 16 a pass"] = lambda: theirs(16)
        sides = [Side(tool, row, work, peak=lambda: taken["memory"]) for (tool, row), work in works.items()]
        yield race(job, sides, None, rounds)


def unit(maps: np.ndarray) -> Tensor:
    """Maps (N, h, w) from 0 to 1, enlarged and scaled again, as the peer stores its own."""
    small = unit_range(torch.from_numpy(maps).float())
    return unit_range(upsample(small, (SIDE, SIDE)))
