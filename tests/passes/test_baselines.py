"""Named baselines, in the input space of a network with a mean and a standard deviation."""

import pytest
import torch
from torch.testing import assert_close

from xaicli.images.view import View
from xaicli.method import Sign
from xaicli.network.channels import reduce_channels, sign_of
from xaicli.passes.baselines import baseline_inputs, blurred

VIEW = View(resize=(16, 24), crop=None, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))


@pytest.fixture
def photos():
    return VIEW.normalise(torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(("name", "shade"), [("black", 0.0), ("grey", 0.5), ("white", 1.0)])
def test_shades_are_those_of_pixels_before_normalisation(photos, name, shade):
    assert_close(VIEW.unnormalise(baseline_inputs(name, VIEW, photos)), torch.full_like(photos, shade))


def test_zero_is_the_datas_mean_colour_and_mean_the_photos_own(photos):
    assert_close(VIEW.unnormalise(baseline_inputs("zero", VIEW, photos))[0, :, 3, 5], torch.tensor(VIEW.mean))
    own = baseline_inputs("mean", VIEW, photos)
    assert own.shape == photos.shape
    assert_close(own[1, :, 2, 2], photos[1].mean(dim=(1, 2)))


def test_a_blur_keeps_a_flat_photo_and_softens_another(photos):
    flat = torch.full((1, 3, 16, 24), 0.7)
    assert_close(blurred(flat), flat)
    soft = baseline_inputs("blur", VIEW, photos)
    assert soft.std() < 0.7 * photos.std()
    assert_close(blurred(photos[1:])[0], soft[1])


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 3), (300, 8)])
def test_photos_of_any_size_can_be_blurred(size):
    assert blurred(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_colours_are_reduced_by_the_rule_that_is_named():
    values = torch.tensor([1.0, -4.0, 2.0]).view(1, 1, 3, 1, 1)
    assert [float(reduce_channels(values, rule)) for rule in ("sum", "abs-sum", "max-abs")] == [-1.0, 7.0, 4.0]
    assert sign_of("sum") is Sign.SIGNED
    assert sign_of("abs-sum") is sign_of("max-abs") is Sign.NONNEGATIVE
