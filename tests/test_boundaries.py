"""What others may have written, read with the wrong types or out of all bounds; names that no file system or encoding takes."""

from __future__ import annotations

import io
import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xaicli.attribution import Attribution
from xaicli.cli.main import main
from xaicli.cli.streams import ResultBytes, Results
from xaicli.errors import InputError, UsageError, XaiError
from xaicli.images.view import View
from xaicli.record import load_record
from xaicli.results import checksums
from xaicli.results.store import Store
from xaicli.stamps import CHECKSUM, with_checksum

TESTS = Path(__file__).resolve().parent
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make", "--crop", "32", "--resize", "32")


@pytest.fixture(autouse=True)
def _photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.tile(np.linspace(0, 200, 32, dtype=np.uint8), (32, 1))).convert("RGB").save("a.png")


DEEP = "[" * 100_000 + "]" * 100_000
WRONG: dict[str, Any] = {
    "null": None, "a list": [], "a dict": {"a": 1}, "a text": "x", "a yes": True, "a number": 1.5, "a huge number": 10**40,
}  # fmt: skip
ENTRIES = ("image", "frame", "size", "method", "parameters", "version", "targets", "decision", "top", "sign", "view", "seed",
           "arrays", "notes", "schema_version", "target_probability")  # fmt: skip
FITTING = {"image": "a text", "method": "a text", "target_probability": "a number", "parameters": "a dict"}


@pytest.fixture
def sidecar(capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["explain", "a.png", *MODEL, "--method", "center", "-q"]) == 0
    return Path("xai-out/a.center.json")


def changed(whole: dict[str, Any], entry: str, value: Any) -> dict[str, Any]:
    """A sidecar with another entry, and the checksum that fits."""
    return with_checksum({name: old for name, old in whole.items() if name != CHECKSUM} | {entry: value})


def test_a_sidecar_that_changed_is_refused_and_one_of_before_checksums_is_read(sidecar: Path) -> None:
    whole = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(whole | {"target_probability": whole["target_probability"] + 0.001}))
    with pytest.raises(InputError, match="its checksum is another"):
        load_record(sidecar)
    before = {name: value for name, value in whole.items() if name not in (CHECKSUM, "checksums")}
    sidecar.write_text(json.dumps(before))
    with pytest.raises(InputError, match="its checksum is another"):
        load_record(sidecar)
    sidecar.write_text(json.dumps(before | {"schema_version": 1}))
    assert Attribution.load(sidecar).record.target_probability == whole["target_probability"]


def test_a_map_that_changed_is_not_that_of_its_record(sidecar: Path) -> None:
    path = sidecar.with_suffix(".npy")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="is not the array that its record was written with"):
        Attribution.load(sidecar)


def test_a_sidecar_whose_entries_are_of_other_types_is_refused_or_means_nothing_else(sidecar: Path) -> None:
    whole = json.loads(sidecar.read_text())
    for entry in ENTRIES:
        for what, value in WRONG.items():
            sidecar.write_text(json.dumps(changed(whole, entry, value)))
            if FITTING.get(entry) == what or (entry in ("arrays", "notes") and what == "a list"):
                continue
            try:
                load_record(sidecar)
            except InputError:
                continue
            pytest.fail(f"{entry} = {what} is read")


@pytest.mark.parametrize("content", [DEEP, "{}", "[1]", "null", '{"schema_version": 1}', "\x00", '{"schema_version": 1e999}'])
def test_a_sidecar_that_is_no_record_is_a_line_of_explain(
    content: str, sidecar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar.write_text(content)
    assert main(["explain", "a.png", *MODEL, "--method", "center"]) == 2
    assert "fault in xai itself" not in capsys.readouterr().err


def test_an_array_beside_a_sidecar_has_no_path_in_its_name(sidecar: Path) -> None:
    whole = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(changed(whole, "arrays", ["../../x"])))
    with pytest.raises(InputError):
        load_record(sidecar)


@pytest.fixture
def store(capsys: pytest.CaptureFixture[str]) -> Path:
    words = ("--method", "center", "--metric", "sparseness", "--no-controls", "-o", "s.db", "-q")
    assert main(["score", "a.png", *MODEL, *words]) == 0
    return Path("s.db")


