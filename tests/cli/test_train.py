"""`xai train` and `xai list checkpoints`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xaicli.cli.main import main
from xaicli.models.checkpoint import checkpoints_folder, write_checkpoint

SMALL = ("--model", "tiny@widths=6+8@blocks=1", "--resize", "16", "--crop", "16", "--batch-size", "4")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: `train` and `val` with two classes, dark and light."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for name, base in (("dark", 20), ("light", 180)):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = (base + rng.integers(0, 40, (16, 16, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_network_is_trained_and_explained_with(folder, capsys):
    words = ("--data", "train", "--val", "val", "--epochs", "3", "--lr", "0.1", "-o", "my.safetensors")
    code, out, err = run(capsys, "train", "classifier@branch=true", *SMALL, *words)
    assert code == 0, err
    assert out == ""
    assert "model tiny@blocks=1@widths=6+8 (2 classes, 16 px" in err
    assert "classifier: 16 photos, 4 held out; 3 epochs of 4 steps, batch 4, lr 0.1" in err
    assert "epoch 3/3" in err
    assert "held accuracy" in err
    code, out, err = run(capsys, "explain", "val/light/0.png", "--model", "my.safetensors", "--method", "grad-cam")
    assert code == 0, err
    assert "light" in out


def test_without_held_out_photos_it_says_why_there_are_no_scores(folder, capsys):
    words = ("train", "t-tame", "--model", "tiny", "--data", "train", "--limit", "4", "--epochs", "1", "-o", "my.safetensors")
    code, _, err = run(capsys, *words)
    assert code == 0, err
    assert "no scores, since no photo was held out; --val DIR or --hold-out N gives some" in err
    assert "no scores" not in run(capsys, *words, "--overwrite", "--report", "0")[2]


def test_the_same_command_twice_says_that_it_is_complete(folder, capsys):
    words = ("train", "classifier", *SMALL, "--data", "train", "--epochs", "1", "-o", "my.safetensors")
    assert run(capsys, *words)[0] == 0
    before = (folder / "my.safetensors").read_bytes()
    code, _, err = run(capsys, *words)
    assert code == 0
    assert "my.safetensors is complete: this command has trained it before" in err
    assert (folder / "my.safetensors").read_bytes() == before


def test_another_command_is_refused_until_told_to_overwrite(folder, capsys):
    words = ("train", "classifier", *SMALL, "--data", "train", "-o", "my.safetensors", "--epochs")
    assert run(capsys, *words, "1")[0] == 0
    words = (*words, "2")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert err.startswith("error: my.safetensors exists already")
    assert run(capsys, *words, "--overwrite")[0] == 0


def test_a_photo_that_is_left_out_is_named_and_gives_exit_code_four(folder, capsys):
    (folder / "train" / "dark" / "0.png").write_bytes(b"\x89PNG")
    words = ("train", "classifier", *SMALL, "--data", "train", "--epochs", "1", "-o", "my.safetensors")
    code, _, err = run(capsys, *words)
    assert code == 3
    assert "0.png" in err
    code, _, err = run(capsys, *words, "--keep-going")
    assert code == 4
    assert "warning:" in err
    assert (folder / "my.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("grad-cam",), 2, "grad-cam needs no training"),
        (("classifier", "--set", "smoothing"), 2, "--set smoothing; expected KEY=VALUE"),
        (("classifier", "--set", "smothing=0"), 2, "Did you mean smoothing?"),
        (("classifier", "--lr", "0"), 2, "--lr"),
        (("classifier", "-o", "my.pth"), 2, "ends in .safetensors"),
        (("classifier", "--resume"), 2, "no snapshot my.safetensors.resume"),
        (("classifier", "--lr", "1e30"), 5, "no longer finite"),
        (("classifier", "--data", "nowhere"), 3, "there is nothing at nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, capsys, words, code, said):
    given = ("--data", "train", "--epochs", "1", "-o", "my.safetensors")
    found, out, err = run(capsys, "train", *SMALL, *given, *words)
    assert found == code
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ") or code == 2
    assert said in last


def test_checkpoints_are_listed_with_their_method_and_model(capsys):
    about = {"method": "t-tame", "classifier": "resnet18", "fingerprint": "a" * 16, "count": 5}
    write_checkpoint(checkpoints_folder() / "one.safetensors", {"w": torch.zeros(1)}, about)
    (checkpoints_folder() / "two.safetensors").write_bytes(b"broken")
    code, out, _ = run(capsys, "list", "checkpoints", "--format", "json")
    assert code == 0
    rows = {row["checkpoint"]: row for row in json.loads(out) if row["origin"] == "installed"}
    assert rows["one.safetensors"]["method"] == "t-tame"
    assert rows["one.safetensors"]["model"] == "resnet18"
    assert rows["two.safetensors"]["model"].startswith("broken: ")
