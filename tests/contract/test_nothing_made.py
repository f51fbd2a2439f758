"""Nothing is made before the first result: a run that gives none leaves no folder, no store and no baseline."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from contract.hostile_code import LATER, NET, filled
from PIL import Image

from xaicli.cli.main import main

VIEW = ("--crop", "32", "--resize", "32")
RAISING = ("--model", "net.py:make", *VIEW, "--method", "grad-cam")
TOKENS = ("--model", "tiny-vit", "--method", "guided-grad-cam")
SUITE = """
model = "net.py:make"
images = ["photos/"]
methods = ["grad-cam"]
metrics = ["deletion@steps=4"]
crop = 32
resize = 32
baseline = "new/base"
"""


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "classes/one", "classes/two"):
        Path(folder).mkdir(parents=True)
        for number in range(4):
            ramp = np.tile(np.linspace(0, 60 + 40 * number, 32, dtype=np.uint8), (32, 1))
            Image.fromarray(ramp).convert("RGB").save(f"{folder}/{number}.png")
    Path("net.py").write_text(filled(NET, forward=f"{LATER}raise OSError('broken')"))
    Path("xai.toml").write_text(SUITE)


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "photos", *RAISING, "-o", "new/out"),
        ("explain", "photos", *TOKENS, "-o", "new/out"),
        ("explain", "photos", *RAISING, "--keep-going", "-o", "new/out"),
        ("score", "photos", *RAISING, "--metric", "sparseness", "-o", "new/s.db"),
        ("score", "photos", *TOKENS, "--metric", "sparseness", "-o", "s.db"),
        ("score", "photos", *RAISING, "--metric", "sparseness", "--keep-going", "-o", "new/s.db"),
        ("compare", "photos", *RAISING, "--metric", "sparseness", "-o", "new/out"),
        ("compare", "photos", *TOKENS, "--metric", "sparseness", "-o", "new/out"),
        ("baseline", "--trust"),
        ("train", "t-tame", "--data", "classes", *RAISING[:2], *VIEW, "--epochs", "1", "-o", "new/a.safetensors"),
        ("bank", "classes", "--model", "net.py:make", *VIEW, "-o", "new/bank.safetensors"),
    ],
    ids=lambda words: f"{words[0]} {' '.join(words[-3:])}",
)
def test_a_run_without_a_result_makes_nothing(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.listdir())
    assert main([*words]) in (2, 3, 4, 5)
    assert "a fault in xai itself" not in capsys.readouterr().err
    assert sorted(set(os.listdir()) - {"__pycache__"}) == before


def test_a_place_that_takes_nothing_is_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("x")
    for words in (("explain", "photos", "-o", "file/out"), ("score", "photos", "--metric", "sparseness", "-o", "file/s.db")):
        assert main([words[0], *words[1:], "--model", "tiny", "--method", "grad-cam"]) == 3
        assert "file" in capsys.readouterr().err
    os.symlink("nowhere", "link")
    assert main(["explain", "photos", "--model", "tiny", "--method", "grad-cam", "-o", "link"]) == 3
    assert "link cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fig.pdf", "new/fig.SVG", "map.npy", "page.html"])
@pytest.mark.parametrize("verb", ["explain", "compare"])
def test_a_folder_is_not_made_under_the_name_of_a_file(verb: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "photos", "--model", "tiny", "--method", "grad-cam", "-o", name]) == 2
    assert f"{name} has the name of a file" in capsys.readouterr().err
    assert not Path(name).exists()