def columns_of(path: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [(table, row[1]) for table in tables for row in database.execute(f"PRAGMA table_info({table})")]


def test_a_store_with_odd_columns_is_read_or_refused_in_one_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = store.read_bytes()
    for value in (DEEP, b"\xff\x00", -(2**62), '{"a": {"b": [1]}}'):
        for table, column in columns_of(store):
            store.write_bytes(whole)
            with sqlite3.connect(store) as database:
                try:
                    database.execute(f"UPDATE {table} SET {column} = ?", (value,))
                    if table != "checksums":
                        # By somebody who knows of them.
                        checksums.write_all(database)
                except sqlite3.Error:
                    continue
            database.close()
            for words in (["export", "s.db"], ["report", "s.db", "-o", "r.html", "--overwrite"]):
                assert main(words) in (0, 3), (table, column, value)
                assert "fault in xai itself" not in capsys.readouterr().err, (table, column, value)


def test_an_input_of_any_size_is_no_view() -> None:
    with pytest.raises(UsageError, match="an input of 100000 x 100000 pixels"):
        View(crop=100_000)


SCORED = ["--method", "center", "--metric", "sparseness", "--no-controls"]
NAMES = {"output": ["explain", "a.png", "--method", "center", "-o", b"o\xff"],
         "photo": ["explain", b"\xff.png", "--method", "center"],
         "store": ["score", b"\xff.png", *SCORED, "-o", b"s\xff.db"]}  # fmt: skip


@pytest.mark.parametrize("words", NAMES.values(), ids=NAMES)
def test_names_that_are_no_text_work_to_the_end(words: list[Any], tmp_path: Path) -> None:
    os.link(b"a.png", b"\xff.png")
    line = [*map(os.fsencode, [sys.executable, "-m", "xaicli.cli.main", *words, *MODEL])]
    done = subprocess.run(line, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    if words[0] == "explain":
        folder = Path(os.fsdecode(words[-1])) if words[-2] == "-o" else Path("xai-out")
        (record,) = folder.glob("*.json")
        assert load_record(record).method == "center"


def test_names_that_are_no_text_work_in_every_command(tmp_path: Path) -> None:
    photos, out = os.fsdecode(b"p\xff"), os.fsdecode(b"o\xff")
    os.mkdir(photos)
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"{photos}/{photos}{number}.png")
    net = f"{TESTS / 'data' / 'net.py'}"
    told = {
        ("audit", photos, *MODEL, "--no-clusters", "-o", out): 0,
        ("aggregate", photos, *MODEL, "-o", out): 0,
        ("score", photos, *MODEL, *SCORED, "-o", f"{out}.db"): 0,
        ("compare", photos, *MODEL, *SCORED, "-o", out): 0,
        ("augment", photos, "--audit", out, "--region", "map", "--keep-going", "-o", f"{out}-copies"): 0,
        ("parity", f"{net}:make", f"{net}:make", photos, "--method", "center", "-o", out): 0,
        ("trust", f"{net}:make", photos, "--method", "center", "--check", "fidelity", "-o", out): 0,
        ("verify", out, "--model", f"{net}:make"): 0,
        ("bundle", out, f"{out}.db", "-o", f"{out}.zip"): 0,
        ("verify", f"{out}.zip", "--model", f"{net}:make"): 0,
        ("report", f"{out}.db", "-o", f"{out}.html"): 0,
        ("export", f"{out}.db", "-o", f"{out}.csv"): 0,
        ("merge", f"{out}.db", "-o", f"{out}-all.db"): 0,
    }
    for words, code in told.items():
        # As the command's own streams, these take any text.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
            assert main([*words]) == code, err.getvalue()


@pytest.mark.parametrize("name", ["n" * 300, "loop", "loop/x", os.fsdecode(b"\xff\xfe")])
@pytest.mark.parametrize("words", [["explain"], ["explain", "a.png", "-o"], ["check", "--suite"], ["report", "s.db", "-o"],
                                   ["export"], ["explain", "a.png", "--weights"], ["explain", "a.png", "--classes"],
                                   ["train", "t-tame", "--data"], ["parity", "x.py:a", "x.py:b", "a.png", "-o"],
                                   ["trust", "x.py:a", "a.png", "-o"], ["augment", "a.png", "--audit"], ["verify"], ["bundle"],
                                   ["merge", "s.db", "-o"], ["bundle", "s.db", "-o"], ["audit", "a.png", "-o"]])  # fmt: skip
def test_names_that_lead_nowhere_are_one_line(words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.symlink("loop", "loop")
    code = main([*words, name, *(["--dry-run", "--method", "center"] if words[0] == "explain" else [])])
    told = capsys.readouterr().err
    assert code in (0, 2, 3), told
    assert "fault in xai itself" not in told


def test_links_in_a_circle_in_a_folder_end_no_run() -> None:
    os.symlink("x.png", "x.png")
    Path("sub").mkdir()
    os.symlink("..", "sub/up")
    assert main(["explain", ".", *MODEL, "--recursive", "--method", "center", "--keep-going"]) == 4


def test_a_store_under_a_file_size_limit_says_so() -> None:
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); from xaicli.cli.main import run; run()"
    words = ["score", "a.png", *MODEL, "--method", "center", "--metric", "sparseness", "--no-controls", "-o", "s.db"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "rollback" not in done.stderr
    assert "limit on file sizes" in done.stderr or "disk is full" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 8192


class Terminal(Results):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("text", "shown"), [("a\x1b[2Jb", "a\\x1b[2Jb"), ("\x1b[31mred\x1b[0m", None), ("a\tb\n", None)])
def test_a_terminal_gets_colours_and_no_commands(text: str, shown: str | None, tmp_path: Path) -> None:
    stream = Terminal(open(tmp_path / "tty", "wb"), encoding="utf-8")  # noqa: SIM115  # closed with the stream
    stream.write(text)
    stream.close()
    assert (tmp_path / "tty").read_text() == (shown or text)


def test_data_on_a_terminal_has_no_colours_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal(open(tmp_path / "tty", "wb"), encoding="utf-8")  # noqa: SIM115  # closed with the stream
    monkeypatch.setattr("sys.stdout", stream)
    ResultBytes().write(b"a\x1b[31mred.png,0.5\n")
    stream.close()
    assert (tmp_path / "tty").read_text() == "a\\x1b[31mred.png,0.5\n"


def refuses(call: Callable[[], object]) -> None:
    with pytest.raises(XaiError):
        call()


def test_a_store_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    refuses(lambda: Store.open(tmp_path, write=False).__enter__())
