"""Recipro-CAM on a linear head, whose map is known, and its form for vision transformers."""

import numpy as np
import pytest
import torch
from detectors import hand_made
from PIL import Image
from plain_transformer import inputs, plain_transformer
from torch import nn
from torch.testing import assert_close

import xaicli
from xaicli.methods.recipro_cam import ReciproCAM, masks_of
from xaicli.targets import TargetRule, Targets

CAM = torch.tensor([[1.0, 2, 0], [0, 9, 3], [0, 0, 1]])
SEEDS = torch.zeros(1, dtype=torch.int64)


class OneChannel(nn.Module):
    """The photo's first colour, averaged; the first logit is that and 0.5, the second `rival` of it, and `constant`."""

    def __init__(self, rival: float = 0.0, constant: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1, bias=False)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([1.0, 0, 0])[None, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0], [rival]]))
            self.head.bias.copy_(torch.tensor([0.5, constant]))

    def forward(self, inputs):
        return self.head(self.features(inputs).mean(dim=(2, 3)))


def maps_of(method, **changes):
    photo = torch.zeros(1, 3, 3, 3)
    photo[0, 0] = CAM
    classifier = xaicli.classifier(OneChannel(**changes), resize=None, crop=3, layer="features")
    return method.attribute(classifier, photo, Targets.same(TargetRule(index=0), 1), SEEDS)


def test_gaussian_masks_are_cut_at_the_border():
    masks = masks_of("gaussian", 3, 3)
    assert_close(masks[0], torch.tensor([[0.25, 0.125, 0], [0.125, 0.0625, 0], [0, 0, 0]]))
    assert [masks[place].sum().item() for place in (0, 1, 4)] == [0.5625, 0.75, 1]
    assert masks_of("delta", 2, 3)[4].tolist() == [[0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("mask", "scores", "values"),
    [
        ("delta", [0.611111, 0.722222, 0.5, 0.5, 1.5, 0.833333, 0.5, 0.5, 0.611111], (CAM / 9).flatten().tolist()),
        (
            "gaussian",
            [0.618056, 0.715278, 0.631944, 0.652778, 0.833333, 0.736111, 0.5625, 0.659722, 0.631944],
            [0.205128, 0.564103, 0.256410, 0.333333, 1, 0.641026, 0, 0.358974, 0.256410],
        ),
        ("gaussian-replicate", [0.5625, 0.666667, 0.5, 0.5, 1.5, 0.75, 0.5, 0.5, 0.5625], None),
    ],
)
def test_under_a_linear_head_the_logits_are_those_of_cam(mask, scores, values):
    maps = maps_of(ReciproCAM(mask=mask, score="logit"))
    assert_close(maps.extras["scores"][0, 0].flatten(), torch.tensor(scores), rtol=1e-4, atol=1e-5)
    if values is not None:
        assert_close(maps.values[0, 0].flatten(), torch.tensor(values), rtol=1e-4, atol=1e-5)


def test_a_probability_falls_where_a_rival_gains_more():
    plain = maps_of(ReciproCAM(), rival=0.0, constant=1.0).extras["scores"][0, 0]
    assert_close(plain[[1, 0, 2], [1, 0, 0]], torch.tensor([0.622459, 0.403985, 0.377541]), rtol=1e-4, atol=1e-5)
    reversed_order = maps_of(ReciproCAM(), rival=2.0, constant=1.0).extras["scores"][0, 0]
    assert_close(reversed_order[[1, 2], [1, 0]], torch.tensor([0.182426, 0.377541]), rtol=1e-4, atol=1e-5)


def test_a_constant_map_is_zero():
    network = OneChannel()
    classifier = xaicli.classifier(network, resize=None, crop=3, layer="features")
    maps = ReciproCAM().attribute(classifier, torch.zeros(1, 3, 3, 3), Targets.same(TargetRule(index=0), 1), SEEDS)
    assert not maps.values.any()


@pytest.mark.parametrize(
    ("method", "red", "constant"),
    [("recipro-cam", 120, True), ("recipro-cam", 240, False), ("recipro-cam@score=logit", 120, False)],
)
def test_a_map_that_no_place_s_proposal_reaches_is_constant_and_said(caplog, method, red, constant):
    """The hand-made detector's red box has 16 places: one alone, of red 120 / 255, has a score of 0.03, below the 0.05 that a
    proposal needs; of 240 / 255 it has 0.06."""
    pixels = np.full((8, 8, 3), (red, 10, 10), dtype=np.uint8)
    classifier = hand_made(mean=(0, 0, 0), std=(1, 1, 1))
    [one] = xaicli.explain(Image.fromarray(pixels), classifier, method=method, target="red@box=0")
    said = [record.message for record in caplog.records if "no place alone makes a proposal" in record.message]
    assert said == (
        [
            f"{method}: no place alone makes a proposal of confidence 0.05, so the map is constant; "
            "score=logit reads the class score"
        ]
        if constant
        else []
    )
    assert one.status == ("constant" if constant else "ok")


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("mask", ["delta", "gaussian"])
def test_of_a_transformer_patches_are_masked_where_they_enter_the_last_attention(keep, mask):
    network, classifier = plain_transformer()
    method = ReciproCAM(keep_class=keep, mask=mask)
    maps = method.attribute(classifier, inputs(1), Targets.same(TargetRule(index=2), 1), SEEDS)
    tokens = network.blocks[0](network.embed(inputs(1)))
    block, masks, wanted = network.blocks[1], masks_of(mask, 2, 3), []
    for own in masks.flatten(1):
        kept = torch.cat([torch.tensor([1.0 if keep else 0.0]), own])[None, :, None]
        normed = block.norm1(tokens) * kept
        # The paper masks the way past the attention too; the class token's own way is not masked.
        past = tokens * torch.cat([torch.ones(1), own])[None, :, None]
        made = past + block.attn(normed, normed)
        wanted.append(network.tail(made + block.mlp(block.norm2(made)))[0, 2])
    assert_close(maps.extras["scores"].flatten(), torch.stack(wanted).detach(), rtol=1e-4, atol=1e-5)


def test_all_targets_come_of_the_same_passes():
    _, classifier = plain_transformer()
    maps = ReciproCAM().attribute(classifier, inputs(2), Targets.same(TargetRule(top=3), 2), SEEDS.repeat(2))
    assert maps.values.shape == (2, 3, 2, 3)
    for row in range(2):
        index = int(maps.targets.classes[row, 1])
        alone = ReciproCAM().attribute(classifier, inputs(2)[row : row + 1], Targets.same(TargetRule(index=index), 1), SEEDS)
        assert_close(alone.values[0, 0], maps.values[row, 1])
