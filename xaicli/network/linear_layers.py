"""Linear layers of tokens as 1 x 1 convolutions: the same sums, which oneDNN computes instead of MKL.

For each token, a linear layer sums over the channels as a 1 x 1 convolution does. torch gives linear layers to MKL, which uses
half of the vector width of AMD's processors, and convolutions of 16 photos and more to oneDNN, which uses all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

LEAST = 16
"""torch gives a 1 x 1 convolution to oneDNN from this many photos on; below it is no faster than the linear layer."""


def projected(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """tokens (photos, ..., C) times weight (D, C), plus bias (D): (photos, ..., D)."""
    if tokens.dim() < 3 or len(tokens) < LEAST:
        return functional.linear(tokens, weight, bias)
    grid = tokens.reshape(len(tokens), 1, -1, tokens.shape[-1]).permute(0, 3, 1, 2)
    made = functional.conv2d(grid, weight[:, :, None, None], bias)
    return made.permute(0, 2, 3, 1).reshape(*tokens.shape[:-1], len(weight))


class LinearByConvolution(nn.Linear):
    """A linear layer that computes as a convolution."""

    def forward(self, inputs: Tensor) -> Tensor:
        return projected(inputs, self.weight, self.bias)


class AttentionByConvolution(nn.MultiheadAttention):
    """Attention whose linear layers compute as convolutions where a sequence attends to itself, without a mask."""

    def forward(self, *sequences: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
        if not self.is_plain(sequences, options):
            return super().forward(*sequences, **options)
        tokens: Tensor = sequences[0]
        photos, length, width = tokens.shape
        parts = projected(tokens, self.in_proj_weight, self.in_proj_bias).view(photos, length, 3, self.num_heads, -1)
        mixed = functional.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4))
        joined = mixed.transpose(1, 2).reshape(photos, length, width)
        return projected(joined, self.out_proj.weight, self.out_proj.bias), None

    def is_plain(self, sequences: Sequence[Any], options: Mapping[str, Any]) -> bool:
        """Whether queries, keys and values are the same tokens (photos, N, C) and come of one matrix, no mask is given, no
        weights are asked for, and nothing is added to the sequence."""
        if options.get("need_weights") is not False or any(
            value is not None and value is not False for value in options.values()
        ):
            return False
        if len(sequences) != 3 or not (sequences[0] is sequences[1] is sequences[2]) or sequences[0].dim() != 3:
            return False
        return self.batch_first and self._qkv_same_embed_dim and self.bias_k is None and not self.add_zero_attn


KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: LinearByConvolution,
    nn.MultiheadAttention: AttentionByConvolution,
}


def has_tokens(network: nn.Module) -> bool:
    """Whether linear layers of a network may see more than one row a photo, as in networks with layer norms."""
    parts = list(network.modules())
    return any(isinstance(part, nn.LayerNorm) for part in parts) and any(type(part) in KINDS for part in parts)


def let_compute_as_convolutions(twin: nn.Module) -> None:
    """Let the linear layers of a twin, which nobody else holds, compute as convolutions; they keep their weights. A layer of
    another kind, or with a forward of its own, stays."""
    for part in twin.modules():
        if type(part) in KINDS and "forward" not in vars(part):
            part.__class__ = KINDS[type(part)]
