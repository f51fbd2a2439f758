"""A shell that scores on Ray, and what tests of it compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

from xaicli.results.store import Store
from xaicli.rows import Row

NET = Path(__file__).parent / "data" / "net.py"
SETTINGS = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
"""Of a node of a cluster."""
METRICS = "deletion@steps=4,insertion@steps=4"


def photo(folder: Path, number: int) -> None:
    """A smooth photo of its own, NUMBER.png."""
    coarse = np.random.default_rng(number).integers(0, 200, (6, 6, 3), dtype=np.uint8)
    folder.mkdir(exist_ok=True)
    Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


class RayShell(CommandLine):
    """Runs `xai score` in this process, in a folder with photos/0.png to photos/6.png."""

    def score(self, *words: object, images: object = "photos", model: str = f"{NET}:make", method: str = "grad-cam") -> int:
        return self("score", images, "--model", model, "--method", method, "--metric", METRICS, *words)

    def stored(self, path: str) -> dict[tuple[str, str, int], Row]:
        """The rows of a store by key, with their curves."""
        with Store.open(path, write=False) as store:
            return {row.key: row for row in store.rows(curves=True)}


def assert_same(one: dict[tuple[str, str, int], Row], other: dict[tuple[str, str, int], Row]) -> None:
    """The same rows: keys exactly, numbers to 1e-5."""
    assert one.keys() == other.keys()
    for key, row in one.items():
        twin = other[key]
        assert (row.image, row.status, row.method, row.metric, row.target) == (
            twin.image, twin.status, twin.method, twin.metric, twin.target,
        )  # fmt: skip
        assert row.value == pytest.approx(twin.value, abs=1e-5)
        assert row.readouts == pytest.approx(twin.readouts, abs=1e-5)
        if row.curve is not None:
            assert row.curve.y == pytest.approx(twin.curve.y, abs=1e-5)
