"""Memory banks: the vote of neighbours by hand, files that read back, files that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch.testing import assert_close

from xaicli.errors import InputError
from xaicli.network.feature_bank import FORMAT, Bank, identity, over_its_sum, read_bank, unit_columns, vote


def bank_of(rows: list[list[float]], labels: list[int], classes: tuple[str, ...] = ("a", "b")) -> Bank:
    return Bank(torch.tensor(rows), torch.tensor(labels), classes, "net", "f" * 16)


def test_check_8_weights_of_two_agreeing_neighbours() -> None:
    bank = bank_of([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]], [1, 1, 0])
    by_sum = vote(torch.tensor([[3.0, 4.0]]), bank, k=2, temperature=0.07, unit=False)
    assert_close(by_sum.weights, torch.tensor([[0.6, 0.4]]))
    assert (by_sum.winner.tolist(), by_sum.kept.tolist()) == ([1], [2])
    in_range = vote(torch.tensor([[3.0, 4.0]]), bank, k=2, temperature=0.07, unit=True)
    assert_close(in_range.weights, torch.tensor([[1.0, 0.0]]))


def test_a_near_neighbour_outvotes_two_far_ones_and_they_are_left_out() -> None:
    bank = bank_of([[1.0, 0.0], [0.8, 0.6], [0.8, 0.6]], [0, 1, 1])
    # exp(1 / .07) against 2 exp(.8 / .07): the first wins by a factor of 8.7.
    found = vote(torch.tensor([[2.0, 0.0]]), bank, k=3, temperature=0.07, unit=False)
    assert (found.winner.tolist(), found.kept.tolist()) == ([0], [1])
    assert_close(found.weights, torch.tensor([[1.0, 0.0]]))
    # When all neighbours count alike, the two win.
    warm = vote(torch.tensor([[2.0, 0.0]]), bank, k=3, temperature=100.0, unit=False)
    assert (warm.winner.tolist(), warm.kept.tolist()) == ([1], [2])


def test_more_neighbours_than_there_are_is_all_of_them() -> None:
    found = vote(torch.tensor([[1.0, 1.0]]), bank_of([[1.0, 0.0], [0.0, 1.0]], [0, 0]), k=20, temperature=0.07, unit=True)
    assert found.kept.tolist() == [2]
    # Equal weights become ones.
    assert found.weights.tolist() == [[1.0, 1.0]]


def test_photos_of_a_batch_vote_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.nn.functional.normalize(torch.randn(30, 8, generator=generator), dim=1)
    bank = Bank(rows, torch.arange(30) % 4, ("a", "b", "c", "d"), "net", "f" * 16)
    features = torch.randn(5, 8, generator=generator)
    together = vote(features, bank, k=7, temperature=0.07, unit=True)
    for row in range(5):
        alone = vote(features[row : row + 1], bank, k=7, temperature=0.07, unit=True)
        assert_close(together.weights[row], alone.weights[0])


def test_features_that_are_not_finite_have_weights_all_the_same() -> None:
    found = vote(torch.tensor([[torch.nan, 1.0]]), bank_of([[1.0, 0.0]], [0]), k=1, temperature=0.07, unit=True)
    assert found.weights.isfinite().all()


def test_a_sum_of_zero_is_left_alone() -> None:
    assert over_its_sum(torch.tensor([[1.0, -1.0], [1.0, -3.0]])).tolist() == [[1.0, -1.0], [0.5, -1.5]]
    assert unit_columns(torch.tensor([[2.0, 2.0], [1.0, 3.0]])).tolist() == [[1.0, 1.0], [0.0, 1.0]]


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
