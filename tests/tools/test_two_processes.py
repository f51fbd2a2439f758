"""What two processes change is measured from the trainings themselves, by one command that goes on where it was."""

from __future__ import annotations

import json

import pytest
import torch

from tools import two_processes
from tools.two_processes import Compared, figures_of, reason_in
from xaicli.models.checkpoint import write_checkpoint


def test_weights_are_compared_in_their_own_size(tmp_path):
    row = {"loss": 1.0, "held loss": 2.0, "held kept": 0.5}
    for name, values in (("one", [3.0, 4.0]), ("two", [3.0, 4.5])):
        tensors = {"head.weight": torch.tensor(values), "head.count": torch.tensor(7 if name == "one" else 9)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors, {"method": "l-cam", "history": [row]})
    found = figures_of(tmp_path / "two.safetensors", tmp_path / "one.safetensors", "held kept")
    assert found == {"loss": 1.0, "held loss": 2.0, "share": 0.5, "weights": pytest.approx(0.1), "largest": 0.5}


@pytest.mark.slow
def test_one_command_measures_and_then_has_nothing_left(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    monkeypatch.setattr(two_processes, "write_tables", lambda: None)
    monkeypatch.setattr(two_processes, "TRAININGS", (Compared("l-cam@maps=matched", "nothing", ("--lr", "0.01")),))
    words = ["--data", str(toy / "train"), "--val", str(toy / "val"), "--work", "w", "--limit", "16", "--batch", "8"]
    assert two_processes.main(words) == 0, capsys.readouterr().err
    stored = json.loads(two_processes.PROCESSES.read_text())
    [row] = stored["rows"]
    assert (stored["photos"], stored["held"], row["share"]) == (16, 6, "kept")
    one, two, other = row["ways"].values()
    assert one["weights"] == 0
    assert two["weights"] < 1e-5 < other["weights"]
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    assert "trained" in capsys.readouterr().err
    assert two_processes.main(words) == 0
    assert "trained" not in capsys.readouterr().err
    assert json.loads(two_processes.PROCESSES.read_text()) == stored


def test_a_training_that_fails_is_told_by_its_own_error_line():
    assert reason_in("a step\nerror: no photo\nTraceback\n=====\n") == "no photo"
    assert reason_in("Traceback\n  in main\nMemoryError\n") == "MemoryError"
    assert reason_in(" \n") == "no message"
