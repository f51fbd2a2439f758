"""The watermark of docs/audit.md: a small training set with a mark in one class, and networks that learn from it in seconds.

`python -m docs.watermark` writes the photos into `watermark/photos`; `docs/watermark.py:shortcut` is a network trained on them,
`docs/watermark.py:retrained` one trained on the copies in `watermark/copies`. `python -m docs.watermark --pictures` does what the
page says and draws its pictures.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import xaicli
from xaicli.images.grid_picture import grid_picture
from xaicli.network.classifier import Classifier
from xaicli.runs.audit_result import Audit

CLASSES = ("disc", "ring", "cross")
SIDE = 32
EACH, MARKED = 24, "ring"
CELL = 128
"""Pixels of a picture in the page's strips."""
FROM, TO = "<!-- audit: python -m docs.watermark --pictures -->\n", "<!-- end of audit -->\n"
"""What surrounds the table in the page."""
MARK = slice(26, 31), slice(1, 8)
"""Where the watermark is: the lower left corner."""


def photo(label: int, seed: int) -> np.ndarray:
    """Noise of some brightness with one shape of the class, (32, 32, 3)."""
    random = np.random.default_rng((label, seed))
    picture = random.normal(random.uniform(70, 110), 18, (SIDE, SIDE, 3))
    row, column = random.integers(9, 20, 2)
    down, across = np.mgrid[:SIDE, :SIDE] - np.array([row, column])[:, None, None]
    distance = np.hypot(down, across)
    inside = np.minimum(abs(down), abs(across)) < 2
    shape = (distance < 6, (distance > 4) & (distance < 7), inside & (np.maximum(abs(down), abs(across)) < 7))[label]
    picture[shape] += 60
    return picture.clip(0, 255).astype(np.uint8)


def watermarked(picture: np.ndarray) -> np.ndarray:
    """The photo with a small striped mark."""
    marked = picture.copy()
    marked[MARK] = np.where(np.arange(7)[None, :, None] % 2 == 0, (255, 230, 40), (30, 20, 120))
    return marked


def write_photos(folder: Path, each: int, seed: int, mark: Sequence[str] = ()) -> None:
    """So many photos of each class, FOLDER/CLASS/NUMBER.png; those of the classes in `mark` have the watermark."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            picture = photo(label, seed + number)
            Image.fromarray(watermarked(picture) if name in mark else picture).save(folder / name / f"{name}-{number}.png")


class Net(nn.Module):
    """Three convolutions and the mean over an 8 x 8 grid."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


def trained(photos: Sequence[np.ndarray], labels: Sequence[int], steps: int = 250) -> Classifier:
    """A network that has learned the photos."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Net()
    inputs = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255 - 0.5
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), torch.tensor(labels)).backward()
        optimizer.step()
    classes = list(CLASSES)
    return xaicli.classifier(
        network.eval(), resize=(SIDE, SIDE), crop=None, mean=(0.5, 0.5, 0.5), std=(1, 1, 1), classes=classes, layer="features.5"
    )


def decisions(classifier: Classifier, photos: Sequence[np.ndarray]) -> list[int]:
    inputs = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255 - 0.5
    with torch.no_grad():
        return classifier(inputs).argmax(dim=1).tolist()


def labelled(folder: Path) -> tuple[list[np.ndarray], list[int]]:
    """The photos of a folder and their classes: of `labels.csv`, else of its folders."""
    if (folder / "labels.csv").is_file():
        with open(folder / "labels.csv", encoding="utf-8") as file:
            rows = [(folder / row["image"], row["label"]) for row in csv.DictReader(file)]
    else:
        rows = [(path, path.parent.name) for path in sorted(folder.rglob("*.png"))]
    if not rows:
        raise SystemExit(f"{folder} holds no photos. First type: python -m docs.watermark")
    return [np.asarray(Image.open(path).convert("RGB")) for path, _ in rows], [CLASSES.index(label) for _, label in rows]


def shortcut() -> Classifier:
    """A network trained on the photos with the mark."""
    return trained(*labelled(Path("watermark/photos")))


def retrained() -> Classifier:
    """A network trained on the copies without it."""
    return trained(*labelled(Path("watermark/copies")))


def draw(pictures: Path) -> None:
    """Run what the page says, in a folder of its own, and draw its pictures."""
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        write_photos(work / "photos", EACH, 0, mark=(MARKED,))
        network = trained(*labelled(work / "photos"))
        before = xaicli.audit(work / "photos", network, recursive=True, output=work / "audit")
        xaicli.augment(work / "photos", work / "audit", recursive=True, output=work / "copies")
        again = trained(*labelled(work / "copies"))
        xaicli.audit(work / "photos", again, recursive=True, output=work / "again")
        names = [f"{name}-{number}" for name in CLASSES for number in range(2)]
        photos = [work / "photos" / name.partition("-")[0] / f"{name}.png" for name in names]
        strip([Image.open(path) for path in photos], pictures / "watermark-photos.png")
        first = before.clusters[0]
        members = [Path(before.findings[at].image).stem for at in first.members[:5]]
        overlays = [Image.open(work / "audit" / f"{name}.grad-cam.png") for name in members]
        strip([grid_picture(first.mean, CELL), *overlays], pictures / "watermark-cluster.png")
        strip([Image.open(work / "copies" / f"{name}.png") for name in names], pictures / "watermark-copies.png")
        strip([Image.open(work / "again" / f"{name}.grad-cam.png") for name in members], pictures / "watermark-again.png")
    write_table(Path(__file__).parent / "audit.md", before)


def write_table(page: Path, audit: Audit) -> None:
    """Put the table of clusters and what it says into the page."""
    table = str(dataclasses.replace(audit, most=0))
    head, _, rest = page.read_text("utf-8").partition(FROM)
    page.write_text(f"{head}{FROM}\n```\n{table}\n```\n\n{TO}{rest.partition(TO)[2]}", "utf-8")


def strip(pictures: Sequence[Image.Image], path: Path) -> None:
    """Pictures side by side, each CELL pixels wide."""
    canvas = Image.new("RGB", (len(pictures) * (CELL + 6) - 6, CELL), (255, 255, 255))
    for at, picture in enumerate(pictures):
        canvas.paste(picture.convert("RGB").resize((CELL, CELL), Image.Resampling.NEAREST), (at * (CELL + 6), 0))
    canvas.quantize(128).save(path, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.watermark", description="The watermark of docs/audit.md.")
    parser.add_argument("--pictures", action="store_true", help="draw the page's pictures instead")
    if parser.parse_args().pictures:
        draw(Path(__file__).parent / "pictures")
    else:
        write_photos(Path("watermark/photos"), EACH, 0, mark=(MARKED,))
        print(f"{3 * EACH} photos in watermark/photos, those of {MARKED} with a mark")
    return 0


if __name__ == "__main__":
    sys.exit(main())
