"""Every target that docs/models-and-targets.md names runs on a model that has it, and is refused in one line by all others."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import xaicli
from tools.model_kinds import KINDS
from tools.models_and_targets import is_refusal, photo
from xaicli.errors import XaiError
from xaicli.needs import Needs
from xaicli.outputs import Outputs

PLAIN = ("top1", "0")
OF = {
    Outputs.SOFTMAX: (*PLAIN, "0-1", "top2"),
    Outputs.SIGMOID: (*PLAIN, "0-1", "positive@above=0"),
    Outputs.VALUES: PLAIN,
    Outputs.REGION: ("top1", "cat@region=2:2:30:30", "cat@region=40:40", "cat-dog@region=2:2:30:30", "cat@region=mask.png"),
    Outputs.BOXES: ("box:0", "boxes@above=0"),
}
"""Targets that a model has, by its outputs."""
COMPARED = ("similar:other.png", "differs:other.png")
ALL = sorted({target for targets in OF.values() for target in targets} | set(COMPARED) | {"positive", "cat@region=predicted"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_target_runs_or_is_refused_in_one_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((80, 80), 255, dtype=np.uint8)).save("mask.png")
    with kind.made() as classifier:
        given = photo(tmp_path, classifier.view.channels)
        if given.suffix == ".png":
            Image.open(given).rotate(90).save("other.png")
        method = "grad-cam" if Needs.GRADIENTS in classifier.provides else "recipro-cam"
        ran, refused = set(), []
        for target in ALL:
            try:
                made = xaicli.explain(given, classifier, method, target=target)
            except XaiError as error:
                refused.append((target, error))
            else:
                assert all(np.isfinite(one.values).all() for one in made)
                ran.add(target)
        assert [f"{target}: {error.line()}" for target, error in refused if not is_refusal(error) or "\n" in error.line()] == []
        assert set(OF[classifier.outputs]) <= ran, set(OF[classifier.outputs]) - ran
