from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from xaicli.errors import InputError
from xaicli.methods.tame.attention_head import AttentionHead
from xaicli.methods.tame.trained_attention import head_of, layer_names, scaled
from xaicli.models.checkpoint import Checkpoint

CPU = torch.device("cpu")


def checkpoint_of(head, **told):
    tensors = {f"attention.{name}": tensor for name, tensor in head.state_dict().items()}
    return Checkpoint(Path("mine.safetensors"), tensors, {"attention": head.described(), "layers": ["a", "b"], **told})


def test_the_head_of_a_checkpoint_is_frozen_and_read_once():
    trained = AttentionHead((2, 3), 4)
    checkpoint = checkpoint_of(trained)
    before = torch.get_rng_state()
    with torch.inference_mode():
        head = head_of(checkpoint, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert head is head_of(checkpoint, CPU)
    assert not head.training
    assert not any(parameter.requires_grad or parameter.is_inference() for parameter in head.parameters())
    assert all(torch.equal(one, other) for one, other in zip(head.parameters(), trained.parameters(), strict=True))


@pytest.mark.parametrize("layers", [None, [], "ab", [1, 2]])
def test_a_checkpoint_without_layers_is_refused(layers):
    with pytest.raises(InputError, match=r"mine\.safetensors names no layers"):
        layer_names(checkpoint_of(AttentionHead((2, 3), 4), layers=layers))


def test_weights_that_are_missing_are_named():
    checkpoint = checkpoint_of(AttentionHead((2, 3), 4))
    del checkpoint.tensors["attention.fuser.bias"]
    with pytest.raises(InputError, match=r"the attention in mine\.safetensors is damaged: .*fuser\.bias"):
        head_of(checkpoint, CPU)


def test_maps_are_scaled_to_their_range():
    maps = torch.tensor([[[[2.0, 4], [6, 10]]]])
    assert_close(scaled(maps, "minmax"), torch.tensor([[[[0, 0.25], [0.5, 1]]]]))
    assert_close(scaled(maps, "sigmoid"), torch.tensor([[[[0.8808, 0.9820], [0.9975, 1.0]]]]), atol=1e-4, rtol=0)
    assert scaled(maps, "none") is maps


@pytest.mark.parametrize("noise", [0.0, 1e-12])
def test_a_constant_map_becomes_zeros_and_its_rounding_errors_are_not_stretched(noise):
    maps = torch.full((1, 1, 3, 3), 1e-4, dtype=torch.float64)
    maps[..., 0, 0] += noise
    assert scaled(maps, "minmax").abs().max() <= 1e-3
