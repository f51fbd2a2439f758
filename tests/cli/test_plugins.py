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

TESTS = Path(__file__).resolve().parents[1]
MODEL = f"{TESTS / 'data' / 'net.py'}:make"
PLUGIN = (TESTS / "data" / "brightness.py").read_text()
BROKEN = {"raises": "raise ValueError('no licence')", "exits": "raise SystemExit(3)", "is no method": "class Brightness: pass"}


@pytest.fixture
def xai(tmp_path, monkeypatch):
    """Runs `xai` in a process of its own, where what is installed on the path is found."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))).convert("RGB").save("ramp.png")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        sites = [str(site) for site in (tmp_path / "site").iterdir()]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sites), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "xaicli.cli.main", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

    return run


def test_a_third_partys_method_runs_from_the_command_line(install, xai, tmp_path):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    told = xai("explain", "ramp.png", "--model", MODEL, "--method", "Brightness@gain=2,rise@n_masks=8", "--format", "json")
    assert told.returncode == 0, told.stderr
    methods = {row["method"] for row in json.loads(told.stdout)}
    assert methods == {"brightness@gain=2", "rise@n_masks=8"}
    values = np.load(tmp_path / "xai-out" / "ramp.brightness@gain=2.npy")
    # The photo grows lighter from left to right, and so does the map.
    assert (np.diff(values, axis=-1) >= 0).all()
    record = json.loads((tmp_path / "xai-out" / "ramp.brightness@gain=2.json").read_text())
    assert "brightness@gain=2" in json.dumps(record)


def test_a_plugin_is_listed_and_described(install, xai):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    rows = json.loads(xai("list", "methods", "--format", "json").stdout)
    (row,) = [row for row in rows if row["name"] == "brightness"]
    assert (row["origin"], row["summary"]) == ("xai-brightness 1.2", "Explains by brightness")
    described = xai("describe", "brightness")
    assert described.returncode == 0, described.stderr
    assert "gain" in described.stdout
    assert "Mean of the colours of each pixel" in described.stdout


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_shown_by_check_and_stops_nobody(install, xai, code):
    install(code, {"brightness": "xai_brightness:Brightness"})
    plain = xai("list", "methods")
    assert plain.returncode == 0
    assert "brightness" in plain.stdout
    checked = xai("list", "methods", "--check")
    assert "xai-brightness 1.2" in checked.stdout + checked.stderr
    assert "Traceback" not in checked.stderr
    works = xai("explain", "ramp.png", "--model", MODEL, "--method", "rise@n_masks=8")
    assert works.returncode == 0, works.stderr
    fails = xai("explain", "ramp.png", "--model", MODEL, "--method", "brightness")
    assert fails.returncode == 5
    (line,) = [line for line in fails.stderr.splitlines() if line.startswith("error: ")]
    assert "brightness" in line
    assert fails.stdout == ""
    assert "Traceback" not in fails.stderr


def test_listing_and_help_import_no_plugin(install, xai, tmp_path):
    install(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n" + PLUGIN, {"brightness": "xai_brightness:Brightness"})
    for words in (["--help"], ["list", "methods"], ["list", "metrics"], ["explain", "--help"], ["--version"]):
        assert xai(*words).returncode == 0
    assert not (tmp_path / "imported").exists()
    assert xai("list", "methods", "--check").returncode == 0
    assert (tmp_path / "imported").exists()


def test_a_plugin_that_fails_while_running_is_named_in_one_line(install, xai):
    code = PLUGIN.replace("logits = classifier(inputs)", "raise ZeroDivisionError('gain')")
    install(code, {"brightness": "xai_brightness:Brightness"})
    fails = xai("explain", "ramp.png", "--model", MODEL, "--method", "brightness")
    assert fails.returncode == 5
    (line,) = [line for line in fails.stderr.splitlines() if line.startswith("error: ")]
    assert "brightness" in line
    assert "ZeroDivisionError" in line
