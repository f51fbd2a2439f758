"""The gate on MobileNetV2 and 32 photos: five faults that a refactoring may bring, each seen in the maps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from xaicli.gate.baseline import Baseline, make_baseline
from xaicli.gate.measure import ReadySuite, make_ready
from xaicli.gate.outcome import Outcome, run_against
from xaicli.gate.suite import read_suite
from xaicli.gate.verdict import Verdict

pytestmark = [pytest.mark.real, pytest.mark.slow]

PHOTOS = 32
NET = """
import safetensors.torch
import torch
import torchvision
import xaicli

WEIGHTS = {weights!r}
LAYER = "features.18"


def net():
    module = torchvision.models.mobilenet_v2()
    module.load_state_dict({{name: part.float() if part.is_floating_point() else part
                            for name, part in safetensors.torch.load_file(WEIGHTS).items()}})
    return module


def make(module=None, **settings):
    return xaicli.classifier(module or net(), **{{"layer": LAYER, **settings}})


class Swapped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        inner = net()
        self.features, self.classifier = inner.features, inner.classifier

    def forward(self, x):
        return self.classifier(self.features(x.flip(1)).mean(dim=(2, 3)))


def wrong_layer():
    return make(layer="features.13")


def unnormalised():
    return make(mean=(0, 0, 0), std=(1, 1, 1))


def swapped_channels():
    return make(Swapped())


def resized():
    return make(resize=256 + 24)


def random_last_block():
    module = net()
    torch.manual_seed(0)
    for part in module.features[17].modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return make(module)
"""
FAULTS = ("wrong_layer", "unnormalised", "swapped_channels", "resized", "random_last_block")


@pytest.fixture(scope="module")
def folder(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of Grad-CAM over photos spread over the classes."""
    place = tmp_path_factory.mktemp("suite")
    (place / "photos").mkdir()
    photos = sorted((assets / "photos").glob("*.jpg"))
    for photo in photos[:: len(photos) // PHOTOS][:PHOTOS]:
        shutil.copy(photo, place / "photos")
    (place / "net.py").write_text(NET.format(weights=str(assets / "weights" / "mobilenet_v2.safetensors")))
    (place / "xai.toml").write_text('model = "net.py:make"\nimages = ["photos/"]\nmetrics = []\n')
    return place


def bench(folder: Path, function: str = "make") -> ReadySuite:
    return make_ready(read_suite(folder / "xai.toml"), trust=True, model=f"{folder}/net.py:{function}")


@pytest.fixture(scope="module")
def baseline(folder: Path) -> Baseline:
    made = make_baseline(bench(folder))
    assert len(made.photos) == PHOTOS
    return made


def of(outcome: Outcome, what: str) -> Verdict:
    return next(verdict for verdict in outcome.verdicts if verdict.what == what)


def test_the_unchanged_model_passes(folder: Path, baseline: Baseline) -> None:
    outcome = run_against(bench(folder), baseline)
    assert not outcome.failed(strict=True)
    assert of(outcome, "map similarity").value == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_caught_by_the_similarity_of_maps(folder: Path, baseline: Baseline, fault: str) -> None:
    outcome = run_against(bench(folder, fault), baseline)
    verdict = of(outcome, "map similarity")
    assert verdict.failed
    assert len(verdict.worst) == 3
    assert ("layer" in {one.what for one in outcome.verdicts}) is (fault == "wrong_layer")


def test_a_score_that_eight_photos_cannot_tell_is_inconclusive_with_the_number_it_would_take(folder: Path) -> None:
    """Insertion under a resize that is off by 24 pixels moves by less than eight photos can see."""
    text = (folder / "xai.toml").read_text()
    (folder / "xai.toml").write_text(text.replace("metrics = []", 'metrics = ["insertion@steps=14"]\nlimit = 8'))
    try:
        made = make_baseline(bench(folder))
        outcome = run_against(bench(folder, "resized"), made)
    finally:
        (folder / "xai.toml").write_text(text)
    verdict = of(outcome, "insertion@steps=14")
    assert verdict.state == "inconclusive"
    assert "8 photos are too few; about " in verdict.text
