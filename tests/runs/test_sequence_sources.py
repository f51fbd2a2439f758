"""Which pictures are frames of one sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import UsageError
from xaicli.runs.find_photos import find_photos
from xaicli.runs.sequence_sources import as_sequences


def still(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), (9, 9, 9)).save(path)
    return path


def test_the_stills_of_a_folder_are_one_sequence_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        still(tmp_path / "clip" / f"{number}.png")
    [sequence] = as_sequences(find_photos(str(tmp_path / "clip"), frame=1).sources, 1)
    assert [part.name for part in sequence.parts] == ["1.png", "2.png", "10.png"]
    assert (sequence.name, sequence.frame) == ("clip", 1)
    assert {part.frame for part in sequence.parts} == {0}


def test_moving_pictures_of_a_folder_are_sequences_of_their_own(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "a.gif", "b.webp"):
        still(tmp_path / "clip" / name)
    made = as_sequences(find_photos(str(tmp_path / "clip")).sources)
    assert [(one.name, len(one.parts)) for one in made] == [("clip", 2), ("a.gif", 0), ("b.webp", 0)]


def test_files_that_are_named_one_by_one_are_no_sequence(tmp_path: Path) -> None:
    paths = [str(still(tmp_path / f"{number}.png")) for number in (1, 2)]
    assert [one.parts for one in as_sequences(find_photos(paths).sources)] == [(), ()]


def test_each_folder_is_a_sequence(tmp_path: Path) -> None:
    for folder in "ab":
        for number in (1, 2):
            still(tmp_path / folder / f"{number}.png")
    made = as_sequences(find_photos(str(tmp_path), recursive=True).sources)
    assert [(one.name, len(one.parts)) for one in made] == [("a", 2), ("b", 2)]


def test_pictures_in_memory_are_one_sequence_and_arrays_of_four_axes_are_each(tmp_path: Path) -> None:
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 3
    [sequence] = as_sequences(find_photos(pictures).sources)
    assert (sequence.name, len(sequence.parts)) == ("sequence", 3)
    assert len(as_sequences(find_photos([np.zeros((3, 8, 8, 3), np.uint8)] * 2).sources)) == 2


def test_videos_of_a_folder_are_found_where_they_are_asked_for(tmp_path: Path) -> None:
    still(tmp_path / "1.png")
    (tmp_path / "film.mp4").write_bytes(b"")
    assert [one.name for one in find_photos(str(tmp_path)).sources] == ["1.png"]
    assert [one.name for one in find_photos(str(tmp_path), videos=True).sources] == ["1.png", "film.mp4"]


def test_nothing_is_no_sequence() -> None:
    with pytest.raises(UsageError, match="no sequence is named"):
        as_sequences([])
