"""By what a checkpoint counts in results, and the figures that are written into it after its training."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

from xaicli.errors import InputError
from xaicli.models.checkpoint import read_checkpoint, read_metadata, write_checkpoint
from xaicli.models.checkpoint_content import add_figures, content_of, figures_of, hash_as_trained, without_figures
from xaicli.stamps import checksum_of, sha256_file


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "head.safetensors"
    tensors = {"head.weight": torch.randn(3, 2), "count": torch.tensor(3)}
    write_checkpoint(path, tensors, {"method": "t-tame", "parameters": {"area": 1.0}}, half=True)
    return path


def test_a_file_counts_by_its_name_and_its_bytes(written, tmp_path):
    assert content_of(str(written)) == f"head.safetensors {sha256_file(written)[:16]}"
    assert content_of(str(tmp_path / "nowhere.safetensors")) == "nowhere.safetensors"
    (tmp_path / "weights.pt").write_bytes(b"no checkpoint")
    assert content_of(str(tmp_path / "weights.pt")).startswith("weights.pt ")


def test_figures_that_are_added_change_neither_tensors_nor_identity(written):
    before, metadata, tensors = content_of(str(written)), read_metadata(written), safetensors.torch.load_file(written)
    for value in (0.25, 0.5):
        add_figures(written, {"scores": {"insertion": value}})
        assert figures_of(read_metadata(written))["scores"] == {"insertion": value}
        assert content_of(str(written)) == before
        assert without_figures(read_metadata(written)) == metadata
    found = safetensors.torch.load_file(written)
    assert found.keys() == tensors.keys()
    assert all(found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert read_checkpoint(written).metadata["parameters"] == {"area": 1.0}


def test_the_same_figures_give_the_same_bytes(written):
    add_figures(written, {"scores": 1})
    first = written.read_bytes()
    add_figures(written, {"scores": 2})
    add_figures(written, {"scores": 1})
    assert written.read_bytes() == first


@pytest.mark.parametrize("changed", ["tensors", "metadata"])
def test_a_file_with_figures_that_was_changed_otherwise_counts_as_another(written, changed):
    add_figures(written, {"scores": 1})
    before, metadata, tensors = hash_as_trained(written), read_metadata(written), safetensors.torch.load_file(written)
    if changed == "tensors":
        tensors["head.weight"] = tensors["head.weight"] + 1
    else:
        metadata["parameters"] = {"area": 2.0}
    write_checkpoint(written, tensors, metadata)
    assert hash_as_trained(written) == sha256_file(written) != before
    # What was measured was the file before.
    assert not figures_of(read_metadata(written))


def test_a_file_of_the_first_version_gets_checksums_and_keeps_its_identity(tmp_path):
    path = tmp_path / "old.safetensors"
    old = {"xaicli": json.dumps({"schema": 1, "method": "classifier", "view": {"crop": 64}})}
    safetensors.torch.save_file({"network.weight": torch.ones(2)}, path, old)
    before = content_of(str(path))
    add_figures(path, {"accuracy": 0.5})
    assert read_metadata(path)["schema"] == 2
    assert read_checkpoint(path).metadata["tensors"]
    assert content_of(str(path)) == before


@pytest.mark.parametrize(
    "entry", ["text", [1], {}, {"as trained": "text"}, {"as trained": {"record": 1}}, {"as trained": {"sha256": "no hash"}}]
)
def test_an_entry_of_that_name_which_holds_no_figures_is_ignored(tmp_path, entry):
    path = tmp_path / "own.safetensors"
    write_checkpoint(path, {"w": torch.ones(1)}, {"method": "t-tame"})
    if isinstance(entry, dict) and "sha256" in entry.get("as trained", ""):
        entry["as trained"]["record"] = checksum_of(read_metadata(path))
    write_checkpoint(path, {"w": torch.ones(1)}, {"method": "t-tame", "measured": entry})
    assert hash_as_trained(path) == sha256_file(path)
    assert figures_of(read_metadata(path)) == {}


def test_no_checkpoint_gets_figures(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        add_figures(tmp_path / "weights.safetensors", {})
