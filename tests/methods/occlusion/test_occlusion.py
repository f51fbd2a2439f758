"""Occlusion, against closed forms and against captum run plainly."""

import captum.attr
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.plain_transformer import inputs as transformer_inputs
from tests.plain_transformer import masked_by_hand, plain_transformer
from xaicli.errors import UsageError
from xaicli.methods.occlusion.occlusion import Occlusion, stretches
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.arange(5)


def explain(method, classifier, photos, rule=DECISION):
    return method.attribute(classifier, photos, Targets.same(rule, len(photos)), SEEDS[: len(photos)])


def brightness(inputs):
    """Two logits: the sum of all pixels, and three times the upper left quarter."""
    quarter = inputs[:, :, : inputs.shape[2] // 2, : inputs.shape[3] // 2]
    return torch.stack([inputs.sum(dim=(1, 2, 3)), 3 * quarter.sum(dim=(1, 2, 3))], dim=1)


def test_windows_that_fill_the_photo_give_their_own_sums_on_an_additive_score(classifier_of, photo_batch):
    maps = explain(Occlusion(window=8, stride=8), classifier_of(brightness, count=2), photo_batch, TargetRule(index=0))
    sums = photo_batch.sum(dim=1).unfold(1, 8, 8).unfold(2, 8, 8).sum(dim=(3, 4))
    assert_close(maps.values[:, 0], sums.repeat_interleave(8, 1).repeat_interleave(8, 2), atol=1e-4, rtol=1e-4)


def test_each_pixel_has_the_mean_over_the_windows_that_hide_it(classifier_of, photo_batch):
    window, stride = 10, 7
    maps = explain(Occlusion(window=window, stride=stride), classifier_of(brightness, count=2), photo_batch, TargetRule(index=1))
    quarter = torch.zeros(32, 32)
    quarter[:16, :16] = 3
    contributions = photo_batch.sum(dim=1) * quarter
    total, hits = torch.zeros(5, 32, 32), torch.zeros(32, 32)
    for top in (0, 7, 14, 21, 28):
        for left in (0, 7, 14, 21, 28):
            area = (slice(top, top + window), slice(left, left + window))
            total[:, *area] += contributions[:, *area].sum(dim=(1, 2))[:, None, None]
            hits[area] += 1
    assert_close(maps.values[:, 0], total / hits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("window", "stride"), [(8, 4), (10, 7), (5, 5), (32, 1), (31, 31), (9, 1)])
@pytest.mark.parametrize("baseline", ["zero", "white"])
def test_maps_are_captums(classifier_of, tiny_cnn, photo_batch, window, stride, baseline):
    photos = photo_batch[:2]
    maps = explain(Occlusion(window=window, stride=stride, baseline=baseline), classifier_of(tiny_cnn), photos)
    expected = captum.attr.Occlusion(tiny_cnn).attribute(
        photos,
        sliding_window_shapes=(3, window, window),
        strides=(3, stride, stride),
        baselines=1.0 if baseline == "white" else 0.0,
        target=maps.targets.classes[:, 0],
        perturbations_per_eval=16,
    )
    assert_close(maps.values[:, 0], expected[:, 0], atol=1e-5, rtol=1e-4)


def test_photos_need_not_be_square(classifier_of):
    photos = torch.rand(1, 3, 20, 45, generator=torch.Generator().manual_seed(1))
    maps = explain(Occlusion(window=9, stride=6), classifier_of(brightness, count=2, size=(20, 45)), photos)
    expected = captum.attr.Occlusion(brightness).attribute(photos, (3, 9, 9), (3, 6, 6), target=maps.targets.classes[:, 0])
    assert_close(maps.values[:, 0], expected[:, 0], atol=1e-4, rtol=1e-4)


def test_auto_is_a_window_of_a_seventh_that_moves_by_half():
    assert Occlusion().sides((224, 224)) == (32, 16)
    assert Occlusion().sides((64, 200)) == (9, 4)
    assert Occlusion().sides((3, 3)) == (1, 1)
    assert Occlusion().cost().forward == 4 + 13 * 13


def test_the_last_window_covers_the_border():
    assert stretches(32, 10, 7) == [(0, 10), (7, 17), (14, 24), (21, 31), (28, 32)]
    assert stretches(32, 8, 8) == [(0, 8), (8, 16), (16, 24), (24, 32)]
    assert stretches(32, 32, 5) == [(0, 32)]


def test_probabilities_are_explained_where_asked(classifier_of, photo_batch):
    few = photo_batch[:2] / 100
    maps = explain(
        Occlusion(window=16, stride=16, score="probability"), classifier_of(brightness, count=2), few, TargetRule(index=1)
    )
    hidden = few.clone()
    hidden[:, :, :16, :16] = 0
    falls = (brightness(few).softmax(dim=1) - brightness(hidden).softmax(dim=1))[:, 1]
    assert_close(maps.values[:, 0, 3, 3], falls, atol=1e-5, rtol=1e-4)


def test_a_clean_score_in_half_precision_stands_against_masked_ones(classifier_of, photo_batch):
    """Windows over what the network does not see change nothing, in bfloat16 as in float32."""

    class Upper(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 5, (16, 32))

        def forward(self, inputs):
            return self.layer(inputs[:, :, :16])[:, :, 0, 0]

    classifier = classifier_of(Upper().requires_grad_(False), masked_dtype=torch.bfloat16)
    values = explain(Occlusion(window=8, stride=8), classifier, photo_batch).values
    assert values[:, :, 16:].abs().max() == 0
    assert values[:, :, :16].abs().max() > 0


def test_windows_too_large_or_with_gaps_are_refused(classifier_of, photo_batch):
    classifier = classifier_of(brightness, count=2)
    with pytest.raises(UsageError, match="window of 33 pixels on an input of 32 x 32; expected at most 32"):
        explain(Occlusion(window=33), classifier, photo_batch)
    with pytest.raises(UsageError, match="stride 9 leaves gaps between windows of 8 pixels"):
        explain(Occlusion(window=8, stride=9), classifier, photo_batch)
    for settings in ({"window": 0}, {"stride": -1}, {"window": "wide"}, {"baseline": "segment"}):
        with pytest.raises(UsageError, match="occlusion"):
            Occlusion(**settings)


def test_without_patches_the_map_is_the_mean_fall_of_the_windows_that_hide_a_patch():
    """2 x 3 patches of 4 pixels; windows of 4 pixels, 2 apart, hide the patches whose centres they cover."""
    network, classifier = plain_transformer()
    classifier = classifier.with_masked_dtype(torch.float32)
    photo = transformer_inputs(1)
    maps = Occlusion(window=4, stride=2, remove="tokens").attribute(classifier, photo, Targets.same(DECISION, 1), SEEDS[:1])
    target = maps.targets.classes[0, 0]
    clean = network(photo)[0, target]
    total, hits = torch.zeros(2, 3), torch.zeros(2, 3)
    for top in range(0, 5, 2):
        for left in range(0, 9, 2):
            hidden = torch.zeros(2, 3, dtype=torch.bool)
            for row in range(2):
                for column in range(3):
                    hidden[row, column] = top <= 4 * row + 2 < top + 4 and left <= 4 * column + 2 < left + 4
            seen = torch.cat([torch.tensor([True]), ~hidden.flatten()])
            total += hidden * (clean - masked_by_hand(network, photo, seen)[0, target]).detach()
            hits += hidden
    assert_close(maps.values[0, 0], total / hits)


def test_without_patches_baselines_and_channels_mean_nothing():
    for key, value in (("baseline", "blur"), ("channels", "each")):
        with pytest.raises(UsageError, match=f"{key} is of pixels"):
            Occlusion(remove="tokens", **{key: value})
