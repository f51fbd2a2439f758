"""Attention is read as it truly is: in torchvision's, timm's and transformers' networks, fused or written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from xaicli.network.attention import Attention, reading_attention
from xaicli.network.modes import attribution_mode


def read(module: nn.Module, inputs: Tensor, *, graft: bool = False) -> tuple[Tensor, list[Attention]]:
    found: list[Attention] = []
    with attribution_mode(module), reading_attention(module, found.append, graft=graft):
        logits = module(inputs)
    return logits, found


def photos(size: tuple[int, int], count: int = 2) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def seeded(make: Callable[..., nn.Module], *args: Any, **settings: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make(*args, **settings).eval().requires_grad_(False)
        for parameter in module.parameters():
            # Larger weights make attention far from uniform.
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.3)
    return module


def timm_vit(name: str = "vit_tiny_patch16_224", **settings: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    return seeded(timm.create_model, name, pretrained=False, num_classes=5, depth=2, **settings)


class LogitsOf(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(pixel_values=inputs).logits


def transformers_network(kind: str, attention: str = "sdpa") -> nn.Module:
    transformers = pytest.importorskip("transformers")
    widths = {"hidden_size": 16, "intermediate_size": 32, "image_size": 32, "patch_size": 8}
    config = getattr(transformers, f"{kind}Config")(num_hidden_layers=2, num_attention_heads=2, num_labels=5, **widths)
    config._attn_implementation = attention
    return LogitsOf(seeded(getattr(transformers, f"{kind}ForImageClassification"), config))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], int]] = {
    "timm": (lambda: timm_vit(img_size=(32, 48)), (32, 48), 7),
    "timm distilled": (lambda: timm_vit("deit_tiny_distilled_patch16_224", img_size=32), (32, 32), 6),
    "timm registers": (lambda: timm_vit("vit_small_patch14_reg4_dinov2", img_size=28), (28, 28), 9),
    "timm with norms": (lambda: timm_vit(img_size=32, qk_norm=True), (32, 32), 5),
    "timm relative bias": (lambda: timm_vit("beit_base_patch16_224", embed_dim=24, num_heads=2, img_size=32), (32, 32), 5),
    "timm rotary": (lambda: timm_vit("eva02_tiny_patch14_224", img_size=28), (28, 28), 5),
    "ViT": (lambda: transformers_network("ViT"), (32, 32), 17),
    "ViT eager": (lambda: transformers_network("ViT", "eager"), (32, 32), 17),
    "DeiT": (lambda: transformers_network("DeiT"), (32, 32), 18),
    "Beit": (lambda: transformers_network("Beit"), (32, 32), 17),
    "Dinov2WithRegisters": (lambda: transformers_network("Dinov2WithRegisters"), (32, 32), 21),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_times_values_are_what_each_attention_gives(name: str) -> None:
    make, size, tokens = NETWORKS[name]
    module = make()
    logits, found = read(module, photos(size))
    assert len(found) == 2
    for attention in found:
        probabilities = attention.probabilities()
        assert probabilities.shape == (2, attention.value.shape[1], tokens, tokens)
        assert_close(probabilities.sum(dim=-1), torch.ones(probabilities.shape[:-1]))
        fault = (probabilities @ attention.value - attention.output).abs().max()
        assert fault <= 1e-5 * attention.output.abs().max()
        assert_close(attention.probabilities(slice(0, 1)), probabilities[:, :, :1])
    assert_close(logits, module(photos(size)), atol=1e-4, rtol=1e-4)
    names = [attention.name for attention in found]
    assert names[0] != names[1]
    assert all("att" in each for each in names)


def test_torchvisions_attention_is_that_of_its_own_module(tiny_vit: nn.Module, photo_batch: Tensor) -> None:
    entering: list[Tensor] = []
    blocks = list(tiny_vit.encoder.layers)
    handles = [block.ln_1.register_forward_hook(lambda _, __, output: entering.append(output)) for block in blocks]
    _, found = read(tiny_vit, photo_batch)
    for handle in handles:
        handle.remove()
    for attention, block, tokens in zip(found, blocks, entering, strict=True):
        _, expected = block.self_attention(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)
        assert_close(attention.probabilities(), expected)
        assert attention.module is block.self_attention
        assert_close(attention.probabilities() @ attention.value, attention.output)


def test_fused_and_written_out_attention_are_equal() -> None:
    module = timm_vit(img_size=32)
    _, fused = read(module, photos((32, 32)))
    for block in module.blocks:
        block.attn.fused_attn = False
    _, written = read(module, photos((32, 32)))
    for one, other in zip(fused, written, strict=True):
        assert one.written_out is None
        assert other.written_out is not None
        assert_close(one.probabilities(), other.probabilities(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["torchvision", "timm", "ViT eager"])
def test_with_a_graft_every_attention_of_a_frozen_network_has_a_gradient(
    name: str, tiny_vit: nn.Module, photo_batch: Tensor
) -> None:
    module, inputs = (tiny_vit, photo_batch) if name == "torchvision" else (NETWORKS[name][0](), photos(NETWORKS[name][1]))
    logits, found = read(module, inputs, graft=True)
    gradients = torch.autograd.grad(logits[:, 2].sum(), [attention.output for attention in found])
    # A class-token head reads one row of the last attention, and by way of it all rows of those before.
    assert not gradients[-1][:, :, 1:].any()
    assert gradients[0][:, :, 1:].any()
    assert gradients[-1][:, :, 0].any()
    plain = inputs.clone().requires_grad_()
    kept: list[Attention] = []
    with reading_attention(module, kept.append):
        score = module(plain)[:, 2].sum()
    for expected, gradient in zip(torch.autograd.grad(score, [each.output for each in kept]), gradients, strict=True):
        assert_close(gradient, expected)


class WithWeights(nn.Module):
    """A block that asks nn.MultiheadAttention for its weights."""

    def __init__(self, average: bool) -> None:
        super().__init__()
        self.attention, self.average = nn.MultiheadAttention(8, 2, batch_first=True), average

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.attention(tokens, tokens, tokens, average_attn_weights=self.average)


@pytest.mark.parametrize("average", [True, False])
def test_a_network_that_asks_for_weights_gets_them(average: bool) -> None:
    module = seeded(WithWeights, average)
    tokens = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(3))
    expected, expected_weights = module(tokens)
    found: list[Attention] = []
    with reading_attention(module, found.append):
        output, weights = module(tokens)
    assert_close(output, expected)
    assert_close(weights, expected_weights)
    assert len(found) == 1


class Fused(nn.Module):
    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, **self.settings)


MASK = torch.tensor([[True, True, False], [True, True, True], [False, True, True]])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": 0.7},
        {"is_causal": True},
        {"attn_mask": MASK},
        {"attn_mask": torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(9))},
        {"enable_gqa": True},
    ],
    ids=str,
)
def test_masks_scales_and_grouped_heads_count(settings: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(4)
    heads = 2 if "enable_gqa" in settings else 4
    query = torch.randn(2, 4, 3, 6, generator=generator)
    key, value = torch.randn(2, 2, heads, 3, 6, generator=generator)
    module, found = Fused(**settings), []
    with reading_attention(module, found.append):
        output = module(query, key, value)
    (attention,) = found
    assert_close(attention.probabilities() @ attention.value, output)
    assert_close(attention.probabilities(torch.tensor([2, 0])), attention.probabilities()[:, :, [2, 0]])


def test_a_softmax_that_is_no_attention_is_left_alone() -> None:
    class Gate(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return (inputs * inputs.softmax(dim=1)).mean(dim=(2, 3)) @ torch.ones(3, 2)

    _, found = read(Gate(), photos((4, 4)))
    assert found == []


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind_when_something_raises(
    fault: type[BaseException], tiny_vit: nn.Module, photo_batch: Tensor
) -> None:
    original = functional.scaled_dot_product_attention

    def receive(attention: Attention) -> None:
        raise fault

    with pytest.raises(fault), reading_attention(tiny_vit, receive):
        tiny_vit(photo_batch)
    assert functional.scaled_dot_product_attention is original
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in tiny_vit.modules())
    assert torch.overrides._get_current_function_mode() is None
