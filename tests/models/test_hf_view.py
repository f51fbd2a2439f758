import numpy as np
import pytest
import torch
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.models.hf_view import measure_colours, view_of

transformers = pytest.importorskip("transformers")
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
NO_NOTICE = "no notice was expected: "


def photo(width, height):
    coarse = np.random.default_rng(3).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def refuse(text):
    raise AssertionError(NO_NOTICE + text)


def square(side):
    return {"height": side, "width": side}


PROCESSORS = {
    "squashed to a square": (
        lambda: transformers.ViTImageProcessor(),
        View((224, 224), None, "bilinear", (0.5,) * 3, (0.5,) * 3),
    ),
    "resized, then cropped": (
        lambda: transformers.BitImageProcessor(size={"shortest_edge": 256}, crop_size=square(224)),
        View(256, 224, "bicubic", (0.481455, 0.457828, 0.408211), (0.26863, 0.26130, 0.27578)),
    ),
    "squashed, then cropped": (
        lambda: transformers.DeiTImageProcessor(**IMAGENET),
        View((256, 256), 224, "bicubic"),
    ),
    "a crop that is a share of the size": (
        lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 224}, **IMAGENET),
        View(256, 224, "bicubic"),
    ),
    "no share for large sizes": (
        lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
        View((384, 384), None, "bicubic", (0.5,) * 3, (0.5,) * 3),
    ),
    "the usual share, unsaid": (lambda: transformers.LevitImageProcessor(), View(256, 224, "bicubic")),
    "not normalised": (
        lambda: transformers.ViTImageProcessor(size=square(32), do_normalize=False),
        View((32, 32), None, "bilinear", (0.0,) * 3, (1.0,) * 3),
    ),
    "not scaled to 0..1": (
        lambda: transformers.ViTImageProcessor(size=square(32), do_normalize=False, do_rescale=False),
        View((32, 32), None, "bilinear", (0.0,) * 3, (1 / 255,) * 3),
    ),
    "normalised twice": (
        lambda: transformers.EfficientNetImageProcessor(size=square(64), image_mean=[0.4] * 3, image_std=[0.5] * 3),
        None,
    ),
    "blue first": (
        lambda: transformers.MobileViTImageProcessor(size={"shortest_edge": 72}, crop_size=square(64), resample=2),
        View(72, 64, "bilinear", (0.0,) * 3, (1.0,) * 3),
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_view_gives_what_the_processor_gives(name):
    make, expected = PROCESSORS[name]
    processor = make()
    colours = measure_colours(processor)
    view = view_of(processor, colours, "hf:net", refuse)
    if expected is not None:
        assert (view.resize, view.crop, view.interpolation) == (expected.resize, expected.crop, expected.interpolation)
        assert view.mean == pytest.approx(expected.mean, abs=2e-5)
        assert view.std == pytest.approx(expected.std, abs=2e-5)
    for size in [(300, 200), (200, 300), (250, 250)]:
        theirs = processor(images=photo(*size), return_tensors="pt")["pixel_values"][0].float()
        ours = view.prepare(photo(*size))
        ours = ours.flip(0) if colours.reverse else ours
        assert float((ours - theirs).abs().mean() / theirs.std()) < 0.02, size


def test_imagenet_s_mean_and_deviation_are_read_to_the_digit():
    colours = measure_colours(transformers.LevitImageProcessor())
    assert (colours.mean, colours.std, colours.reverse) == (View().mean, View().std, False)


def test_swapped_colours_are_found_with_their_means_in_the_photo_s_order():
    class Swapping:
        def __call__(self, images, return_tensors):
            pixels = torch.from_numpy(np.array(images)).permute(2, 0, 1).flip(0) / 255
            mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
            return {"pixel_values": ((pixels - mean[:, None, None]) / std[:, None, None])[None]}

    colours = measure_colours(Swapping())
    assert (colours.mean, colours.std, colours.reverse) == ((0.3, 0.2, 0.1), (0.6, 0.5, 0.4), True)


def test_a_processor_that_does_more_is_said_with_how_far_it_is_off(notices):
    class Mirroring(transformers.ViTImageProcessor):
        def __call__(self, images, **others):
            return super().__call__(images=images.transpose(Image.Transpose.FLIP_LEFT_RIGHT), **others)

    processor = Mirroring()
    view_of(processor, measure_colours(processor), "hf:net", notices.append)
    assert len(notices) == 1
    assert "does more than resize, crop and normalise" in notices[0]


def test_a_processor_without_three_colours_is_refused():
    class Grey:
        def __call__(self, images, return_tensors):
            return {"pixel_values": torch.zeros(1, 3, 8, 8)}

    with pytest.raises(InputError, match="three colour channels"):
        measure_colours(Grey())


def test_a_network_of_one_channel_has_the_view_of_its_grey_processor():
    processor = transformers.ViTImageProcessor(image_mean=[0.3], image_std=[0.2], size={"height": 32, "width": 32})
    colours = measure_colours(processor, 1)
    view = view_of(processor, colours, "hf:net", refuse)
    assert (view.mean, view.std) == ((0.3,), (0.2,))
    picture = photo(320, 240)
    theirs = processor(images=picture.convert("L"), return_tensors="pt")["pixel_values"][0].float()
    assert (view.prepare(picture) - theirs).abs().mean() < 0.02


def test_a_colour_processor_before_a_network_of_one_channel_is_refused():
    class Colour:
        def __call__(self, images, return_tensors):
            return {"pixel_values": torch.zeros(1, 3, 8, 8)}

    with pytest.raises(InputError, match="one grey channel"):
        measure_colours(Colour(), 1)
