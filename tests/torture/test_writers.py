"""Several runs at once, on one store and into one folder: nothing is lost, nothing doubled, nothing left over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torture.children import Commands
from torture.tally import Tally

from xaicli.attribution import Attribution
from xaicli.results.reading import Selection
from xaicli.results.store import Store

pytestmark = pytest.mark.torture
TESTS = Path(__file__).resolve().parents[1]
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")
SCORE = ("score", *MODEL, "--method", "center", "--metric", "deletion@steps=4,sparseness", "--no-controls", "-q", "-o", "s.db")
EXPLAIN = ("explain", *MODEL, "--method", "center,grad-cam", "-q", "-o", "out")


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as running:
        yield running


@pytest.fixture
def photos(amount: Callable[[int, int], int], tmp_path: Path) -> list[str]:
    (tmp_path / "photos").mkdir()
    for number in range(amount(12, 200)):
        noise = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{number}.png")
    return [f"photos/{name}" for name in sorted(os.listdir(tmp_path / "photos"))]


def parts(photos: list[str], writers: int) -> list[list[str]]:
    """The photos of each writer: its own, and those of the next, so that each is of two."""
    shares = [photos[at::writers] for at in range(writers)]
    return [shares[at] + shares[(at + 1) % writers] for at in range(writers)]


@pytest.mark.parametrize("writers", [2, 8])
def test_writers_of_one_store_lose_and_double_nothing(
    writers: int, commands: Commands, photos: list[str], tmp_path: Path
) -> None:
    errors = [str(tmp_path / f"told{at}.txt") for at in range(writers)]
    running = [
        commands.start([SCORE[0], *mine, *SCORE[1:]], tmp_path, err=err)
        for mine, err in zip(parts(photos, writers), errors, strict=True)
    ]
    codes = [one.wait() for one in running]
    assert codes == [0] * writers, [Path(name).read_text() for name in errors]
    with Store.open(tmp_path / "s.db", write=False) as store:
        rows = Counter((row.image, row.metric) for row in store.rows(Selection()))
    assert rows == Counter({(photo, metric): 1 for photo in photos for metric in ("deletion@steps=4", "sparseness")})
    # Two that end at the same moment may both take the other for the one that clears up; then the next one does.
    Store.open(tmp_path / "s.db").close()
    assert [name for name in os.listdir(tmp_path) if name.endswith(("-wal", "-shm", "-journal", ".part"))] == []
    tally = Tally(f"{writers} writers of one store")
    for _ in rows:
        tally.count("rows there once")
    tally.keep()


@pytest.mark.parametrize("writers", [2, 8])
def test_writers_into_one_folder_lose_and_double_nothing(
    writers: int, commands: Commands, photos: list[str], tmp_path: Path
) -> None:
    errors = [str(tmp_path / f"told{at}.txt") for at in range(writers)]
    running = [
        commands.start([EXPLAIN[0], *mine, *EXPLAIN[1:]], tmp_path, err=err)
        for mine, err in zip(parts(photos, writers), errors, strict=True)
    ]
    codes = [one.wait() for one in running]
    assert codes == [0] * writers, [Path(name).read_text() for name in errors]
    stems = {f"{Path(photo).stem}.{method}" for photo in photos for method in ("center", "grad-cam")}
    assert set(os.listdir(tmp_path / "out")) == {f"{stem}{ending}" for stem in stems for ending in (".npy", ".png", ".json")}
    tally = Tally(f"{writers} writers into one folder")
    for stem in stems:
        # Reading compares the map with the checksum in its record.
        assert Attribution.load(tmp_path / "out" / f"{stem}.json").record.image == f"photos/{stem.partition('.')[0]}.png"
        tally.count("maps whole")
    tally.keep()
