"""Families that people use have their feature layer found, with the right grid and a gradient; untrained, in small forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.models as torchvision_models
from torch import Tensor, nn

from xaicli.network.dry_run import dry_run
from xaicli.network.layers import FeatureLayer, default_layer
from xaicli.network.taps import tap_many

Grid = tuple[int, int]
Size = tuple[int, int]

TORCHVISION: list[tuple[str, Size, str, Grid]] = [
    ("alexnet", (128, 160), "features.11", (7, 9)),
    ("convnext_tiny", (64, 96), "features.7", (2, 3)),
    ("densenet121", (64, 96), "features.norm5", (2, 3)),
    ("efficientnet_b0", (64, 96), "features.8", (2, 3)),
    ("efficientnet_v2_s", (64, 96), "features.7", (2, 3)),
    ("googlenet", (64, 96), "inception5b", (2, 3)),
    ("inception_v3", (128, 160), "Mixed_7c", (2, 3)),
    ("mnasnet0_5", (64, 96), "layers", (2, 3)),
    ("mobilenet_v2", (64, 96), "features.18", (2, 3)),
    ("mobilenet_v3_small", (64, 96), "features.12", (2, 3)),
    ("regnet_y_400mf", (64, 96), "trunk_output", (2, 3)),
    ("resnet18", (64, 96), "layer4", (2, 3)),
    ("resnext50_32x4d", (64, 96), "layer4", (2, 3)),
    ("shufflenet_v2_x0_5", (64, 96), "conv5", (2, 3)),
    ("squeezenet1_0", (64, 96), "features", (3, 5)),
    ("swin_t", (64, 96), "norm", (2, 3)),
    ("swin_v2_t", (64, 96), "norm", (2, 3)),
    ("vgg11", (64, 96), "features.19", (4, 6)),
    ("vgg11_bn", (64, 96), "features.27", (4, 6)),
    ("wide_resnet50_2", (64, 96), "layer4", (2, 3)),
]

TIMM: list[tuple[str, dict[str, Any], Size, str, Grid]] = [
    ("beit_base_patch16_224", {"depth": 2, "embed_dim": 24, "num_heads": 2}, (224, 224), "blocks.1", (14, 14)),
    ("convnext_atto", {}, (64, 96), "stages.3", (2, 3)),
    ("deit_tiny_distilled_patch16_224", {"depth": 2, "img_size": (64, 96)}, (64, 96), "blocks.1.norm1", (4, 6)),
    ("deit3_small_patch16_224", {"depth": 2, "img_size": (64, 96)}, (64, 96), "blocks.1.norm1", (4, 6)),
    ("densenet121", {}, (64, 96), "features.norm5", (2, 3)),
    ("efficientnet_b0", {}, (64, 96), "bn2", (2, 3)),
    ("eva02_tiny_patch14_224", {"depth": 2, "img_size": (56, 84)}, (56, 84), "blocks.1", (4, 6)),
    ("inception_v3", {}, (128, 160), "Mixed_7c", (2, 3)),
    ("maxvit_pico_rw_256", {"img_size": 64}, (64, 64), "norm", (2, 2)),
    ("mnasnet_small", {}, (64, 96), "bn2", (2, 3)),
    ("mobilenetv2_050", {}, (64, 96), "bn2", (2, 3)),
    ("mobilenetv3_small_050", {}, (64, 96), "blocks.5", (2, 3)),
    ("regnetx_002", {}, (64, 96), "s4", (2, 3)),
    ("resnet18", {}, (64, 96), "layer4", (2, 3)),
    ("resnetv2_50", {"layers": (1, 1, 1, 1)}, (64, 96), "norm", (2, 3)),
    ("swin_tiny_patch4_window7_224", {"img_size": (64, 96), "window_size": 2}, (64, 96), "norm", (2, 3)),
    ("swinv2_tiny_window8_256", {"img_size": (64, 96), "window_size": 2}, (64, 96), "norm", (2, 3)),
    ("tf_efficientnetv2_b0", {}, (64, 96), "bn2", (2, 3)),
    ("vit_small_patch14_reg4_dinov2", {"depth": 2, "img_size": (56, 84)}, (56, 84), "blocks.1.norm1", (4, 6)),
    ("vit_small_patch8_224.dino", {"depth": 2, "img_size": (32, 48)}, (32, 48), "blocks.1.norm1", (4, 6)),
    ("vit_tiny_patch16_224", {"depth": 2}, (224, 224), "blocks.1.norm1", (14, 14)),
    ("vit_tiny_patch16_224", {"depth": 2, "dynamic_img_size": True}, (64, 96), "blocks.1.norm1", (4, 6)),
    ("vit_tiny_patch16_224", {"depth": 2, "dynamic_img_size": True, "dynamic_img_pad": True}, (60, 90), "blocks.1.norm1", (4, 6)),
    # Of families without a row: found by the dry run.
    ("ese_vovnet19b_dw", {}, (64, 96), "stages", (2, 3)),
    ("pvt_v2_b0", {}, (64, 96), "stages", (2, 3)),
    ("repvgg_a0", {}, (64, 96), "final_conv", (2, 3)),
    ("cait_xxs24_224", {"depth": 2, "img_size": (64, 96)}, (64, 96), "blocks_token_only.1.norm1", (4, 6)),
    ("vit_relpos_small_patch16_224", {"depth": 2, "img_size": (64, 96)}, (64, 96), "blocks.1", (4, 6)),
]

TRANSFORMER: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "patch_size": 8,
    "num_labels": 5,
}
STAGES: dict[str, Any] = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_labels": 5}
WINDOWS: dict[str, Any] = {"embed_dim": 8, "depths": [1, 1, 1, 2], "num_heads": [1, 1, 1, 1], "window_size": 2, "num_labels": 5}

TRANSFORMERS: list[tuple[str, str, dict[str, Any], Size, Grid]] = [
    ("ViT", "ViTForImageClassification", {**TRANSFORMER, "image_size": (32, 48)}, (32, 48), (4, 6)),
    ("DeiT", "DeiTForImageClassification", {**TRANSFORMER, "image_size": (32, 48)}, (32, 48), (4, 6)),
    ("DeiT", "DeiTForImageClassificationWithTeacher", {**TRANSFORMER, "image_size": (32, 48)}, (32, 48), (4, 6)),
    ("Beit", "BeitForImageClassification", {**TRANSFORMER, "image_size": 32}, (32, 32), (4, 4)),
    ("Dinov2", "Dinov2ForImageClassification", {**TRANSFORMER, "image_size": 32}, (32, 48), (4, 6)),
    ("Dinov2WithRegisters", "Dinov2WithRegistersForImageClassification", {**TRANSFORMER, "image_size": 32}, (32, 48), (4, 6)),
    ("ConvNext", "ConvNextForImageClassification", STAGES, (64, 96), (2, 3)),
    ("ConvNextV2", "ConvNextV2ForImageClassification", STAGES, (64, 96), (2, 3)),
    ("ResNet", "ResNetForImageClassification", {**STAGES, "embedding_size": 8}, (64, 96), (2, 3)),
    ("RegNet", "RegNetForImageClassification", {**STAGES, "embedding_size": 8, "groups_width": 8}, (64, 96), (2, 3)),
    ("Swin", "SwinForImageClassification", {**WINDOWS, "image_size": 64}, (64, 96), (2, 3)),
    ("Swinv2", "Swinv2ForImageClassification", {**WINDOWS, "image_size": 64}, (64, 96), (2, 3)),
]


class LogitsOf(nn.Module):
    """A network of transformers, wrapped as our loader wraps it: it returns its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(pixel_values=inputs).logits


