"""What a pass consists of is seen whatever way the network is written."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xaicli.network.observe import observe
from xaicli.network.operations import MAX_POOLING, NORMS, ROUTING, SOFTMAX, is_linear


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


def seen(function, photos=None):
    photos = torch.rand(2, 3, 8, 8) if photos is None else photos
    return observe(Wrapped(function), photos).operations


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (F.relu, "relu"),
        (torch.relu, "relu"),
        (lambda x: x.relu(), "relu"),
        (lambda x: (x * 1).relu_(), "relu"),
        (lambda x: x.clamp(min=0), "clamp"),
        (F.relu6, "hardtanh"),
        (F.hardswish, "hardswish"),
        (F.silu, "silu"),
        (F.gelu, "gelu"),
        (F.mish, "mish"),
        (F.leaky_relu, "leaky_relu"),
        (F.elu, "elu"),
        (F.softplus, "softplus"),
        (lambda x: F.threshold(x, 0, 0), "threshold"),
        (lambda x: F.prelu(x, torch.ones(1)), "_prelu_kernel"),
        (lambda x: torch.maximum(x, torch.zeros(1)), "maximum"),
    ],
)
def test_activations_are_seen_by_name_and_are_not_linear(function, name):
    found = {operation.name: operation for operation in seen(function)}
    assert not is_linear(found[name])


@pytest.mark.parametrize("function", [lambda x: F.max_pool2d(x, 2), lambda x: F.adaptive_max_pool2d(x, 1)])
def test_pooling_by_maximum_is_known(function):
    assert [operation.name for operation in seen(function) if operation.name not in MAX_POOLING] == []


@pytest.mark.parametrize("function", [lambda x: F.layer_norm(x, [8]), lambda x: F.group_norm(x, 3)])
def test_norms_are_known(function):
    assert seen(function)[-1].name in NORMS


@pytest.mark.parametrize("function", [lambda x: x.flatten(1).softmax(dim=1), lambda x: F.log_softmax(x.flatten(1), dim=1)])
def test_a_softmax_is_known(function):
    assert seen(function)[-1].name in SOFTMAX


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(1),
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: torch.cat([x, x], dim=1),
        lambda x: x[:, :2],
        lambda x: F.pad(x, (1, 1)),
        lambda x: F.pixel_unshuffle(x, 2),
        lambda x: x.unfold(2, 2, 2),
        lambda x: torch.stack(x.unbind(1)),
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: F.dropout(x, training=False),
    ],
)
def test_moving_numbers_about_is_routing_and_linear(function):
    for operation in seen(function):
        assert operation.name in ROUTING
        assert is_linear(operation)


@pytest.mark.parametrize(
    ("function", "linear"),
    [
        (lambda x: x * 3, True),
        (lambda x: x * x, False),
        (lambda x: x * torch.ones(8), True),
        (lambda x: x / 2, True),
        (lambda x: x / (x + 2), False),
        (lambda x: 1 / x, False),
        (lambda x: torch.div(torch.ones(8), x), False),
        (lambda x: x + x.mean(), True),
        (lambda x: x @ torch.ones(8, 2), True),
        (lambda x: x @ x, False),
        (torch.exp, False),
        (torch.square, False),
        (lambda x: F.layer_norm(x, [8]), False),
        (lambda x: F.softmax(x, dim=1), False),
        (lambda x: F.scaled_dot_product_attention(x, x, x), False),
        (lambda x: F.conv2d(x, torch.ones(2, 3, 3, 3)), True),
        (lambda x: F.adaptive_avg_pool2d(x, 2), True),
        (lambda x: F.max_pool2d(x, 2), False),
        (lambda x: F.group_norm(x, 3), False),
    ],
)
def test_what_is_linear_in_the_photo_is_told_from_what_is_not(function, linear):
    assert all(map(is_linear, seen(function))) == linear


def test_constants_of_the_network_do_not_count():
    assert [operation.name for operation in seen(lambda x: x + torch.ones(8).exp().relu())] == ["add"]


def test_an_operation_names_the_innermost_module_that_ran_it():
    network = nn.Sequential(nn.Sequential(nn.ReLU6()), Wrapped(torch.relu))
    first, second = observe(network, torch.rand(1, 3, 4, 4)).operations
    assert str(first) == "hardtanh in 0.0 (ReLU6)"
    assert str(second) == "relu in 1 (Wrapped)"
    assert str(seen(torch.relu)[0]) == "relu in Wrapped"


def test_calls_are_counted_and_types_are_exact():
    class Special(nn.ReLU):
        pass

    shared = nn.ReLU()
    found = observe(nn.Sequential(shared, Special(), shared), torch.rand(1, 3, 4, 4))
    assert found.called((nn.ReLU,)) == [shared]
    assert found.times[shared] == 2
    assert [operation.path for operation in found.outside((nn.ReLU,))] == ["1"]


def test_the_output_is_the_networks_and_hooks_are_gone(tiny_cnn, photo_batch):
    with torch.inference_mode():
        found = observe(tiny_cnn, photo_batch)
    assert torch.equal(found.output, tiny_cnn(photo_batch))
    assert not found.output.requires_grad
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny_cnn.modules())
    with pytest.raises(RuntimeError):
        observe(nn.Sequential(tiny_cnn, nn.Linear(3, 3)), photo_batch)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny_cnn.modules())


def test_a_network_may_change_its_input_in_place():
    photos = torch.rand(1, 3, 4, 4)
    before = photos.clone()
    observe(nn.Sequential(nn.ReLU(inplace=True)), photos - 0.5)
    observe(Wrapped(lambda x: x.sub_(0.5)), photos)
    assert torch.equal(photos, before)


def test_scripted_code_is_seen():
    @torch.jit.script
    def scripted(values):
        return torch.relu(values) + 1

    assert "relu" in [operation.name for operation in seen(scripted)]
