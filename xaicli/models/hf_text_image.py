"""Text-image models of transformers: those it lists for zero-shot image classification, such as CLIP, SigLIP and ALIGN."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import InputError
from xaicli.images.view import View
from xaicli.images.view_values import per_channel
from xaicli.models.hf_view import RESAMPLING, measure_colours, view_of
from xaicli.models.model_request import LoadedModel, Notice, Request
from xaicli.models.text_image import TextImageModel, classifier_of_prompts
from xaicli.models.trial import trial_inputs
from xaicli.network.observe import observing


def reads_texts(transformers: ModuleType, config: Any) -> bool:
    """Whether a configuration belongs to a text-image model, and not to a classifier made from its image side."""
    known = transformers.models.auto.modeling_auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES
    name = known.get(config.model_type)
    return name is not None and (not config.architectures or config.architectures[0] in (name, *name))


class ImageFeatures(nn.Module):
    """The image side of a text-image model: photos (B, 3, H, W) to features (B, D).

    reverse: it expects blue, green, red; patch: the side of patches, if it takes patches instead of photos, else 0.
    """

    def __init__(self, model: nn.Module, reverse: bool, patch: int) -> None:
        super().__init__()
        self.model = model
        self.reverse = reverse
        self.patch = patch

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.model.get_image_features(**self.taken(inputs))  # type: ignore[operator]
        features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
        return features

    def taken(self, inputs: Tensor) -> dict[str, Tensor]:
        """The model's arguments for photos, by name."""
        pixels = inputs.flip(1) if self.reverse else inputs
        if not self.patch:
            return {"pixel_values": pixels}
        rows, columns = pixels.shape[2] // self.patch, pixels.shape[3] // self.patch
        cells = pixels.unflatten(3, (columns, self.patch)).unflatten(2, (rows, self.patch))
        patches = cells.permute(0, 2, 4, 3, 5, 1).flatten(1, 2).flatten(2)
        whole = torch.ones(patches.shape[:2], dtype=torch.long, device=patches.device)
        shapes = torch.tensor([[rows, columns]], device=patches.device).expand(patches.shape[0], 2)
        return {"pixel_values": patches, "pixel_attention_mask": whole, "spatial_shapes": shapes}


def text_image_classifier(model: Any, processor: Any, tokenizer: Any, name: str, request: Request) -> LoadedModel:
    """The image side of a model of transformers, with one class per prompt; photos are prepared as by its processor."""
    if patch := patches_taken(model):
        view, reverse = squashed(processor, patch, name, request.notice), False
    else:
        colours = measure_colours(processor)
        view, reverse = view_of(processor, colours, name, request.notice), colours.reverse
    return classifier_of_prompts(text_image_model(model, tokenizer, view, name, reverse=reverse), view, name, request)


def text_image_model(model: Any, tokenizer: Any, view: View, name: str, *, reverse: bool = False) -> TextImageModel:
    """A model of transformers. Its text side is not kept here; the model itself is not changed."""
    image = ImageFeatures(model.eval(), reverse, patches_taken(model))
    text_side = parts_without_photos(image, view)
    padding, longest = text_lengths(model.config, tokenizer)

    def encode(sentences: Sequence[str], photo: Tensor) -> tuple[Tensor, Tensor]:
        texts = tokenizer(list(sentences), padding=padding, truncation=True, max_length=longest, return_tensors="pt")
        output = model(**texts, **image.taken(photo))
        return output.text_embeds, output.logits_per_image

    return TextImageModel(
        image=ImageFeatures(without(model, text_side), reverse, image.patch),
        encode=encode,
        text_side=text_side,
        longest=longest,
        count_tokens=lambda text: len(tokenizer(text)["input_ids"]),
        scale=scale_of(model, name),
        bias=getattr(model, "logit_bias", None),
    )


def patches_taken(model: Any) -> int:
    """The side of the patches that a model takes instead of photos, as SigLIP 2 for any shape does; 0 for photos. SigLIP 2 of a
    fixed size loads as SigLIP."""
    return int(model.config.vision_config.patch_size) if model.config.model_type == "siglip2" else 0


def without(model: nn.Module, parts: Collection[str]) -> nn.Module:
    """A copy of a model without some of its parts; it shares the others with the model."""
    kept = copy.copy(model)
    kept._modules = {name: None if name in parts else part for name, part in model._modules.items()}
    return kept


def squashed(processor: Any, patch: int, name: str, notice: Notice) -> View:
    """The view for a processor that keeps a photo's shape and uses up to a number of patches: a square of that many patches."""
    side = patch * math.isqrt(int(processor.max_num_patches))
    notice(f"{name} takes photos of any shape; here they are squashed to {side} x {side} pixels (see --resize)")
    resample = getattr(processor, "resample", None)
    interpolation = RESAMPLING.get(2 if resample is None else int(resample), "bilinear")
    mean, std = per_channel("mean", processor.image_mean), per_channel("std", processor.image_std)
    return View((side, side), None, interpolation, mean, std)


@torch.no_grad()
def parts_without_photos(image: ImageFeatures, view: View) -> dict[str, nn.Module]:
    """The names of the parts of a text-image model through which no photo passes."""
    with observing(image.model) as seen:
        image(trial_inputs(view.size)[:1])
    run = {call.path.partition(".")[0] for call in seen.calls}
    return {name: part for name, part in image.model.named_children() if name not in run}


def text_lengths(config: Any, tokenizer: Any) -> tuple[str, int]:
    """How texts are padded, and how many tokens are read at most. SigLIP was trained on texts padded to that length."""
    stated = [getattr(config.text_config, "max_position_embeddings", None), tokenizer.model_max_length]
    longest = min(length for length in stated if length)
    return "max_length" if "siglip" in config.model_type else "longest", longest


def scale_of(model: Any, name: str) -> Tensor:
    """The factor of the cosine in a model's logits, (1,) or a number."""
    scale, temperature = getattr(model, "logit_scale", None), getattr(model, "temperature", None)
    if isinstance(scale, Tensor):
        return scale.detach().exp()
    if isinstance(temperature, Tensor):
        return 1 / temperature.detach()
    raise InputError(f"{name} has no scale of its logits", expected="a model such as CLIP, SigLIP or ALIGN")
