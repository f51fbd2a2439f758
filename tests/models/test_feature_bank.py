"""Memory banks: files that read back, files that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from xaicli.errors import InputError
from xaicli.models.feature_bank import FORMAT, Bank, identity, read_bank


def bank_of(rows: list[list[float]], labels: list[int], classes: tuple[str, ...] = ("a", "b")) -> Bank:
    return Bank(torch.tensor(rows), torch.tensor(labels), classes, "net", "f" * 16)


def test_a_bank_reads_back_and_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    bank_of([[1.0, 0.0], [0.0, 1.0]], [0, 1], ("möwe, gull", "b")).save(path)
    read = read_bank(path)
    assert torch.equal(read.features, torch.eye(2))
    assert (read.labels.tolist(), read.classes, read.model, read.fingerprint) == ([0, 1], ("möwe, gull", "b"), "net", "f" * 16)
    assert read_bank(path) is read
    bank_of([[0.0, 1.0]], [0]).save(path)
    assert len(read_bank(path).features) == 1


def test_a_bank_is_known_by_name_and_content(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    bank_of([[1.0, 0.0]], [0]).save(path)
    first = identity(str(path))
    assert first.startswith("bank ")
    bank_of([[1.0, 0.0]], [1]).save(path)
    assert identity(str(path)) != first
    assert identity("no/such/file") == "file"
    assert identity("~nobody-of-that-name/\0") == "\0"


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def foreign(path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)


def without_labels(path: Path) -> None:
    told = {"classes": ["a"], "model": "", "fingerprint": "", "photos": "", "content": ""}
    safetensors.torch.save_file({"features": torch.zeros(2, 2)}, path, {FORMAT: json.dumps(told)})


def metadata_of_another_form(path: Path) -> None:
    safetensors.torch.save_file({"features": torch.zeros(2, 2)}, path, {FORMAT: "[1]"})


def label_beyond(path: Path) -> None:
    bank_of([[1.0, 0.0]], [7]).save(path)


def text(path: Path) -> None:
    path.write_text("features, labels")


SPOILED = [damage, foreign, without_labels, metadata_of_another_form, label_beyond, text]


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_files_that_are_no_bank_are_refused(spoil, tmp_path: Path) -> None:
    path = tmp_path / "bank"
    bank_of([[1.0, 0.0]], [0]).save(path)
    spoil(path)
    with pytest.raises(InputError, match="bank"):
        read_bank(path)


def test_a_bank_of_other_width_or_network_is_refused() -> None:
    bank = bank_of([[1.0, 0.0]], [0])
    bank.require("f" * 16, "net", 2, "b")
    for fingerprint, width in (("0" * 16, 2), ("f" * 16, 3)):
        with pytest.raises(InputError, match=r"b holds features of net .* xai bank"):
            bank.require(fingerprint, "other", width, "b")
