"""One small network of each kind of model, by its library's own constructor and untrained, loaded as a user's would be."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import xaicli
from xaicli.network.classifier import Classifier

CLASSES = ("cat", "dog", "bus")
SIDE = 32
DETECTED = 64
WORDS = ("a", "photo", "of", *CLASSES)


@dataclass(frozen=True)
class ModelKind:
    """A kind of model. name: in the table; outputs: what is explained, in words; target: as given; make: builds one, with a
    folder for files."""

    name: str
    outputs: str
    target: str
    make: Callable[[Path], Classifier]

    @contextlib.contextmanager
    def made(self) -> Iterator[Classifier]:
        """One of the kind, always the same; the caller's random numbers stay as they were."""
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield self.make(Path(folder))


def from_folder(folder: Path, model: Any, *processors: Any, **options: Any) -> Classifier:
    """A model of transformers, saved as on the hub and loaded from there."""
    for part in (model, *processors):
        part.save_pretrained(folder)
    return xaicli.load_classifier(f"hf:{folder}", **options)


def named(names: tuple[str, ...] = CLASSES) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def resnet(folder: Path, names: tuple[str, ...] = CLASSES, channels: int = 3, problem: str = "", **options: Any) -> Classifier:
    """transformers' ResNet of four narrow stages."""
    import transformers

    settings: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
    settings |= {"layer_type": "basic", "num_channels": channels, "problem_type": problem or None, **named(names)}
    config = transformers.ResNetConfig(**settings)
    model = transformers.ResNetForImageClassification(config)
    if channels != 3:
        return xaicli.classifier(LogitsOf(model), classes=names, resize=SIDE, crop=SIDE, **options)
    return from_folder(folder, model, transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}), **options)


class LogitsOf(nn.Module):
    """A network of transformers that gives its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(inputs).logits
        return logits


def vision_transformer(folder: Path) -> Classifier:
    from torchvision.models import VisionTransformer

    network = VisionTransformer(SIDE, 8, 2, 2, 16, 32, num_classes=len(CLASSES))
    nn.init.normal_(network.heads.head.weight, std=0.1)
    return xaicli.classifier(network, classes=CLASSES, resize=SIDE, crop=SIDE)


def text_image(folder: Path, kind: str) -> Classifier:
    import transformers

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = size | {"vocab_size": len(WORDS) + 4, "max_position_embeddings": 12, "eos_token_id": len(WORDS) + 3, "bos_token_id": 2}
    vision = size | {"patch_size": 8, "image_size": SIDE}
    square = {"height": SIDE, "width": SIDE}
    if kind == "clip":
        both = {"projection_dim": 16}
        config = transformers.CLIPConfig(text_config=text | both, vision_config=vision | both, projection_dim=16)
        model: Any = transformers.CLIPModel(config)
        processor: Any = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=square)
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text | {"pad_token_id": 0}, vision_config=vision))
        processor = transformers.SiglipImageProcessor(size=square)
    for parameter in model.parameters():
        # As they are initialised, all texts and all photos are nearly one.
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return from_folder(folder, model, processor, tokenizer(), prompts=tuple(f"a photo of a {name}" for name in CLASSES))


def tokenizer() -> Any:
    """One number a word."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<unk>", "<start>", *WORDS, "<end>"]
    made = Tokenizer(WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    ends = [("<start>", 2), ("<end>", len(names) - 1)]
    made.post_processor = TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=12, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
    )


def fcn(folder: Path) -> Classifier:
    """torchvision's FCN over the stages of its ResNet."""
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.resnet import BasicBlock, ResNet
    from torchvision.models.segmentation import FCN
    from torchvision.models.segmentation.fcn import FCNHead

    backbone = IntermediateLayerGetter(ResNet(BasicBlock, [1, 1, 1, 1]), {"layer2": "out"})
    return xaicli.classifier(FCN(backbone, FCNHead(128, 4)), classes=("background", *CLASSES), resize=SIDE, crop=SIDE)


def segformer(folder: Path) -> Classifier:
    import transformers

    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[1, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        **named(("wall", *CLASSES)),
    )
    processor = transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    return from_folder(folder, transformers.SegformerForSemanticSegmentation(config), processor)


def narrow_backbone() -> nn.Module:
    backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 8, 1), nn.ReLU())
    backbone.out_channels = 16  # type: ignore[assignment]  # torchvision reads it there
    return backbone


