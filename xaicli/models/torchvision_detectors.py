"""torchvision's detectors as networks that give all their proposals: before thresholds and suppression drop any of them.

After its heads, torchvision cuts the graph and drops boxes. So a detector's parts are run one after the other here (backbone,
region proposals, heads, decoding), on prepared inputs. Scores keep torchvision's class numbers; the score of the background,
which a softmax includes, is set to 0. Faster R-CNN decodes a box for every class: that of the best class is taken. The score of
FCOS is, as in torchvision, the root of class score times centre-ness.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.models.model_request import LoadedModel
from xaicli.models.weights import State
from xaicli.network.proposals import Decoding
from xaicli.packages import import_torchvision

GREY = 114
"""The grey around a photo in a letterbox: nearly the mean colour of ImageNet, and the value in YOLO's own code."""
COCO = 91
"""Number of classes of torchvision's detectors, including the background."""
EPSILON_ZERO = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
"""Detectors whose weights COCO_V1 torchvision runs with batch norms of epsilon 0."""
LAST_OF = ("backbone.body", "backbone.features")
"""Parts whose last child is the deepest layer, from which all levels of a pyramid are made."""


Read = Callable[[Any, Any, Any], dict[str, Any]]


class AllProposals(nn.Module):
    """A detector of torchvision that takes prepared inputs (B, 3, H, W) and gives scores (B, N, C) and boxes (B, N, 4)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.read: Read = reader_of(model)

    def forward(self, inputs: Tensor) -> dict[str, Any]:
        images = import_torchvision().models.detection.image_list.ImageList(
            inputs, [(inputs.shape[2], inputs.shape[3])] * len(inputs)
        )
        model: Any = self.model
        features = model.backbone(inputs)
        if isinstance(features, Tensor):
            features = OrderedDict([("0", features)])
        return self.read(model, images, features)


def of_regions(model: Any, images: Any, features: Any) -> dict[str, Any]:
    """Proposals of Faster R-CNN and networks built on it."""
    proposals, _ = model.rpn(images, features)
    heads = model.roi_heads
    logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, images.image_sizes)))
    scores = without_background(logits.softmax(dim=1))
    boxes = heads.box_coder.decode(deltas, proposals)
    best = scores.argmax(dim=1)
    boxes = boxes[torch.arange(len(boxes), device=best.device), best]
    counts = [len(one) for one in proposals]
    most = max(1, *counts)

    def joined(values: Tensor) -> Tensor:
        rows = values.split(counts)
        return torch.stack([torch.cat([row, row.new_zeros(most - len(row), row.shape[1])]) for row in rows])

    return {"scores": joined(scores), "boxes": joined(boxes)}


def of_anchors(model: Any, images: Any, features: Any) -> dict[str, Any]:
    """RetinaNet and SSD: the same boxes for all classes, made from anchors."""
    levels = list(features.values())
    outputs, anchors = model.head(levels), model.anchor_generator(images, levels)
    softmax = not hasattr(model.head.classification_head, "cls_logits")
    scores = without_background(outputs["cls_logits"].softmax(dim=2)) if softmax else outputs["cls_logits"].sigmoid()
    boxes = [model.box_coder.decode_single(*pair) for pair in zip(outputs["bbox_regression"], anchors, strict=True)]
    return {"scores": scores, "boxes": torch.stack(boxes)}


def of_points(model: Any, images: Any, features: Any) -> dict[str, Any]:
    """FCOS: a box around every cell, and how central the cell is."""
    levels = list(features.values())
    outputs, points = model.head(levels), model.anchor_generator(images, levels)
    # The root of the product of both probabilities. A plain root has no gradient at 0, and one such class makes all of them NaN.
    scores = ((logsigmoid(outputs["cls_logits"]) + logsigmoid(outputs["bbox_ctrness"])) / 2).exp()
    boxes = [model.box_coder.decode(*pair) for pair in zip(outputs["bbox_regression"], points, strict=True)]
    return {"scores": scores, "boxes": torch.stack(boxes)}


def without_background(scores: Tensor) -> Tensor:
    """Scores whose first class, the background, is 0."""
    return torch.cat([torch.zeros_like(scores[..., :1]), scores[..., 1:]], dim=-1)


def reader_of(model: nn.Module) -> Read:
    """The function that runs a detector's parts; raises InputError for a network that is not one of torchvision's detectors."""
    kinds = import_torchvision().models.detection
    known: list[tuple[type[nn.Module], Read]] = [
        (kinds.FasterRCNN, of_regions),
        (kinds.RetinaNet, of_anchors),
        (kinds.ssd.SSD, of_anchors),
        (kinds.FCOS, of_points),
    ]
    for kind, read in known:
        if isinstance(model, kind):
            return read
    raise InputError(
        f"{type(model).__name__} is not one of torchvision's detectors",
        expected="a function that reads its boxes",
        hint="Give xaicli.detector(module, decode=…): decode(output) -> boxes (B, N, 4), scores (B, N, C).",
    )


def detectors(torchvision: ModuleType) -> list[str]:
    """The names of all detectors."""
    return list(torchvision.models.list_models(module=torchvision.models.detection))


def loaded(name: str, model: nn.Module, classes: tuple[str, ...] = ()) -> LoadedModel:
    """A detector of torchvision as a source gives it."""
    network = AllProposals(model)
    return LoadedModel(name, view_of(model), module=network, classes=classes, layer=layer_of(model), decoding=decoding_of(model))


def decoding_of(model: Any) -> Decoding:
    """Boxes as they are, with the detector's own thresholds."""
    holder = getattr(model, "roi_heads", model)
    return Decoding(as_it_is, float(holder.score_thresh), float(holder.nms_thresh))


def as_it_is(output: dict[str, Any]) -> tuple[Tensor, Tensor]:
    return output["boxes"], output["scores"]


def view_of(model: Any) -> View:
    """How photos are prepared: at a detector's fixed size, or letterboxed into a square of its shorter side, so that one input
    size serves all photos."""
    transform = model.transform
    mean, std = tuple(transform.image_mean), tuple(transform.image_std)
    if getattr(transform, "fixed_size", None):
        width, height = transform.fixed_size
        return View((height, width), None, "bilinear", mean, std)
    side = transform.min_size[-1]
    return View((side, side), None, "bilinear", mean, std, GREY)


def layer_of(model: nn.Module) -> str:
    """The deepest layer of the backbone, from which all levels of a pyramid are made."""
    parts = dict(model.named_modules())
    return next((f"model.{place}.-1" for place in LAST_OF if place in parts), "auto")


def build(torchvision: ModuleType, name: str, entry: Any, state: State) -> nn.Module:
    """A detector for weights, with as many classes as they have."""
    with torch.random.fork_rng(devices=[]):
        made: nn.Module = torchvision.models.get_model(name, weights=None, weights_backbone=None)
        classes = classes_in(state, OrderedDict(made.state_dict()))
        if classes is not None:
            made = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=classes)
    if name in EPSILON_ZERO and entry.name == "COCO_V1":
        for part in made.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eps = 0.0
    return made


def classes_in(state: State, own: State) -> int | None:
    """How many classes a file's class scores have, if that differs from the architecture's number."""
    for key, values in own.items():
        if key.endswith("bias") and ("cls_score" in key or "cls_logits" in key or "classification_head.module_list" in key):
            given = state.get(key)
            if given is not None and len(given) != len(values) and len(given) * COCO % len(values) == 0:
                return len(given) * COCO // len(values)
    return None
