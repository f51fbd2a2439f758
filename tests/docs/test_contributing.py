"""CONTRIBUTING's examples: a method of the package, and a metric; both pass strict type checks as they are printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from xaicli.registry import make_metric

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLE, METRIC = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_is_all_of_the_file_that_it_names():
    assert (ROOT / "methods" / "center.py").read_text("utf-8").endswith(EXAMPLE)


def test_the_metric_scores_as_its_docstring_says(tmp_path):
    (tmp_path / "peak.py").write_text(METRIC)
    metric = make_metric(f"{tmp_path / 'peak.py'}:PeakShare")
    scores = metric.score(SimpleNamespace(maps=torch.tensor([[[1.0, -3.0], [0.0, 2.0]], [[0.0, 0.0], [0.5, 0.0]]])))
    assert scores.values.tolist() == [0.5, 1.0]


def test_files_and_folders_that_are_named_are_there():
    named = set(re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.(?:py|md))?)`", PAGE))
    missing = [name for name in sorted(named) if not ((ROOT / name).exists() or (ROOT / "xaicli" / name).exists())]
    assert "xaicli/passes/queue.py" in named
    assert not missing


@pytest.mark.slow
def test_the_examples_pass_strict_type_checks_as_printed(tmp_path):
    pytest.importorskip("mypy")
    shutil.copytree(ROOT / "xaicli", tmp_path / "xaicli")
    for folder in ("methods", "metrics"):
        shutil.copytree(ROOT / folder, tmp_path / "xaicli" / folder)
    (tmp_path / "xaicli" / "methods" / "printed.py").write_text(EXAMPLE)
    (tmp_path / "xaicli" / "metrics" / "printed.py").write_text(METRIC)
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "mypy", *settings, "-m", "xaicli.methods.printed", "-m", "xaicli.metrics.printed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
