"""Sequences on the command line and in Python: from a GIF, a folder of frames or a video to maps, strips and records."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import xaicli
from xaicli.errors import UsageError

FILM = Path(__file__).parents[1] / "data" / "film.py"
LIT = 2


def frames(count: int = 8) -> list[Image.Image]:
    """Dark frames, no two alike, since a GIF joins those that are; the left half of frame 2 is bright."""
    made = []
    for number in range(count):
        array = np.full((40, 50, 3), 25 + number, np.uint8)
        if number == LIT:
            array[:, :25] = 255
        made.append(Image.fromarray(array))
    return made


def gif(path: Path, count: int = 8) -> Path:
    first, *others = frames(count)
    first.save(path, save_all=True, append_images=others, duration=40)
    return path


@pytest.fixture
def run(shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    gif(tmp_path / "film.gif")
    return lambda *words, model="clips": shell("explain", *words, "--model", f"{FILM}:{model}", "-o", "out")


def sidecar(path: str) -> dict[str, Any]:
    return json.loads(Path(path).read_text("utf-8"))  # type: ignore[no-any-return]


def test_a_gif_is_explained_frame_by_frame(run: Any, shell: Any) -> None:
    assert run("film.gif", "--method", "winit", "--steps", "--animate", "gif") == 0, shell.err
    values = np.load("out/film.winit.npy")
    assert values.shape == (6, 1, 1)
    assert int(values.argmax()) == LIT
    record = sidecar("out/film.winit.json")
    assert record["view"]["frames"] == 6
    assert record["notes"][0] == "frames 0 to 5 of 8"
    assert record["decision"]["name"] == "left"
    with Image.open("out/film.winit.png") as picture:
        assert picture.size == (3 * 50, 2 * 40)
    with Image.open("out/film.winit.steps.gif") as moving:
        assert moving.n_frames == 6  # type: ignore[attr-defined]
    assert Path("out/film.winit.steps.png").is_file()
    assert "6 frames" in shell.err


def test_the_still_pictures_of_a_folder_are_one_sequence(run: Any, shell: Any, tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    for number, frame in enumerate(frames(12), 1):
        frame.save(folder / f"{number}.png")
    assert run("stills", "--method", "winit") == 0, shell.err
    assert int(np.load("out/stills.winit.npy").argmax()) == LIT
    assert "1 sequence x 1 method" in shell.err


def test_a_network_of_photos_reads_frames_one_by_one(run: Any, shell: Any) -> None:
    assert run("film.gif", "--method", "winit@removal=zero", "--target", "red", "--frames", "all", model="photos") == 0, shell.err
    values = np.load("out/film.winit@removal=zero.0.npy")
    assert values.shape == (8, 1, 1)


def test_a_gif_given_to_a_network_of_photos_is_one_photo(run: Any, shell: Any) -> None:
    assert run("film.gif", "--method", "center", model="photos") == 0, shell.err
    record = sidecar("out/film.center.json")
    assert "frames" not in record["view"]
    assert record["notes"] == ["animated, 8 frames: frame 0 used"]


def test_frames_begin_where_the_user_says(run: Any, shell: Any) -> None:
    assert run("film.gif", "--method", "winit", "--frames", "3", "--frame", "1", "--frame-step", "2") == 0, shell.err
    record = sidecar("out/film.winit.json")
    assert (record["frame"], record["notes"][0]) == (1, "frames 1 to 5 of 8, one of 2")
    assert (record["view"]["frames"], record["view"]["frame_step"]) == (3, 2)


def test_what_is_complete_is_not_made_again(run: Any, shell: Any) -> None:
    assert run("film.gif", "--method", "winit") == 0
    assert run("film.gif", "--method", "winit") == 0
    assert "1 of 1 map complete before" in shell.err
    assert run("film.gif", "--method", "winit", "--frames", "4") == 2
    assert "holds another result" in shell.err


def test_a_sheet_shows_the_frames(run: Any, shell: Any) -> None:
    assert run("film.gif", "--method", "winit", "--sheet") == 0, shell.err
    assert Path("out/sheet.png").is_file()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("film.gif", "--frames", "9"), 3, "film.gif holds 8 frames, and the network reads frames 0 to 8"),
        (
            ("film.gif", "--method", "lime"),
            2,
            "lime explains photos, and film.py:clips reads 6 frames. Methods for sequences: grad-cam",
        ),
        (("film.gif", "--method", "winit@window=7"), 2, "a window of 7 frames, and film.py:clips reads 6 frames"),
        (("film.gif", "--frames", "none"), 2, "'none' is not a number of frames, or all"),
        (("film.gif", "--text"), 2, "a sentence of a sequence"),
        (("film.gif", "--score"), 2, "deletion scores maps of photos"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run: Any, shell: Any, words: tuple[str, ...], code: int, said: str) -> None:
    words = words if "--method" in words else (*words, "--method", "winit")
    assert run(*words) == code, shell.err
    assert said in shell.err
    assert "Traceback" not in shell.err


def test_winit_on_a_network_of_photos_is_refused(run: Any, shell: Any) -> None:
    assert run("film.gif", "--method", "winit", model="photos") == 2
    assert "winit needs sequences of frames, and film.py:photos reads photos. --frames N" in shell.err


@pytest.mark.parametrize("form", ["list", "array", "moving"])
def test_python_takes_frames_in_memory(form: str, tmp_path: Path) -> None:
    pictures = frames(6)
    given: Any = pictures if form == "list" else np.stack([np.asarray(one) for one in pictures])
    if form == "moving":
        given = Image.open(io.BytesIO(gif(tmp_path / "a.gif", 6).read_bytes()))
    [made] = xaicli.explain(given, f"{FILM}:clips", "winit")
    assert made.values.shape == (6, 1, 1)
    assert int(made.values.argmax()) == LIT
    assert made.overlay().size == (3 * 50, 2 * 40)


def test_python_makes_a_loaded_classifier_read_frames() -> None:
    [made] = xaicli.explain(frames(5), xaicli.load_classifier(f"{FILM}:photos"), "winit", frames="all")
    assert made.record.view["frames"] == 5


def test_scores_of_sequences_are_refused() -> None:
    with pytest.raises(UsageError, match="reads 6 frames"):
        xaicli.score(frames(6), f"{FILM}:clips", ["winit"])
