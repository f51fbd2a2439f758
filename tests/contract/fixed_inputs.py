"""What recorded results are made of: photos, masks, networks and a workplace, the same to the last bit on every machine.

All numbers come from Python's own generator and integer arithmetic: no library's random numbers, resizing or compression has a
part in them. Weights are exact binary fractions, so that fingerprints, and with them the stamps of subjects, are the same.
This file is also a user's model file, as `--model fixed_inputs.py:cnn` names it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

import xaicli
from xaicli.models.checkpoint import read_metadata, write_checkpoint
from xaicli.models.checkpoint_content import without_figures

BUNDLED_HEAD = next(Path(xaicli.__file__).parent.rglob("tiny.t-tame.safetensors"))
PHOTOS, SIDE, CELLS = 4, 64, 8
INPUT = 20
"""Side of the small networks' input in pixels."""
CLASSES = 5


@functools.cache
def photo(seed: int) -> bytes:
    """A smooth photo as a PPM file, which has no compression: one content, one hash."""
    drawn = random.Random(seed)
    grid = [[[int(drawn.random() * 256) for _ in range(3)] for _ in range(CELLS + 1)] for _ in range(CELLS + 1)]
    step = SIDE // CELLS
    pixels = bytearray()
    for y in range(SIDE):
        row, down = divmod(y, step)
        for x in range(SIDE):
            column, right = divmod(x, step)
            for colour in range(3):
                above = grid[row][column][colour] * (step - right) + grid[row][column + 1][colour] * right
                below = grid[row + 1][column][colour] * (step - right) + grid[row + 1][column + 1][colour] * right
                pixels.append((above * (step - down) + below * down) // step**2)
    return f"P6\n{SIDE} {SIDE}\n255\n".encode() + bytes(pixels)


def photo_paths() -> list[Path]:
    """Where the photos lie in the workplace."""
    return [Path("photos", f"{number}.ppm") for number in range(PHOTOS)]


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A fresh current folder with photos/, masks/ and checkpoints of TAME and L-CAM installed, of which none ship; no user's
    settings."""
    before = Path.cwd(), {name: os.environ.get(name) for name in ("XAI_CACHE", "XDG_CONFIG_HOME")}
    folder = Path(tempfile.mkdtemp(prefix="xai-results-"))
    try:
        os.environ.update(XAI_CACHE=str(folder / "cache"), XDG_CONFIG_HOME=str(folder / "config"))
        os.chdir(folder)
        for part in ("photos", "masks", "cache/checkpoints"):
            Path(part).mkdir(parents=True)
        for number, path in enumerate(photo_paths()):
            path.write_bytes(photo(number))
            mask = Image.new("L", (SIDE, SIDE))
            mask.paste(255, (8 + 8 * number, 16, 40 + 4 * number, 56))
            mask.save(f"masks/{number}.png")
        install_tame(folder / "cache" / "checkpoints" / "tame.safetensors")
        install_l_cam(folder / "cache" / "checkpoints" / "l-cam.safetensors")
        yield folder
    finally:
        os.chdir(before[0])
        for name, value in before[1].items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder, ignore_errors=True)


def install_tame(path: Path) -> None:
    """The bundled checkpoint of T-TAME for `tiny`, as one of TAME: their heads are alike."""
    write_checkpoint(
        path, safetensors.torch.load_file(BUNDLED_HEAD), {**without_figures(read_metadata(BUNDLED_HEAD)), "method": "tame"}
    )


def install_l_cam(path: Path) -> None:
    """A checkpoint of L-CAM whose convolution is the last layer of `tiny`, so that its maps are those of CAM."""
    last = safetensors.torch.load_file(BUNDLED_HEAD.with_name("tiny.safetensors"))
    tensors = {f"attention.fuser.{part}": last[f"network.network.head.{part}"] for part in ("weight", "bias")}
    classes, channels = tensors["attention.fuser.weight"].shape
    attention = {"channels": [channels], "classes": classes, "bias": True, "upsampling": "single", "branches": False}
    changed = {"method": "l-cam", "attention": attention, "layers": ["network.stages"], "mode": "img"}
    write_checkpoint(path, tensors, {**without_figures(read_metadata(BUNDLED_HEAD)), **changed})


def write_bank(path: Path, fingerprint: str) -> None:
    """A memory bank of six made-up photos for a network of five outputs, in the format of `xai bank`."""
    drawn = random.Random(20)
    features = torch.tensor([[int(drawn.random() * 256) / 256 for _ in range(CLASSES)] for _ in range(6)])
    told = {"classes": ["one", "other"], "model": "vit", "fingerprint": fingerprint, "photos": "0" * 16, "content": "1" * 16}
    tensors = {"features": features, "labels": torch.tensor([0, 1, 0, 1, 0, 1])}
    safetensors.torch.save_file(tensors, path, {"xaicli-bank-1": json.dumps(told)})


class SmallCNN(nn.Module):
    """Convolutions with batch norm and an activation in place, and a linear head over the pooled features."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            activation(inplace=True),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            activation(inplace=True),
            nn.Conv2d(8, 16, 3, padding=1),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(16, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.pool(self.features(inputs)))


def with_fixed_weights(network: nn.Module, seed: int) -> nn.Module:
    """The network with weights that are whole multiples of 1/1024, about as large as an initialisation's."""
    drawn = random.Random(seed)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if not tensor.is_floating_point():
                continue
            reach = 1024 * (3.0 / max(1, tensor[0].numel())) ** 0.5 if tensor.ndim > 1 else 128
            values = [round((2 * drawn.random() - 1) * reach) / 1024 for _ in range(tensor.numel())]
            scale = tensor.ndim == 1 and name.endswith(("weight", "running_var"))
            tensor.copy_(torch.tensor(values).view(tensor.shape) + float(scale))
    return network.eval().requires_grad_(False)


def own(network: nn.Module, name: str) -> xaicli.Classifier:
    view = {"resize": (INPUT, INPUT), "crop": None, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    return xaicli.classifier(network, name=name, device="cpu", precision="fp32", **view)


@functools.cache
def cnn() -> xaicli.Classifier:
    """A convolutional network with batch norm and ReLU."""
    return own(with_fixed_weights(SmallCNN(nn.ReLU), 7), "cnn")


@functools.cache
def smooth() -> xaicli.Classifier:
    """The same without the kinks of ReLU, at which a gradient jumps where a processor rounds otherwise."""
    return own(with_fixed_weights(SmallCNN(nn.SiLU), 7), "smooth")


@functools.cache
def plain() -> xaicli.Classifier:
    """Plain modules in a row, each used once: for rules that know no other layers."""
    features = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    )
    return own(
        with_fixed_weights(nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)), 5), "plain"
    )


