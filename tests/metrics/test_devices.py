"""No metric computes float64 where the network's weights and the map lie: only on the processor."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from without_float64 import NO_FLOAT64, OnDevice
from without_float64 import device as device

from xaicli.errors import XaiError
from xaicli.method import Maps, Sign
from xaicli.metric import Metric
from xaicli.registry import METRICS, entries, load

EACH = [load(METRICS, entry) for entry in entries(METRICS) if not entry.fault]
FEW = {"draws": 3, "stages": 2}


def brightness(classifier: Any, inputs: Tensor, targets: Any, seeds: Tensor) -> Maps:
    logits = classifier(inputs)
    return Maps(inputs.abs().sum(dim=1, keepdim=True), targets.resolve(logits), logits)


@pytest.mark.parametrize("cls", EACH, ids=lambda cls: cls.name)
def test_a_metric_computes_no_float64_where_the_weights_lie(
    cls: type[Metric], desk, tiny_cnn, photo_batch, drawn, device
) -> None:
    metric = cls(**{name: value for name, value in FEW.items() if name in cls.__dataclass_fields__})
    given = desk(tiny_cnn, (32, 32), 5)
    there = tiny_cnn.to(device)
    classifier = dataclasses.replace(given.classifier, forward=there, module=there, device=device)
    moved = dataclasses.replace(given, classifier=classifier)
    photos, maps = OnDevice(photo_batch[:1]), OnDevice(photo_batch[:1].abs().sum(dim=1))
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 4:30] = True
    explanation = moved.explanation(maps, sign=Sign.NONNEGATIVE, attribute=brightness, stochastic=True)
    truth = [drawn({0: mask})] if metric.needs_truth else None
    said, rows = "", []
    try:
        rows = moved.rows(metric, photos, explanation, truth=truth)
    except (XaiError, RuntimeError) as error:
        said = f"{error} {error.__cause__}"
    assert NO_FLOAT64 not in said
    if said:
        # What the imitation cannot do (mixed devices in an operation) says nothing of the metric.
        pytest.skip(f"the imitated device cannot do all that this metric needs: {said}")
    assert [row.status for row in rows] in (["ok"], ["undefined"])