def faster_rcnn(folder: Path) -> Classifier:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(((16,),), ((1.0,),))
    sizes: dict[str, Any] = {"min_size": DETECTED, "max_size": DETECTED, "rpn_post_nms_top_n_test": 20}
    return xaicli.detector(FasterRCNN(narrow_backbone(), 4, rpn_anchor_generator=anchors, **sizes), classes=("", *CLASSES))


def retinanet(folder: Path) -> Classifier:
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(((16,),), ((1.0,),))
    # Its heads begin near a score of 0.01, below the usual threshold.
    settings: dict[str, Any] = {"min_size": DETECTED, "max_size": DETECTED, "score_thresh": 0.001}
    return xaicli.detector(RetinaNet(narrow_backbone(), 4, anchor_generator=anchors, **settings), classes=("", *CLASSES))


def detr(folder: Path) -> Classifier:
    import transformers

    stages: dict[str, Any] = {"depths": [1, 1, 1, 1], "layer_type": "basic", "out_features": ["stage4"]}
    backbone = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 16, 16], **stages)
    sides = ("encoder", "decoder")
    heads: dict[str, Any] = {f"{side}_{what}": 2 for side in sides for what in ("attention_heads", "ffn_dim")}
    layers: dict[str, Any] = {f"{side}_layers": 1 for side in sides}
    config = transformers.DetrConfig(backbone_config=backbone, d_model=16, num_queries=5, **heads, **layers, **named())
    size = {"shortest_edge": DETECTED, "longest_edge": 2 * DETECTED}
    return from_folder(folder, transformers.DetrForObjectDetection(config), transformers.DetrImageProcessorPil(size=size))


def yolos(folder: Path) -> Classifier:
    import transformers

    size: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    size["patch_size"] = 8
    config = transformers.YolosConfig(**size, image_size=[DETECTED, DETECTED], num_detection_tokens=20, **named())
    processor = transformers.YolosImageProcessorPil(size={"shortest_edge": DETECTED, "longest_edge": 2 * DETECTED})
    return from_folder(folder, transformers.YolosForObjectDetection(config), processor)


def cut_export(folder: Path) -> Classifier:
    """A program of torch.export, cut behind its last operation on pictures."""
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, len(CLASSES))).eval()
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=(batch,))
    torch.export.save(program, folder / "net.pt2")
    (folder / "classes.txt").write_text("\n".join(CLASSES), "utf-8")
    return xaicli.load_classifier(f"{folder / 'net.pt2'}@layer=auto", classes=folder / "classes.txt")


LABELS = "multi_label_classification"
KINDS = (
    ModelKind("ResNet", "classes", "top1", resnet),
    ModelKind("ViT", "classes", "top1", vision_transformer),
    ModelKind("labels", "labels, each right or not", "top1", lambda folder: resnet(folder, problem=LABELS)),
    ModelKind("yes or no", "one label", "top1", lambda folder: resnet(folder, ("cat",), outputs="sigmoid")),
    ModelKind("value", "a quantity", "0", lambda folder: resnet(folder, ("age",), problem="regression")),
    ModelKind("1 channel", "classes", "top1", lambda folder: resnet(folder, channels=1)),
    ModelKind("4 channels", "classes", "top1", lambda folder: resnet(folder, channels=4)),
    ModelKind("13 channels", "classes", "top1", lambda folder: resnet(folder, channels=13)),
    ModelKind("cut export", "classes", "top1", cut_export),
    ModelKind("embedding", "likeness to another photo", "similar:sample:hopper", resnet),
    ModelKind("CLIP", "text prompts", "top1", lambda folder: text_image(folder, "clip")),
    ModelKind("SigLIP", "text prompts", "top1", lambda folder: text_image(folder, "siglip")),
    ModelKind("FCN", "regions", "cat@region=8:8:23:23", fcn),
    ModelKind("SegFormer", "regions", "cat@region=8:8:23:23", segformer),
    ModelKind("Faster R-CNN", "boxes", "box:0", faster_rcnn),
    ModelKind("RetinaNet", "boxes", "box:0", retinanet),
    ModelKind("DETR", "boxes", "box:0", detr),
    ModelKind("YOLOS", "boxes", "box:0", yolos),
)
"""The columns of the table. A further kind is a line here and a function above."""
