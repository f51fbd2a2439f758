"""The page on detectors: its example is one that works, and so is the file that its picture was made with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from detectors import look_alike, ultralytics

import xaicli

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_example_reads_boxes_off_outputs_as_ultralytics_networks_give_them():
    page = (DOCS / "detectors.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    expected = look_alike()
    made = names["make"](expected.module)
    assert (made.view.describe(), made.classes) == ("letterbox 640 x 640, bilinear", expected.classes)
    output = torch.rand(2, 7, 30)
    for found, wanted in zip(names["decode"](output), ultralytics(output), strict=True):
        assert torch.equal(found, wanted)


def test_windows_of_the_bundled_network_are_boxes():
    detector = xaicli.load_classifier(f"{DOCS / 'windows.py'}:make")
    maps = xaicli.explain("sample:hopper", detector, ["grad-cam", "odam"])
    assert {one.record.box["label"] for one in maps} == {"academic gown"}
    # ODAM is 0 outside the box, Grad-CAM is not.
    left, top, right, bottom = detector.view.geometry(*maps[0].record.size).box_to_view(tuple(maps[0].record.box["corners"]))
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[round(top / 8) : round(bottom / 8), round(left / 8) : round(right / 8)] = True
    outside = [torch.from_numpy(one.values)[~inside].sum() for one in maps]
    assert outside[0] > 0
    assert outside[1] == 0
