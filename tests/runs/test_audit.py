"""`xaicli.audit` and `xaicli.aggregate` on a class map, whose prediction and maps can be told from the photo."""

from __future__ import annotations

import dataclasses
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import xaicli
from xaicli.network.classifier import Classifier
from xaicli.runs.aggregate import add
from xaicli.runs.map_stream import MappedPhoto
from xaicli.survey.finding import class_of


class Colours(nn.Module):
    """A class map at half the photo's resolution: background 0.2, red, green."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 3, 2, stride=2, bias=False)
        with torch.no_grad():
            self.backbone.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2) / 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        features = self.backbone(inputs)
        return torch.cat([torch.full_like(features[:, :1], 0.2), features[:, :2]], dim=1) * 10


@pytest.fixture
def model() -> Classifier:
    view = {"resize": None, "crop": 16, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return xaicli.classifier(Colours(), classes=["background", "red", "green"], **view)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Red squares of 8 x 8; marked exactly, marked as far too large, and marked elsewhere."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "masks/red"):
        Path(folder).mkdir(parents=True)
    marks = {
        "exact": (slice(0, 8), slice(0, 8)),
        "large": (slice(0, 16), slice(0, 16)),
        "elsewhere": (slice(8, 16), slice(8, 16)),
    }
    for name, mark in marks.items():
        pixels, mask = np.zeros((16, 16, 3), dtype=np.uint8), np.zeros((16, 16), dtype=np.uint8)
        pixels[:8, :8, 0] = 255
        mask[mark] = 1
        Image.fromarray(pixels).save(f"photos/{name}.png")
        Image.fromarray(mask).save(f"masks/red/{name}.png")
    return Path("photos")


def test_quadrants_of_a_class_map_compare_the_predicted_region_with_the_label(photos: Path, model: Classifier) -> None:
    found = xaicli.audit(photos, model, ["hirescam"], truth="masks", target="red")
    rows = {Path(row["image"]).stem: row for row in found.rows}
    # IoU 1 and energy 1; IoU 1/4 and energy 1; IoU 0 and energy 0.
    assert {name: row["quadrant"] for name, row in rows.items()} == {
        "exact": "fine",
        "large": "suspect label",
        "elsewhere": "missed",
    }
    assert {name: row["outside"] for name, row in rows.items()} == {"exact": 0, "large": 0, "elsewhere": 1}
    assert {name: row["area"] for name, row in rows.items()} == {"exact": 0.25, "large": 1, "elsewhere": 0.25}
    assert {name: row["overlap"] for name, row in rows.items()} == {"exact": 1, "large": 0.25, "elsewhere": 0}


def test_one_method_has_nothing_to_disagree_with(photos: Path, model: Classifier) -> None:
    assert all(row["disagreement"] is None for row in xaicli.audit(photos, model, "hirescam", target="red").rows)


def test_maps_of_a_region_are_aligned_to_it_without_ground_truth(photos: Path, model: Classifier) -> None:
    found = xaicli.aggregate(photos, model, "hirescam", target="red", grid=8)
    every = found.groups["hirescam", "(all)"]
    assert every.n == 3
    # The region's middle, the corner of four cells, moves from (2, 2) to (4, 4), and the 4 x 4 cells of the square with it.
    assert np.flatnonzero(every.around.mean.any(axis=1)).tolist() == [2, 3, 4, 5]
    assert every.on_object.n == 0


def test_photos_in_memory_can_be_audited(model: Classifier) -> None:
    pictures = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)) for seed in range(3)]
    assert len(xaicli.audit(pictures, model, "hirescam", target="red").rows) == 3


def test_an_audit_prints_as_its_tables(photos: Path, model: Classifier) -> None:
    found = xaicli.audit(photos, model, "hirescam", target="red", truth="masks")
    assert str(found).startswith("cluster")
    assert "suspect label" in str(found)
    assert repr(found) == "Audit(3 photos, 1 cluster)"
    with pytest.raises(xaicli.XaiError, match="expected table or json"):
        found.render("csv")


def test_boxes_of_a_class_are_one_class_whatever_their_numbers(photos: Path, model: Classifier) -> None:
    [made] = xaicli.explain(photos / "exact.png", model, "hirescam", target="red")
    assert made.record.target_name == "red@region=predicted"
    assert class_of(made.record) == "red"
    box = dataclasses.replace(made.record, target_name="red (box:3)", box={"corners": (0, 0, 1, 1), "label": 1, "score": 1.0})
    assert class_of(box) == "red"


def test_an_aggregate_holds_few_photos_at_a_time(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    made, most = [], 0

    def counting(photo: MappedPhoto, *rest: Any) -> None:
        nonlocal most
        made.append(weakref.ref(photo.maps[0]))
        most = max(most, sum(one() is not None for one in made))
        add(photo, *rest)

    monkeypatch.setattr("xaicli.runs.aggregate.add", counting)
    pictures = [np.full((16, 16, 3), (200, 0, seed), dtype=np.uint8) for seed in range(60)]
    xaicli.aggregate(pictures, model, "hirescam", target="red", batch_size=4)
    assert len(made) == 60
    assert most <= 4
