"""Tar shards as training data: the photos and labels are those of the same photos in folders."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.training.data import read_listing
from xaicli.training.decoded import open_photos
from xaicli.training.plan import prepare
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
