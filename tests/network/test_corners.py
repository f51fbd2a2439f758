"""A layer's grid is what moves where the input changes: layouts that only look right are found out, on untrained networks too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import FeatureLayer, default_layer, named_layer
from xaicli.network.tokens import Axes, Layout
from xaicli.network.trace import NetworkTrace

SIZE = (24, 40)
GRID = (3, 5)


def trace(module: nn.Module, size: tuple[int, int] = SIZE) -> NetworkTrace:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for part in module.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                part.reset_parameters()
    return dry_run(module.eval(), size)


class Tokens(nn.Module):
    """A transformer of one block over 3 x 5 patches; `order` says where a class token stands and how patches are laid out."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.linear = nn.Linear(3 * 64, 8)
        self.extra = nn.Parameter(torch.linspace(-1, 1, 8).view(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=order != "batch second", norm_first=True, dropout=0.0)
        self.head = nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.order == "linear patches":
            cut = inputs.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5)
            tokens = self.linear(cut.flatten(3).flatten(1, 2))
        else:
            grid = self.patches(inputs)
            grid = grid.flip(3) if self.order == "mirrored" else grid.transpose(2, 3) if self.order == "columns" else grid
            tokens = grid.flatten(2).transpose(1, 2)
        extra = self.extra.expand(len(tokens), -1, -1)
        tokens = torch.cat([tokens, extra] if self.order == "class token last" else [extra, tokens], dim=1)
        if self.order == "batch second":
            return self.head(self.block(tokens.transpose(0, 1)).mean(dim=0))
        return self.head(self.block(tokens).mean(dim=1))


@pytest.mark.parametrize(
    ("order", "layout"),
    [
        ("plain", Layout(Axes.TOKENS, GRID, prefix=1)),
        ("class token last", Layout(Axes.TOKENS, GRID, trailing=1)),
        ("batch second", Layout(Axes.TOKENS_FIRST, GRID, prefix=1)),
        ("linear patches", Layout(Axes.TOKENS, GRID, prefix=1)),
    ],
)
def test_tokens_are_found_wherever_the_class_token_and_the_batch_stand(order: str, layout: Layout) -> None:
    assert named_layer(trace(Tokens(order)), "block").layout == layout


@pytest.mark.parametrize(
    ("order", "place"),
    [
        ("mirrored", "top left corner of the input changes, row 1 of 3, column 5 of 5"),
        ("columns", "top right corner of the input changes, row 3 of 3, column 3 of 5"),
    ],
)
def test_tokens_in_another_order_are_refused_with_what_was_seen(order: str, place: str) -> None:
    seen = trace(Tokens(order))
    with pytest.raises(UsageError, match=f"layer block is not a picture of 3 x 5 cells: when the {place} moves most"):
        named_layer(seen, "block")


def test_a_layer_that_fails_is_no_candidate_for_the_default() -> None:
    assert default_layer(trace(Tokens("plain"))).name == "block.norm2"
    assert default_layer(trace(Tokens("columns"))).name == "patches"


def test_a_gradient_layer_with_the_batch_second_is_read_as_a_grid() -> None:
    seen = trace(Tokens("batch second"))
    layer = named_layer(seen, "block")
    tokens = torch.arange(16.0)[:, None, None].expand(16, 2, 8)
    assert torch.equal(layer.to_grid(tokens)[1, 0], torch.arange(1.0, 16.0).view(GRID))


class ChannelsLast(nn.Module):
    """Features (B, h, w, K) that no norm and no linear layer takes, as wide as they are high."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.features, self.head = nn.GELU(), nn.Linear(16, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(self.patches(inputs).permute(0, 2, 3, 1)).mean(dim=(1, 2)))


def test_channels_last_is_told_by_what_moves_where_no_module_tells() -> None:
    layer = named_layer(trace(ChannelsLast(), (96, 128)), "features")
    assert layer.layout == Layout(Axes.CHANNELS_LAST, (12, 16))
    assert layer.channels == 16


class Pooled(nn.Module):
    """A backbone that gives a map and its mean, of which the head reads the mean alone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = Backbone(), nn.Linear(6, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.backbone(inputs)[1])


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU())

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layers(inputs)
        return features, features.mean(dim=(2, 3))


