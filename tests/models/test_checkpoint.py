"""Checkpoints: written whole, read back, refused for another classifier in words, found by themselves."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
import safetensors.torch
import torch

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.models.checkpoint import (
    about_classifier,
    checkpoint_for,
    checkpoints_folder,
    is_checkpoint,
    list_checkpoints,
    read_checkpoint,
    read_metadata,
    require_fit,
    write_checkpoint,
)


@pytest.fixture
def classifier(tiny_cnn, classifier_of):
    return dataclasses.replace(classifier_of(tiny_cnn), name="resnet18", weights_fingerprint="a" * 16, classes=("ant", "bee"))


@pytest.fixture
def written(tmp_path, classifier):
    """The path of a checkpoint of t-tame for the classifier."""
    path = tmp_path / "my.safetensors"
    tensors = {"head.weight": torch.randn(3, 2), "head.count": torch.tensor(3), "other.weight": torch.ones(1)}
    write_checkpoint(path, tensors, {"method": "t-tame", "layers": ["a"], **about_classifier(classifier)})
    return path


def test_what_is_written_is_read_back(written, classifier):
    checkpoint = read_checkpoint(written)
    assert set(checkpoint.state("head")) == {"weight", "count"}
    assert checkpoint.state("head")["weight"].shape == (3, 2)
    assert checkpoint.metadata["layers"] == ["a"]
    assert checkpoint.metadata["fingerprint"] == classifier.weights_fingerprint
    assert is_checkpoint(written)


def test_half_precision_halves_the_file_and_is_read_as_float32(tmp_path):
    tensors = {"w": torch.randn(64, 64), "large": torch.tensor([1e6]), "count": torch.tensor(70_000)}
    write_checkpoint(tmp_path / "half.safetensors", tensors, {"method": "x"}, half=True)
    write_checkpoint(tmp_path / "full.safetensors", tensors, {"method": "x"})
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "full.safetensors").stat().st_size
    read = read_checkpoint(tmp_path / "half.safetensors").tensors
    assert read["w"].dtype == torch.float32
    torch.testing.assert_close(read["w"], tensors["w"], atol=2e-3, rtol=1e-3)
    assert read["large"].item() == 1e6
    assert read["count"].item() == 70_000


def test_a_file_is_read_once_until_it_changes(written):
    first = read_checkpoint(written)
    assert read_checkpoint(written) is first
    os.utime(written, ns=(1, 1))
    assert read_checkpoint(written) is not first


def test_a_file_of_the_same_size_and_time_in_its_place_is_read_again(written):
    status = written.stat()
    first, content = read_checkpoint(written), written.read_bytes()
    written.unlink()
    written.write_bytes(content)
    os.utime(written, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert read_checkpoint(written) is not first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "resnet34", "weights_fingerprint": "b" * 16}, "another classifier: resnet18, not resnet34"),
        ({"weights_fingerprint": "b" * 16}, "its weights [(]fingerprint a{16}, not b{16}[)]"),
        ({"weights_fingerprint": "b" * 16, "count": 7}, "5 classes, not 7"),
        ({"weights_fingerprint": "b" * 16, "classes": ("bee", "ant")}, "other class names"),
        ({"weights_fingerprint": "b" * 16, "view": View(48, 48)}, "view resize .* instead of 48 and crop None instead of 48"),
    ],
)
def test_another_classifier_is_refused_naming_what_differs(written, classifier, change, words):
    other = dataclasses.replace(classifier, **change)
    with pytest.raises(InputError, match=words) as told:
        checkpoint_for("t-tame", other, str(written))
    assert "xai train t-tame" in told.value.hint


def test_another_method_is_refused(written, classifier):
    with pytest.raises(InputError, match=r"my\.safetensors was trained for t-tame, not for p-tame"):
        checkpoint_for("p-tame", classifier, str(written))


def test_renamed_classes_of_the_same_network_do_not_matter(written, classifier):
    renamed = dataclasses.replace(classifier, classes=("Ameise", "Biene"))
    require_fit(written, read_metadata(written), "t-tame", renamed)


def test_an_installed_checkpoint_is_found_by_itself_the_newest_first(classifier):
    about = {"method": "t-tame", **about_classifier(classifier)}
    for at, name in enumerate(("a", "b")):
        path = checkpoints_folder() / f"{name}.safetensors"
        write_checkpoint(path, {"w": torch.tensor([float(at)])}, about)
        os.utime(path, ns=(at, at))
    assert checkpoint_for("t-tame", classifier).path.name == "b.safetensors"
    assert [found.path.stem for found in list_checkpoints() if not found.bundled] == ["b", "a"]


def test_where_none_is_installed_the_error_says_how_to_train_one(classifier):
    about = {"method": "t-tame", **about_classifier(dataclasses.replace(classifier, name="vgg16", weights_fingerprint="c" * 16))}
    write_checkpoint(checkpoints_folder() / "x.safetensors", {"w": torch.zeros(1)}, about)
    words = r"no checkpoint of t-tame for resnet18 .*some for .*vgg16.*xai train t-tame --model resnet18"
    with pytest.raises(InputError, match=words):
        checkpoint_for("t-tame", classifier)


def test_a_broken_file_among_the_installed_is_listed_and_stops_nobody(classifier):
    folder = checkpoints_folder()
    write_checkpoint(folder / "good.safetensors", {"w": torch.zeros(1)}, {"method": "t-tame", **about_classifier(classifier)})
    (folder / "bad.safetensors").write_bytes(b"nothing of the kind")
    faults = {found.path.stem: bool(found.fault) for found in list_checkpoints() if not found.bundled}
    assert faults == {"good": False, "bad": True}
    assert checkpoint_for("t-tame", classifier).path.stem == "good"


def plain(metadata: dict[str, str] | None) -> bytes:
    return safetensors.torch.save({"w": torch.zeros(1)}, metadata)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{broken", "not a readable safetensors file"),
        (plain(None), "holds weights without the metadata of xai"),
        (plain({"xaicli": "{"}), "are not JSON"),
        (plain({"xaicli": "[1]"}), "name no method"),
        (plain({"xaicli": json.dumps({"method": 3, "schema": 1})}), "name no method"),
        (plain({"xaicli": json.dumps({"method": "x", "schema": 99})}), "of version 99; expected version 2"),
        (b"PK\x03\x04" + b"0" * 80, "readable safetensors|no checkpoint"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_words(tmp_path, content, words):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_checkpoint(path)
    assert not is_checkpoint(path)


def test_a_file_that_is_not_there_is_named(tmp_path, classifier):
    with pytest.raises(InputError, match=r"there is no file .*gone\.safetensors"):
        checkpoint_for("t-tame", classifier, str(tmp_path / "gone.safetensors"))


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="no space left"):
        write_checkpoint(tmp_path / "x.safetensors", {"w": torch.zeros(1)}, {"method": "x"})
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_changed_by_a_bit_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {"net.weight": torch.arange(6.0).reshape(2, 3), "net.count": torch.tensor(3)}
    write_checkpoint(path, tensors, {"method": "t-tame", "seed": 17}, half=True)
    whole = path.read_bytes()
    assert torch.equal(read_checkpoint(path).tensors["net.weight"], tensors["net.weight"])
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="a tensor is not what was written"):
        read_checkpoint(path)
    path.write_bytes(whole.replace(b": 17", b": 18"))
    with pytest.raises(InputError, match="its checksum is another"):
        read_checkpoint(path)


def test_a_checkpoint_of_before_checksums_is_read(tmp_path):
    path = tmp_path / "x.safetensors"
    header = {"xaicli": json.dumps({"schema": 1, "method": "t-tame"})}
    safetensors.torch.save_file({"net.weight": torch.ones(2)}, path, header)
    assert read_checkpoint(path).metadata == {"schema": 1, "method": "t-tame"}
