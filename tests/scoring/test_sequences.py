"""Scores of sequences of frames: the pixels of all frames are ranked, removed and kept together."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.metric import Metric, Sign
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.registry import METRICS, entries, make_metric, make_metrics
from xaicli.rows import Row
from xaicli.scoring.explanation import Explainer, Explanation
from xaicli.scoring.photo import ScoredPhoto
from xaicli.scoring.scoring import score_photo
from xaicli.suitability import of_sequences, require_scores
from xaicli.targets import TargetRule

FRAMES, SIDE = 3, 4
COUNT = FRAMES * SIDE * SIDE


def linear(inputs: Tensor) -> Tensor:
    """Logits of two classes of clips (B, 3 F, H, W): the probability of class 0 is the sum of all pixels of all frames, a pixel
    being the mean of its channels."""
    share = inputs.unflatten(1, (FRAMES, 3)).mean(dim=2).flatten(1).sum(dim=1).clamp(1e-30, 1)
    return torch.stack([share.log(), (1 - share).clamp_min(1e-30).log()], dim=1)


@pytest.fixture
def classifier(desk) -> Classifier:
    made = desk(linear, (SIDE, SIDE)).classifier
    return dataclasses.replace(made, view=dataclasses.replace(made.view, frames=FRAMES))


@pytest.fixture
def pixels() -> Tensor:
    """Pixels (F, H, W), no two alike, that sum to 1; the largest lie in different frames."""
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(4)).float() + 1
    return (order / order.sum()).view(FRAMES, SIDE, SIDE)


def rows(
    classifier: Classifier, pixels: Tensor, maps: Tensor, metrics: Metric | Sequence[Metric], sign: Sign = Sign.NONNEGATIVE
) -> list[Row]:
    """Rows of maps (t, h, w) of the clip of those pixels."""
    content = hashlib.sha256(b"clip").hexdigest()
    photo = ScoredPhoto(classifier, "clip.gif", content, 0, pixels.repeat_interleave(3, dim=0))
    explained = Explanation(Explainer("given", {}, sign), maps[None], (TargetRule(index=0),))
    return score_photo(photo, [explained], [metrics] if isinstance(metrics, Metric) else metrics)


def test_deletion_of_a_linear_network_is_what_the_removed_pixels_leave(classifier, pixels):
    [row] = rows(classifier, pixels, pixels, make_metric(f"deletion@steps={COUNT}"))
    left = 1 - pixels.flatten().sort(descending=True).values.cumsum(0)
    expected = torch.cat([torch.ones(1), left])
    assert row.curve.y == pytest.approx(expected.tolist(), abs=1e-5)
    assert row.curve.x == pytest.approx([at / COUNT for at in range(COUNT + 1)])
    assert row.value == pytest.approx(float(torch.trapezoid(expected, dx=1 / COUNT)), abs=1e-5)


def test_insertion_of_a_linear_network_is_what_the_shown_pixels_hold(classifier, pixels):
    [row] = rows(classifier, pixels, pixels, make_metric("insertion@baseline=zero@steps=12"))
    shown = pixels.flatten().sort(descending=True).values.cumsum(0)
    expected = [0.0, *shown[COUNT // 12 - 1 :: COUNT // 12].tolist()]
    assert row.curve.y == pytest.approx(expected, abs=1e-5)


def test_a_number_a_frame_removes_frame_after_frame(classifier, pixels):
    importance = pixels.sum(dim=(1, 2), keepdim=True)
    [row] = rows(classifier, pixels, importance, make_metric(f"deletion@steps={FRAMES}"))
    left = 1 - importance.flatten().sort(descending=True).values.cumsum(0)
    assert row.curve.y == pytest.approx([1.0, *left.tolist()], abs=1e-5)


def test_removal_takes_the_largest_share_of_all_frames(classifier, pixels):
    [row] = rows(classifier, pixels, pixels, make_metric("removal@area=25@baseline=zero"))
    assert row.value == pytest.approx(1 - float(pixels.flatten().topk(COUNT // 4).values.sum()), abs=1e-5)


def test_average_drop_keeps_the_largest_share_of_all_frames(classifier, pixels):
    [row] = rows(classifier, pixels, pixels, make_metric("average-drop@area=25@mask=binary"))
    assert row.value == pytest.approx(100 * (1 - float(pixels.flatten().topk(COUNT // 4).values.sum())), abs=1e-3)
    [soft] = rows(classifier, pixels, pixels, make_metric("average-drop"))
    mask = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    assert soft.value == pytest.approx(100 * (1 - float((mask * pixels).sum())), abs=1e-3)
    assert soft.readouts["mass"] == pytest.approx(float(mask.mean()), abs=1e-6)


def test_a_map_of_fewer_moments_is_linear_in_time_between_their_middles(classifier, pixels):
    coarse = torch.tensor([1.0, 4.0])[:, None, None]
    [row] = rows(classifier, pixels, coarse, make_metric(f"deletion@steps={FRAMES}"))
    # At frames 0, 1 and 2 it is 1, 2.5 and 4.
    left = 1 - pixels.sum(dim=(1, 2)).flip(0).cumsum(0)
    assert row.curve.y == pytest.approx([1.0, *left.tolist()], abs=1e-5)


def test_sparseness_and_entropy_count_all_places_of_all_frames(classifier, pixels):
    one = torch.zeros(FRAMES, SIDE, SIDE)
    one[1, 2, 3] = 1
    sparse, entropy = rows(classifier, pixels, one, make_metrics(["sparseness,entropy"]))
    assert sparse.value == pytest.approx(1 - 1 / COUNT)
    assert entropy.value == pytest.approx(0)


def test_channels_of_a_frame_are_removed_together(classifier, pixels):
    """Of each copy every frame's pixel keeps all its channels or none: the baseline shows in whole pixels."""
    seen: list[Tensor] = []

    def watched(inputs: Tensor) -> Tensor:
        seen.append(inputs.clone())
        return linear(inputs)

    watching = dataclasses.replace(classifier, forward=watched)
    rows(watching, pixels, pixels, make_metric("deletion@steps=5"))
    for copies in seen:
        hidden = copies.unflatten(1, (FRAMES, 3)) == 0
        assert bool((hidden.all(dim=2) == hidden.any(dim=2)).all())


@pytest.mark.parametrize("name", of_sequences(METRICS))
def test_every_metric_for_sequences_gives_a_number_in_its_range_whatever_the_batch(classifier, pixels, name):
    metric = make_metric(name)
    maps = pixels[:, :2, :3]
    values = [rows(dataclasses.replace(classifier, batch_size=size), pixels, maps, metric)[0].value for size in (None, 1, None)]
    low, high = metric.range
    assert low <= values[0] <= high
    assert values[0] == values[2]
    assert values[1] == pytest.approx(values[0], abs=1e-5 * max(1.0, abs(values[0])))


@pytest.mark.parametrize("name", sorted({entry.name for entry in entries(METRICS)} - set(of_sequences(METRICS))))
def test_every_other_metric_is_refused_with_those_that_score_sequences(classifier, name):
    reading = dataclasses.replace(classifier, provides=classifier.provides | Needs.FRAMES)
    with pytest.raises(
        UsageError, match=f"{name} scores maps of photos, and toy reads 3 frames. Metrics for sequences: deletion, "
    ):
        require_scores(make_metric(name), reading)
