"""A film of twelve frames, and a network of sequences that sees red appear: `python -m docs.film` draws docs/frames.md's picture.

`film()` gives the frames, a ball that rolls over the sample photo and is red for three of them; `make()` the network, for
`--model docs/film.py:make`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.cbook
import torch
from PIL import Image, ImageDraw
from torch import nn

import xaicli
from xaicli.cli.main import main as xai

COUNT, RED = 12, (5, 6, 7)
SIDES = 192, 144
PICTURES = Path(__file__).parent / "pictures"


def film() -> list[Image.Image]:
    """The frames; no two are alike, since a GIF joins those that are."""
    with Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))) as photo:
        still = (
            photo.convert("RGB").resize((SIDES[0], SIDES[0] * photo.height // photo.width)).crop((0, 20, SIDES[0], 20 + SIDES[1]))
        )
    frames = []
    for number in range(COUNT):
        frame = still.copy()
        left = 16 * number - 18
        colour = (230, 20, 20) if number in RED else (40, 90, 200)
        ImageDraw.Draw(frame).ellipse((left, 84, left + 36, 120), fill=colour, outline=(0, 0, 0))
        frames.append(frame)
    return frames


class RedAppears(nn.Module):
    """Logits of clips (B, 3, F, H, W): nothing, and how much of a frame is red that was not red in the frame before."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Conv3d(3, 1, (2, 3, 3), padding=(0, 1, 1), bias=True)
        with torch.no_grad():
            redness = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 3, 3) / 9
            self.change.weight.copy_(torch.stack([-redness, redness], dim=1)[None])
            self.change.bias.fill_(-0.6)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        appeared = self.change(clips).relu().mean(dim=(1, 2, 3, 4))
        return torch.stack([torch.ones_like(appeared), 600 * appeared], dim=1)


def make() -> xaicli.Classifier:
    view = {"resize": (96, 128), "crop": None, "mean": (0,), "std": (1,)}
    return xaicli.classifier(RedAppears(), frames=COUNT, classes=["nothing", "red appears"], **view)


def main(work: Path = Path("xai-out/film")) -> int:
    work.mkdir(parents=True, exist_ok=True)
    first, *others = film()
    first.save(work / "film.gif", save_all=True, append_images=others, duration=120)
    words = ["--model", f"{__file__}:make", "--method", "winit", "--steps", "--overwrite", "-q", "-o", str(work)]
    code = xai(["explain", str(work / "film.gif"), *words])
    if code == 0:
        with Image.open(work / "film.winit.steps.png") as strip:
            strip.convert("RGB").save(PICTURES / "winit.jpg", quality=88, optimize=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
