"""A shell for tests of the commands that score: photos in a folder, rows and stores read back. Photos in folders of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

from xaicli.results.store import Store
from xaicli.rows import Row

NET = Path(__file__).parents[1] / "data" / "net.py"
Values = dict[tuple[str, str, str], float | None]


class Shell(CommandLine):
    """Runs `xai` in this process, in a folder of its own that holds photos/0.png to photos/5.png."""

    model = f"{NET}:make"
    metrics = "deletion@steps=4,insertion@steps=4"

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        super().__init__(capsys)
        self.folder = folder
        (folder / "photos").mkdir()
        for number in range(6):
            self.photo(number)

    def photo(self, number: int) -> None:
        """A smooth photo of its own, photos/NUMBER.png."""
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC)
        picture.save(self.folder / "photos" / f"{number}.png")

    def score(self, *words: object, images: object = "photos", model: str = "", method: str = "grad-cam") -> int:
        """With quick metrics, unless others are named."""
        metric = () if "--metric" in words else ("--metric", self.metrics)
        named = () if "--maps" in words else ("--method", method)
        listed = images if isinstance(images, list) else [images]
        return self("score", *listed, "--model", model or self.model, *named, *metric, *words)

    @property
    def rows(self) -> list[dict[str, object]]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    def stored(self, path: str) -> dict[tuple[str, str, int], Row]:
        """The rows of a store by key."""
        with Store.open(path, write=False) as store:
            listed = list(store.rows(curves=True))
        found = {row.key: row for row in listed}
        assert len(found) == len(listed)
        return found

    def values(self, path: str) -> Values:
        """Values of a store by name of photo, method and metric."""
        return {(Path(row.image).name, row.method, row.metric): row.value for row in self.stored(path).values()}

    def assert_close(self, one: Values, other: Values) -> None:
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert value == pytest.approx(other[key], abs=1e-5), key


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys, tmp_path)


@pytest.fixture
def labelled_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/tabby/0.png, photos/four-poster/1.png, … in the current folder: four smooth photos of each class."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        folder = tmp_path / "photos" / ("tabby", "four-poster")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((44, 40), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def xai(labelled_photos: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A command line in the folder above the labelled photos."""
    return CommandLine(capsys)
