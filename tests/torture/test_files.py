"""Damaged stores, sidecars, arrays, weights, checkpoints, suites and lists: refused in words, or read; never anything else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torture.attacks import bit_flips, damaged, truncations
from torture.tally import Tally

from xaicli.attribution import load_array, load_record
from xaicli.cli.main import main
from xaicli.errors import XaiError
from xaicli.gate.suite import read_suite
from xaicli.images.find import find
from xaicli.models.checkpoint import read_metadata
from xaicli.models.classes import read_classes
from xaicli.models.weights import read_weights
from xaicli.results.reading import Selection
from xaicli.results.store import Store

pytestmark = pytest.mark.torture
TESTS = Path(__file__).resolve().parents[1]
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")
STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.tensor([0.5, -0.25])}


def all_of(path: Path) -> object:
    """Everything that a store says."""
    with Store.open(path, write=False) as store:
        maps = [(kept.subject, kept.method, kept.box, kept.values.tolist()) for kept in store.maps()]
        about = store.recipes(), store.photos(), store.models(), store.runs(), list(store.raw_curves())
        return list(store.rows(Selection(), curves=True)), store.scores(readouts=True).value.tolist(), maps, about


def write_store(path: Path) -> None:
    words = ("--method", "center", "--metric", "deletion@steps=4,sparseness", "-q")
    assert main(["score", "sample:hopper", *MODEL, *words, "-o", str(path)]) == 0


def write_sidecar(path: Path) -> None:
    assert main(["explain", "sample:hopper", *MODEL, "--method", "center", "-o", str(path.parent / "out"), "-q"]) == 0
    path.write_bytes((path.parent / "out" / "hopper.center.json").read_bytes())


def write_suite(path: Path) -> None:
    path.write_text('model = "tiny"\nimages = ["a.jpg", "photos/"]\nmethods = ["rise@n_masks=8"]\nseed = 3\ncrop = [32, 40]\n')


def write_list(path: Path) -> None:
    (path.parent / "photo.jpg").touch()
    path.write_text("photo.jpg\n" * 9)


def write_checkpoint(path: Path) -> None:
    safetensors.torch.save_file(STATE, path, {"xaicli": json.dumps({"schema": 1, "method": "t-tame"})})


FILES: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    "stores": ("s.db", write_store, all_of),
    "sidecars": ("a.json", write_sidecar, load_record),
    "arrays": ("a.npy", lambda path: np.save(path, np.eye(3, dtype=np.float32)), load_array),
    "weights (.pth)": ("w.pth", lambda path: torch.save(STATE, path), read_weights),
    "weights (old .pth)": ("o.pth", lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False), read_weights),
    "weights (.safetensors)": ("w.safetensors", lambda path: safetensors.torch.save_file(STATE, path), read_weights),
    "checkpoints": ("c.safetensors", write_checkpoint, read_metadata),
    "suites": ("xai.toml", write_suite, read_suite),
    "class names": ("names.json", lambda path: path.write_text('["cat", "dog", "tench, Tinca tinca"]'), read_classes),
    "lists of photos": ("list.txt", write_list, lambda path: find([f"@{path}"])),
}


CHECKED = ("stores",)
"""Files with checksums: what is read from them is what was written."""


def attacks(content: bytes, amount: Callable[[int, int], int]) -> Iterator[tuple[str, bytes]]:
    yield from truncations(content, amount(20, 100))
    yield from bit_flips(content, amount(40, 1000), seed=21)
    yield from damaged(content, amount(30, 300), seed=21)


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_refused_in_words_or_read(kind: str, amount: Callable[[int, int], int], tmp_path: Path) -> None:
    name, write, read = FILES[kind]
    path = tmp_path / name
    write(path)
    whole, expected = path.read_bytes(), repr(read(path))
    tally = Tally(f"damaged {kind}", "make torture")
    for what, content in attacks(whole, amount):
        path.write_bytes(content)
        try:
            found = repr(read(path))
        except XaiError as error:
            line = error.line()
            assert "\n" not in line, what
            tally.count("refused", line=line.replace(str(tmp_path), "").replace("/", ""))
        else:
            assert kind not in CHECKED or found == expected, f"{what}: a value changed silently"
            tally.count("read as before" if found == expected else "read as the file now says")
        assert path.read_bytes() == content, f"{what}: a reader changed the file"
    tally.keep()
