"""A third party's method, installed beside xaicli, on the command line; and broken ones, which stop nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xaicli.cli.main import main

TESTS = Path(__file__).resolve().parents[1]
MODEL = ("--model", f"{TESTS / 'data' / 'net.py'}:make")
PLUGIN = (TESTS / "data" / "brightness.py").read_text()
JUDGE = """
from dataclasses import dataclass

from xaicli.metric import Direction, Metric


@dataclass(frozen=True, kw_only=True)
class Judge(Metric):
    '''Nothing.'''

    name = "judge"
    direction = Direction.HIGHER
    range = (0, 1)

    def score(self, case):
        raise AssertionError("nothing is scored to describe")
"""
BROKEN = {"raises": "raise ValueError('no licence')", "exits": "raise SystemExit(3)", "is no method": "class Brightness: pass"}


@pytest.fixture(autouse=True)
def _a_photo(tmp_path, monkeypatch):
    """A ramp from dark on the left to light on the right, where the command runs."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))).convert("RGB").save("ramp.png")


def xai(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`xai` in a process of its own, where the distribution laid out at `site` is found."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "xaicli.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def error_line(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in text
    return line


def test_a_third_partys_method_runs_from_the_command_line(install, tmp_path):
    site = install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    told = xai(site, "explain", "ramp.png", *MODEL, "--method", "Brightness@gain=2,rise@n_masks=8", "--format", "json")
    assert told.returncode == 0, told.stderr
    assert {row["method"] for row in json.loads(told.stdout)} == {"brightness@gain=2", "rise@n_masks=8"}
    values = np.load(tmp_path / "xai-out" / "ramp.brightness@gain=2.npy")
    assert (np.diff(values, axis=-1) >= 0).all()
    assert (values[..., -1] > values[..., 0]).all()


def test_listing_and_help_import_no_plugin_and_check_does(install, tmp_path):
    site = install(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n" + PLUGIN, {"brightness": "xai_brightness:Brightness"})
    for words in (["--help"], ["list", "methods"], ["explain", "--help"]):
        assert xai(site, *words).returncode == 0
    assert not (tmp_path / "imported").exists()
    assert xai(site, "list", "methods", "--check").returncode == 0
    assert (tmp_path / "imported").exists()


def test_a_plugin_is_listed_and_described(install, capsys):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    assert main(["list", "methods", "--format", "json"]) == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["name"] == "brightness"]
    assert (row["origin"], row["summary"]) == ("xai-brightness 1.2", "Explains by brightness")
    assert main(["describe", "brightness"]) == 0
    described = capsys.readouterr().out
    assert "gain" in described
    assert "Mean of the colours of each pixel" in described


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_shown_by_check_and_stops_nobody(install, capsys, code):
    install(code, {"brightness": "xai_brightness:Brightness"})
    assert main(["list", "methods"]) == 0
    assert "brightness" in capsys.readouterr().out
    main(["list", "methods", "--check"])
    checked = capsys.readouterr()
    assert "xai-brightness 1.2" in checked.out + checked.err
    assert "Traceback" not in checked.err
    assert main(["explain", "ramp.png", *MODEL, "--method", "rise@n_masks=8"]) == 0
    capsys.readouterr()
    assert main(["explain", "ramp.png", *MODEL, "--method", "brightness"]) == 5
    told = capsys.readouterr()
    assert told.out == ""
    assert "brightness" in error_line(told.err)


def test_a_plugin_that_fails_while_running_is_named_in_one_line(install, capsys):
    code = PLUGIN.replace("logits = classifier(inputs)", "raise ZeroDivisionError('gain')")
    install(code, {"brightness": "xai_brightness:Brightness"})
    assert main(["explain", "ramp.png", *MODEL, "--method", "brightness"]) == 5
    line = error_line(capsys.readouterr().err)
    assert "brightness" in line
    assert "ZeroDivisionError" in line


def test_a_class_in_a_file_of_ones_own_is_described_as_it_is_called(tmp_path, capsys):
    (tmp_path / "my.py").write_text(PLUGIN)
    (tmp_path / "judge.py").write_text(JUDGE)
    assert main(["describe", "my.py:Brightness"]) == 0
    described = capsys.readouterr().out
    assert described.startswith("my.py:Brightness  (method, version 1, your own)")
    assert "Write it my.py:Brightness@gain=" in described
    assert main(["describe", "judge.py:Judge"]) == 0
    assert capsys.readouterr().out.startswith("judge.py:Judge  (metric, version 1, your own)")


WITHOUT_CLASS = [("describe", "my.py"), ("explain", "ramp.png", *MODEL, "--method", "my.py")]


@pytest.mark.parametrize("words", WITHOUT_CLASS, ids=lambda words: words[0])
def test_a_file_without_its_class_is_answered_with_the_class_to_type(tmp_path, capsys, words):
    (tmp_path / "my.py").write_text(PLUGIN)
    assert main(list(words)) == 2
    assert error_line(capsys.readouterr().err).endswith("Write my.py:Brightness.")
