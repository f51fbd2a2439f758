from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from xaicli.training.frozen_attention import contiguous_inside


@pytest.fixture
def attention() -> nn.MultiheadAttention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.MultiheadAttention(16, 2, batch_first=True).requires_grad_(False).train()


def attended(layer: nn.MultiheadAttention, photos: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs in bfloat16, and the gradient at the input."""
    inputs = photos.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = layer(inputs, key=inputs, value=inputs, need_weights=False)[0]
    (gradient,) = torch.autograd.grad(outputs.float().square().sum(), inputs)
    return outputs, gradient


def test_outputs_and_gradients_are_what_they_were(attention: nn.MultiheadAttention) -> None:
    photos = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(1))
    plain = attended(attention, photos)
    with contiguous_inside([attention]):
        assert_close(attended(attention, photos), plain)
    assert not attention._forward_pre_hooks


def test_the_weights_meet_a_contiguous_input(attention: nn.MultiheadAttention, monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    linear = functional.linear

    def noting(given: Tensor, *rest: Tensor) -> Tensor:
        met.append(given.is_contiguous())
        return linear(given, *rest)

    monkeypatch.setattr(functional, "linear", noting)
    photos = torch.randn(3, 7, 16)
    attended(attention, photos)
    assert not all(met)
    met.clear()
    with contiguous_inside([nn.Sequential(attention)]):
        attended(attention, photos)
    assert met
    assert all(met)
