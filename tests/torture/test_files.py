"""Damaged files of every kind, and files of other programs: refused in words, or read; never emptied, never anything else."""

from __future__ import annotations

import io
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from torture.attacks import bit_flips, damaged, truncations
from torture.tally import Tally
from torture.written import KINDS, MODEL

from xaicli.cli.main import main
from xaicli.errors import XaiError

pytestmark = pytest.mark.torture
NEEDED = {
    "ONNX networks": "onnxruntime",
    "OpenVINO networks": "openvino",
    "weights of OpenVINO networks": "openvino",
    "TensorFlow Lite networks": "ai_edge_litert",
    "files of rows (Parquet)": "pyarrow",
}
"""What must be installed to read a kind."""


def attacks(content: bytes, amount: Callable[[int, int], int]) -> Iterator[tuple[str, bytes]]:
    yield from truncations(content, amount(10, 100))
    yield from bit_flips(content, amount(20, 1000), seed=21)
    yield from damaged(content, amount(12, 300), seed=21)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_in_words_or_read(kind: str, amount: Callable[[int, int], int], tmp_path: Path) -> None:
    if kind in NEEDED:
        pytest.importorskip(NEEDED[kind])
    write, read, checked = KINDS[kind]
    path = write(tmp_path)
    whole, expected = path.read_bytes(), repr(read(path))
    tally = Tally(f"damaged {kind}")
    for what, content in attacks(whole, amount):
        path.write_bytes(content)
        try:
            found = repr(read(path))
        except XaiError as error:
            line = error.line()
            assert "\n" not in line, what
            tally.count("refused", line=line.replace(f"{path.parent}/", "").replace(f"{path.parent}", "FOLDER"))
        else:
            # Where nothing is left a store begins anew.
            assert not checked or found == expected or not content, f"{what}: a value changed silently"
            tally.count("read as before" if found == expected else "read as the file now says")
        assert path.read_bytes() == content, f"{what}: a reader changed the file"
    tally.keep()


def of_other_programs() -> dict[str, bytes]:
    """A file of each kind that has nothing to do with xai."""
    picture, archive = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    return {
        "a PNG": picture.getvalue(),
        "a zip": archive.getvalue(),
        "an SQLite database": database(),
        "a text": b"dear diary\n" * 100,
        "a pickle": b"\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00\x8c\x03abc\x94.",
        "JSON": b'{"a": [1, 2]}',
        "TOML": b'[tool]\na = "b"\n',
        "zeros": bytes(4096),
        "an ELF": b"\x7fELF\x02\x01\x01" + bytes(200),
    }


def database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as raw:
        raw.execute("CREATE TABLE cats (name TEXT)")
        raw.execute("INSERT INTO cats VALUES ('Tom')")
        raw.commit()
        return raw.serialize()


READABLE = {("class names", "a text"), ("lists of labels", "JSON")}
"""A text is a name a line, and two words with a comma between them are a photo and its label."""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "schema" not in kind and "written" not in kind])
def test_files_of_other_programs_are_refused_in_words_and_left_alone(kind: str, tmp_path: Path) -> None:
    if kind in NEEDED:
        pytest.importorskip(NEEDED[kind])
    write, read, _ = KINDS[kind]
    path = write(tmp_path)
    tally = Tally(f"files of other programs as {kind}")
    for what, content in of_other_programs().items():
        path.write_bytes(content)
        if (kind, what) in READABLE:
            read(path)
            continue
        with pytest.raises(XaiError) as refusal:
            read(path)
        line = refusal.value.line()
        assert "\n" not in line
        tally.count("refused", line=line.replace(f"{path.parent}/", "").replace(f"{path.parent}", "FOLDER"))
        assert path.read_bytes() == content
    tally.keep()


@pytest.mark.parametrize("what", of_other_programs())
def test_scores_are_not_written_into_files_of_other_programs(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, content = tmp_path / "s.db", of_other_programs()[what]
    path.write_bytes(content)
    words = ["score", "sample:hopper", *MODEL, "--method", "center", "--metric", "sparseness", "-q", "-o", str(path)]
    assert main(words) in (2, 3)
    assert path.read_bytes() == content
    assert capsys.readouterr().err.count("\n") == 1
