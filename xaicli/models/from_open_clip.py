"""Text-image models of open_clip: by name and weights, from the hub, a folder or a checkpoint."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.images.view import View
from xaicli.models.fit import fit
from xaicli.models.hub import cannot_load, hub
from xaicli.models.model_request import LoadedModel, Notice, Request
from xaicli.models.text_image import TextImageModel, classifier_of_prompts
from xaicli.models.weights import read_weights
from xaicli.packages import import_torchvision, require
from xaicli.params import fold
from xaicli.untrusted import is_file

ELSEWHERE = ("hf-hub:", "local-dir:")
"""Prefixes by which open_clip loads model and weights from a repository or a folder."""


class FirstTensor(nn.Module):
    """The image side of an open_clip model: photos (B, 3, H, W) to features (B, D). CoCa's gives its tokens too."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.visual(inputs)
        features: Tensor = output[0] if isinstance(output, tuple) else output
        return features


def load(request: Request) -> LoadedModel:
    """A text-image model with one class a prompt: `NAME@PRETRAINED`, `NAME@FILE` or `--weights FILE`, `hf-hub:OWNER/NAME`."""
    import_torchvision()
    open_clip = require("open_clip", "clip")
    request = with_file(request)
    name = find_name(open_clip, request.name)
    spec = request.canonical("open-clip", name)
    request.prompts.require(spec)
    if request.weights is None and not name.startswith(ELSEWHERE):
        require_tag(open_clip, name, request.flag)
    with torch.random.fork_rng(devices=[]):
        model, tokenizer = fetch(open_clip, name, spec, request)
    if request.weights is not None:
        fit(model, read_weights(request.weights, request.notice), request.weights.name, spec)
    model = model.float().eval()
    view = view_of(open_clip.get_model_preprocess_cfg(model), request.notice)
    return classifier_of_prompts(text_image_model(model, tokenizer), view, spec, request)


def with_file(request: Request) -> Request:
    """The request; a checkpoint given in place of a weights' name becomes its weights file."""
    if not request.flag or not is_file(Path(request.flag).expanduser()):
        return request
    request.refuse_weights(f"@{request.flag}")
    return replace(request, flag="", weights=Path(request.flag).expanduser())


def find_name(open_clip: ModuleType, name: str) -> str:
    """open_clip's spelling of a model's name; raises UsageError with a suggestion."""
    if name.startswith(ELSEWHERE):
        return name
    known = open_clip.list_models()
    found = name if name in known else next((entry for entry in known if fold(entry) == fold(name)), None)
    if found is None:
        raise UsageError(f'open_clip has no model "{name}"', hint=did_you_mean(name, known))
    return str(found)


def require_tag(open_clip: ModuleType, name: str, tag: str) -> None:
    """Raise UsageError unless `tag` names weights of that model: without them, open_clip would make random ones."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        found = f'open_clip has no weights "{tag}" for {name}' if tag else f"open-clip:{name} names no weights"
        hint = did_you_mean(tag, tags) or f"Type open-clip:{name}@{tags[0] if tags else 'FILE'}, or give --weights FILE."
        raise UsageError(found, expected=", ".join(tags[:4]) or "a checkpoint", hint=hint)


def fetch(open_clip: ModuleType, name: str, spec: str, request: Request) -> tuple[Any, Any]:
    """The model, with open_clip's own weights unless a file replaces them, and its tokenizer."""
    with hub(request.offline, request.progress) as offline, warnings_as_notices(request.notice):
        try:
            model = open_clip.create_model(
                name,
                pretrained=request.flag or None,
                load_weights=request.weights is None,
                require_pretrained=request.weights is None,
                pretrained_text=False,
            )
            tokenizer = open_clip.get_tokenizer(name)
        # The exceptions of open_clip and the hub's client have no common type; each means that the model cannot be loaded.
        except Exception as error:
            repository = name.partition(":")[2] if name.startswith("hf-hub:") else repository_of(open_clip, name, request.flag)
            if not repository:
                raise InputError(f"{spec} cannot be loaded: {' '.join(str(error).split())[:240]}") from error
            raise cannot_load(spec, repository, error, asked_offline=request.offline, offline=offline) from error
    return model, tokenizer


@contextmanager
def warnings_as_notices(notice: Notice) -> Iterator[None]:
    """Turn warnings into notices, and silence the root logger, to which open_clip writes; it is restored afterwards."""
    root, handler, level = logging.getLogger(), logging.NullHandler(), logging.getLogger().level
    # Without a handler, the first line on the root logger would add one permanently.
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default", UserWarning)
            yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            notice(" ".join(str(warning.message).split()))


def repository_of(open_clip: ModuleType, name: str, tag: str) -> str:
    """The repository of open_clip's own weights; empty if they lie elsewhere."""
    return str((open_clip.get_pretrained_cfg(name, tag) or {}).get("hf_hub", "")).rstrip("/")


def view_of(config: dict[str, Any], notice: Notice) -> View:
    """open_clip's preprocessing as a view."""
    size = config["size"]
    side: Any = size if isinstance(size, int) else (size[0] if size[0] == size[1] else tuple(size))
    if config["resize_mode"] == "longest":
        notice("open_clip pads photos to a square for this model; here they are cropped (see --resize and --crop)")
    squash = config["resize_mode"] == "squash"
    resize = ((side, side) if isinstance(side, int) else side) if squash else (side if isinstance(side, int) else min(side))
    return View(resize, None if squash else side, config["interpolation"], tuple(config["mean"]), tuple(config["std"]))


def text_image_model(model: Any, tokenizer: Any) -> TextImageModel:
    """A model of open_clip; its logits are the scaled cosine of `encode_image` and `encode_text`."""
    bias = getattr(model, "logit_bias", None)

    def encode(sentences: Sequence[str], photo: Tensor) -> tuple[Tensor, Tensor]:
        texts = model.encode_text(tokenizer(list(sentences)), normalize=True)
        logits = model.logit_scale.exp() * model.encode_image(photo, normalize=True) @ texts.T
        return texts, logits if bias is None else logits + bias

    parts: dict[str, nn.Module | Tensor] = {name: part for name, part in model.named_children() if name != "visual"}
    parts |= dict(model.named_parameters(recurse=False))
    return TextImageModel(
        image=FirstTensor(model.visual),
        encode=encode,
        text_side=parts,
        longest=int(tokenizer.context_length),
        count_tokens=lambda text: tokens_of(tokenizer, text),
        scale=model.logit_scale.detach().exp(),
        bias=bias,
    )


def tokens_of(tokenizer: Any, text: str) -> int:
    """The number of tokens of a sentence, including those that begin and end it."""
    own = getattr(tokenizer, "tokenizer", None)
    if own is None:
        return len(tokenizer.encode(text)) + 2
    return len(own(text)["input_ids"])
