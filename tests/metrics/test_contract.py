"""What every registered metric is held to, a plugin's too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaicli.method import Maps
from xaicli.metric import NOTHING, Direction, Metric, Sign
from xaicli.registry import METRICS, entries, load
from xaicli.rows import Row
from xaicli.targets import TargetRule, Targets

EACH = [load(METRICS, entry) for entry in entries(METRICS) if not entry.fault]
CHEAP = {"draws": 3, "stages": 2}


def near(value: float | None, metric: Metric) -> Any:
    """Equal to 1e-5 of the metric's range."""
    width = metric.range[1] - metric.range[0]
    return pytest.approx(value, abs=1e-5 * max(1, width if math.isfinite(width) else 1))


def cheap(cls: type[Metric]) -> Metric:
    fields = {name: value for name, value in CHEAP.items() if name in cls.__dataclass_fields__}
    return cls(**fields)


every = pytest.mark.parametrize("metric", [cheap(cls) for cls in EACH], ids=lambda metric: metric.name)
passing = pytest.mark.parametrize("metric", [cheap(cls) for cls in EACH if not cls.needs_explain], ids=lambda metric: metric.name)


def gradient(classifier, inputs, targets, seeds) -> Maps:
    """The absolute gradient: non-negative, so that every metric accepts it."""
    with torch.enable_grad():
        leaf = inputs.clone().requires_grad_()
        logits = classifier(leaf)
        chosen = targets.resolve(logits)
        (found,) = torch.autograd.grad(chosen.scores.sum(), leaf)
    return Maps(found.abs().sum(dim=1, keepdim=True), chosen, logits.detach())


@dataclass
class Trial:
    """Five photos, their classes, maps with ties among them, and masks; `rows` scores some of the photos with one metric."""

    desk: Any
    passes: Any
    photos: Tensor
    classes: Tensor
    saliency: Tensor
    masks: list[Any]

    def maps_for(self, metric: Metric) -> Tensor:
        """Those of the method itself where it is to explain again."""
        if not metric.needs_explain:
            return self.saliency
        rules = Targets(tuple(TargetRule(index=int(index)) for index in self.classes))
        return gradient(self.desk.classifier, self.photos, rules, torch.zeros(5)).values[:, 0]

    def rows(self, metric: Metric, some: Sequence[int] = range(5), maps: Tensor | None = None, **further: Any) -> list[Row]:
        some = list(some)
        if maps is None:
            maps = self.maps_for(metric)
        explanation = self.desk.explanation(
            maps[some],
            self.classes[some],
            sign=Sign.NONNEGATIVE,
            attribute=gradient if metric.needs_explain else None,
            stochastic=True,
        )
        truth = [self.masks[photo] for photo in some] if metric.needs_truth else None
        names = [f"{photo}.png" for photo in some]
        return self.desk.rows(metric, self.photos[some], explanation, names=names, truth=truth, **further)


@pytest.fixture
def trial(desk, counting, tiny_cnn, photo_batch, drawn) -> Trial:
    classes = tiny_cnn(photo_batch).argmax(dim=1)
    saliency = photo_batch[:, 0].relu().add(photo_batch[:, 1].abs().round())
    masks = [drawn({int(index): (photo > 0.5).numpy()}) for index, photo in zip(classes, photo_batch[:, 2], strict=True)]
    network = counting(tiny_cnn)
    return Trial(desk(network, (32, 32), 5), network, photo_batch, classes, saliency, masks)


@every
def test_it_declares_what_it_is(metric):
    assert isinstance(metric.direction, Direction)
    low, high = metric.range
    assert low < high
    assert metric.paper
    assert all(metric.readouts.values())
    assert set(metric.ratios) <= set(metric.readouts)
    assert metric.signs


@every
def test_its_values_lie_in_its_range_and_its_readouts_are_declared(metric, trial):
    low, high = metric.range
    rows = trial.rows(metric)
    assert {row.status for row in rows} == {"ok"}
    for row in rows:
        assert low - 1e-6 <= row.value <= high + 1e-6
        assert set(row.readouts) <= set(metric.readouts)


@every
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_batch_scores_as_its_photos_do_alone(metric, trial, batch_size):
    together = trial.rows(metric, batch_size=batch_size)
    for photo in (0, 3):
        (alone,) = trial.rows(metric, [photo])
        assert alone.value == near(together[photo].value, metric)
        assert dict(alone.readouts) == pytest.approx(dict(together[photo].readouts), abs=1e-4)
        assert alone.key == together[photo].key


