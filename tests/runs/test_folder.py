"""Explaining into a folder reads each photo once and writes each record once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xaicli
from xaicli.errors import RunError
from xaicli.files import write_atomic
from xaicli.images.decode import decode
from xaicli.record import load_record

NET = Path(__file__).parents[1] / "data" / "net.py"
SCORES = ["insertion@steps=4", "sparseness"]
ALL = {"metric": SCORES, "sheet": True}


def everywhere(monkeypatch: pytest.MonkeyPatch, function: Callable, replacement: Callable) -> None:
    """Put a function in the place of another in all modules of the package that use it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("xaicli") and getattr(module, function.__name__, None) is function:
            monkeypatch.setattr(module, function.__name__, replacement)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each photo was decoded and each record written, by file name."""
    calls: Counter[str] = Counter()

    def decoding(source, *args, **kwargs):
        calls[Path(source.path).name] += 1
        return decode(source, *args, **kwargs)

    def writing(path, content):
        if path.suffix == ".json":
            calls[path.name] += 1
        return write_atomic(path, content)

    xaicli.explain(np.zeros((8, 8, 3), dtype=np.uint8), f"{NET}:make")
    everywhere(monkeypatch, decode, decoding)
    everywhere(monkeypatch, write_atomic, writing)
    return calls


@pytest.fixture
def explain(tmp_path: Path) -> Callable[..., object]:
    for number in range(3):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(coarse).resize((500, 300)).save(tmp_path / "photos" / f"{number}.png")

    def run(**words: object) -> object:
        words = {"method": ["grad-cam", "occlusion@window=16@stride=16"], "output": tmp_path / "out", **words}
        return xaicli.explain(tmp_path / "photos", f"{NET}:make", **words)

    return run


def test_with_scores_and_sheet_a_photo_is_decoded_once_and_its_records_are_written_once(explain, counted, tmp_path) -> None:
    explain(**ALL)
    assert len(counted) == 3 + 6
    assert set(counted.values()) == {1}
    assert set(load_record(tmp_path / "out" / "0.grad-cam.json").scores) == set(SCORES)


def test_one_scale_for_all_takes_one_more_look_once_all_maps_are_there(explain, counted) -> None:
    explain(**ALL, scale="shared")
    assert len(counted) == 3 + 6
    assert set(counted.values()) == {2}
    counted.clear()
    explain(scale="shared")
    assert not counted


def test_what_is_complete_is_read_for_what_it_lacks_alone(explain, counted) -> None:
    explain()
    counted.clear()
    explain()
    assert not counted
    explain(metric=SCORES)
    assert set(counted.values()) == {1}
    counted.clear()
    explain(metric=SCORES)
    assert not counted
    explain(sheet=True)
    assert dict(counted) == {f"{number}.png": 1 for number in range(3)}


def test_the_sheet_of_a_second_run_is_that_of_the_first(explain, tmp_path) -> None:
    explain(**ALL)
    first = (tmp_path / "out" / "sheet.png").read_bytes()
    explain(**ALL)
    assert (tmp_path / "out" / "sheet.png").read_bytes() == first


def test_maps_that_cannot_be_scored_are_kept_and_the_run_says_why(explain, monkeypatch, tmp_path) -> None:
    def broken(*args: object) -> None:
        raise RunError("the metric broke")

    monkeypatch.setattr("xaicli.runs.folder.scores_of_maps", broken)
    with pytest.raises(RunError, match="the metric broke"):
        explain(**ALL)
    assert load_record(tmp_path / "out" / "0.grad-cam.json").scores == {}
    monkeypatch.undo()
    explain(**ALL)
    assert set(load_record(tmp_path / "out" / "0.grad-cam.json").scores) == set(SCORES)
