"""Work grows with photos as they do: no function is called more often a photo in a longer run."""

from __future__ import annotations

import shlex
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

MODEL = f"{Path(__file__).parents[1] / 'data' / 'net.py'}:make"
NUMBERS = (20, 40, 80)
OFTEN = 400
"""Functions that are called less often in the longest run are left out: what a batch or a rounding costs would show."""
MOST = 3.0
"""From 40 to 80 photos twice as many calls come as from 20 to 40; four times as many of what looks at all photos for each."""

COMMANDS = {
    "explain": ["explain photos --recursive --model MODEL --method grad-cam,random -o out"],
    "explain to a sheet": ["explain photos --recursive --model MODEL --method grad-cam --sheet --scale shared -o out"],
    "explain again": ["explain photos --recursive --model MODEL --method grad-cam -o out"] * 2,
    "score": [
        "score photos --recursive --model MODEL --method grad-cam --metric deletion@steps=2 --controls random,other -o s.db"
    ],
    "score again": ["score photos --recursive --model MODEL --method grad-cam --metric deletion@steps=2 -o s.db"] * 2,
    "compare": ["compare photos --recursive --model MODEL --method grad-cam,random --metric deletion@steps=2 -o out"],
    "verify": ["explain photos --recursive --model MODEL --method random -o out", "verify out --model MODEL --sample 8"],
    "audit": ["audit photos --recursive --model MODEL --method grad-cam -o out"],
    "check": ["baseline --trust", "check --trust"],
    "targets from a file": ["explain photos --recursive --model MODEL --method grad-cam --target @targets.csv -o out"],
    "aggregate": ["aggregate photos --recursive --model MODEL --method grad-cam -o out"],
    "bank": ["bank photos --model MODEL -o bank.safetensors"],
}


@contextmanager
def counted(calls: Counter[Any]) -> Iterator[None]:
    """Count the calls of Python's and C's functions, in all threads that begin meanwhile."""

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_filename, frame.f_code.co_qualname] += 1
        elif event == "c_call":
            calls["C", getattr(argument, "__qualname__", str(argument))] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def photos_in(folder: Path, number: int) -> None:
    for at in range(number):
        place = folder / "photos" / ("tabby", "four-poster")[at % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(at).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{at:03d}.png")
    (folder / "targets.csv").write_text("image,target\n" + "".join(f"{at:03d},{at % 4}\n" for at in range(number)))
    (folder / "xai.toml").write_text(f'model = "{MODEL}"\nimages = ["photos/*/*.png"]\n')


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_no_function_is_called_more_often_a_photo_in_a_longer_run(name, tmp_path, monkeypatch, capsys):
    xai, found = CommandLine(capsys), []
    for number in NUMBERS:
        photos_in(tmp_path / str(number), number)
        monkeypatch.chdir(tmp_path / str(number))
        *before, last = COMMANDS[name]
        for words in before:
            assert xai(*shlex.split(words.replace("MODEL", MODEL))) == 0, xai.error
        calls: Counter[Any] = Counter()
        with counted(calls):
            assert xai(*shlex.split(last.replace("MODEL", MODEL))) == 0, xai.error
        found.append(calls)
    few, some, many = found
    grown = {what: (few[what], some[what], times) for what, times in many.items() if times >= OFTEN}
    assert grown
    assert {what: times for what, times in grown.items() if grows_faster(*times)} == {}


def grows_faster(few: int, some: int, many: int) -> bool:
    """Whether calls grow faster than photos: in their differences, and a photo. What happens once, in the longest run alone, such
    as an import, is no growth."""
    first, then = some - few, many - some
    return MOST * first < then < 10 * first and many / NUMBERS[2] > few / NUMBERS[0]


def test_a_square_grows_faster_than_photos_and_a_start_does_not():
    squares, lines = [number**2 for number in NUMBERS], [1000 + 7 * number for number in NUMBERS]
    assert grows_faster(*squares)
    assert grows_faster(*(one + 20 * number for one, number in zip(squares, NUMBERS, strict=True)))
    assert not grows_faster(*lines)
    assert not grows_faster(400, 410, 3500)
