"""Detectors of transformers, small and random, from a folder: their boxes are what their own post-processing gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import xaicli
from xaicli.images.view import View

transformers = pytest.importorskip("transformers")
NAMES = {"id2label": {0: "cat", 1: "dog", 2: "bus"}, "label2id": {"cat": 0, "dog": 1, "bus": 2}}
SIDE = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def detr():
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        backbone_config=backbone,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=5,
        **NAMES,
    )
    size = {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}
    return transformers.DetrForObjectDetection(config), transformers.DetrImageProcessorPil(size=size)


def rt_detr():
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=[16, 24, 32],
        encoder_hidden_dim=16,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=5,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        **NAMES,
    )
    return transformers.RTDetrForObjectDetection(config), transformers.RTDetrImageProcessorPil(
        size={"height": SIDE, "width": SIDE}
    )


def yolos():
    config = transformers.YolosConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[SIDE, SIDE],
        patch_size=8,
        num_detection_tokens=100,
        **NAMES,
    )
    size = {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}
    return transformers.YolosForObjectDetection(config), transformers.YolosImageProcessorPil(size=size)


@pytest.fixture(params=[detr, rt_detr, yolos], ids=lambda make: make.__name__)
def folder(request, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = request.param()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def test_a_detector_finds_the_boxes_that_its_own_processor_finds(folder, photo):
    detector = xaicli.load_classifier(f"hf:{folder}")
    assert detector.classes == ("cat", "dog", "bus")
    model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    inputs = processor(images=Image.open(photo), return_tensors="pt")
    with torch.no_grad():
        [own] = processor.post_process_object_detection(model(**inputs), threshold=0.0, target_sizes=[(SIDE, SIDE)])
    best = int(own["scores"].argmax())
    [one] = xaicli.explain(photo, detector, "hirescam@relu=false")
    box = one.record.box
    torch.testing.assert_close(torch.tensor(box["corners"]), own["boxes"][best].clamp(0, SIDE), atol=0.05, rtol=0)
    assert (box["label"], box["score"]) == (
        detector.class_name(int(own["labels"][best])),
        pytest.approx(float(own["scores"][best]), abs=1e-3),
    )
    assert one.record.status == "ok"
    [masked] = xaicli.explain(photo, detector, "d-rise@n_masks=4@grid=3")
    assert masked.record.target == "box:0"


@pytest.mark.parametrize(("make", "letterbox"), [(detr, 114), (rt_detr, None)])
def test_the_view_is_the_processors(make, letterbox, tmp_path):
    model, processor = make()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    colours = ((0.0,) * 3, (1.0,) * 3) if make is rt_detr else (MEAN, STD)
    view = xaicli.load_classifier(f"hf:{tmp_path}").view
    assert view == View((SIDE, SIDE), None, "bilinear", *colours, letterbox)