def test_a_gradient_counts_where_a_tap_reads_it() -> None:
    seen = trace(Pooled())
    assert default_layer(seen).name == "backbone.layers"
    with pytest.raises(UsageError, match="gradient at layer backbone:output is zero"):
        named_layer(seen, "backbone")


def timm_model(name: str, **settings: object) -> Callable[[], nn.Module]:
    timm = pytest.importorskip("timm")
    return lambda: timm.create_model(name, num_classes=4, **settings)


def layer_of(make: Callable[[], nn.Module], size: int, name: str = "auto") -> FeatureLayer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make().eval()
        for parameter in module.parameters():
            # Heads that begin at zero have no gradient.
            if parameter.ndim > 1 and not parameter.any():
                nn.init.normal_(parameter, std=0.02)
    seen = dry_run(module, (size, size))
    return default_layer(seen) if name == "auto" else named_layer(seen, name)


@pytest.mark.parametrize(
    ("name", "settings", "size", "grid"),
    [
        ("tnt_s_patch16_224", {"depth": 2, "embed_dim": 48, "img_size": 64}, 64, (4, 4)),
        ("naflexvit_base_patch16_gap", {"depth": 2, "embed_dim": 48, "num_heads": 2}, 64, (4, 4)),
        ("coat_tiny", {"embed_dims": (16, 16, 16, 16), "img_size": 128}, 128, (4, 4)),
    ],
)
def test_networks_whose_attention_looks_like_a_picture_are_read_at_their_patches(
    name: str, settings: dict[str, object], size: int, grid: tuple[int, int]
) -> None:
    layer = layer_of(timm_model(name, **settings), size)
    assert (layer.layout.axes, layer.layout.grid) == (Axes.TOKENS, grid)


def test_tokens_of_hieras_mask_units_are_refused() -> None:
    hiera = timm_model("hiera_tiny_224", embed_dim=16, stages=(1, 1, 1, 1), img_size=(64, 64))
    with pytest.raises(UsageError, match="is not a picture of 16 x 16 cells: when the top"):
        layer_of(hiera, 64, "blocks.0")


def test_tokens_of_nests_blocks_are_refused() -> None:
    nest = pytest.importorskip("timm.models.nest")
    make = lambda: nest.Nest(64, embed_dims=(16, 16, 16), num_heads=(1, 1, 1), depths=(1, 1, 1), num_classes=4)  # noqa: E731
    with pytest.raises(UsageError, match="is not a picture of"):
        layer_of(make, 64, "levels.0.transformer_encoder")


def test_an_attention_module_of_torchvisions_swin_is_read_channels_last() -> None:
    from torchvision.models.swin_transformer import SwinTransformer

    swin = lambda: SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=4)  # noqa: E731
    layer = layer_of(swin, 128, "features.3.0.attn")
    assert (layer.layout.axes, layer.layout.grid, layer.channels) == (Axes.CHANNELS_LAST, (16, 16), 32)


def attend_nearby(module: nn.Module) -> None:
    """Biases of attention as training leaves them: the nearer a token, the more it counts. Without them all tokens are alike."""
    for part in module.modules():
        if hasattr(part, "attention_biases"):
            pairs = part.attention_bias_idxs
            from_side, to_side = (round(count**0.5) for count in pairs.shape)
            stride = -(-to_side // from_side)
            queries, keys = (
                torch.cartesian_prod(*[torch.arange(side) * step] * 2).float()
                for side, step in ((from_side, stride), (to_side, 1))
            )
            with torch.no_grad():
                part.attention_biases[:, pairs.flatten()] = -(torch.cdist(queries, keys) ** 2).flatten()


def test_levit_of_transformers_is_read_behind_its_last_stage_where_attention_is_local() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LevitConfig(
        image_size=128, hidden_sizes=(32, 48, 64), num_attention_heads=(2, 3, 4), depths=(2, 2, 2), key_dim=(8, 8, 8)
    )
    config.down_ops = [["Subsample", 8, 4, 4, 2, 2], ["Subsample", 8, 6, 4, 2, 2]]
    network = transformers.LevitForImageClassification(config)
    attend_nearby(network)

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = network

        def forward(self, photos: Tensor) -> Tensor:
            logits: Tensor = self.model(photos).logits
            return logits

    layer = default_layer(dry_run(Logits().eval(), (128, 128)))
    assert (layer.name, layer.layout.grid) == ("model.levit.encoder.stages.2", (2, 2))
