"""torchvision's detectors: all their proposals, with a graph, and boxes as torchvision itself finds them."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD, SSDHead

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.images.view import View

SIDE = 64


def with_weights(name: str):
    """A detector of torchvision with random weights and two classes beside the background, few proposals, and certain boxes."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        options = {"min_size": SIDE, "max_size": SIDE, "rpn_post_nms_top_n_test": 20, "box_score_thresh": 0.3}
        return torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=3, **options).eval()


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def test_faster_rcnn_finds_torchvisions_own_boxes(photo):
    network = with_weights("fasterrcnn_mobilenet_v3_large_320_fpn")
    detector = xaicli.detector(network)
    assert detector.view == View((SIDE, SIDE), None, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 114)
    assert detector.count == 3
    with torch.no_grad():
        pixels = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1) / 255
        [own] = network([pixels])
    [one] = xaicli.explain(photo, detector, "grad-cam@relu=false")
    assert len(own["boxes"])
    torch.testing.assert_close(torch.tensor(one.record.box["corners"]), own["boxes"][0], atol=1e-2, rtol=0)
    assert one.record.box["score"] == pytest.approx(float(own["scores"][0]), abs=1e-4)
    assert one.record.box["label"] == str(int(own["labels"][0]))
    assert one.record.layer == "model.backbone.body.16"
    assert one.record.status == "ok"


def test_outputs_are_not_said_of_a_detector(tmp_path):
    file = tmp_path / "found.py"
    file.write_text(
        "import torch, xaicli\n"
        "def make():\n"
        "    network = torch.nn.Conv2d(3, 5, 8, 8)\n"
        "    decode = lambda output: (output[:, :4].flatten(2).mT, output[:, 4:].flatten(2).mT.sigmoid())\n"
        "    return xaicli.detector(network.eval(), decode=decode, resize=64)\n"
    )
    assert xaicli.load_classifier(f"{file}:make").decoding is not None
    with pytest.raises(UsageError, match=r"is a detector, whose outputs are boxes\. Leave --outputs out"):
        xaicli.load_classifier(f"{file}:make", outputs="sigmoid")


def test_ssd_is_explained_at_its_own_size(photo):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = torch.nn.Sequential(
            OrderedDict(features=torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, 8, 1), torch.nn.ReLU()))
        )
        anchors = DefaultBoxGenerator([[2]], scales=[0.3, 0.5])
        network = SSD(backbone, anchors, (SIDE, 2 * SIDE), 3, head=SSDHead([32], anchors.num_anchors_per_location(), 3))
    detector = xaicli.detector(network)
    assert detector.view.size == (2 * SIDE, SIDE)
    assert detector.view.letterbox is None
    [one] = xaicli.explain(photo, detector, "grad-cam@relu=false")
    assert one.record.layer == "model.backbone.features.1"
    assert one.record.status == "ok"
    # No box is of the background.
    assert not detector.proposals(torch.randn(1, 3, 2 * SIDE, SIDE)).scores[..., 0].any()


@pytest.mark.parametrize("kind", [RetinaNet, FCOS])
def test_one_stage_detectors_give_every_anchor(kind, photo):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, 8, 1), torch.nn.ReLU())
        backbone.out_channels = 32
        sizes = ((16, 32),) if kind is RetinaNet else ((8,),)
        anchors = AnchorGenerator(sizes, ((1.0,),))
        # Heads start near a score of 0.01, below any threshold.
        network = kind(backbone, 3, anchor_generator=anchors, min_size=SIDE, score_thresh=0.001)
    detector = xaicli.detector(network)
    proposals = detector.proposals(torch.randn(2, 3, SIDE, SIDE))
    assert proposals.boxes.shape == (2, 64 * len(sizes[0]), 4)
    assert proposals.scores.requires_grad
    [one] = xaicli.explain(photo, detector, "hirescam@relu=false")
    assert one.record.layer == "model.backbone"
    assert one.record.status == "ok"


def test_a_detector_is_loaded_by_name_with_as_many_classes_as_its_file_has(tmp_path, photo):
    network = with_weights("fasterrcnn_mobilenet_v3_large_320_fpn")
    save_file(network.state_dict(), tmp_path / "street.safetensors")
    lines = []
    detector = xaicli.load_classifier(
        "fasterrcnn_mobilenet_v3_large_320_fpn", weights=tmp_path / "street.safetensors", resize=(SIDE, SIDE), notice=lines.append
    )
    assert detector.count == 3
    assert detector.view.describe() == "letterbox 64 x 64, bilinear"
    assert [line for line in lines if "3 outputs and 91 class names" in line]
    inputs = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(
            detector.proposals(inputs).scores[0, :20], xaicli.detector(network).proposals(inputs).scores[0]
        )


def test_one_number_is_the_side_of_a_detectors_square_input(tmp_path):
    network = with_weights("fasterrcnn_mobilenet_v3_large_320_fpn")
    save_file(network.state_dict(), tmp_path / "street.safetensors")
    words = {"spec": "fasterrcnn_mobilenet_v3_large_320_fpn", "weights": tmp_path / "street.safetensors"}
    assert xaicli.load_classifier(**words, resize=SIDE).view == xaicli.load_classifier(**words, resize=(SIDE, SIDE)).view


def test_another_network_without_a_decode_function_is_refused(tiny_cnn):
    with pytest.raises(InputError, match="not one of torchvision's detectors"):
        xaicli.detector(tiny_cnn)
