"""The feature layer of known families of networks: one row for each class of network.

A class is looked up by its name and the names of its bases. So networks of torchvision, timm and transformers are found, and
classes derived from them, also inside a wrapper. The first path that exists counts. Each row is checked by a dry run; if its
layer has no grid or no gradient, the layer is searched for as in an unknown network (`xaicli.network.layers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class LayerPath:
    """A path below the network, negative indices allowed; the side of that module; whether a functional ReLU follows."""

    path: str
    side: Literal["input", "output"] = "output"
    rectified: bool = False


LayerPaths = tuple[LayerPath, ...]

LAST_STAGE: LayerPaths = (LayerPath("encoder.stages.-1"), LayerPath("stages.-1"))

# The input of the last pool: one activation of full resolution.
BEFORE_LAST_POOL: LayerPaths = (LayerPath("features.-2"),)

# Transformers have a row so that no part of them, such as a convolutional stem, is taken for the whole network. Their layer is
# searched for, since it depends on which tokens the head reads.
SEARCHED: LayerPaths = ()

FAMILIES: dict[str, LayerPaths] = {
    # torchvision, timm
    "AlexNet": BEFORE_LAST_POOL,
    "ConvNeXt": (LayerPath("stages.-1"), LayerPath("features.-1")),
    "DenseNet": (LayerPath("features.norm5", rectified=True),),
    "EfficientNet": (LayerPath("features.-1"), LayerPath("bn2")),
    "GoogLeNet": (LayerPath("inception5b"),),
    "Inception3": (LayerPath("Mixed_7c"),),
    "InceptionV3": (LayerPath("Mixed_7c"),),
    "MaxVit": (LayerPath("blocks.-1"),),
    "MaxxVit": (LayerPath("norm"),),
    "MNASNet": (LayerPath("layers"),),
    "MobileNetV2": (LayerPath("features.-1"),),
    "MobileNetV3": (LayerPath("features.-1"), LayerPath("blocks.-1")),
    "RegNet": (LayerPath("trunk_output"), LayerPath("s4")),
    "ResNet": (LayerPath("layer4"),),
    "ResNetV2": (LayerPath("norm"),),
    "ShuffleNetV2": (LayerPath("conv5"),),
    "SqueezeNet": (LayerPath("features"),),
    "VGG": BEFORE_LAST_POOL,
    "Beit": SEARCHED,
    "CompactVisionTransformer": SEARCHED,
    "DinoVisionTransformer": SEARCHED,
    "Eva": SEARCHED,
    "SwinTransformer": (LayerPath("norm"),),
    "SwinTransformerV2": (LayerPath("norm"),),
    "VisionTransformer": SEARCHED,
    # transformers
    "ConvNextModel": LAST_STAGE,
    "ConvNextV2Model": LAST_STAGE,
    "RegNetModel": LAST_STAGE,
    "ResNetModel": LAST_STAGE,
}


def known_family(module: nn.Module) -> tuple[str, LayerPaths]:
    """The path of the outermost part of the network whose class has a row, and that row; an empty row if there is none."""
    for name, part in module.named_modules():
        for base in type(part).__mro__:
            if base.__name__ in FAMILIES:
                return name, FAMILIES[base.__name__]
    return "", ()
