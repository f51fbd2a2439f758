"""Runs of the commands that write results, small but whole, and what they leave."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from xaicli.cli.main import main
from xaicli.images.view import View
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.stamps import with_checksum

TESTS = Path(__file__).resolve().parents[1]
NET = TESTS / "data" / "net.py"
MODEL = ("--model", f"{NET}:make", "--crop", "32", "--resize", "32")
SMALL = ("--model", "tiny@widths=6+8@blocks=1", "--data", "classes", "--resize", "16", "--crop", "16")
TRUST_PHOTOS = 8
"""Fewer xai trust does not take."""

COMMANDS: dict[str, list[str]] = {
    "explain": ["explain", "photos", *MODEL, "--method", "METHODS", "-q", "-o", "PLACE/out"],
    "score": ["score", "photos", *MODEL, "--method", "METHOD", "--metric", "METRIC", "--no-controls", "-q", "-o", "PLACE/s.db"],
    "baseline": ["baseline", "--trust", "-q", "--suite", "PLACE.toml"],
    "train": ["train", "classifier", *SMALL, "--epochs", "EPOCHS", "--batch-size", "4", "--save-every", "0", "-q"],
    "audit": ["audit", "photos", *MODEL, "--method", "METHOD", "--no-clusters", "-q", "-o", "PLACE"],
    "aggregate": ["aggregate", "photos", *MODEL, "--method", "METHOD", "-q", "-o", "PLACE"],
    "augment": ["augment", "photos", "--audit", "audit.json", "--labels", "labels.csv", "-q", "-o", "PLACE"],
    "parity": [
        "parity",
        f"{NET}:make",
        f"{NET}:other",
        "photos",
        "--method",
        "METHOD",
        "--metric",
        "METRIC",
        "-q",
        "-o",
        "PLACE",
    ],
    "trust": ["trust", f"{NET}:make", "eight", "--method", "METHOD", "--check", "fidelity", "-q", "-o", "PLACE"],
    "check": ["check", "--trust", "--suite", "PLACE.toml", "--against", f"{NET}:other", "-q", "-o", "PLACE"],
    "bundle": ["bundle", "evidence", "-q", "-o", "PLACE/evidence.zip"],
}
COMMANDS["train"] += ["-o", "PLACE/net.safetensors"]
WRITES_NOTHING_TO_STDOUT = ("train", "baseline", "bundle")
FIRST = ("explain", "score", "baseline", "train")
USUAL = tuple(COMMANDS) if os.environ.get("XAI_TORTURE") else FIRST
"""Verbs under every attack: in a short run those that came first, since the others write their files in the same ways; all of
them with `XAI_TORTURE=verbs` (a few times) and `XAI_TORTURE=full`."""

WHOLE = {"METHODS": "grad-cam,rise@n_masks=64", "METHOD": "grad-cam", "METRIC": "deletion", "EPOCHS": "8"}
QUICK = {"METHODS": "center", "METHOD": "center", "METRIC": "deletion@steps=4", "EPOCHS": "1"}
SUITE = """
model = "net.py:make"
images = ["photos/"]
methods = {methods}
metrics = ["{metric}"]
crop = 32
resize = 32
baseline = "{place}/base"
"""


def write_photos(count: int) -> None:
    """Photos of noise in the current folder, the same as photos of two classes, and eight for xai trust."""
    for folder in ("photos", "classes/one", "classes/two", "eight"):
        Path(folder).mkdir(parents=True)
    for number in range(max(count, TRUST_PHOTOS)):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        few = ("photos", "classes/one" if number % 2 else "classes/two") if number < count else ()
        for folder in (*few, *(["eight"] if number < TRUST_PHOTOS else [])):
            Image.fromarray(noise).save(f"{folder}/{number}.png")


def words_for(verb: str, name: str, *, quick: bool = False) -> list[str]:
    """The command that writes to the folder `name` of the current one; quick: with little to compute."""
    Path(name).mkdir(exist_ok=True)
    amounts = QUICK if quick else WHOLE
    if verb in ("baseline", "check"):
        Path("net.py").write_bytes(NET.read_bytes())
        methods = json.dumps(amounts["METHODS" if verb == "baseline" else "METHOD"].split(","))
        Path(f"{name}.toml").write_text(SUITE.format(methods=methods, metric=amounts["METRIC"], place=name))
    if verb == "augment":
        write_audit(Path("audit.json"))
        Path("labels.csv").write_text("image,label\n" + "".join(f"{name},one\n" for name in sorted(os.listdir("photos"))))
    if verb == "bundle" and not Path("evidence").exists():
        words = ["explain", "photos", *MODEL, "--method", "center", "-q", "-o", "evidence"]
        assert main(words) == 0
    return [amounts.get(word, word.replace("PLACE", name)) for word in COMMANDS[verb]]


def write_audit(path: Path) -> None:
    """An audit with one cluster in the corner."""
    mean = np.zeros((16, 16))
    mean[:3, :3] = 1 / 9
    cluster = {"cluster": 1, "mean": mean.tolist(), "members": []}
    view = View(resize=32, crop=32).as_dict()
    content = {"schema_version": 2, "view": view, "method": "grad-cam", "clusters": [cluster], "photos": []}
    path.write_text(json.dumps({"generator": "xaicli", **with_checksum(content)}))


def done(verb: str) -> int:
    """The exit code of a run that did all it should: two networks that look elsewhere fail the gate."""
    return 1 if verb in ("parity", "check") else 0


def done_again(verb: str) -> tuple[int, ...]:
    """How the same command ends afterwards: a baseline that was written is there, and is not made again."""
    return (0, 2) if verb == "baseline" else (done(verb),)


def contents(folder: Path) -> dict[str, object]:
    """What the files in a folder say: maps, scores, weights, evidence; of others that they are there."""
    found: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        name = str(path.relative_to(folder))
        exact = path.suffix in (".zip", ".csv") or (path.suffix == ".safetensors" and path.name.startswith("net"))
        found[name] = path.read_bytes() if exact else None
        if path.suffix == ".npy":
            found[name] = np.load(path)
        if path.suffix == ".db":
            found[name] = values_of(path)
    return found


def values_of(path: Path) -> np.ndarray:
    """The values of a store, one for each photo, method and metric."""
    with Store.open(path, write=False) as store:
        rows = sorted((row.image, row.method, row.metric, row.target, row.value) for row in store.rows(Selection()))
    keys = [row[:4] for row in rows]
    assert len(set(keys)) == len(keys)
    if path.name == "s.db":
        assert [row[0] for row in rows] == [f"photos/{name}" for name in sorted(os.listdir("photos"))]
    return np.array([value for *_, value in rows], dtype=np.float64)


def assert_same(found: dict[str, object], expected: dict[str, object]) -> None:
    """The same files, and in them the same; the last place of a number depends on what else was in its batch."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(np.asarray(found[name]), value, atol=1e-5)
        else:
            assert found[name] == value, name
