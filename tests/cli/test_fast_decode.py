"""`--fast-decode` through the commands: said, stored as results of another model's view, and read from a suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

import xaicli
from xaicli.results.store import Store

SUITE = """
model = "tiny"
images = ["photos/"]
metrics = ["insertion@steps=4"]
fast-decode = {fast}
"""


@pytest.fixture
def xai(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save("photos/a.jpg", quality=90)
    return CommandLine(capsys)


def test_scores_made_with_it_are_not_taken_for_scores_made_without(xai):
    words = ("score", "photos", "--model", "tiny", "--method", "grad-cam", "--metric", "deletion@steps=4", "--no-controls")
    assert xai(*words, "-o", "s.db") == 0
    assert "decoded fast" not in xai.err
    assert xai(*words, "-o", "fast.db", "--fast-decode") == 0
    assert "JPEGs decoded fast" in xai.err
    models = []
    for name in ("s.db", "fast.db"):
        with Store.open(name, write=False) as store:
            [row] = store.rows()
        models.append((row.model, row.subject))
    assert models[0][0] != models[1][0]
    assert models[0][1] != models[1][1]


def test_maps_made_without_it_are_never_taken_for_its_own(xai):
    words = ("explain", "photos", "--model", "tiny", "--method", "grad-cam", "-o", "out")
    assert xai(*words) == 0
    assert xai(*words, "--fast-decode") == 2
    assert xai(*words, "--fast-decode", "--overwrite") == 0
    assert xai(*words, "--fast-decode") == 0
    assert "complete before" in xai.err


def test_a_suite_says_it_and_its_baseline_is_of_that_view(xai):
    for fast in ("true", "false"):
        Path("xai.toml").write_text(SUITE.format(fast=fast))
        assert xai("baseline", "--overwrite") == 0
        assert xai("check") == 0
        held = "".join(path.read_text() for path in Path(".xai").rglob("*.json"))
        assert xaicli.load_classifier("tiny", fast_decode=fast == "true").fingerprint in held


def test_a_view_that_it_does_not_suit_is_refused_in_one_line(xai):
    assert xai("explain", "photos", "--model", "tiny", "--interpolation", "nearest", "--fast-decode") == 2
    assert "takes single pixels" in xai.err
