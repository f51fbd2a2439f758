"""Linear layers that compute as convolutions give what the layers give."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from xaicli.network.linear_layers import (
    LEAST,
    AttentionByConvolution,
    LinearByConvolution,
    has_tokens,
    let_compute_as_convolutions,
    projected,
)

DRAW = torch.Generator().manual_seed(0)


def tokens_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW)


def seeded(made: nn.Module) -> nn.Module:
    for parameter in made.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=DRAW) * 0.3)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape", [(LEAST, 5, 6), (LEAST + 1, 3, 2, 6), (LEAST - 1, 5, 6), (40, 6), (6,), (LEAST, 1, 6), (0, 5, 6)]
)
def test_a_convolution_gives_the_linear_layers_sums(shape, bias):
    layer = seeded(nn.Linear(6, 4, bias=bias))
    inputs = tokens_of(*shape)
    made = projected(inputs, layer.weight, layer.bias)
    assert made.shape == layer(inputs).shape
    assert_close(made, inputs @ layer.weight.T + (layer.bias if bias else 0), rtol=1e-5, atol=1e-5)


def test_inputs_in_any_layout_of_memory_are_taken():
    layer = seeded(nn.Linear(6, 4))
    inputs = tokens_of(6, 5, LEAST).transpose(0, 2)
    assert_close(projected(inputs, layer.weight, layer.bias), layer(inputs), rtol=1e-5, atol=1e-5)


@pytest.fixture
def attention():
    return seeded(nn.MultiheadAttention(8, 2, batch_first=True))


def convolved(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module)
    let_compute_as_convolutions(twin)
    return twin


def test_a_sequence_attends_to_itself_as_before(attention):
    tokens = tokens_of(LEAST, 5, 8)
    twin = convolved(attention)
    assert type(twin) is AttentionByConvolution
    found, weights = twin(tokens, tokens, tokens, need_weights=False)
    assert weights is None
    assert_close(found, attention(tokens, tokens, tokens, need_weights=False)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"need_weights": True},
        {"need_weights": False, "attn_mask": torch.ones(5, 5).tril() == 0},
        {"need_weights": False, "key_padding_mask": torch.arange(LEAST * 5).view(LEAST, 5) % 5 == 4},
        {"need_weights": False, "attn_mask": torch.ones(5, 5).tril() == 0, "is_causal": True},
    ],
)
def test_masks_and_asked_for_weights_are_left_to_torch(attention, options):
    tokens = tokens_of(LEAST, 5, 8)
    for found, expected in zip(
        convolved(attention)(tokens, tokens, tokens, **options), attention(tokens, tokens, tokens, **options), strict=True
    ):
        assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"batch_first": True, "kdim": 6, "vdim": 6}, {"batch_first": True, "add_bias_kv": True}])
def test_attention_of_another_make_or_between_sequences_is_left_to_torch(options):
    attention = seeded(nn.MultiheadAttention(8, 2, **options))
    query, other = tokens_of(LEAST, 5, 8), tokens_of(LEAST, 5, options.get("kdim", 8))
    twin = convolved(attention)
    found, _ = twin(query, other, other, need_weights=False)
    assert_close(found, attention(query, other, other, need_weights=False)[0], rtol=1e-5, atol=1e-5)
    if "kdim" not in options:
        same, _ = twin(query, query, query, need_weights=False)
        assert_close(same, attention(query, query, query, need_weights=False)[0], rtol=1e-5, atol=1e-5)


def test_hooks_and_forwards_of_their_own_stay():
    hooked, own = seeded(nn.Linear(6, 4)), seeded(nn.Linear(6, 4))
    hooked.register_forward_hook(lambda part, inputs, output: output * 2)
    own.forward = lambda inputs: inputs.sum(dim=-1, keepdim=True)
    inputs = tokens_of(LEAST, 5, 6)
    for layer in (hooked, own):
        assert_close(convolved(layer)(inputs), layer(inputs), rtol=1e-5, atol=1e-5)


def test_a_layer_of_another_kind_stays():
    class Scaled(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * 3

    twin = convolved(nn.Sequential(Scaled(6, 4), nn.Linear(4, 4)))
    assert [type(part) for part in twin] == [Scaled, LinearByConvolution]


def test_networks_with_layer_norms_see_tokens(tiny_cnn, tiny_vit):
    assert has_tokens(tiny_vit)
    assert not has_tokens(tiny_cnn)
    assert not has_tokens(nn.Sequential(nn.LayerNorm(4), nn.Conv2d(3, 4, 1)))
