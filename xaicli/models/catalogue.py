"""The models that can be named, for `xai list models`: data only, imports no torch. A test compares it with torchvision."""

from __future__ import annotations

from dataclasses import dataclass

from xaicli.grammar import matches
from xaicli.params import fold

# fmt: off
TORCHVISION = (
    "alexnet", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny", "densenet121", "densenet161", "densenet169",
    "densenet201", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
    "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "efficientnet_v2_l", "efficientnet_v2_m", "efficientnet_v2_s",
    "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3", "mobilenet_v2",
    "mobilenet_v3_large", "mobilenet_v3_small", "regnet_x_16gf", "regnet_x_1_6gf", "regnet_x_32gf", "regnet_x_3_2gf",
    "regnet_x_400mf", "regnet_x_800mf", "regnet_x_8gf", "regnet_y_128gf", "regnet_y_16gf", "regnet_y_1_6gf", "regnet_y_32gf",
    "regnet_y_3_2gf", "regnet_y_400mf", "regnet_y_800mf", "regnet_y_8gf", "resnet101", "resnet152", "resnet18", "resnet34",
    "resnet50", "resnext101_32x8d", "resnext101_64x4d", "resnext50_32x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5", "shufflenet_v2_x2_0", "squeezenet1_0", "squeezenet1_1", "swin_b", "swin_s", "swin_t", "swin_v2_b",
    "swin_v2_s", "swin_v2_t", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vit_b_16",
    "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32", "wide_resnet101_2", "wide_resnet50_2",
)
CLIPS = ("mc3_18", "mvit_v1_b", "mvit_v2_s", "r2plus1d_18", "r3d_18", "s3d", "swin3d_b", "swin3d_s", "swin3d_t")
"""torchvision's networks of clips of several frames."""
# fmt: on


@dataclass(frozen=True)
class Listed:
    """One model, or one way of naming models: how it is written after `--model`, and what it is."""

    spec: str
    summary: str


BUNDLED = (
    Listed("tiny", "bundled: a residual network with LFI-CAM's branch, 200 everyday classes, 64 px"),
    Listed("tiny-vit", "bundled: a vision transformer, 200 everyday classes, 64 px"),
)
"""Networks that ship with the package."""
DEFAULT = "tiny"
"""The model if none is named."""

WAYS = (
    Listed("torchvision:NAME@WEIGHTS", "one of torchvision's weights by name, IMAGENET1K_V2 for example"),
    Listed("timm:NAME", 'any classifier of timm (pip install "xaicli[timm]")'),
    Listed("hf:OWNER/NAME[@REVISION]", 'an image classifier of the Hugging Face hub (pip install "xaicli[hf]")'),
    Listed("hf:./FOLDER", "the same, saved in a folder"),
    Listed("hf:OWNER/NAME --prompts TEXT,TEXT", "a text-image model such as CLIP or SigLIP, with texts as classes"),
    Listed("open-clip:NAME@TAG --prompts TEXT,TEXT", 'the same of open_clip, or @FILE (pip install "xaicli[clip]")'),
    Listed("FILE.py:FUNCTION", "your own code: a function that returns a torch module; it is run"),
    Listed("onnx:FILE", 'a black box: methods that need the forward pass alone (pip install "xaicli[onnx]")'),
    Listed("openvino:FILE.xml", 'the same, with its weights in FILE.bin (pip install "xaicli[openvino]")'),
    Listed("tflite:FILE.tflite", 'the same, in full precision or eight bits (pip install "xaicli[tflite]")'),
    Listed("FILE.safetensors", "a network that xai train wrote"),
    Listed("FILE.pt", "a TorchScript program, which is code: gradients pass it, but it has no layers to look into"),
    Listed("FILE.pt2", "a black box too: a program saved by torch.export; loading it can run code"),
)


def list_models(pattern: str = "") -> list[Listed]:
    """Models by name, then the ways of naming others. A pattern keeps names that contain it, or match it with `*` and `?`."""
    models = [*BUNDLED, *(Listed(name, "torchvision, 1000 ImageNet classes") for name in TORCHVISION)]
    models += [Listed(name, "torchvision, of clips, 400 Kinetics classes") for name in CLIPS]
    return [entry for entry in (*models, *WAYS) if matches(pattern, entry.spec)]


def is_model(text: str) -> bool:
    """Whether a specification names a model that is listed, or a source of models such as timm."""
    if ":" in text:
        return text.partition(":")[0] in {way.spec.partition(":")[0] for way in WAYS}
    return fold(text.partition("@")[0]) in map(fold, (*(entry.spec for entry in BUNDLED), *TORCHVISION, *CLIPS))
