"""A vision transformer that writes its attention out and keeps it: what methods on attention are held against."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.images.view import View
from xaicli.models.assemble import assemble
from xaicli.models.model_request import LoadedModel
from xaicli.network.classifier import Classifier

GRID, WIDTH, HEADS, CLASSES = (2, 3), 8, 2, 4
SIZE = (8, 12)


class Attention(nn.Module):
    """Multi-head attention; `kept` are its probabilities (B, heads, N, M), `value` and `output` (B, heads, N, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        def split(made: Tensor) -> Tensor:
            return made.unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2)

        self.query, self.key, self.value = split(self.q(queries)), split(self.k(tokens)), split(self.v(tokens))
        scores = self.query @ self.key.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5
        self.kept = scores.softmax(dim=-1)
        self.output = self.kept @ self.value
        return self.proj(self.output.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.attn(normed, normed)
        return tokens + self.mlp(self.norm2(tokens))


class PlainTransformer(nn.Module):
    """Patches of 4 x 4 pixels, two blocks, and a head that reads the class token, the mean of the patches, or a learned query's
    attention on the patches."""

    def __init__(self, reads: str = "class", blocks: int = 2) -> None:
        super().__init__()
        self.reads = reads
        self.patch_embed = nn.Conv2d(3, WIDTH, 4, stride=4)
        prefix = 1 if reads == "class" else 0
        self.first = nn.Parameter(torch.randn(1, prefix, WIDTH))
        self.places = nn.Parameter(torch.randn(1, prefix + GRID[0] * GRID[1], WIDTH) * 0.3)
        self.blocks = nn.ModuleList([Block() for _ in range(blocks)])
        self.norm = nn.LayerNorm(WIDTH)
        if reads == "pool":
            self.asks = nn.Parameter(torch.randn(1, 1, WIDTH))
            self.pool = Attention()
        self.head = nn.Linear(WIDTH, CLASSES)

    def embed(self, inputs: Tensor) -> Tensor:
        patches = self.patch_embed(inputs).flatten(2).transpose(1, 2)
        return torch.cat([self.first.expand(len(inputs), -1, -1), patches], dim=1) + self.places

    def tail(self, tokens: Tensor) -> Tensor:
        """Logits of the tokens that the last block gives."""
        tokens = self.norm(tokens)
        if self.reads == "pool":
            read = self.pool(self.asks.expand(len(tokens), -1, -1), tokens)[:, 0]
        else:
            read = tokens[:, 0] if self.reads == "class" else tokens.mean(dim=1)
        return self.head(read)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.embed(inputs)
        for block in self.blocks:
            tokens = block(tokens)
        return self.tail(tokens)


def plain_transformer(reads: str = "class", **changes: Any) -> tuple[PlainTransformer, Classifier]:
    """The network, with fixed random weights, and the classifier of it."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = PlainTransformer(reads, **changes).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(parameter * 1.5)
    loaded = LoadedModel("plain", View(SIZE, None), module=network)
    return network, assemble(loaded, device=torch.device("cpu"), notice=lambda text: None)


def inputs(count: int = 2) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(9))


def masked_by_hand(network: PlainTransformer, photo: Tensor, seen: Tensor) -> Tensor:
    """The plain transformer with scores of minus infinity at the keys that are not seen."""
    tokens = network.embed(photo)
    for block in network.blocks:
        normed, attention = block.norm1(tokens), block.attn
        attention(normed, normed)
        scores = attention.query @ attention.key.transpose(-2, -1) * attention.query.shape[-1] ** -0.5
        weights = scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
        tokens = tokens + attention.proj((weights @ attention.value).transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return network.tail(tokens)
