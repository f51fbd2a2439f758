"""Tiny text-image models on disk, with tiny tokenizers: what the hub's folders hold, for the real loading code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = ("a", "photo", "of", "cat", "dog", "bee", "red", "blue")
SIDE, PATCH, WIDTH = 32, 8, 16


def tokenizer(context: int = 12) -> Any:
    """Words to numbers; the last of all numbers ends a sentence, as CLIP has it."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<unk>", "<start>", *WORDS, "<end>"]
    made = Tokenizer(WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 2), ("<end>", len(names) - 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=context, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
    )


def text_image_model(kind: str = "clip", **changes: Any) -> Any:
    """A random CLIP, SigLIP or SigLIP 2 (`siglip2`: photos of any shape) of two blocks."""
    import transformers

    last = len(WORDS) + 3
    text: dict[str, Any] = {"vocab_size": last + 1, "hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 12, "eos_token_id": last, "bos_token_id": 2, "pad_token_id": 0}
    vision: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"patch_size": PATCH}
    if kind == "siglip2":
        vision |= {"num_patches": (SIDE // PATCH) ** 2}
    else:
        vision |= {"image_size": SIDE}
    if kind == "clip":
        text |= {"projection_dim": WIDTH}
        vision |= {"projection_dim": WIDTH}
    name = {"clip": "CLIP", "siglip": "Siglip", "siglip2": "Siglip2"}[kind]
    settings = {"projection_dim": WIDTH} if kind == "clip" else {}
    config = getattr(transformers, f"{name}Config")(text_config=text, vision_config={**vision, **changes}, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = getattr(transformers, f"{name}Model")(config).eval()
        # As initialised, all texts and all photos are nearly one.
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
            for name, value in (("logit_scale", 2.0), ("logit_bias", -3.0)):
                if hasattr(model, name):
                    getattr(model, name).fill_(value)
    return model


def save_text_image_model(folder: Path, kind: str = "clip", **changes: Any) -> Any:
    """Write a model, its processor and its tokenizer as `save_pretrained` does; returns the model."""
    import transformers

    model = text_image_model(kind, **changes)
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    if kind == "siglip2":
        processor = transformers.Siglip2ImageProcessor(patch_size=PATCH, max_num_patches=(SIDE // PATCH) ** 2)
    elif kind == "siglip":
        processor = transformers.SiglipImageProcessor(size=size)
    else:
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    processor.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return model
