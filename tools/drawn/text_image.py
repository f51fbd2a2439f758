"""A CLIP of two small transformers that learns which captions, such as "a red circle", fit a drawn scene.

`python -m tools.drawn` trains it and writes a folder as `save_pretrained` does, for `--model hf:FOLDER --prompts "a red circle"`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tools.drawn.cell_detector import KINDS, SHAPES, SIDE
from tools.drawn.scenes import COLOURS, Scene

CAPTIONS = tuple(f"a {kind}" for kind in KINDS)
NAMES = ("<pad>", "<unk>", "<start>", "a", *COLOURS, *SHAPES, "<end>")
"""Words and their numbers; the last of all ends a sentence, as CLIP has it."""
PATCH, WIDTH, CONTEXT = 8, 64, 8
BATCH = 64


def tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(WordLevel({name: place for place, name in enumerate(NAMES)}, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 2), ("<end>", len(NAMES) - 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=CONTEXT, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
    )


def untrained() -> Any:
    """A CLIP whose text side has one block, whose image side three."""
    from transformers import CLIPConfig, CLIPModel

    common = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4, "projection_dim": WIDTH}
    last = len(NAMES) - 1
    text = {"vocab_size": last + 1, "num_hidden_layers": 1, "max_position_embeddings": CONTEXT}
    text |= {"eos_token_id": last, "bos_token_id": 2, "pad_token_id": 0}
    vision = {"num_hidden_layers": 3, "patch_size": PATCH, "image_size": SIDE}
    return CLIPModel(CLIPConfig(text_config=common | text, vision_config=common | vision, projection_dim=WIDTH))


def present(scenes: list[Scene]) -> Tensor:
    """Which captions fit which scenes, (B, C) of 0 and 1."""
    return torch.stack([functional.one_hot(torch.tensor(scene.kinds), len(KINDS)).sum(dim=0) for scene in scenes]).float()


def loss_of(logits: Tensor, fits: Tensor) -> Tensor:
    """CLIP's contrastive loss of both sides, (B, C); several captions that fit a scene, or scenes a caption, share it."""
    scenes = functional.cross_entropy(logits, fits / fits.sum(dim=1, keepdim=True))
    shown = fits.sum(dim=0) > 0
    captions = functional.cross_entropy(logits.T[shown], (fits / fits.sum(dim=0).clamp_min(1)).T[shown])
    return (scenes + captions) / 2


def train(scenes: list[Scene], steps: int) -> Any:
    """The model, trained from seed 0."""
    torch.manual_seed(0)
    made = untrained().train()
    texts = tokenizer()(list(CAPTIONS), return_tensors="pt")
    inputs, fits = torch.stack([scene.pixels for scene in scenes]), present(scenes)
    adam = torch.optim.AdamW(made.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, total_steps=steps, pct_start=0.2)
    for _ in range(steps):
        rows = torch.randint(len(scenes), (BATCH,))
        loss = loss_of(made(pixel_values=inputs[rows], **texts).logits_per_image, fits[rows])
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        adam.step()
        schedule.step()
    return made.eval()


def named(model: Any, scenes: list[Scene]) -> float:
    """The share of scenes whose best caption names one of their things."""
    with torch.inference_mode():
        texts = tokenizer()(list(CAPTIONS), return_tensors="pt")
        best = model(pixel_values=torch.stack([scene.pixels for scene in scenes]), **texts).logits_per_image.argmax(dim=1)
    return sum(int(place) in scene.kinds for place, scene in zip(best, scenes, strict=True)) / len(scenes)


def save(model: Any, folder: Path) -> None:
    """What the hub's folders hold: weights, configuration, the view of photos, and the tokenizer."""
    from transformers import CLIPImageProcessor

    size, half = {"height": SIDE, "width": SIDE}, [0.5, 0.5, 0.5]
    model.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size, image_mean=half, image_std=half).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
