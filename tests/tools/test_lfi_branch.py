"""The figures on LFI-CAM's branch: what is altered is what its row says, and the sentence follows from the figures."""

import numpy as np
import pytest
import torch
from PIL import Image

import xaicli
from tools.lfi_branch import ALTERED, altered, correlation, measure
from tools.lfi_page import page, verdict
from xaicli.methods.lfi.lfi_network import branch_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        place = folder / "ab"[number % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def figures(photos):
    return measure("tiny", photos, None)


def test_equal_weights_give_the_map_of_the_method_with_equal_weights(photos):
    classifier = xaicli.load_classifier("tiny", device="cpu")
    [own] = xaicli.explain(photos / "a" / "0.png", classifier, method="lfi-cam@weights=equal")
    with altered(branch_of(classifier.torch_module), ALTERED["all equal"]) as kept, torch.inference_mode():
        classifier(classifier.view.prepare(Image.open(photos / "a" / "0.png").convert("RGB"))[None])
    assert torch.allclose(kept[0][2][0], torch.as_tensor(own.values), atol=1e-6)


def test_the_learned_weights_change_nothing_and_another_row_does(figures):
    assert figures["ways"]["as learned"]["change"][0] == 0
    assert figures["ways"]["no attention"]["change"][0] != 0
    assert figures["ways"]["all equal"]["like_equal"][0] == pytest.approx(1)
    assert figures["ways"]["no attention"]["like_equal"] is None


def test_entropy_lies_below_that_of_equal_weights_and_gradients_reach_the_branch(figures):
    assert 0 < figures["entropy"][0] < figures["most"]
    assert 1 < figures["effective"][0] < figures["channels"] == 192
    assert min(figures["gradient"].values()) > 0


def test_correlation_of_maps_is_pearsons():
    first, second = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    wanted = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(correlation(first, second), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [([0.2, 0.1, 0.3], "the loss is higher by 0.2000 [0.1000, 0.3000]"), ([0.0, -0.1, 0.1], "not shown to matter")],
)
def test_the_first_sentence_follows_from_the_interval(figures, change, sentence):
    ways = figures["ways"] | {"of the next photo": figures["ways"]["of the next photo"] | {"change": change}}
    assert sentence in verdict(ways)
    assert sentence.split()[-1] in page(figures | {"ways": ways})
