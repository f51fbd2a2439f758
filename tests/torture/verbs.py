"""Runs of the commands that write results, small but whole, and what they leave."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from xaicli.results.reading import Selection
from xaicli.results.store import Store

TESTS = Path(__file__).resolve().parents[1]
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")
COMMANDS: dict[str, list[str]] = {
    "explain": ["explain", "photos", *MODEL, "--method", "grad-cam,rise@n_masks=64", "-q", "-o"],
    "score": ["score", "photos", *MODEL, "--method", "grad-cam", "--metric", "deletion", "--no-controls", "-q", "-o"],
    "baseline": ["baseline", "--trust", "-q", "--suite"],
    "train": [
        "train",
        "classifier",
        "--model",
        "tiny@widths=6+8@blocks=1",
        "--data",
        "classes",
        "--resize",
        "16",
        "--crop",
        "16",
    ],
}
COMMANDS["train"] += ["--epochs", "8", "--batch-size", "4", "--save-every", "0", "-q", "-o"]
SUITE = """
model = "net.py:make"
images = ["../photos/"]
methods = ["grad-cam", "rise@n_masks=64"]
metrics = ["deletion"]
crop = 32
resize = 32
"""


def write_photos(count: int) -> None:
    """Photos of noise in the current folder, and the same as photos of two classes."""
    for folder in ("photos", "classes/one", "classes/two"):
        Path(folder).mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        for folder in ("photos", "classes/one" if number % 2 else "classes/two"):
            Image.fromarray(noise).save(f"{folder}/{number}.png")


def words_for(verb: str, name: str) -> list[str]:
    """The command that writes to the folder `name`."""
    Path(name).mkdir(exist_ok=True)
    if verb == "baseline":
        Path(name, "net.py").write_bytes((TESTS / "data" / "net.py").read_bytes())
        Path(name, "xai.toml").write_text(SUITE)
    place = {"explain": "out", "score": "s.db", "baseline": "xai.toml", "train": "net.safetensors"}[verb]
    return [*COMMANDS[verb], f"{name}/{place}"]


def contents(folder: Path) -> dict[str, object]:
    """What the files in a folder say: maps, scores, weights; of others that they are there."""
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        name = str(path.relative_to(folder))
        found[name] = path.read_bytes() if path.suffix == ".safetensors" and path.name.startswith("net") else None
        if path.suffix == ".npy":
            found[name] = np.load(path)
        if path.suffix == ".db":
            with Store.open(path, write=False) as store:
                rows = sorted((row.image, row.metric, row.value) for row in store.rows(Selection()))
            assert [row[:2] for row in rows] == [(f"photos/{name}", "deletion") for name in sorted(os.listdir("photos"))]
            found[name] = np.array([value for *_, value in rows])
    return found


def assert_same(found: dict[str, object], expected: dict[str, object]) -> None:
    """The same files, and in them the same; the last place of a number depends on what else was in its batch."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(np.asarray(found[name]), value, atol=1e-5)
        else:
            assert found[name] == value, name
