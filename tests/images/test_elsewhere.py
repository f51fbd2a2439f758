"""Photos by URL, in tar shards and in Parquet files are found, named and decoded like files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.decode import decode
from xaicli.images.find import find
from xaicli.images.names import stems
from xaicli.images.source import Source, content_hash


def picture(number: int) -> bytes:
    made = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


def assert_read(sources: list[Source], numbers: list[int]) -> None:
    """The photos are those of these numbers, in order, as files of the same bytes are."""
    assert len(sources) == len(numbers)
    for source, number in zip(sources, numbers, strict=True):
        own = decode(Image.open(io.BytesIO(picture(number))))
        assert np.array_equal(np.asarray(decode(source).image), np.asarray(own.image))
        assert content_hash(source) == decode(source).content


@pytest.fixture
def memory() -> str:
    """A folder in memory with 0.png to 2.png, a text, and 3.png in a folder below."""
    files = fsspec.filesystem("memory")
    root = "/photos-of-a-test"
    if files.exists(root):
        files.rm(root, recursive=True)
    for number in range(3):
        files.pipe(f"{root}/{number}.png", picture(number))
    files.pipe(f"{root}/notes.txt", b"no photo")
    files.pipe(f"{root}/below/3.png", picture(3))
    return f"memory:/{root}"


def test_photos_of_a_url_are_found_as_those_of_a_folder_are(memory: str) -> None:
    assert_read(find([memory]), [0, 1, 2])
    assert_read(find([memory], recursive=True), [0, 1, 2, 3])
    assert_read(find([f"{memory}/1.png"]), [1])
    assert_read(find([f"{memory}/[12].png"]), [1, 2])
    [source] = find([f"{memory}/1.png"])
    assert source.name == "1.png"
    assert stems([source])[source] == "1"


def test_a_list_may_hold_urls(memory: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{memory}/2.png\n{memory}/0.png\n")
    assert_read(find([f"@{tmp_path / 'list.txt'}"]), [2, 0])


def test_a_file_url_names_files_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(5))
    assert_read(find([f"file://{tmp_path}"]), [5])


@pytest.mark.parametrize("at", ["missing.png", "nowhere", "[89].png"])
def test_what_is_not_there_is_one_line(memory: str, at: str) -> None:
    with pytest.raises(InputError, match=r"does not exist|holds no photos|cannot be read"):
        find([f"{memory}/{at}"])


def test_a_protocol_that_nobody_knows_is_one_line() -> None:
    with pytest.raises(InputError, match="nosuch"):
        find(["nosuch://bucket/a.png"])


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as shard:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("damage", ["half a header", "a damaged header", "half a photo"])
def test_a_tar_shard_that_is_cut_short_or_damaged_is_refused_rather_than_read_in_part(tmp_path: Path, damage: str) -> None:
    shard = tar(tmp_path / "photos.tar", {"cat.png": picture(0), "dog.png": picture(1)})
    with tarfile.open(shard) as opened:
        second = opened.getmembers()[1]
    content = bytearray(shard.read_bytes())
    if damage == "a damaged header":
        content[second.offset + 150] ^= 0xFF
    else:
        del content[(second.offset if damage == "half a header" else second.offset_data) + 100 :]
    shard.write_bytes(content)
    with pytest.raises(InputError, match="is not a readable tar file"):
        find([str(shard)])


def test_photos_of_tar_shards_are_read_in_their_order(tmp_path: Path, memory: str) -> None:
    members = {"cat.png": picture(0), "cat.json": b"{}", "b/dog.png": picture(1), "dog.cls": b"3"}
    shard = tar(tmp_path / "photos-000.tar", members)
    found = find([str(shard)])
    assert_read(found, [0, 1])
    assert [source.path for source in found] == [f"{shard}/cat.png", f"{shard}/b/dog.png"]
    tar(tmp_path / "photos-001.tar", {"cow.png": picture(2)})
    assert_read(find([str(tmp_path / "photos-*.tar")]), [0, 1, 2])
    fsspec.filesystem("memory").pipe("/photos-of-a-test/x.tar", shard.read_bytes())
    assert_read(find([f"{memory}/x.tar"]), [0, 1])


def test_a_tar_that_is_none_or_holds_no_photos_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no photos"):
        find([str(tar(tmp_path / "texts.tar", {"a.txt": b"text"}))])
    (tmp_path / "cut.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(InputError, match="not a readable tar"):
        find([str(tmp_path / "cut.tar")])


@pytest.mark.parametrize("beside", [True, False])
def test_photos_of_a_parquet_column_are_read_from_every_row_group(tmp_path: Path, beside: bool) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = [{"bytes": picture(number), "path": "x.png"} if beside else picture(number) for number in range(5)]
    path = tmp_path / "train.parquet"
    parquet.write_table(arrow.table({"label": [1, 2, 3, 4, 5], "image": cells}), path, row_group_size=2)
    found = find([str(path)])
    assert_read(found, [0, 1, 2, 3, 4])
    assert found[3].path == f"{path}/3-x.png" if beside else f"{path}/3"


def test_a_parquet_file_without_images_is_one_line(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.table({"label": [1, 2]}), tmp_path / "labels.parquet")
    with pytest.raises(InputError, match="no column of images"):
        find([str(tmp_path / "labels.parquet")])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read"):
        find([str(tmp_path / "cut.parquet")])


def test_photos_of_an_s3_bucket_are_read(s3: Any) -> None:
    s3.mkdir("photos-of-a-test")
    for number in range(3):
        s3.pipe(f"photos-of-a-test/val/{number}.png", picture(number))
    assert_read(find(["s3://photos-of-a-test/val"]), [0, 1, 2])
    with pytest.raises(InputError, match="does not exist"):
        find(["s3://photos-of-a-test/val/9.png"])
