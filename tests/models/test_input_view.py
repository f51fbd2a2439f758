"""Channels of a network: found, stated, or in conflict with its means; windows, scales and orders of its inputs."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn

import xaicli
from xaicli.errors import UsageError
from xaicli.images.view import IMAGENET_MEAN, View


class Net(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.convolution(inputs).relu().mean(dim=(2, 3)))


class GreyWithin(Net):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs.mean(dim=1, keepdim=True))


def classifier_of(module: nn.Module, **settings):
    return xaicli.classifier(module.eval(), resize=None, crop=16, **settings)


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_channels_are_those_of_the_first_convolution(channels):
    made = classifier_of(Net(channels))
    assert made.view.channels == channels
    assert (made.view.mean, made.view.std) == ((0,) * channels, (1,) * channels)
    assert made(torch.zeros(2, channels, 16, 16)).shape == (2, 5)
    assert made.feature_layer().layout.grid == (16, 16)


def test_a_network_that_takes_colours_and_makes_them_grey_itself_takes_colours():
    made = classifier_of(GreyWithin(1))
    assert made.view.mean == IMAGENET_MEAN


def test_channels_that_are_stated_are_believed():
    assert classifier_of(GreyWithin(1), channels=2).view.channels == 2


def test_stated_channels_that_the_network_does_not_take_are_refused_with_those_that_it_takes():
    with pytest.raises(UsageError, match="--channels 4, but Net takes 3 channels; expected --channels 3, or none"):
        classifier_of(Net(3), channels=4)
    with pytest.raises(UsageError, match="--channels 5, but tiny takes 3 channels"):
        xaicli.load_classifier("tiny", channels=5)


def test_one_mean_stands_for_all_channels_and_another_number_of_them_is_refused_with_both():
    assert classifier_of(Net(4), mean=(0.5,), std=0.25).view.std == (0.25,) * 4
    with pytest.raises(UsageError, match=r"mean 0.5,0.5 has 2 numbers, but Net takes 4 channels.*--channels 2"):
        classifier_of(Net(4), mean=(0.5, 0.5))


@pytest.mark.parametrize("channels", [0, -1, 1.5, True, "3"])
def test_a_number_of_channels_that_cannot_be_is_refused(channels):
    with pytest.raises(UsageError, match="channels"):
        classifier_of(Net(3), channels=channels)


def test_inputs_in_bytes_and_blue_first_are_what_the_network_sees():
    made = classifier_of(Net(3), input_scale=255, input_order="bgr", mean=(103, 116, 123), std=(1, 1, 1))
    inputs = made.view.prepare(Image.new("RGB", (16, 16), (10, 20, 30)))
    assert inputs[:, 0, 0].tolist() == pytest.approx([30 - 103, 20 - 116, 10 - 123], abs=1e-3)
    assert made.view.pixels(inputs)[:, 0, 0].tolist() == pytest.approx([30 / 255, 20 / 255, 10 / 255])
    assert made.view.describe().endswith("inputs 0 to 255, blue first")


def test_without_means_a_scale_is_all_that_is_done():
    assert classifier_of(Net(3), input_scale=255).view.normalise(torch.ones(3, 1, 1)).flatten().tolist() == [255] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_scale": 0},
        {"input_scale": float("nan")},
        {"input_order": "gbr"},
        {"window": "5:1"},
        {"input_scale": 255, "mean": 999},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError) as caught:
        classifier_of(Net(3), **wrong)
    assert caught.value.expected


def test_an_order_of_colours_is_of_three_channels():
    with pytest.raises(UsageError, match="input order bgr of 4 channels"):
        classifier_of(Net(4), input_order="bgr")


def test_views_that_were_stamped_before_keep_their_stamp():
    assert set(View().as_dict()) == {"resize", "crop", "interpolation", "mean", "std"}
    changed = View(window="0:4095", scale=255, order="bgr")
    assert View.from_dict(changed.as_dict()) == changed
    one = classifier_of(Net(3)).fingerprint
    assert one != classifier_of(Net(3), window="0:4095").fingerprint