@every
def test_the_same_run_twice_gives_the_same_rows(metric, trial):
    assert trial.rows(metric) == trial.rows(metric)


@every
def test_constant_and_non_finite_maps_keep_a_status_and_get_no_score(metric, trial):
    maps = trial.maps_for(metric).clone()
    maps[1] = 0.25
    maps[2, 3, 3] = math.nan
    maps[3, 0, 0] = math.inf
    rows = trial.rows(metric, maps=maps)
    assert [row.status for row in rows] == ["ok", "constant", "non-finite", "non-finite", "ok"]
    assert [row.value is None for row in rows] == [False, True, True, True, False]
    assert all(not row.readouts and row.curve is None for row in rows[1:4])
    for row, alone in zip((rows[0], rows[4]), (0, 4), strict=True):
        assert row.value == near(trial.rows(metric, [alone])[0].value, metric)


@every
def test_no_map_that_can_be_scored_is_no_work(metric, trial):
    rows = trial.rows(metric, maps=torch.zeros_like(trial.saliency))
    assert {row.status for row in rows} == {"constant"}
    assert trial.passes.photos == 0


@every
def test_photos_and_maps_are_left_alone(metric, trial, photo_batch):
    photos, maps = photo_batch.clone(), trial.saliency.clone()
    trial.rows(metric)
    assert torch.equal(photos, photo_batch)
    assert torch.equal(maps, trial.saliency)


@passing
def test_its_passes_are_as_many_as_it_says(metric, trial):
    trial.rows(metric, [0])
    clean = 0 if metric.needs == NOTHING else 1
    assert trial.passes.photos == clean + metric.passes((32, 32))


@passing
def test_the_map_that_is_right_scores_no_worse_than_its_opposite(metric, summing, grey, drawn):
    """The probability is the sum of the pixels: the photo is its own map. Where truth is asked for it is where the photo is
    bright."""
    generator = torch.Generator().manual_seed(2)
    bright = torch.zeros(4, 6, 6)
    bright[:, 1:4, 2:5] = 0.8 / 9
    photos = grey(bright + torch.rand(4, 6, 6, generator=generator) * 0.005)
    truth = [drawn({0: (photo > 0.05).numpy()}) for photo in bright] if metric.needs_truth else None
    right = photos[:, 0]
    wrong = right.amax() + right.amin() - right
    given = summing((6, 6))
    values = [np.mean(given.values(metric, photos, maps, truth=truth, sign=Sign.NONNEGATIVE)) for maps in (right, wrong)]
    if metric.name in ("sparseness", "entropy"):
        return
    better = values[0] - values[1] if metric.direction is Direction.HIGHER else values[1] - values[0]
    assert better >= -1e-9


class Halves(nn.Module):
    """Three classes from the means of the left and the right half of a photo, with weights that can be randomised."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([3.0, 2.5, 1.0]))

    def forward(self, inputs: Tensor) -> Tensor:
        left, right = inputs[..., :9].mean(dim=(1, 2, 3)), inputs[..., 9:].mean(dim=(1, 2, 3))
        return torch.stack([left, right, left - right], dim=1) * self.scale


@every
def test_odd_sizes_and_native_maps_are_scored(metric, desk, drawn):
    def explain(classifier, inputs, targets, seeds) -> Maps:
        logits = classifier(inputs)
        pooled = torch.nn.functional.adaptive_avg_pool2d(inputs.abs().mean(dim=1, keepdim=True), (3, 5))
        return Maps(pooled, targets.resolve(logits), logits)

    given = desk(Halves(), (13, 17), 3)
    photos = torch.randn(2, 3, 13, 17, generator=torch.Generator().manual_seed(6))
    maps = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(7))
    mask = np.zeros((13, 17), dtype=bool)
    mask[2:9, 3:12] = True
    truth = [drawn({0: mask})] * 2 if metric.needs_truth else None
    explanation = given.explanation(maps, sign=Sign.NONNEGATIVE, attribute=explain, stochastic=True)
    for row in given.rows(metric, photos, explanation, truth=truth):
        assert row.status in ("ok", "undefined")
        if row.status == "ok":
            assert metric.range[0] - 1e-6 <= row.value <= metric.range[1] + 1e-6
