"""Models, methods and metrics of others that raise, print, end the program or give nonsense: one line, the photo named, and the
run goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from contract.hostile_code import LATER, METHOD, METRIC, NET, NONSENSE, OUTPUTS, PRINTING, RAISING, SCORES, filled, only_line
from PIL import Image

from xaicli.cli.main import main

PLACES_OF_MODELS = ("forward", "make")
PLACES_OF_METHODS = ("sign", "cost", "require", "attribute")


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"one": 60, "two": 180}.items():
        ramp = np.tile(np.linspace(0, value, 32, dtype=np.uint8), (32, 1))
        Image.fromarray(ramp).convert("RGB").save(f"{name}.png")


def explain(model: str, *words: str) -> int:
    Path("net.py").write_text(model)
    return main(["explain", "one.png", "two.png", "--model", "net.py:make", "--crop", "32", "--resize", "32", *words])


def assert_contained(run: Callable[..., int], capfd: pytest.CaptureFixture[str], *named: str, code: int = 5) -> None:
    """That exit code and one line that names all of `named`; on stdout at most the rows of what was finished."""
    assert run() == code
    told = capfd.readouterr()
    line = only_line(told.err)
    assert all(name in line for name in named), line
    assert "imported" not in line
    assert "\x1b" not in told.err
    assert told.out == "" or told.out.startswith("image ")


@pytest.mark.parametrize("what", RAISING.values(), ids=RAISING)
@pytest.mark.parametrize("place", PLACES_OF_MODELS)
def test_a_model_that_misbehaves_is_named_in_one_line(place: str, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    later = LATER + what if place == "forward" else what
    named = ("net.py", "one.png") if place == "forward" else ("net.py",)
    assert_contained(lambda: explain(filled(NET, **{place: later}), "--method", "grad-cam"), capfd, *named)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("method", ["input-x-gradient", "rise@n_masks=8"])
def test_a_model_that_gives_nonsense_is_named_in_one_line(name: str, method: str, capfd: pytest.CaptureFixture[str]) -> None:
    net = filled(NET, forward=LATER + OUTPUTS[name])
    # Which of two outputs is meant, an option says.
    code = 2 if name == "a tuple" else 5
    assert_contained(lambda: explain(net, "--method", method), capfd, "net.py", code=code)


MEMBERS = {
    "train() raises": "def train(self, mode=True): raise Odd('train')",
    "attributes cannot be set": "def __setattr__(self, name, value):\n"
    "        if name == 'training' and 'training' in vars(self): raise Odd('setattr')\n"
    "        super().__setattr__(name, value)",
    "its parameters raise": "def named_parameters(self, *a, **k): raise Odd('parameters')",
    "its modules raise": "def named_modules(self, *a, **k): raise Odd('modules')",
}


@pytest.mark.parametrize("member", MEMBERS.values(), ids=MEMBERS)
def test_a_module_whose_members_raise_is_named_in_one_line(member: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert_contained(lambda: explain(filled(NET, member=member), "--method", "grad-cam"), capfd, "net.py")


def test_a_network_without_values_is_refused_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert_contained(lambda: explain(filled(NET, make="return Net().to('meta')"), "--method", "grad-cam"), capfd, "net.py")


@pytest.mark.parametrize("what", RAISING.values(), ids=RAISING)
@pytest.mark.parametrize("place", PLACES_OF_METHODS)
def test_a_method_that_misbehaves_is_named_in_one_line(
    place: str, what: str, install: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    install(filled(METHOD, **{place: what}), {"hostile": "xai_hostile:Hostile"}, name="xai-hostile")
    assert_contained(lambda: explain(filled(NET), "--method", "hostile"), capfd, "hostile")


@pytest.mark.parametrize("what", NONSENSE.values(), ids=NONSENSE)
def test_a_method_that_gives_nonsense_is_named_in_one_line(
    what: str, install: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    install(filled(METHOD, attribute=what), {"hostile": "xai_hostile:Hostile"}, name="xai-hostile")
    assert_contained(lambda: explain(filled(NET), "--method", "hostile"), capfd, "hostile", "net.py", "one.png")


@pytest.mark.parametrize("what", {**RAISING, **SCORES}.values(), ids={**RAISING, **SCORES})
def test_a_metric_that_misbehaves_is_named_in_one_line(
    what: str, install: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    install(filled(METRIC, score=what), {"hostile": "xai_hostile:Hostile"}, name="xai-hostile", group="xaicli.metrics")
    words = ("--method", "grad-cam", "--score", "--metric", "hostile")
    assert_contained(lambda: explain(filled(NET), *words), capfd, "hostile")


@pytest.mark.parametrize("what", [RAISING["ends the program"], RAISING["raises what cannot be shown"], NONSENSE["None"]])
def test_a_run_that_keeps_going_counts_the_photos_that_failed(
    what: str, install: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    install(
        filled(METHOD, attribute=f"if float(inputs.amax((1, 2, 3)).min()) < -0.5: {what}"),
        {"hostile": "xai_hostile:Hostile"},
        name="xai-hostile",
    )
    assert explain(filled(NET), "--method", "hostile", "--keep-going", "--batch-size", "2", "--format", "csv") == 4
    told = capfd.readouterr()
    assert [line.split(",")[0] for line in told.out.splitlines()[1:]] == ["two.png"]
    assert "one.png" in told.err


@pytest.mark.parametrize(
    "places", [{"forward": PRINTING}, {"make": PRINTING}, {"member": f"def eval(self):\n        {PRINTING}\n        return self"}]
)
def test_what_a_model_prints_does_not_spoil_results(places: dict[str, str]) -> None:
    Path("net.py").write_text(filled(NET, **places))
    words = ["explain", "one.png", "--model", "net.py:make", "--crop", "32", "--resize", "32", "--method", "grad-cam"]
    command = [sys.executable, "-m", "xaicli.cli.main", *words, "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    header, row = done.stdout.splitlines()
    assert header.startswith("image,")
    assert row.startswith("one.png,")
    for noise in ("NOISE", "RAW", "CHILD", "OLD"):
        assert noise in done.stderr
