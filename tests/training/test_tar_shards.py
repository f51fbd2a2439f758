"""Tar shards as training data: the photos and labels are those of the same photos in folders."""

from __future__ import annotations

import gzip
import io
import tarfile

import numpy as np
import pytest

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.training.data import read_listing
from xaicli.training.decoded import open_photos
from xaicli.training.plan import prepare
from xaicli.training.tar_shards import expanded
from xaicli.training.train_request import TrainRequest

COLOURS = ("blue", "green", "red")


def pack(path, photos, label):
    """Photos of a folder of classes into a shard, each with the class that `label` gives it, or with none."""
    with tarfile.open(path, "w") as shard:
        for photo in photos:
            key = f"{photo.parent.name}/{photo.stem}"
            members = [(f"{key}{photo.suffix}", photo.read_bytes())]
            text = label(photo.parent.name)
            members += [] if text is None else [(f"{key}.cls", text.encode())]
            for name, content in members:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))


@pytest.fixture
def photos(toy):
    return sorted((toy / "train").glob("*/*.png"))


@pytest.fixture
def shards(photos, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    pack(folder / "train-000.tar", photos[:10], lambda name: name)
    pack(folder / "train-001.tar", photos[10:], lambda name: name)
    return folder


def test_a_folder_of_shards_has_the_photos_and_labels_of_a_folder_of_classes(toy, shards):
    packed, plain = read_listing(str(shards)), read_listing(str(toy / "train"))
    assert packed.classes == plain.classes == COLOURS
    assert packed.labels.tolist() == plain.labels.tolist()
    assert packed.names[0] == "train-000.tar/blue/0.png"
    pixels = [open_photos(listing, View(16, 16))[1].take(np.arange(len(listing))) for listing in (packed, plain)]
    assert (pixels[0] == pixels[1]).all()


def test_files_that_tell_of_shards_may_lie_beside_them(shards):
    plain = read_listing(str(shards))
    for name in ("info.json", "README.md", "LICENSE", "train-000.parquet"):
        (shards / name).write_text("{}")
    assert read_listing(str(shards)).names == plain.names


def test_shards_beside_a_photo_are_no_folder_of_shards(shards, photos):
    (shards / "one.png").write_bytes(photos[0].read_bytes())
    assert read_listing(str(shards)).names == ("one.png",)


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz"])
def test_compressed_shards_are_refused_with_the_command_that_uncompresses_them(shards, ending):
    packed = shards / f"train-000{ending}"
    packed.write_bytes(gzip.compress((shards / "train-000.tar").read_bytes()))
    (shards / "train-000.tar").unlink()
    expected = rf"train-000{ending} is compressed; expected uncompressed shards, FILE\.tar\. Write gunzip .*train-000{ending}, "
    for place in (packed, shards, shards / f"train-{{000..000}}{ending}"):
        with pytest.raises(InputError, match=expected):
            read_listing(str(place))


def test_a_compressed_tar_beside_photos_or_classes_changes_nothing(toy, photos, tmp_path):
    for folder in ("classes", "photos"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "all.tar.gz").write_bytes(b"")
    (tmp_path / "classes" / "red").symlink_to(toy / "train" / "red")
    (tmp_path / "photos" / "one.png").write_bytes(photos[0].read_bytes())
    assert read_listing(str(tmp_path / "classes")).classes == ("red",)
    assert len(read_listing(str(tmp_path / "photos"))) == 1


def test_a_range_in_braces_names_shards_by_number(shards, photos):
    assert read_listing(str(shards / "train-{000..001}.tar")).names == read_listing(str(shards)).names
    assert len(read_listing(str(shards / "train-{001..001}.tar"))) == len(photos) - 10
    assert list(expanded("{8..10}-{00..01}.tar")) == [f"{one}-{two}.tar" for one in (8, 9, 10) for two in ("00", "01")]


def test_a_shard_that_a_range_names_in_vain_is_told(shards):
    with pytest.raises(InputError, match=r"nothing at .*train-002\.tar; expected every shard of .*train-\{000\.\.999\}\.tar"):
        read_listing(str(shards / "train-{000..999}.tar"))
    with pytest.raises(InputError, match=r"there is nothing at .*train-\{1\.\.0\}\.tar"):
        read_listing(str(shards / "train-{1..0}.tar"))


def test_indices_are_classes_too_and_without_classes_there_are_no_labels(photos, tmp_path):
    pack(tmp_path / "numbered.tar", photos, lambda name: str(COLOURS.index(name)))
    numbered = read_listing(str(tmp_path / "numbered.tar"))
    assert numbered.classes == ("0", "1", "2")
    assert numbered.labels.tolist() == [COLOURS.index(photo.parent.name) for photo in photos]
    pack(tmp_path / "plain.tar", photos, lambda name: None)
    assert read_listing(str(tmp_path / "plain.tar")).labels is None


def test_hidden_members_that_macos_adds_are_no_photos_and_no_classes(photos, tmp_path):
    path = tmp_path / "mac.tar"
    pack(path, photos[:10], lambda name: name)
    with tarfile.open(path, "a") as shard:
        for name in ("blue/._0.png", "blue/._0.cls", ".cls"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            shard.addfile(entry, io.BytesIO(b"\x00\x05\x16\xff"))
    listing = read_listing(str(path))
    assert len(listing) == 10
    assert listing.labels.tolist() == [listing.classes.index(photo.parent.name) for photo in photos[:10]]


def test_a_fingerprint_stays_when_shards_are_moved_and_changes_with_a_photo(shards, photos, tmp_path):
    before = read_listing(str(shards)).fingerprint()
    moved = shards.rename(tmp_path / "elsewhere")
    assert read_listing(str(moved)).fingerprint() == before
    pack(moved / "train-001.tar", photos[10:-1], lambda name: name)
    assert read_listing(str(moved)).fingerprint() != before


def test_what_is_missing_or_damaged_is_named(photos, shards, tmp_path):
    pack(tmp_path / "some.tar", photos, lambda name: None if name == "red" else name)
    with pytest.raises(InputError, match=r"some.tar/red/0.png has no class, but others have one"):
        read_listing(str(tmp_path / "some.tar"))
    (tmp_path / "broken.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match=r"broken.tar is not a readable tar file"):
        read_listing(str(tmp_path / "broken.tar"))


def test_a_classifier_is_trained_from_shards(shards, tmp_path):
    run = prepare(
        TrainRequest(
            method="classifier",
            data=str(shards),
            model="tiny@widths=6+8@blocks=1",
            output=tmp_path / "out.safetensors",
            overrides={"epochs": 1, "batch_size": 8, "lr": 0.1},
            model_options={"resize": 16, "crop": 16, "device": "cpu"},
            held=3,
        )
    )
    list(run.events())
    assert run.output.is_file()
    assert run.task.classifier.classes == COLOURS
