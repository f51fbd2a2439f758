"""A text-image model as a classifier: its image side, and the features of the prompts, which are computed once.

The logit of prompt c for a photo x is the model's own: `scale * cos(image(x), text_c) + bias`. CLIP was trained with a softmax
over the texts; SigLIP, which has a bias, with a sigmoid for each.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.trial import trial_inputs
from xaicli.network.state import hash_of_state
from xaicli.outputs import Outputs
from xaicli.words import count

AT_ONCE = 64
"""Sentences per pass of the text side."""
AGREES = 1e-3
"""How far our logits may differ from the model's own, relative to the largest; only rounding may differ."""


class PromptLogits(nn.Module):
    """Photos (B, 3, H, W) to logits (B, C) of C prompts: `scale * cos(image(x), text_c) + bias`.

    image: gives features (B, D); texts: (C, D), of unit length; made_of: a hash of what the features of the texts are made of.
    The hash is in the module's state, and so in its fingerprint; the features are not, since their last digits differ between
    processors.
    """

    texts: Tensor
    scale: Tensor
    bias: Tensor
    made_of: Tensor

    def __init__(self, image: nn.Module, texts: Tensor, scale: Tensor, bias: Tensor, made_of: bytes) -> None:
        super().__init__()
        self.image = image
        self.gives_features = False
        for name, tensor in (("texts", texts), ("scale", scale), ("bias", bias)):
            self.register_buffer(name, tensor.detach().clone().float(), persistent=False)
        self.register_buffer("made_of", torch.tensor(list(made_of), dtype=torch.uint8))

    @property
    def embedder(self) -> nn.Module:
        """The same network, whose outputs are the photos' features (B, D)."""
        made = copy.copy(self)
        made.gives_features = True
        return made

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.image(inputs)
        if self.gives_features:
            return features
        features = functional.normalize(features, dim=1)
        return self.scale * features @ self.texts.T + self.bias


@dataclass(frozen=True, eq=False)
class TextImageModel:
    """A text-image model of some source.

    image: photos (B, 3, H, W) to features (B, D), without any part of the text side; encode: N sentences and photos to the
    features of the sentences (N, D) and the model's own logits (B, N), both from one pass; text_side: the parts through which no
    photo passes, including the scale unless the image side holds it; longest: maximum tokens that the text side reads;
    count_tokens: of a sentence; scale, bias: of the logits, the latter None for a model that was trained with a softmax.
    """

    image: nn.Module
    encode: Callable[[Sequence[str], Tensor], tuple[Tensor, Tensor]]
    text_side: Mapping[str, nn.Module | Tensor]
    longest: int
    count_tokens: Callable[[str], int]
    scale: Tensor
    bias: Tensor | None = None


def classifier_of_prompts(model: TextImageModel, view: View, name: str, request: Request) -> LoadedModel:
    """The image side as a classifier with one class per prompt; the text side runs once and is not kept.

    Raises UsageError without prompts or with too few, InputError if the model's logits are not a scaled cosine.
    """
    prompts = request.prompts
    prompts.require(name)
    sentences = prompts.sentences
    if len(sentences) == 1 and model.bias is None:
        raise UsageError(
            f"one prompt for {name}, whose probabilities are a softmax over the prompts: it would always be 1",
            expected="two prompts or more",
        )
    say_what_is_cut(model, [text for several in sentences for text in several], request)
    bias = torch.zeros(()) if model.bias is None else model.bias
    features = text_features(model, [text for several in sentences for text in several], view, name)
    mean = functional.normalize(features.unflatten(0, (len(sentences), -1)).mean(dim=1), dim=1)
    return LoadedModel(
        name,
        view,
        module=PromptLogits(model.image, mean, model.scale, bias, made_of(model, sentences)),
        classes=prompts.names,
        outputs=Outputs.SOFTMAX if model.bias is None else Outputs.SIGMOID,
    )


@torch.no_grad()
def refuse_other_outputs(asked: Outputs | None, loaded: LoadedModel) -> None:
    """Raise UsageError where a text-image model is to be read in another way than it was trained."""
    if asked is not None and loaded.outputs is not None and asked is not loaded.outputs:
        raise UsageError(
            f"--outputs {asked.value}, but {loaded.name} was trained to compare texts by {loaded.outputs.value}",
            hint="Leave --outputs out.",
        )


def text_features(model: TextImageModel, sentences: Sequence[str], view: View, name: str) -> Tensor:
    """Features (N, D) of N sentences, of unit length; raises InputError if the model's own logits for a trial photo are not the
    scaled cosine of these features and the photo's."""
    photo = trial_inputs(view.size)[:1]
    bias = 0 if model.bias is None else model.bias
    parts: list[Tensor] = []
    for start in range(0, len(sentences), AT_ONCE):
        features, wanted = model.encode(sentences[start : start + AT_ONCE], photo)
        features = functional.normalize(features.float(), dim=1)
        logits = model.scale * functional.normalize(model.image(photo).float(), dim=1) @ features.T + bias
        if logits.shape != wanted.shape or float((logits - wanted).detach().abs().max()) > AGREES * float(
            wanted.detach().abs().max().clamp_min(1)
        ):
            raise InputError(
                f"the logits of {name} are not a scaled cosine of one photo's and one text's features",
                expected="a model such as CLIP, SigLIP or ALIGN",
            )
        parts.append(features)
    return torch.cat(parts)


def say_what_is_cut(model: TextImageModel, sentences: Sequence[str], request: Request) -> None:
    """A notice of sentences that are longer than the text side reads."""
    lengths = [(model.count_tokens(text), text) for text in sentences]
    longer = [(length, text) for length, text in lengths if length > model.longest]
    if longer:
        length, text = longer[0]
        others = f", and {len(longer) - 1} more" if len(longer) > 1 else ""
        request.notice(
            f'the prompt "{shown(text)}" has {count(length, "token")}{others}; '
            f"the model reads the first {model.longest}, the rest is cut"
        )


def shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def made_of(model: TextImageModel, sentences: Sequence[Sequence[str]]) -> bytes:
    """A hash of the sentences and of the weights that made their features."""
    tensors: dict[str, Tensor] = {}
    for name, part in model.text_side.items():
        state = part.state_dict() if isinstance(part, nn.Module) else {"": part}
        tensors |= {f"{name}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
    text = json.dumps([sentences, hash_of_state(tensors)])
    return hashlib.sha256(text.encode()).digest()
