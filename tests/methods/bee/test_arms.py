"""The families of baselines that BEE draws from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.bee.arms import KEPT, blurred, draw
from xaicli.passes.seeds import stream

FEATURES = torch.arange(96.0).view(4, 4, 6).sin() + 2


def drawn(arm, **further):
    return draw(arm, FEATURES, stream(3, "baseline"), **further)


def test_little_of_the_features_is_left_after_500_steps_of_diffusion():
    assert pytest.approx(0.00628876, abs=1e-8) == KEPT
    assert pytest.approx(0.0793017, abs=1e-7) == KEPT**0.5
    assert pytest.approx(0.9937112, abs=1e-7) == 1 - KEPT


def test_noise_is_added_to_what_is_left():
    noise = torch.from_numpy(stream(3, "baseline").standard_normal((4, 4, 6), dtype=np.float32))
    assert_close(drawn("normal"), 0.0793017 * FEATURES + 0.9937112 * noise, atol=1e-6, rtol=0)
    uniform = (drawn("uniform") - 0.0793017 * FEATURES) / 0.9937112
    assert float(uniform.min()) >= -1e-6
    assert float(uniform.max()) <= 1 + 1e-6
    scaled = 0.0793017 * FEATURES + 0.9937112 * float(FEATURES.std()) * noise
    assert_close(drawn("normal", noise="std"), scaled, atol=1e-6, rtol=0)


def test_a_blur_is_over_places_alone_and_keeps_the_mean_of_a_channel():
    assert_close(blurred(FEATURES, 3), torch.from_numpy(gaussian_filter(FEATURES.numpy(), (0, 3, 3))), atol=1e-5, rtol=0)
    assert_close(drawn("blur").mean(dim=(1, 2)), FEATURES.mean(dim=(1, 2)), atol=1e-4, rtol=0)


def test_a_constant_lies_between_the_extremes_of_its_channel():
    found = drawn("constant")
    assert (found == found[:, :1, :1]).all()
    assert (found >= FEATURES.amin(dim=(1, 2), keepdim=True)).all()
    assert (found <= FEATURES.amax(dim=(1, 2), keepdim=True)).all()


def test_another_photo_comes_from_the_bank_and_without_one_the_arm_is_refused():
    bank = torch.rand(3, 4, 4, 6)
    assert any(torch.equal(drawn("train", bank=bank), photo) for photo in bank)
    with pytest.raises(UsageError, match="needs features of other photos"):
        drawn("train")
