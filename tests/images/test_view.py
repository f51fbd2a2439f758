"""The model's view of a photo: held bit for bit against torchvision's transforms."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.models import MobileNet_V2_Weights, ResNet50_Weights
from torchvision.transforms import InterpolationMode

from xaicli.errors import InputError, UsageError
from xaicli.images.view import INTERPOLATIONS, View

SIZES = [(60, 40), (40, 60), (33, 47), (64, 64), (31, 29), (7, 90), (1, 1), (2, 3), (257, 19)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def torchvision_view(view: View) -> transforms.Compose:
    mode = InterpolationMode(view.interpolation)
    steps = [] if view.resize is None else [transforms.Resize(view.resize, mode)]
    steps += [] if view.crop is None else [transforms.CenterCrop(view.crop)]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(view.mean, view.std)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "view",
    [
        View(32, 28),
        View(33, 28),
        View(32, 31),
        View(20, 28),
        View((30, 41), None),
        View((30, 41), 32),
        View(32, (20, 31)),
        View(None, 32),
        View(None, (9, 50)),
    ],
)
def test_the_input_is_bit_for_bit_that_of_torchvision(view, size):
    photo = noise(*size)
    assert torch.equal(view.prepare(photo), torchvision_view(view)(photo))
    assert view.prepare(photo).shape == (3, *view.size)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("resize", [20, 90])
def test_every_interpolation_is_that_of_torchvision(interpolation, resize):
    view = View(resize, 24, interpolation=interpolation)
    photo = noise(61, 45)
    assert torch.equal(view.prepare(photo), torchvision_view(view)(photo))


@pytest.mark.parametrize("weights", [ResNet50_Weights.IMAGENET1K_V2, MobileNet_V2_Weights.IMAGENET1K_V1])
def test_a_preset_of_weights_is_taken_over_as_it_stands(weights):
    preset = weights.transforms()
    view = View(preset.resize_size, preset.crop_size, preset.interpolation.value, tuple(preset.mean), tuple(preset.std))
    photo = noise(301, 243)
    assert torch.equal(view.prepare(photo), preset(photo))


def test_prepare_leaves_the_photo_alone():
    photo = noise(40, 40)
    before = photo.tobytes()
    View(None, 40).prepare(photo)[:] = 0
    assert photo.tobytes() == before


def test_only_rgb_photos_are_prepared():
    with pytest.raises(InputError, match="mode L; expected RGB"):
        View().prepare(Image.new("L", (30, 30)))


@pytest.mark.parametrize(("resize", "crop", "size"), [(256, 224, (224, 224)), (None, (3, 4), (3, 4)), ((5, 6), None, (5, 6))])
def test_the_size_is_that_of_the_crop_else_of_the_exact_resize(resize, crop, size):
    assert View(resize, crop).size == size


@pytest.mark.parametrize(
    "wrong",
    [
        {"resize": 256, "crop": None},
        {"resize": None, "crop": None},
        {"resize": 0},
        {"resize": -3},
        {"resize": (2, 0)},
        {"resize": (2, 3, 4)},
        {"resize": 2.5},
        {"resize": "256"},
        {"resize": True},
        {"crop": ()},
        {"interpolation": "bilinaer"},
        {"mean": (0.5, 0.5)},
        {"mean": 0.5},
        {"mean": (0.5, 0.5, float("nan"))},
        {"mean": ("a", "b", "c")},
        {"std": (0.5, 0.5, float("inf"))},
        {"std": (0.5, 0.0, 0.5)},
        {"std": (0.5, -1.0, 0.5)},
    ],
)
def test_a_view_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError) as caught:
        View(**wrong)
    assert caught.value.expected


def test_an_interpolation_nearly_right_is_suggested():
    with pytest.raises(UsageError, match=r"Did you mean bilinear\?"):
        View(interpolation="bilinaer")


def test_unnormalise_inverts_normalise_and_pixels_are_clipped():
    view = View()
    colours = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(view.unnormalise(view.normalise(colours)), colours)
    wide = torch.full((3, 2, 2), 99.0)
    assert view.pixels(wide).max() == 1
    assert view.pixels(-wide).min() == 0


def test_unnormalise_carries_gradients():
    inputs = torch.zeros(1, 3, 2, 2, requires_grad=True)
    View(std=(0.5, 0.25, 2.0)).unnormalise(inputs).sum().backward()
    assert inputs.grad[0, :, 0, 0].tolist() == [0.5, 0.25, 2.0]


@pytest.mark.parametrize("view", [View(), View((30, 41), None, "bicubic"), View(None, (3, 4), mean=(0, 0, 0), std=(1, 1, 1))])
def test_a_view_survives_json(view):
    assert View.from_dict(json.loads(json.dumps(view.as_dict()))) == view
    assert hash(View.from_dict(view.as_dict())) == hash(view)


@pytest.mark.parametrize(
    "content", [{}, {"resize": 3}, [], None, {**View().as_dict(), "more": 1}, {**View().as_dict(), "std": [0, 0, 0]}]
)
def test_a_record_that_is_no_view_is_refused(content):
    with pytest.raises(InputError):
        View.from_dict(content)


def test_a_photo_of_absurd_proportions_is_refused_before_memory_is():
    with pytest.raises(InputError, match="1 x 100000 pixels becomes"):
        View(256, 224).prepare(Image.new("RGB", (1, 100_000)))


def test_the_view_says_what_it_does():
    assert View().describe() == "resize 256, crop 224, bilinear"
    assert View((192, 224), None, "bicubic").describe() == "resize 192 x 224, bicubic"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", [View(32, 28), View(20, 28), View((30, 41), None), View(None, 32)])
def test_a_mask_goes_the_way_of_the_photo(view, size):
    mask = np.random.default_rng(1).random(size[::-1]) > 0.5
    photo = Image.fromarray(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255)
    nearest = View(view.resize, view.crop, "nearest", (0, 0, 0), (1, 1, 1))
    assert view.prepare_mask(mask).shape == view.size
    assert np.array_equal(view.prepare_mask(mask), nearest.prepare(photo)[0].numpy() == 1)


def test_a_mask_is_false_in_the_padding():
    inside = View(None, 8).prepare_mask(np.ones((4, 6), dtype=bool))
    assert inside.sum() == 24
    assert inside[2:6, 1:7].all()


@pytest.mark.parametrize("mask", [np.ones((3, 3)), np.ones((3, 3, 1), dtype=bool), np.ones(3, dtype=bool)])
def test_a_mask_of_another_kind_is_refused(mask):
    with pytest.raises(InputError, match="expected bool"):
        View().prepare_mask(mask)
