"""Networks that give boxes or class maps, measured and examined where there is no photo to fix a target on."""

from __future__ import annotations

import torch
from detectors import look_alike
from PIL import Image
from torch import nn

import xaicli
from xaicli.network.any_target import with_any_target
from xaicli.outputs import Outputs


def test_a_plain_classifier_is_itself(tiny_cnn):
    classifier = xaicli.classifier(tiny_cnn, resize=32, crop=32)
    assert with_any_target(classifier, torch.zeros(1, 3, 32, 32)) is classifier


def test_a_detector_explains_its_most_certain_proposal_and_the_doctor_finds_its_gradient():
    inputs = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    bound = with_any_target(look_alike(), inputs)
    assert (bound.outputs, bound.count, bound(inputs).shape) == (Outputs.BOXES, 1, (2, 2))
    assert float(bound(inputs[:1])[0, 1]) == 1
    diagnosis = xaicli.doctor(look_alike())
    assert not diagnosis.faults
    assert [finding.state for finding in diagnosis.findings if finding.what == "gradient"] == ["ok"]


def test_a_class_map_explains_all_of_itself():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = xaicli.classifier(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 1)), resize=32, crop=32)
    bound = with_any_target(classifier, torch.zeros(1, 3, 32, 32))
    assert bound.region.cells.all()
    assert not xaicli.doctor(classifier).faults


def test_a_dry_run_says_how_long_scoring_boxes_takes(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "street.png")
    table = xaicli.score(tmp_path / "street.png", look_alike(), "grad-cam", dry_run=True)
    assert table.records()[0]["method"] == "grad-cam"
