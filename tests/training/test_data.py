"""Photos and labels: every form they come in, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xaicli.errors import InputError, UsageError, XaiError
from xaicli.training.data import Listing, classes_of, read_listing


def table(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.fixture
def photos(tmp_path: Path, toy: Path) -> Path:
    """A folder of four photos, a.png to d.png."""
    for name, source in zip("abcd", sorted((toy / "train" / "red").iterdir()), strict=False):
        shutil.copy(source, tmp_path / f"{name}.png")
    return tmp_path


def test_a_folder_a_class_gives_labels_in_the_order_of_names(toy):
    listing = read_listing(str(toy / "train"))
    assert listing.classes == ("blue", "green", "red")
    assert np.bincount(listing.labels).tolist() == [8, 8, 8]
    assert {name.split("/")[0] for name, label in zip(listing.names, listing.labels, strict=True) if label == 2} == {"red"}


def test_held_out_photos_take_their_indices_from_the_training_classes(tmp_path, toy):
    shutil.copytree(toy / "val" / "red", tmp_path / "red")
    listing = read_listing(str(tmp_path), ("blue", "green", "red"))
    assert set(listing.labels.tolist()) == {2}


def test_a_class_that_training_does_not_know_is_refused(tmp_path, toy):
    shutil.copytree(toy / "val" / "red", tmp_path / "purple")
    with pytest.raises(InputError, match="class purple, which is none of the 3"):
        read_listing(str(tmp_path), ("blue", "green", "red"))


def test_photos_in_one_folder_have_no_labels(photos):
    listing = read_listing(str(photos))
    assert listing.names == ("a.png", "b.png", "c.png", "d.png")
    assert listing.labels is None


def test_a_list_of_files_has_no_labels(photos):
    table(photos, "some.txt", "c.png\na.png\n")
    assert read_listing(f"@{photos}/some.txt").names == ("c.png", "a.png")


@pytest.mark.parametrize(
    "text", ["image,label\na.png,cat\nb.png,dog\n", "label,image\ncat,a.png\ndog,b.png\n", "a.png,cat\nb.png,dog\n"]
)
def test_a_csv_names_photos_from_its_own_folder(photos, text):
    listing = read_listing(table(photos, "set.csv", text))
    assert listing.classes == ("cat", "dog")
    assert listing.labels.tolist() == [0, 1]
    assert [source.file.name for source in listing.sources] == ["a.png", "b.png"]


def test_a_csv_without_labels_is_a_list(photos):
    assert read_listing(table(photos, "set.csv", "image\na.png\nb.png\n")).labels is None


def test_labels_that_are_numbers_are_class_indices(photos):
    listing = read_listing(table(photos, "set.csv", "image,label\na.png,3\nb.png,1\n"))
    assert listing.classes == ("0", "1", "2", "3")
    assert listing.labels.tolist() == [3, 1]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_an_image_folder_of_the_hub_is_read_by_its_table(photos, name):
    rows = [{"file_name": "b.png", "label": "x"}, {"file_name": "a.png", "label": "y"}]
    lines = [json.dumps(row) for row in rows] if name.endswith("l") else ["file_name,label", "b.png,x", "a.png,y"]
    table(photos, name, "\n".join(lines))
    listing = read_listing(str(photos))
    assert listing.names == ("b.png", "a.png")
    assert [listing.classes[label] for label in listing.labels] == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("set.csv", "image,label\na.png,cat\nmissing.png,dog\n", "line 3: there is no photo missing.png"),
        ("set.csv", "image,label\na.png,cat\nb.png,\n", "line 3 has no label, but others have one"),
        ("set.csv", "image,label\na.png,cat\na.png,dog\n", "line 3 gives a.png another label"),
        ("set.csv", "image,label\na.png\n", "line 2 has 1 cell"),
        ("set.csv", "", "lists no photos"),
        ("set.csv", "image,label\na.png,0\nb.png,99999\n", "2 classes, and one is number 99999"),
        ("set.jsonl", "{]\n", "line 1 is not JSON"),
        ("set.jsonl", '["a.png"]\n', "line 1 names no photo"),
        ("set.jsonl", '{"file_name": 3}\n', "line 1 names no photo"),
        ("set.jsonl", '{"file_name": "a.png", "label": [1]}\n', "has a label that is a list"),
        ("set.jsonl", '{"file_name": "a.png", "label": true}\n', "has a label that is a bool"),
    ],
)
def test_a_table_that_cannot_be_used_says_where(photos, name, text, words):
    with pytest.raises(InputError, match=words):
        read_listing(table(photos, name, text))


def test_splits_are_not_taken_for_classes(toy):
    with pytest.raises(UsageError, match=r"splits, not classes.*--data .*train"):
        read_listing(str(toy))


def test_loose_photos_beside_class_folders_are_refused(tmp_path, toy, photos):
    shutil.copytree(toy / "val" / "red", tmp_path / "red")
    with pytest.raises(InputError, match="photos beside its folders"):
        read_listing(str(tmp_path))


def test_a_class_folder_without_photos_is_named(tmp_path, toy):
    shutil.copytree(toy / "val", tmp_path / "val")
    (tmp_path / "val" / "grey").mkdir()
    with pytest.raises(InputError, match="grey holds no photos"):
        read_listing(str(tmp_path / "val"))


@pytest.mark.parametrize("place", ["nowhere", "nowhere.csv", "@nowhere.txt"])
def test_a_place_that_is_not_there_is_named(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="nowhere"):
        read_listing(place)


def test_a_file_of_another_kind_is_no_data(photos):
    with pytest.raises(InputError, match="is not a set of photos"):
        read_listing(str(photos / "a.png"))


def test_labels_are_demanded_in_words(photos):
    with pytest.raises(UsageError, match="lfi-cam learns from labels, but here has none"):
        read_listing(str(photos)).require_labels("lfi-cam", "here")


def test_a_split_is_drawn_with_the_seed_and_loses_nothing(toy):
    listing = read_listing(str(toy / "train"))
    rest, held = listing.split(5, seed=1)
    assert len(held) == 5
    assert {*rest.names, *held.names} == set(listing.names)
    assert held.names == listing.split(5, seed=1)[1].names
    assert held.names != listing.split(5, seed=2)[1].names


def test_a_sample_keeps_the_order_and_the_labels(toy):
    listing = read_listing(str(toy / "train"))
    some = listing.sample(6, seed=0)
    places = [listing.names.index(name) for name in some.names]
    assert places == sorted(places)
    assert some.labels.tolist() == listing.labels[places].tolist()
    assert listing.sample(100, seed=0) is listing


def test_the_fingerprint_knows_labels_and_files_but_not_the_folder(tmp_path, toy):
    first = read_listing(str(toy / "val"))
    shutil.copytree(toy / "val", tmp_path / "copy")
    assert read_listing(str(tmp_path / "copy")).fingerprint() == first.fingerprint()
    (tmp_path / "copy" / "red" / "0.png").write_bytes(b"12")
    assert read_listing(str(tmp_path / "copy")).fingerprint() != first.fingerprint()
    assert Listing(first.sources, first.names, first.labels[::-1], first.classes).fingerprint() != first.fingerprint()


@given(st.binary(max_size=200))
def test_whatever_a_table_holds_it_is_read_or_refused_in_words(tmp_path_factory, content):
    for ending in ("csv", "jsonl"):
        path = tmp_path_factory.mktemp("table") / f"set.{ending}"
        path.write_bytes(content)
        with pytest.raises(XaiError):
            read_listing(str(path))


def test_names_of_classes_are_in_natural_order():
    assert classes_of(["c10", "c2", "c1", "c2"], Path("set.csv")) == ("c1", "c2", "c10")
