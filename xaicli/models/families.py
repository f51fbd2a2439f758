"""Where the families of networks keep their features: one row a class of network.

A class is looked up by name along its bases, so that torchvision's, timm's and transformers' networks, and what derives from
them, are found alike, also inside a wrapper. Of several paths the first that exists counts. Each row is checked by a dry run;
where its layer has no grid or no gradient, the layer is searched for as in an unknown network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class Place:
    """A path below the network, negative indices allowed; the side of that module; whether a functional ReLU follows."""

    path: str
    side: Literal["input", "output"] = "output"
    rectified: bool = False


LAST_STAGE = (Place("encoder.stages.-1"), Place("stages.-1"))

# The residual stream that enters the last block. A [class] token head reads one row of that block's output, so that the gradient
# at every patch of the output is exactly zero; the last place where patches matter is the block's attention.
LAST_BLOCK_INPUT = (
    Place("blocks.-1", "input"),
    Place("encoder.layers.-1", "input"),
    Place("encoder.layer.-1", "input"),
    Place("layers.-1", "input"),
)

# Swin has stages of blocks; torchvision keeps both, and the patch merging between them, in `features`.
LAST_SWIN_BLOCK_INPUT = (
    Place("layers.-1.blocks.-1", "input"),
    Place("encoder.layers.-1.blocks.-1", "input"),
    Place("features.-1.-1", "input"),
)

# What precedes the last pool: one activation of full resolution.
BEFORE_LAST_POOL = (Place("features.-2"),)

FAMILIES: dict[str, tuple[Place, ...]] = {
    # torchvision, timm
    "AlexNet": BEFORE_LAST_POOL,
    "ConvNeXt": (Place("stages.-1"), Place("features.-1")),
    "DenseNet": (Place("features.norm5", rectified=True),),
    "EfficientNet": (Place("features.-1"), Place("bn2")),
    "GoogLeNet": (Place("inception5b"),),
    "Inception3": (Place("Mixed_7c"),),
    "InceptionV3": (Place("Mixed_7c"),),
    "MaxVit": (Place("blocks.-1"),),
    "MaxxVit": (Place("stages.-1"),),
    "MNASNet": (Place("layers"),),
    "MobileNetV2": (Place("features.-1"),),
    "MobileNetV3": (Place("features.-1"), Place("blocks.-1")),
    "RegNet": (Place("trunk_output"), Place("s4")),
    "ResNet": (Place("layer4"),),
    "ResNetV2": (Place("norm"),),
    "ShuffleNetV2": (Place("conv5"),),
    "SqueezeNet": (Place("features"),),
    "SwinTransformer": LAST_SWIN_BLOCK_INPUT,
    "SwinTransformerV2": LAST_SWIN_BLOCK_INPUT,
    "VGG": BEFORE_LAST_POOL,
    # vision transformers of torchvision, timm (DeiT, DINO, DINOv2 with registers), and their kin
    "Beit": LAST_BLOCK_INPUT,
    "DinoVisionTransformer": LAST_BLOCK_INPUT,
    "Eva": LAST_BLOCK_INPUT,
    "VisionTransformer": LAST_BLOCK_INPUT,
    # transformers
    "BeitModel": LAST_BLOCK_INPUT,
    "CLIPVisionTransformer": LAST_BLOCK_INPUT,
    "CLIPVisionModel": LAST_BLOCK_INPUT,
    "ConvNextModel": LAST_STAGE,
    "ConvNextV2Model": LAST_STAGE,
    "DeiTModel": LAST_BLOCK_INPUT,
    "Dinov2Model": LAST_BLOCK_INPUT,
    "Dinov2WithRegistersModel": LAST_BLOCK_INPUT,
    "RegNetModel": LAST_STAGE,
    "ResNetModel": LAST_STAGE,
    "SwinModel": LAST_SWIN_BLOCK_INPUT,
    "Swinv2Model": LAST_SWIN_BLOCK_INPUT,
    "ViTModel": LAST_BLOCK_INPUT,
}


def places_of(module: nn.Module) -> Iterator[tuple[str, Place]]:
    """Path prefix and place of each row that names the network or a part of it, outermost first."""
    for name, part in module.named_modules():
        for base in type(part).__mro__:
            for place in FAMILIES.get(base.__name__, ()):
                yield name, place
