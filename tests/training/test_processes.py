"""Two processes of torchrun train as one does, where nothing looks at a whole batch, and only the first writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from xaicli.errors import UsageError
from xaicli.models.checkpoint import read_metadata
from xaicli.passes.seeds import digest
from xaicli.training.processes import ALONE, Processes, joined

NETWORK = f"{Path(__file__).parents[1] / 'data' / 'colours.py'}:colours"
MANY = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")


def train(toy, output, *before):
    """The command in processes of its own; returns what it said."""
    words = [
        "train",
        "classifier@padding=0@colour=0",
        "--model",
        NETWORK,
        "--data",
        str(toy / "train"),
        "--val",
        str(toy / "val"),
    ]
    words += ["--epochs", "2", "--batch-size", "8", "--lr", "0.05", "--device", "cpu", "--report", "0", "-o", str(output)]
    done = subprocess.run(
        [sys.executable, *before, "-m", "xaicli.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_two_processes_reach_the_weights_that_one_reaches(toy, tmp_path):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    train(toy, one)
    said = train(toy, two, *MANY)
    assert said.count("epoch 2/2") == 1
    first, second = (safetensors.torch.load_file(path) for path in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-5, rtol=1e-4)
    histories = (read_metadata(path)["history"] for path in (one, two))
    for alone, together in zip(*histories, strict=True):
        assert together == pytest.approx(alone, abs=1e-4)
    assert read_metadata(one)["run"] != read_metadata(two)["run"]
    assert "is complete" in train(toy, two, *MANY)


def test_shares_are_equal_and_make_up_the_batch():
    rows = np.array([7, 3, 9, 1, 4, 8])
    shares = [Processes(rank, 3).share(rows) for rank in range(3)]
    assert [len(share) for share in shares] == [2, 2, 2]
    assert sorted(np.concatenate(shares)) == sorted(rows)
    assert ALONE.share(rows).tolist() == rows.tolist()


def test_a_batch_larger_than_the_data_becomes_the_most_photos_that_can_be_shared_evenly():
    assert Processes(0, 2).batch_size(64, 63) == 62
    assert Processes(0, 2).batch_size(64, 64) == 64
    assert ALONE.batch_size(64, 63) == 63


def test_a_batch_that_was_asked_for_and_cannot_be_shared_evenly_is_refused():
    assert Processes(0, 3).batch_size(6, 100) == 6
    with pytest.raises(UsageError, match=r"batches of 8 for 3 processes; expected a multiple of 3\. Write --batch-size 6\."):
        Processes(0, 3).batch_size(8, 100)
    with pytest.raises(UsageError, match=r"Write --batch-size 3\."):
        Processes(0, 3).batch_size(2, 100)
    with pytest.raises(UsageError, match="1 photo for 2 processes; expected at least one for each"):
        Processes(0, 2).batch_size(64, 1)


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with joined() as processes:
        assert processes == ALONE
        assert processes.leads


def test_each_process_draws_its_own_random_numbers_and_the_first_those_of_one_alone():
    seeds = {Processes(rank, count).step_seed(5, 7) for rank, count in ((0, 1), (0, 3), (1, 3), (2, 3))}
    assert len(seeds) == 3
    assert ALONE.step_seed(5, 7) == digest(5, "training step", 7) >> 1
    assert ALONE.step_seed(5, 7) != ALONE.step_seed(5, 8)
