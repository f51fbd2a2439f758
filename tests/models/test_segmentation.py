"""Segmentation networks of torchvision and transformers, explained over a region."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from command_line import CommandLine
from PIL import Image
from safetensors.torch import save_file

import xaicli
from xaicli.images.view import View
from xaicli.outputs import Outputs


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (80, 100, 3), dtype=np.uint8))


def with_random_weights(name, path):
    torchvision = pytest.importorskip("torchvision")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, weights=None, weights_backbone=None).eval()
    save_file(network.state_dict(), path)
    return network


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_torchvisions_networks_give_class_maps(name, tmp_path, photo):
    network = with_random_weights(name, tmp_path / "net.safetensors")
    made = xaicli.load_classifier(name, weights=tmp_path / "net.safetensors", resize=(64, 64))
    assert (made.outputs, made.pixels, made.count) == (Outputs.REGION, Outputs.SOFTMAX, 21)
    assert made.class_name(0) == "__background__"
    assert made.view == View((64, 64), None, "bilinear")
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(made.class_map(inputs), network(inputs)["out"])
    [one] = xaicli.explain(photo, made, method="grad-cam", target="top1")
    assert one.record.target.endswith("@region=predicted")
    assert one.record.layer.split(".")[0] == "backbone"


def test_segformer_gives_a_class_map(tmp_path, photo):
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[1, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        num_labels=4,
        id2label={0: "wall", 1: "road", 2: "tree", 3: "sky"},
        label2id={"wall": 0, "road": 1, "tree": 2, "sky": 3},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "seg")
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path / "seg")
    made = xaicli.load_classifier(f"hf:{tmp_path / 'seg'}")
    assert (made.outputs, made.count, made.classes) == (Outputs.REGION, 4, ("wall", "road", "tree", "sky"))
    for method in ("grad-cam", "saliency", "rise@n_masks=16"):
        [one] = xaicli.explain(photo, made, method=method, target="top1@region=50:40")
        assert one.record.target.endswith("@region=50:40")
        assert np.isfinite(one.values).all()


UNET = """
import torch
import xaicli
from torch import nn
from torch.nn import functional


def block(taken, given):
    return nn.Sequential(nn.Conv2d(taken, given, 3, padding=1, bias=False), nn.BatchNorm2d(given), nn.ReLU())


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = block(3, 8), block(8, 12), block(12, 16)

    def forward(self, x):
        first = self.first(x)
        second = self.second(functional.max_pool2d(first, 2))
        return first, second, self.third(functional.max_pool2d(second, 2))


class Unet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.ModuleList([block(16 + 12, 12), block(12 + 8, 8)])
        self.segmentation_head = nn.Sequential(nn.Conv2d(8, classes, 3, padding=1), nn.Identity())

    def forward(self, x):
        *skipped, x = self.encoder(x)
        for level, skip in zip(self.decoder, reversed(skipped)):
            x = level(torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return self.segmentation_head(x)


def make(classes=3):
    torch.manual_seed(0)
    names = ["background", "road", "car"] if classes == 3 else ["crack"]
    return xaicli.classifier(Unet(classes).eval(), classes=names, resize=32, crop=32)


def cracks():
    return make(1)
"""


@pytest.fixture
def unet(tmp_path):
    (tmp_path / "net.py").write_text(UNET)
    return tmp_path / "net.py"


def test_a_network_like_those_of_segmentation_models_pytorch_is_explained_from_a_file(unet, photo):
    """An encoder, a decoder with skips and a head: (B, C, H, W) at the size of the input, and nothing said of it."""
    made = xaicli.load_classifier(f"{unet}:make")
    assert (made.outputs, made.pixels, made.count) == (Outputs.REGION, Outputs.SOFTMAX, 3)
    for method in ("grad-cam", "hirescam", "score-cam", "integrated-gradients@n_steps=2", "rise@n_masks=8@score=dice"):
        [one] = xaicli.explain(photo, made, method=method, target="car@region=20:20:50:50")
        assert one.record.target_name == "car@region=20:20:50:50"
        assert one.extras["region"].shape == (32, 32)
        assert np.isfinite(one.values).all()
    [one] = xaicli.explain(photo, made, method="grad-cam")
    assert one.record.layer == "encoder.third"
    assert one.values.shape == (8, 8)
    [one] = xaicli.explain(photo, made, method="grad-cam@layer=decoder.0")
    assert one.values.shape == (16, 16)


def test_a_class_map_of_one_class_is_that_class_and_the_rest(unet, photo):
    made = xaicli.load_classifier(f"{unet}:cracks")
    assert (made.count, made.classes) == (2, ("not crack", "crack"))
    [one] = xaicli.explain(photo, made, method="grad-cam", target="crack@region=50:40")
    [other] = xaicli.explain(photo, made, method="grad-cam", target="not crack@region=50:40")
    assert one.record.target_probability + other.record.target_probability == pytest.approx(1)


def test_the_layer_that_is_listed_as_the_default_is_the_one_that_is_read(unet, capsys):
    xai = CommandLine(capsys)
    assert xai("list", "layers", "--model", f"{unet}:make", "--format", "json") == 0
    assert [row["layer"] for row in json.loads(xai.out) if row["default"]] == ["encoder.third"]
