"""Segmentation networks of torchvision and transformers, explained over a region."""

from __future__ import annotations

import numpy as np
import pytest
import torch
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
