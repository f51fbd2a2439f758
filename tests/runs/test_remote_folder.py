"""`xai explain -o URL`: the results of a folder of this machine, complete when their record is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

import xaicli
from xaicli.runs.result_claim import mark_of

fsspec = pytest.importorskip("fsspec")

NET = Path(__file__).parents[1] / "data" / "net.py"
WORDS = ("--model", f"{NET}:make", "--method", "grad-cam,center")
FOLDER = "maps-of-a-test"


class Remote:
    """A folder at a URL: what lies there, by name."""

    def __init__(self, url: str, files: Any, root: str) -> None:
        self.url, self.files, self.root = url, files, root

    def read(self) -> dict[str, bytes]:
        self.files.invalidate_cache()
        if not self.files.exists(self.root):
            return {}
        return {path.rpartition(f"{FOLDER}/")[2]: self.files.cat_file(path) for path in self.files.find(self.root)}

    def write(self, name: str, content: bytes) -> None:
        self.files.pipe_file(f"{self.root}/{name}", content)

    def remove(self, name: str) -> None:
        self.files.rm_file(f"{self.root}/{name}")


@pytest.fixture
def memory() -> Remote:
    files = fsspec.filesystem("memory")
    if files.exists(f"/{FOLDER}"):
        files.rm(f"/{FOLDER}", recursive=True)
    return Remote(f"memory://{FOLDER}", files, f"/{FOLDER}")


@pytest.fixture
def bucket(s3: Any) -> Remote:
    """A bucket of a server on loopback that speaks as S3 does."""
    if not s3.exists("bucket"):
        s3.mkdir("bucket")
    for path in s3.find("bucket"):
        s3.rm_file(path)
    return Remote(f"s3://bucket/{FOLDER}", s3, f"bucket/{FOLDER}")


@pytest.fixture
def xai(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        coarse = np.random.default_rng(number).integers(0, 200, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(f"photos/{number}.png")
    return CommandLine(capsys)


def in_folder(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def assert_same_results(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    """Records hold the command line, which names the folder."""
    assert one.keys() == other.keys()
    assert {name: one[name] for name in one if not name.endswith(".json")} == {
        name: other[name] for name in other if not name.endswith(".json")
    }


@pytest.mark.parametrize("place", ["memory", "bucket"])
def test_a_url_holds_what_a_folder_would_and_a_second_run_makes_what_is_missing(
    xai: CommandLine, request: pytest.FixtureRequest, place: str
) -> None:
    remote: Remote = request.getfixturevalue(place)
    more = ("--sheet", "--facts", "--metric", "sparseness")
    assert xai("explain", "photos", *WORDS, *more, "-o", "plain") == 0, xai.err
    table = xai.out
    assert xai("explain", "photos", *WORDS, *more, "-o", remote.url) == 0, xai.err
    assert xai.out.split() == table.replace("plain/", f"{remote.url}/").split()
    assert f"sheet {remote.url}/sheet.png" in xai.err
    assert_same_results(remote.read(), in_folder(Path("plain")))
    whole = remote.read()
    for ending in ("npy", "png", "json", "facts.json"):
        remote.remove(f"1.center.{ending}")
    assert xai("explain", "photos", *WORDS, "-o", remote.url) == 0, xai.err
    assert "5 of 6 maps complete before" in xai.err
    again = remote.read()
    assert again.keys() == whole.keys() - {"1.center.facts.json"}
    assert again["1.center.npy"] == whole["1.center.npy"]
    kept = [name for name in again if not name.startswith("1.center.")]
    assert {name: again[name] for name in kept} == {name: whole[name] for name in kept}


def test_scores_and_another_style_are_added_to_maps_that_are_there(xai: CommandLine, memory: Remote) -> None:
    assert xai("explain", "photos", *WORDS, "-o", memory.url) == 0, xai.err
    before = memory.read()
    assert xai("explain", "photos", *WORDS, "-o", memory.url, "--metric", "sparseness", "--look", "grey", "--text") == 0, xai.err
    assert "6 of 6 maps complete before" in xai.err
    after = memory.read()
    assert after.keys() == before.keys()
    for name in before:
        assert (after[name] == before[name]) == name.endswith(".npy"), name
    assert b'"sparseness"' in after["0.grad-cam.json"]


def test_attributions_are_read_back_from_a_url(xai: CommandLine, memory: Remote) -> None:
    plain = xaicli.explain("photos", f"{NET}:make", "grad-cam")
    made = xaicli.explain("photos", f"{NET}:make", "grad-cam", output=memory.url)
    kept = xaicli.explain("photos", f"{NET}:make", "grad-cam", output=memory.url)
    for own, first, second in zip(plain, made, kept, strict=True):
        assert np.array_equal(own.values, first.values)
        assert np.array_equal(own.values, second.values)


def test_a_result_that_a_killed_run_began_is_made_and_one_of_others_is_refused(xai: CommandLine, memory: Remote) -> None:
    memory.write("1.center.npy", b"half")
    assert xai("explain", "photos", *WORDS, "-o", memory.url) == 2
    assert f"{memory.url}/1.center.npy exists already, and xai did not write it" in xai.error
    assert memory.read() == {"1.center.npy": b"half"}
    memory.write(mark_of(Path("1.center")).name, b"1")
    assert xai("explain", "photos", *WORDS, "-o", memory.url) == 0, xai.err
    assert xai("explain", "photos", *WORDS, "-o", "plain") == 0, xai.err
    assert_same_results(memory.read(), in_folder(Path("plain")))


def test_a_result_of_another_definition_is_refused_and_overwrite_replaces_it(xai: CommandLine, memory: Remote) -> None:
    line = ("explain", "photos", "--model", f"{NET}:make", "--method", "rise@n_masks=8", "-o", memory.url)
    assert xai(*line) == 0, xai.err
    before = memory.read()
    assert xai(*line, "--seed", "1") == 2
    assert f"{memory.url}/0.rise@n_masks=8.json holds another result: seed 0 there, 1 here" in xai.error
    assert memory.read() == before
    assert xai(*line, "--seed", "1", "--overwrite") == 0, xai.err
    assert memory.read().keys() == before.keys()
    assert memory.read()["0.rise@n_masks=8.npy"] != before["0.rise@n_masks=8.npy"]


def test_a_file_url_is_the_folder_itself(xai: CommandLine, tmp_path: Path) -> None:
    assert xai("explain", "photos", *WORDS, "-o", f"file://{tmp_path}/maps") == 0, xai.err
    assert xai("explain", "photos", *WORDS, "-o", "maps") == 0, xai.err
    assert "6 of 6 maps complete before" in xai.err


@pytest.mark.parametrize(
    ("url", "told"),
    [("nosuch://bucket/maps", "nosuch"), ("s3://no-such-bucket/maps", "s3://no-such-bucket/maps/.probe cannot be used")],
)
def test_what_cannot_be_reached_is_one_line(xai: CommandLine, bucket: Remote, url: str, told: str) -> None:
    assert xai("explain", "photos", *WORDS, "-o", url) == 3
    assert told in xai.error


def test_a_write_that_fails_ends_the_run_in_one_line_and_leaves_no_record(
    xai: CommandLine, memory: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = type(memory.files).pipe_file

    def full(self: Any, path: str, value: bytes, *more: Any, **words: Any) -> None:
        if path.endswith("1.center.png"):
            raise PermissionError("no room")
        put(self, path, value, *more, **words)

    with monkeypatch.context() as patched:
        patched.setattr(type(memory.files), "pipe_file", full)
        assert xai("explain", "photos", *WORDS, "-o", memory.url) == 3
    assert f"{memory.url}/1.center.png cannot be used: PermissionError: no room" in xai.error
    assert "1.center.json" not in memory.read()
    assert xai("explain", "photos", *WORDS, "-o", memory.url) == 0, xai.err
    own = {name for name in memory.read() if name.startswith("1.center")}
    assert own == {f"1.center.{one}" for one in ("npy", "png", "json")}


def test_other_commands_refuse_a_url(xai: CommandLine) -> None:
    assert xai("audit", "photos", *WORDS, "-o", "s3://bucket/audit") in (2, 3)
    assert "s3:" in xai.error
    assert not Path("s3:").exists()


@pytest.mark.parametrize("url", ["s3://", "memory://", "memory:///", "file://", "http://127.0.0.1:1/maps"])
def test_a_url_without_a_folder_and_a_web_page_are_refused(xai: CommandLine, url: str) -> None:
    assert xai("explain", "photos", *WORDS, "-o", url) == 2
    assert f"{url} names no folder" in xai.error or f"{url} is a URL" in xai.error
    assert not list(Path().glob("*.npy"))


def test_a_file_of_results_is_refused_at_a_url(xai: CommandLine) -> None:
    assert xai("explain", "photos", *WORDS, "-o", "maps") == 0, xai.err
    assert xai("bundle", "maps", "-o", "memory://evidence.zip") == 2
    assert "memory://evidence.zip is a URL" in xai.error
    assert xai("score", "photos", *WORDS, "--metric", "deletion@steps=2", "-o", "s3://bucket/scores.db") == 2
    assert "s3://bucket/scores.db is a URL" in xai.error
    assert not list(Path().glob("*:"))


def test_a_name_that_this_machine_does_not_take_is_one_line(xai: CommandLine, memory: Remote) -> None:
    memory.write("x" * 300 + ".json", b"{}")
    assert xai("explain", "photos", *WORDS, "-o", memory.url) == 3
    assert "cannot be copied to this machine" in xai.error
    assert memory.url in xai.error
