"""Nothing is written over what a run reads, nor over what xai did not write; what xai wrote is no photo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.claims import claim, is_own
from xaicli.cli.main import main
from xaicli.errors import InputError
from xaicli.files import require_writable, sweep, write_atomic
from xaicli.images.find import find
from xaicli.results.store import Store
from xaicli.runs.result_claim import mark_of

TESTS = Path(__file__).resolve().parent
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")
METHOD = ("--method", "center")


def photo(path: Path, value: int = 90) -> bytes:
    Image.fromarray(np.tile(np.linspace(0, value, 32, dtype=np.uint8), (32, 1))).convert("RGB").save(path)
    return path.read_bytes()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of scores of `a.png`, in the current folder."""
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "a.png")
    words = ("score", "a.png", *MODEL, "--method", "grad-cam", "--metric", "sparseness", "--no-controls", "-o", "a.db", "-q")
    assert main([*words]) == 0
    return tmp_path / "a.db"


WRITERS: dict[str, tuple[str, ...]] = {
    "report": ("report", "a.db", "-o"),
    "export csv": ("export", "a.db", "--format", "csv", "-o"),
    "export jsonl": ("export", "a.db", "--format", "jsonl", "-o"),
    "export parquet": ("export", "a.db", "--format", "parquet", "-o"),
}


@pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
def test_a_store_is_never_replaced_by_what_is_made_of_it(words: tuple[str, ...], store: Path) -> None:
    os.symlink("a.db", "link.db")
    before = store.read_bytes()
    for name in ("a.db", "link.db", "./a.db"):
        for force in ((), ("--overwrite",)):
            assert main([*words, name, *force]) == 2
    assert store.read_bytes() == before


@pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
def test_a_file_of_others_is_replaced_only_when_told_and_ones_own_always(words: tuple[str, ...], store: Path) -> None:
    if words[3:4] == ("parquet",):
        pytest.importorskip("pyarrow")
    before = photo(Path("b.webp"))
    # Without an ending, for no command writes all kinds.
    Path("b.webp").rename("b")
    assert main([*words, "b"]) == 2
    assert Path("b").read_bytes() == before
    assert main([*words, "b", "--overwrite"]) == 0
    assert is_own(Path("b"))
    assert main([*words, "b"]) == 0


