"""Networks of 1, 4 and 13 channels: every method and metric runs on them, or refuses in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

import xaicli
from xaicli.errors import InputError, UsageError, XaiError
from xaicli.network.classifier import Classifier
from xaicli.registry import METHODS, METRICS, entries, load
from xaicli.suitability import require_fit
from xaicli.targets import DECISION, Targets

CHANNELS = (1, 4, 13)
ANY_NETWORK = {"rise", "occlusion", "lime", "kernel-shap", "feature-ablation", "saliency", "integrated-gradients", "smoothgrad"}
ON_CONVOLUTIONS = ANY_NETWORK | {"grad-cam", "score-cam", "ablation-cam", "guided-backprop", "deeplift", "lrp", "ucag"}


class Convolutions(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.features = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.ReLU())
        self.head = nn.Linear(16, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


def transformer(channels: int) -> nn.Module:
    made = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    made.conv_proj = nn.Conv2d(channels, 16, 8, 8)
    nn.init.normal_(made.heads.head.weight, std=0.5)
    return made


def classifier_of(build, channels: int) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return xaicli.classifier(build(channels).eval(), resize=None, crop=32)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("build", "wanted"), [(Convolutions, ON_CONVOLUTIONS), (transformer, ANY_NETWORK)])
def test_every_method_runs_on_any_number_of_channels_or_refuses_in_words(build, wanted, channels, cheap_of):
    classifier = classifier_of(build, channels)
    assert classifier.view.channels == channels
    photos = torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(1))
    ran, faults = set(), []
    for entry in entries(METHODS):
        method = cheap_of(load(METHODS, entry))
        try:
            require_fit(method, classifier)
            maps = method.attribute(classifier, photos, Targets((DECISION,) * 2, classifier.outputs), torch.tensor([1, 2]))
        except (UsageError, InputError):
            continue
        except XaiError as error:
            faults.append(error.line())
            continue
        ran.add(method.name)
        if not bool(maps.values.isfinite().all()):
            faults.append(f"{method.name} is not finite")
    assert not faults
    assert wanted <= ran


@pytest.mark.parametrize("channels", CHANNELS)
def test_every_metric_scores_any_number_of_channels_or_refuses_in_words(channels, tmp_path: Path):
    classifier = classifier_of(Convolutions, channels)
    draw = np.random.default_rng(2)
    photos = []
    for number in range(2):
        photos.append(tmp_path / f"{number}.npy")
        np.save(photos[-1], draw.integers(0, 256, (channels, 40, 40)).astype(np.uint8))
    faults, scored = [], 0
    for entry in entries(METRICS):
        try:
            table = xaicli.score(photos, classifier, "saliency", metric=entry.name, controls=False)
        except UsageError:
            continue
        scored += 1
        faults += [f"{entry.name}: {row['status']}" for row in table.rows if row["status"] != "ok"]
    assert not faults
    assert scored >= 10
