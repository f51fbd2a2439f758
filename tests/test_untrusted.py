"""Files that nobody vouches for: whatever lies there, a reader refuses it at once, in one line and without taking memory."""

from __future__ import annotations

import ast
import os
import pickle
import signal
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from xaicli.attribution import load_array
from xaicli.cli.defaults import settings
from xaicli.errors import InputError, XaiError
from xaicli.gate import baseline_file
from xaicli.gate.suite import read_suite
from xaicli.images.annotations import read_marks
from xaicli.images.decode import decode
from xaicli.images.find import find
from xaicli.images.source import Source, content_hash
from xaicli.models.checkpoint import read_checkpoint, read_metadata
from xaicli.models.classes import read_classes
from xaicli.models.weights import read_weights
from xaicli.record import load_record
from xaicli.results.connection import connect
from xaicli.runs.labelled import read_labels
from xaicli.runs.target_choice import read_targets
from xaicli.training.data import read_listing
from xaicli.training.snapshot import read_snapshot
from xaicli.untrusted import is_file, is_folder, is_there, read

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [*(ROOT / "xaicli").rglob("*.py"), *(ROOT / "methods").rglob("*.py"), *(ROOT / "metrics").rglob("*.py")]

READERS: dict[str, Callable[[Path], object]] = {
    "photo.jpg": lambda path: decode(path),
    "list.txt": lambda path: find([f"@{path}"]),
    "classes.txt": read_classes,
    "classes.json": read_classes,
    "targets.csv": lambda path: read_targets(path, None),  # type: ignore[arg-type]
    "labels.csv": read_labels,
    "xai.toml": read_suite,
    "marks.json": lambda path: read_marks(path),
    "marks.csv": lambda path: read_marks(path),
    "data.csv": lambda path: read_listing(str(path)),
    "record.json": load_record,
    "map.npy": load_array,
    "weights.pth": read_weights,
    "weights.safetensors": read_weights,
    "trained.safetensors": read_checkpoint,
    "metadata.safetensors": read_metadata,
    "run.resume": lambda path: read_snapshot(path, {}),
    "store.db": lambda path: connect(path, write=False),
    "written.db": lambda path: connect(path, write=True),
}
"""Whatever reads a file that is no photo, by a name that it takes."""


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    """A reader that waits for a pipe waits for ever: ended here, so that it fails."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("a reader waits"))
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refused(reader: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(XaiError) as caught:
        reader(path)
    line = caught.value.line()
    assert path.stem in line
    return line


@pytest.mark.parametrize(("name", "reader"), READERS.items(), ids=READERS)
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_not_waited_for(name: str, reader: Callable[[Path], object], linked: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    os.mkfifo(tmp_path / "pipe" if linked else path)
    if linked:
        path.symlink_to("pipe")
    refused(reader, path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
@pytest.mark.parametrize(("name", "reader"), READERS.items(), ids=READERS)
def test_a_device_is_not_read(name: str, reader: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / name
    path.symlink_to("/dev/zero")
    refused(reader, path)


@pytest.mark.parametrize(("name", "reader"), READERS.items(), ids=READERS)
@pytest.mark.parametrize("what", ["nothing", "a folder", "a loop", "a long name"])
def test_what_is_no_file_is_refused_in_words(name: str, reader: Callable[[Path], object], what: str, tmp_path: Path) -> None:
    path = tmp_path / (f"{'n' * 300}{name}" if what == "a long name" else name)
    if what == "a folder":
        path.mkdir()
        if name == "list.txt" or name.endswith(".csv"):
            (path / "x.txt").touch()
    if what == "a loop":
        path.symlink_to(path.name)
    if (name, what) == ("written.db", "nothing"):
        pytest.skip("a store that is written is made where nothing lies")
    with pytest.raises(XaiError) as caught:
        reader(path)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize("path", ["n" * 300, "a\0b", "loop", "gone", "loop/x"])
def test_a_path_that_leads_nowhere_is_nothing(path: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    place = os.path.join(tmp_path, path)
    assert not is_file(place)
    assert not is_folder(place)
    assert not is_there(place)


def test_a_pipe_among_photos_has_no_hash(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert content_hash(Source.of_file(tmp_path / "a.jpg")) is None


def test_a_baseline_whose_files_are_pipes_is_damaged(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "baseline.json")
    with pytest.raises(XaiError):
        baseline_file.load(tmp_path)


def test_the_user_s_settings_may_be_a_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "xaicli").mkdir()
    os.mkfifo(tmp_path / "xaicli" / "config.toml")
    assert isinstance(settings(), dict)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    sparse = tmp_path / "large"
    with open(sparse, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"large is larger than it can be"):
        read(sparse, "text")


def expanded(path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(1 << 15, 1 << 15)}, path)


def many_views(path: Path) -> None:
    base = torch.zeros(1 << 18, dtype=torch.float16)
    torch.save({f"w{at}": base.view(1 << 9, 1 << 9) for at in range(4000)}, path)


def packed(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2) + b"\0" * (1 << 26))
        archive.writestr("a/version", "3")


def sparse(path: Path) -> None:
    torch.save({"w": torch.sparse_coo_tensor([[0], [0]], [1.0], (1 << 20, 1 << 20))}, path)


def without_values(path: Path) -> None:
    torch.save({"w": torch.empty(1 << 20, 1 << 20, device="meta")}, path)


@pytest.mark.parametrize("write", [expanded, many_views, packed, sparse, without_values])
def test_weights_that_stand_for_more_than_they_are_get_refused(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    write(path)
    assert path.stat().st_size < 4 << 20
    assert "bomb" in refused(read_weights, path)


def test_tied_and_half_precision_weights_are_read(tmp_path: Path) -> None:
    shared = torch.randn(3, 4).half()
    torch.save({"a": shared, "b": shared.t(), "c": shared[:1]}, tmp_path / "tied.pth")
    state = read_weights(tmp_path / "tied.pth")
    assert torch.equal(state["b"], shared.t().float())


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1000000, 1000000)", "(9223372036854775807, 4)", "(3,)"])
def test_an_array_shorter_than_its_header_says_is_refused(shape: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path = tmp_path / "map.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 8)
    assert "map.npy" in refused(load_array, path)


def test_an_array_is_read_back(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "map.npy", values)
    assert np.array_equal(load_array(tmp_path / "map.npy"), values)


LOOKS = {"is_file", "is_dir", "exists", "read_text", "read_bytes"}
OWN_FILES = {
    "untrusted.py",
    "evidence.py",
    "remote_folder.py",
    "decode.py",
    "download.py",
    "device.py",
    "decoded.py",
    "connection.py",
    "page.py",
    "check_page.py",
    "cache.py",
    "files.py",
    "streams.py",
}
"""Where files are opened otherwise: the reader, the writer, what a zip unpacks to, photos, streams, folders that fsspec reaches,
and files of the package or the system."""


@pytest.mark.parametrize("path", ROOMS, ids=[path.relative_to(ROOT).as_posix() for path in ROOMS])
def test_no_other_place_opens_files_or_looks_for_them(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
    plain = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
    found = (named & LOOKS) | (plain & {"open"})
    assert not found or path.name in OWN_FILES, f"{found}: xaicli.untrusted reads and looks"