@pytest.mark.parametrize("name", ["sheet.png", "a.center.png", "a.center.npy"])
def test_explain_replaces_no_file_of_others(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"))
    before = photo(Path("other.png"), 200)
    Path(name).write_bytes(before)
    words = ["explain", "a.png", *MODEL, *METHOD, "-o", ".", "--sheet"]
    assert main(words) == 2
    assert sorted(os.listdir()) == sorted(["a.png", "other.png", name])
    assert Path(name).read_bytes() == before
    assert main([*words, "--overwrite"]) == 0
    assert Path(name).read_bytes() != before


@pytest.mark.parametrize("name", ["a.daam.steps.npy", "a.grad-cam.1.npy"])
def test_files_whose_names_are_known_late_replace_none_of_others(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Further arrays of a method, and maps of targets that are the two best classes; asked again, the answer is the same."""
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"))
    Path(name).write_bytes(b"of others")
    made = (
        ["tiny-vit", "--method", "daam"] if "daam" in name else [MODEL[1], *MODEL[2:], "--method", "grad-cam", "--target", "top2"]
    )
    words = ["explain", "a.png", "--model", *made, "-o", "."]
    for _ in range(2):
        assert main(words) == 2
        assert f"{name} exists already, and xai did not write it" in capsys.readouterr().err
        assert Path(name).read_bytes() == b"of others"
    assert main([*words, "--overwrite"]) == 0
    assert Path(name).read_bytes() != b"of others"


@pytest.mark.parametrize("force", [(), ("--overwrite",)])
def test_an_array_that_the_run_reads_is_not_replaced_by_a_further_array(
    force: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"))
    np.save("a.daam.steps.npy", np.full((40, 40, 3), 0.5, dtype=np.float32))
    before = Path("a.daam.steps.npy").read_bytes()
    words = ["explain", "a.png", "a.daam.steps.npy", "--model", "tiny-vit", "--method", "daam", "-o", "."]
    assert main([*words, *force]) == 2
    assert Path("a.daam.steps.npy").read_bytes() == before


@pytest.mark.parametrize("force", [(), ("--overwrite",)])
def test_a_photo_of_the_run_is_never_replaced(force: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"))
    before = photo(Path("a.center.png"), 200)
    assert main(["explain", "a.png", "a.center.png", *MODEL, *METHOD, "-o", ".", *force]) == 2
    assert Path("a.center.png").read_bytes() == before


def test_compare_replaces_no_sheet_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"))
    before = photo(Path("compare.png"), 200)
    words = ["compare", "a.png", *MODEL, "--method", "grad-cam", "--metric", "sparseness", "--no-controls", "-o", "."]
    assert main(words) == 2
    assert Path("compare.png").read_bytes() == before
    Path("compare.png").unlink()
    assert main(words) == 0
    assert main(words) == 0


@pytest.mark.parametrize("recursive", [(), ("--recursive",)])
def test_pictures_that_xai_drew_are_no_photos(
    recursive: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"))
    for _ in range(3):
        assert main(["explain", ".", *MODEL, *METHOD, "-o", ".", "--sheet", *recursive]) == 0
    assert [source.path for source in find(["."], recursive=True)] == ["a.png"]
    assert [source.path for source in find(["*.png"])] == ["a.png"]
    assert len(find(["a.center.png"])) == 1


def test_a_run_that_was_killed_in_a_result_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"))
    Path("out").mkdir()
    Path("out/a.center.npy").write_bytes(b"half")
    mark_of(Path("out/a.center")).write_bytes(b"1")
    assert main(["explain", "a.png", *MODEL, *METHOD, "-o", "out"]) == 0
    assert sorted(os.listdir("out")) == ["a.center.json", "a.center.npy", "a.center.png"]


def test_two_models_in_one_folder_keep_the_results_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has looked at the folder before the first wrote into it."""
    monkeypatch.chdir(tmp_path)
    photo(Path("a.png"))
    from xaicli.runs.folder import FolderRun

    found = FolderRun.find

    def raced(self: FolderRun) -> object:
        complete = found(self)
        if self.settings.seed == 0:
            monkeypatch.setattr(FolderRun, "find", found)
            assert main(["explain", "a.png", *MODEL, "--method", "random", "--seed", "1", "-o", "out", "-q"]) == 0
        return complete

    monkeypatch.setattr(FolderRun, "find", raced)
    assert main(["explain", "a.png", *MODEL, "--method", "random", "-o", "out"]) == 2
    assert json.loads(Path("out/a.random.json").read_text())["seed"] == 1
    assert sorted(os.listdir("out")) == ["a.random.json", "a.random.npy", "a.random.png"]


HOLDING = """
import sys, time
from pathlib import Path
from xaicli.files import write_atomic
def write(file):
    file.write(b"half"); file.flush(); print("writing", flush=True); time.sleep(60)
write_atomic(Path(sys.argv[1]), write)
"""


@pytest.fixture
def writing(tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        return process

    return start


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_living_one_s_is_not(
    tmp_path: Path, writing: Callable[[], subprocess.Popen[str]]
) -> None:
    dead, alive = writing(), writing()
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        (tmp_path / ".hers.part").touch()
        assert len(list(tmp_path.glob(".x.*.part"))) == 2
        code = (
            "import sys, pathlib; from xaicli.files import write_atomic; "
            "write_atomic(pathlib.Path(sys.argv[1]), lambda f: f.write(b'y'))"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "y")], check=True)
        assert len(list(tmp_path.glob(".x.*.part"))) == 1
        assert (tmp_path / ".hers.part").exists()
    finally:
        alive.kill()
        alive.wait()


def test_a_file_is_whole_or_not_there_at_all(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", lambda file: file.write(b"old"))

    def fails(file: object) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        write_atomic(tmp_path / "a", fails)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_maps_in_a_folder_of_photos_are_no_photos_and_arrays_of_others_are(tmp_path: Path) -> None:
    for name in ("scan.npy", "scan.grad-cam.npy", "scan.daam.steps.npy", "scan.band.npy"):
        np.save(tmp_path / name, np.zeros((2, 2), np.uint8))
    for name in ("scan.grad-cam.json", "scan.daam.json"):
        (tmp_path / name).write_text('{\n "image": "scan.npy",\n "schema_version": 1\n}\n')
    (tmp_path / "scan.band.json").write_text('{"bands": ["red"]}')
    assert [Path(found.path).name for found in find([str(tmp_path)])] == ["scan.band.npy", "scan.npy"]


def test_what_a_killed_run_left_of_its_first_look_at_a_folder_goes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        require_writable(tmp_path)
    (left,) = tmp_path.iterdir()
    sweep.cache_clear()
    write_atomic(tmp_path / "a.txt", lambda file: file.write(b"a"))
    assert not left.exists()


@pytest.mark.parametrize("length", [250, 300])
def test_a_name_that_is_too_long_is_refused_before_any_work_in_the_same_words(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite writes a journal beside a store, whose name is longer still."""
    monkeypatch.chdir(tmp_path)
    words = "nn cannot be written: file name too long; expected a shorter name"
    with pytest.raises(InputError, match=words):
        Store.open("n" * length, late=True)
    with pytest.raises(InputError, match=words):
        Store.open("n" * length)
    if length > 255:
        with pytest.raises(InputError, match=words):
            claim(Path("n" * length))
    assert not list(tmp_path.iterdir())
