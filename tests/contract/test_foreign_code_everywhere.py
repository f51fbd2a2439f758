"""Every command on models, methods and metrics of others that misbehave: one line with the right exit code, whatever they do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from contract.hostile_code import LATER, METHOD, METRIC, NET, NONSENSE, PRINTING, RAISING, filled, only_line
from PIL import Image

from xaicli.cli.main import main

MODEL = ("--model", "net.py:make", "--resize", "32", "--crop", "32", "--classes", "names.txt")
SCORED = ("data/a", "--method", "grad-cam", "--metric", "deletion@steps=2", "--no-controls")
TRAINED = ("--data", "data", "-o", "made.safetensors", "--epochs", "1", "--batch-size", "2", "--report", "0")

COMMANDS = {
    "explain positive": ("explain", "data/a", "--target", "positive@above=0.1", "--outputs", "sigmoid", *MODEL),
    "score": ("score", *SCORED, *MODEL),
    "score dry": ("score", *SCORED, "--dry-run", *MODEL),
    "compare": ("compare", *SCORED[:1], "--method", "grad-cam,random", *SCORED[3:], *MODEL),
    "audit": ("audit", "data/a", "data/b", "--method", "grad-cam", *MODEL),
    "aggregate": ("aggregate", "data/a", "--method", "grad-cam", *MODEL),
    "baseline": ("baseline", "--trust"),
    "train t-tame": ("train", "t-tame", *TRAINED, "--set", "layers=features", *MODEL),
    "train p-tame": ("train", "p-tame", *TRAINED, *MODEL),
    "train classifier": ("train", "classifier", *TRAINED, *MODEL),
    "bank": ("bank", "data", *MODEL),
    "doctor": ("doctor", *MODEL),
    "list layers": ("list", "layers", *MODEL),
}
"""Every command that runs a model."""


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four photos of two classes, and a suite."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"a/one": 60, "a/two": 180, "b/three": 120, "b/four": 240}.items():
        Path("data", name).parent.mkdir(parents=True, exist_ok=True)
        ramp = np.tile(np.linspace(0, value, 32, dtype=np.uint8), (32, 1))
        Image.fromarray(ramp).convert("RGB").save(f"data/{name}.png")
    Path("names.txt").write_text("a\nb\n")
    suite('methods = ["grad-cam"]', 'metrics = ["deletion@steps=2"]')


def suite(*lines: str) -> None:
    own = ('model = "net.py:make"', 'images = ["data/a"]', "resize = 32", "crop = 32")
    Path("xai.toml").write_text("\n".join((*own, *lines)))


def two_classes(**places: str) -> str:
    return filled(NET, **places).replace("maps.mean((2, 3))", "maps.mean((2, 3))[:, :2]")


def assert_one_line(words: tuple[str, ...], named: str, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(list(words))
    told = capfd.readouterr()
    assert (code, named in only_line(told.err)) == (5, True), told.err
    assert "\x1b" not in told.err


@pytest.mark.parametrize("what", RAISING.values(), ids=RAISING)
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_model_that_misbehaves_ends_every_command_in_one_line(
    words: tuple[str, ...], what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("net.py").write_text(two_classes(forward=LATER + what))
    assert_one_line(words, "net.py", capfd)


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_what_a_model_prints_stays_off_stdout_in_every_command(words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    Path("net.py").write_text(two_classes(forward=PRINTING))
    assert main(list(words)) == 0
    told = capfd.readouterr()
    for noise in ("NOISE", "RAW", "CHILD", "OLD"):
        assert noise not in told.out
        assert noise in told.err


@pytest.mark.parametrize("what", [RAISING["ends the program"], *NONSENSE.values()], ids=["ends the program", *NONSENSE])
@pytest.mark.parametrize("command", ["score", "baseline"])
def test_a_method_that_misbehaves_ends_a_scoring_command_in_one_line(
    command: str, what: str, install: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    install(filled(METHOD, attribute=what), {"hostile": "xai_hostile:Hostile"}, name="xai-hostile")
    suite('methods = ["hostile"]', 'metrics = ["deletion@steps=2"]')
    Path("net.py").write_text(two_classes())
    words = tuple(word.replace("grad-cam", "hostile") for word in COMMANDS[command])
    assert_one_line(words, "hostile", capfd)


@pytest.mark.parametrize("what", RAISING.values(), ids=RAISING)
@pytest.mark.parametrize("command", ["score", "baseline"])
def test_a_metric_that_misbehaves_ends_a_scoring_command_in_one_line(
    command: str, what: str, install: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    install(filled(METRIC, score=what), {"hostile": "xai_hostile:Hostile"}, name="xai-hostile", group="xaicli.metrics")
    suite('methods = ["grad-cam"]', 'metrics = ["hostile"]')
    Path("net.py").write_text(two_classes())
    words = tuple("hostile" if word.startswith("deletion") else word for word in COMMANDS[command])
    assert_one_line(words, "hostile", capfd)


@pytest.mark.parametrize("what", [RAISING["ends the program"], RAISING["raises what cannot be shown"]])
def test_a_check_ends_in_one_line_where_its_model_misbehaves(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("net.py").write_text(two_classes())
    assert main(["baseline", "--trust"]) == 0
    capfd.readouterr()
    Path("net.py").write_text(two_classes(forward=LATER + what))
    assert_one_line(("check", "--trust"), "net.py", capfd)


def test_a_model_that_ends_the_program_does_not_end_it_with_success() -> None:
    Path("net.py").write_text(two_classes(forward=LATER + "sys.exit(0)"))
    done = subprocess.run([sys.executable, "-m", "xaicli.cli.main", *COMMANDS["bank"]], capture_output=True, text=True)
    assert done.returncode == 5
