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
    assert "(photos are prepared differently: frames)" in shell.err


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
        (
            ("film.gif", "--metric", "road"),
            2,
            "road scores maps of photos, and film.py:clips reads 6 frames. Metrics for sequences: deletion, insertion, removal",
        ),
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


def test_explained_sequences_are_scored_too(run: Any, shell: Any) -> None:
    assert run("film.gif", "--method", "winit,saliency", "--score") == 0, shell.err
    scores = sidecar("out/film.winit.json")["scores"]
    assert 0 < scores["deletion"] < scores["insertion"] < 1


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two films; in the second, frame 4 is bright."""
    folder = tmp_path / "films"
    folder.mkdir()
    gif(folder / "early.gif")
    first, *others = [frames()[number] for number in (0, 1, 3, 4, LIT, 5, 6, 7)]
    first.save(folder / "late.gif", save_all=True, append_images=others, duration=40)
    return folder


def test_methods_are_compared_on_sequences_with_controls(films: Path, shell: Any, tmp_path: Path) -> None:
    words = ("--model", f"{FILM}:clips", "--method", "winit,saliency,grad-cam", "-o", str(tmp_path / "out"), "--format", "json")
    assert shell("compare", str(films), *words) == 0, shell.err
    [group] = json.loads(shell.out)["groups"]
    cells = {(cell["method"], cell["metric"]): cell for cell in group["cells"]}
    assert cells["winit", "deletion"]["n"] == 2
    assert cells["winit", "deletion"]["mean"] < cells["random", "deletion"]["mean"]
    assert {"center", "random", "other@base=winit", "other@base=grad-cam"} <= {method for method, _ in cells}
    with Image.open(tmp_path / "out" / "compare.png") as sheet:
        assert sheet.width > 400


def test_a_network_of_photos_is_scored_frame_by_frame(films: Path, shell: Any, tmp_path: Path) -> None:
    words = ("--model", f"{FILM}:photos", "--frames", "4", "--frame-step", "2", "--method", "saliency", "--no-controls")
    store = str(tmp_path / "scores.db")
    assert shell("score", str(films), *words, "-o", store, "--format", "jsonl") == 0, shell.err
    assert "4 frames, one of 2" in shell.err
    assert len(shell.out.splitlines()) == 4
    assert shell("score", str(films), *words, "-o", store, "--format", "jsonl") == 0, shell.err
    assert shell.out == ""


def test_maps_of_sequences_from_files_are_scored(films: Path, shell: Any, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for stem, bright in (("early", LIT), ("late", 4)):
        values = np.zeros((6, 1, 1), np.float32)
        values[bright] = 1
        np.save(maps / f"{stem}.npy", values)
    words = ("--model", f"{FILM}:clips", "--maps", str(maps), "--metric", "deletion", "--no-controls")
    assert shell("score", str(films), *words, "--format", "jsonl") == 0, shell.err
    assert all(json.loads(line)["value"] < 0.6 for line in shell.out.splitlines())
    np.save(maps / "late.npy", np.eye(4, dtype=np.float32))
    assert shell("score", str(films), *words) == 3
    assert "holds a map of shape (4, 4); expected (frames, height, width)" in shell.err


@pytest.mark.parametrize("command", ["parity", "baseline", "audit", "aggregate", "trust"])
def test_what_compares_maps_of_photos_refuses_sequences(command: str, films: Path, shell: Any, tmp_path: Path) -> None:
    model, folder = f"{FILM}:clips", str(films)
    for number in range(6):
        gif(films / f"more-{number}.gif", 8 + number)
    (tmp_path / "xai.toml").write_text(f'model = "{model}"\nimages = ["films"]\nmethods = ["winit"]\n', "utf-8")
    words = {
        "parity": (model, model, folder),
        "baseline": ("--suite", str(tmp_path / "xai.toml"), "--trust"),
        "trust": (model, folder),
    }.get(command, (folder, "--model", model, "-o", str(tmp_path / "out")))
    assert shell(command, *words) == 2, shell.err
    assert "reads photos, and film.py:clips reads sequences of frames. xai explain, score and compare" in shell.err
