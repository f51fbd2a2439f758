"""Lines of the README that need a download run as they stand, on small models of the same kind with random weights."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from command_line import CommandLine
from PIL import Image
from safetensors.torch import save_file
from text_image_models import save_text_image_model
from torch import nn

README = Path(__file__).parents[2] / "README.md"


def words_of(beginning: str) -> list[str]:
    """The words behind `xai` of the only line of the README that begins so, without its comment."""
    lines = [line for line in README.read_text("utf-8").splitlines() if line.startswith(beginning)]
    assert len(lines) == 1, lines
    return shlex.split(lines[0], comments=True)[1:]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    coarse = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    for name in ("cat.jpg", "street.jpg"):
        Image.fromarray(coarse).resize((96, 80), Image.Resampling.BICUBIC).save(tmp_path / name)
    return CommandLine(capsys)


def small_faster_rcnn(*args, **settings):
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 8, 1), nn.ReLU())
    backbone.out_channels = 16
    anchors = AnchorGenerator(((16,),), ((1.0,),))
    return FasterRCNN(backbone, 91, rpn_anchor_generator=anchors, min_size=64, max_size=64, rpn_post_nms_top_n_test=20)


def test_a_box_of_a_detector(command, tmp_path, monkeypatch):
    words = words_of("xai explain street.jpg --model fasterrcnn_resnet50_fpn --target box:0")
    assert words[-3:] == ["--method", "d-rise,grad-cam", "--sheet"]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = small_faster_rcnn()
        nn.init.normal_(network.roi_heads.box_predictor.cls_score.weight, std=0.5)
    save_file(network.state_dict(), tmp_path / "random.safetensors")
    monkeypatch.setattr(torchvision.models, "get_model", small_faster_rcnn)
    # All as written but the weights, and few masks: the default is thousands of passes.
    typed = [word.replace("d-rise", "d-rise@n_masks=8") for word in words]
    assert command(*typed, "--weights", "random.safetensors") == 0, command.err
    names = sorted(path.name for path in (tmp_path / "xai-out").iterdir())
    assert {"sheet.png", "street.d-rise@n_masks=8.png", "street.grad-cam.png"} <= set(names), names


def test_texts_as_classes(command, tmp_path):
    words = words_of("xai explain cat.jpg --model hf:openai/clip-vit-base-patch32")
    save_text_image_model(tmp_path / "openai" / "clip-vit-base-patch32", "clip")
    assert command(*words) == 0, command.err
    assert (tmp_path / "xai-out" / "cat.grad-eclip.png").is_file()
    assert command.out.count("a photo of a") >= 1
