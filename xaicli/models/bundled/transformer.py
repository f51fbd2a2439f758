"""A compact vision transformer (Dosovitskiy et al., 2021) with a [class] token and a convolutional stem (Xiao et al., 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CompactVisionTransformer(nn.Module):
    """Logits (B, classes) of inputs (B, 3, side, side).

    width: of tokens; depth: blocks; heads: of each attention. The stem halves the side three times, so that 64 pixels give 8 x 8
    patches; the head reads the [class] token alone. For photos of another size, the positions are interpolated between those of
    `side`. drop_path: the share of a batch whose last block is skipped in training; less for earlier blocks.
    """

    def __init__(
        self, classes: int, side: int = 64, width: int = 160, depth: int = 6, heads: int = 5, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.stem = stem(width)
        self.grid = -(-side // 8)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + self.grid**2, width))
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, heads, drop_path * at / max(depth - 1, 1)) for at in range(depth)),
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        for part in (self.class_token, self.positions):
            nn.init.trunc_normal_(part, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.stem(inputs)
        patches = features.flatten(2).transpose(1, 2)
        positions = self.positions_of(features.shape[2], features.shape[3])
        # By its shape: torch's tracer takes a length for a constant, and the network could not be converted.
        of_class = self.class_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([of_class, patches], dim=1) + positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return logits

    def positions_of(self, rows: int, columns: int) -> Tensor:
        """The embedded positions (1, 1 + rows * columns, width) of the [class] token and of a grid of patches."""
        if rows == columns == self.grid:
            return self.positions
        of_class, of_patches = self.positions.split([1, self.grid**2], dim=1)
        square = of_patches.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        resized = functional.interpolate(square, (rows, columns), mode="bilinear", align_corners=False)
        return torch.cat([of_class, resized.flatten(2).transpose(1, 2)], dim=1)


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each after a norm and with a residual path around it."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop_path = drop_path

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.kept(self.attention(self.norm1(tokens)))
        return tokens + self.kept(self.perceptron(self.norm2(tokens)))

    def kept(self, change: Tensor) -> Tensor:
        """In training, drop the change of a few photos and scale up that of the others (stochastic depth, Huang et al., 2016)."""
        if not (self.training and self.drop_path):
            return change
        keep = 1 - self.drop_path
        return change * (torch.rand(len(change), 1, 1, device=change.device) < keep).to(change.dtype) / keep


class SelfAttention(nn.Module):
    """Attention of every token to every token, in several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        photos, count, width = tokens.shape
        query, key, value = self.qkv(tokens).view(photos, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.training:
            # With so few tokens, the backward pass of the fused operation takes seven times as long on a processor.
            mixed = (query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)).softmax(dim=-1) @ value
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.projection(mixed.transpose(1, 2).reshape(photos, count, width))
        return projected


def stem(width: int) -> nn.Sequential:
    """Four convolutions that halve the side three times: patches of 8 x 8 pixels, seen with their surroundings."""
    parts: list[nn.Module] = []
    before = 3
    for after in (width // 4, width // 2, width):
        parts += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        before = after
    return nn.Sequential(*parts, nn.Conv2d(width, width, 1))