def build(make: Callable[..., nn.Module], *args: Any, **settings: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make(*args, **settings).eval()
        # Some networks start with a head of zeros, which no gradient passes.
        for parameter in module.parameters():
            if parameter.ndim == 2 and not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    return module


def check(module: nn.Module, size: Size, grid: Grid) -> FeatureLayer:
    """The default layer has this grid, and at inputs of this size a gradient on it."""
    layer = default_layer(dry_run(module, size))
    with tap_many(module, {"layer": layer}) as taps:
        logits = module(torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1)))
        (gradient,) = taps["layer"].gradients_of(logits[:, :1])
    assert gradient.shape == (2, layer.channels, *grid)
    assert taps["layer"].activation.shape == gradient.shape
    assert layer.layout.grid == grid
    assert gradient.abs().sum() > 0
    return layer


@pytest.mark.parametrize(("name", "size", "place", "grid"), TORCHVISION, ids=[row[0] for row in TORCHVISION])
def test_torchvision(name: str, size: Size, place: str, grid: Grid) -> None:
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    module = build(getattr(torchvision_models, name), weights=None, num_classes=5, **settings)
    assert str(check(module, size, grid)) == place


def test_torchvision_vision_transformer(tiny_vit: nn.Module) -> None:
    layer = check(tiny_vit, (32, 32), (4, 4))
    assert str(layer) == "encoder.layers.encoder_layer_1.ln_1"
    assert layer.layout.prefix == 1


def test_torchvision_maxvit() -> None:
    settings = {"stem_channels": 8, "block_channels": [8, 8, 8, 8], "block_layers": [1, 1, 1, 1], "head_dim": 4}
    make = torchvision_models.maxvit.MaxVit
    module = build(make, input_size=(64, 64), partition_size=2, stochastic_depth_prob=0.0, num_classes=5, **settings)
    assert str(check(module, (64, 64), (2, 2))) == "blocks.3"


@pytest.mark.parametrize(("name", "settings", "size", "place", "grid"), TIMM, ids=[f"{row[0]}-{i}" for i, row in enumerate(TIMM)])
def test_timm(name: str, settings: dict[str, Any], size: Size, place: str, grid: Grid) -> None:
    timm = pytest.importorskip("timm")
    module = build(timm.create_model, name, pretrained=False, num_classes=5, **settings)
    layer = check(module, size, grid)
    assert str(layer) == place
    if layer.layout.axes.value == "tokens":
        assert layer.layout.prefix == module.num_prefix_tokens


@pytest.mark.parametrize(("kind", "name", "settings", "size", "grid"), TRANSFORMERS, ids=[row[1] for row in TRANSFORMERS])
def test_transformers(kind: str, name: str, settings: dict[str, Any], size: Size, grid: Grid) -> None:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(**settings)
    layer = check(LogitsOf(build(getattr(transformers, name), config)), size, grid)
    prefix = {"ViT": 1, "DeiT": 2, "Beit": 1, "Dinov2": 1, "Dinov2WithRegisters": 5}
    assert layer.layout.prefix == prefix.get(kind, 0)
    assert layer.name.startswith("network.")


def test_a_network_that_derives_from_a_known_one_is_found_as_that_one() -> None:
    class Mine(torchvision_models.resnet.ResNet):
        pass

    module = build(Mine, torchvision_models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)
    assert str(check(nn.Sequential(nn.Identity(), module), (64, 96), (2, 3))) == "1.layer4"


def test_a_known_network_whose_layer_has_but_one_cell_gets_an_earlier_layer() -> None:
    module = build(torchvision_models.resnet18, weights=None, num_classes=5)
    assert str(check(module, (32, 32), (2, 2))) == "layer3"
