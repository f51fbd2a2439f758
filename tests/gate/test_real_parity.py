"""Parity on MobileNetV2 and DeiT-Ti: five planted faults are found, and faithful exports raise no alarm.

What `python -m benchmarks parity` measures on more photos, on six.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.planted import FAITHFUL, FAULTS, NETWORKS, Original
from xaicli.gate.measure import ReadySuite
from xaicli.gate.parity import Original as OriginalRun
from xaicli.gate.parity import ParityOutcome, run_original, run_pair
from xaicli.gate.parity_verdicts import judge_pair
from xaicli.images.source import Source
from xaicli.registry import make_method, make_metric
from xaicli.runs.parity import ready_for

pytestmark = [pytest.mark.real, pytest.mark.slow]

PHOTOS = 6
Made = tuple[Original, ReadySuite, OriginalRun]


@pytest.fixture(scope="module", params=NETWORKS)
def made(request: pytest.FixtureRequest, assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("timm")
    original = Original(request.param, assets, tmp_path_factory.mktemp(request.param))
    photos = [Source.of_file(path) for path in original.photos[:: len(original.photos) // PHOTOS][:PHOTOS]]
    methods, metrics = [make_method("occlusion@window=56@stride=28")], [make_metric("insertion@steps=5")]
    ready = ready_for(original.classifier, photos, methods, metrics, "top1", 0)
    return original, ready, run_original(ready)


def compared(made: Made, kind: dict, what: str) -> ParityOutcome:
    original, ready, run = made
    other = replace(ready, classifier=kind[what](original))
    return judge_pair(run.ready, other, run_pair(run, other), ready.rules)


MOVED = ("deit_tiny_patch16_224", "static int8")
"""A network and an export of it that decides alike, and whose maps correlate with the original's far less than two of its own."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(made: Made, fault: str) -> None:
    assert compared(made, FAULTS, fault).failed()


@pytest.mark.parametrize("export", FAITHFUL)
def test_a_faithful_export_raises_no_alarm(made: Made, export: str) -> None:
    if (made[0].name, export) == MOVED:
        pytest.skip("eight bits move the maps of this transformer: the next test")
    outcome = compared(made, FAITHFUL, export)
    assert not outcome.failed()
    assert "decision moved" not in {photo.state for photo in outcome.compared}


def test_eight_bits_move_the_maps_of_the_transformer_although_it_decides_alike(made: Made) -> None:
    network, export = MOVED
    if made[0].name != network:
        pytest.skip("of the transformer alone")
    outcome = compared(made, FAITHFUL, export)
    states = [photo.state for photo in outcome.compared]
    assert outcome.failed()
    assert states.count("looks elsewhere") > PHOTOS / 2
    assert "decision moved" not in states