@functools.cache
def vit() -> xaicli.Classifier:
    """A vision transformer of two blocks on a grid of 4 x 4 patches."""
    network = VisionTransformer(
        image_size=INPUT, patch_size=5, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=CLASSES
    )
    return own(with_fixed_weights(network, 11), "vit")


class SmallDetector(nn.Module):
    """A box of 8 x 8 pixels around every cell of a stride of 4, and the scores of five classes there."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = SmallCNN(nn.SiLU).features
        self.scores = nn.Conv2d(16, CLASSES, 1)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        scores = self.scores(self.backbone(inputs)).sigmoid()
        rows, columns = scores.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows) * 4 + 2.0, torch.arange(columns) * 4 + 2.0, indexing="ij")
        boxes = torch.stack([x - 4, y - 4, x + 4, y + 4], dim=2).to(inputs).flatten(0, 1)
        return {"scores": scores.flatten(2).transpose(1, 2), "boxes": boxes.expand(len(inputs), *boxes.shape)}


@functools.cache
def boxes() -> xaicli.Classifier:
    """A detector without kinks."""
    view = {"resize": INPUT, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    network = with_fixed_weights(SmallDetector(), 13)
    return xaicli.detector(network, decode=lambda output: (output["boxes"], output["scores"]), name="boxes", device="cpu", **view)


@functools.cache
def frames() -> xaicli.Classifier:
    """A network of sequences of four frames, of convolutions over time too, without kinks."""
    features = nn.Sequential(nn.Conv3d(3, 8, 3, stride=(1, 2, 2), padding=1), nn.SiLU(), nn.Conv3d(8, 8, 3, padding=1), nn.SiLU())
    network = nn.Sequential(features, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, CLASSES))
    view = {"resize": (INPUT, INPUT), "crop": None, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    return xaicli.classifier(
        with_fixed_weights(network, 17), name="frames", device="cpu", precision="fp32", frames=PHOTOS, **view
    )


SMALL = {"cnn": cnn, "smooth": smooth, "plain": plain, "vit": vit, "boxes": boxes, "frames": frames}
