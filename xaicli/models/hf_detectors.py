"""Detectors of transformers (DETR, RT-DETR, YOLOS and their kin): boxes and scores of all their queries.

Scores are a softmax over the classes and "no object", which is left out, where a network has one output more than classes; else
each class has a sigmoid of its own. Queries propose each object once, so that no box is dropped for overlapping another.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.models.hf_view import Colours, number
from xaicli.models.model_request import LoadedModel
from xaicli.models.torchvision_detectors import GREY, as_it_is
from xaicli.network.proposals import FLOOR, Decoding

ENDING = "ForObjectDetection"


def finds_objects(config: Any) -> bool:
    """Whether a configuration is a detector's."""
    return any(str(name).endswith(ENDING) for name in config.architectures or ())


class AllQueries(nn.Module):
    """A detector that takes prepared inputs (B, 3, H, W) and gives scores (B, N, C) and boxes (B, N, 4) in pixels of them."""

    def __init__(self, model: nn.Module, reverse: bool, classes: int) -> None:
        super().__init__()
        self.model = model
        self.reverse = reverse
        self.classes = classes

    def forward(self, inputs: Tensor) -> dict[str, Any]:
        output = self.model(pixel_values=inputs.flip(1) if self.reverse else inputs)
        logits: Tensor = output.logits
        scores = logits.softmax(dim=2)[..., : self.classes] if logits.shape[2] > self.classes else logits.sigmoid()
        centre, size = output.pred_boxes.split(2, dim=2)
        pixels = inputs.new_tensor([inputs.shape[3], inputs.shape[2]])
        boxes = torch.cat([(centre - size / 2) * pixels, (centre + size / 2) * pixels], dim=2)
        return {"scores": scores, "boxes": boxes}


def detector(model: Any, processor: Any, colours: Colours, name: str, classes: tuple[str, ...]) -> LoadedModel:
    """A detector as a source gives it."""
    return LoadedModel(
        name,
        view_of(processor, colours, name),
        module=AllQueries(model, colours.reverse, model.config.num_labels),
        classes=classes,
        decoding=Decoding(as_it_is, FLOOR, None),
    )


def view_of(processor: Any, colours: Colours, name: str) -> View:
    """The processor's exact size, or a letterbox in a square of its shorter edge, so that one input size serves all photos."""
    stated = getattr(processor, "size", None)
    height, width, edge = (number(stated, key) for key in ("height", "width", "shortest_edge"))
    if height and width:
        return View((height, width), None, "bilinear", colours.mean, colours.std)
    if edge:
        return View((edge, edge), None, "bilinear", colours.mean, colours.std, GREY)
    raise InputError(f"the image processor of {name} states no size", hint="Give --resize HEIGHTxWIDTH.")
