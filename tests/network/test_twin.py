"""The twin shares weights and nothing else; what is put in place of modules computes the same."""

import threading

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.network.twin import PerCall, SharedMaxPool, give_copies, replace_module, twin_of


def test_a_twin_shares_memory_and_no_module(tiny_cnn, photo_batch):
    twin = twin_of(tiny_cnn, "net")
    own = {id(module) for module in tiny_cnn.modules()} | {id(tensor) for tensor in tiny_cnn.parameters()}
    assert not own & ({id(module) for module in twin.modules()} | {id(tensor) for tensor in twin.parameters()})
    pointers = [tensor.data_ptr() for tensor in tiny_cnn.state_dict().values()]
    assert [tensor.data_ptr() for tensor in twin.state_dict().values()] == pointers
    assert torch.equal(twin(photo_batch), tiny_cnn(photo_batch))


def test_a_twin_is_frozen_in_evaluation_mode_and_out_of_place(tiny_cnn):
    tiny_cnn.train().requires_grad_(True)
    twin = twin_of(tiny_cnn, "net")
    assert not any(module.training for module in twin.modules())
    assert not any(tensor.requires_grad for tensor in twin.parameters())
    assert not any(getattr(module, "inplace", False) for module in twin.modules())
    assert all(module.training for module in tiny_cnn.modules())
    assert all(tensor.requires_grad for tensor in tiny_cnn.parameters())
    assert tiny_cnn.features[2].inplace


def test_a_tied_weight_stays_tied():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    twin = twin_of(network, "net")
    assert twin[1].weight is twin[0].weight


def test_gradients_pass_a_twin_of_weights_made_in_inference_mode():
    with torch.inference_mode():
        network = nn.Linear(3, 2)
    twin = twin_of(network, "net")
    photo = torch.ones(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(twin(photo)[0, 1], photo)
    assert_close(gradient[0], network.weight[1].clone())


def test_a_network_that_cannot_be_copied_is_refused_in_words():
    network = nn.Linear(3, 2)
    network.lock = threading.Lock()
    with pytest.raises(UsageError, match="net cannot be copied"):
        twin_of(network, "net")
    network = nn.Linear(3, 2)
    network.last = network(torch.ones(1, 3))
    with pytest.raises(UsageError, match="keeps a tensor of its last pass"):
        twin_of(network, "net")


def test_a_module_is_replaced_wherever_it_stands():
    shared = nn.ReLU()
    network = nn.Sequential(shared, nn.Sequential(shared, nn.Tanh()), shared)
    replace_module(network, shared, nn.Identity())
    assert [type(module).__name__ for module in network.modules() if not isinstance(module, nn.Sequential)] == [
        "Identity",
        "Tanh",
    ]
    assert network[0] is network[1][0] is network[2]


def test_each_call_has_an_activation_of_its_own():
    split = PerCall(nn.LeakyReLU(0.5), 2)
    seen = []
    for number, copied in enumerate(split.copies):
        copied.register_forward_hook(lambda module, args, output, number=number: seen.append(number))
    for _ in range(2):
        assert_close(split(torch.tensor([-2.0])), torch.tensor([-1.0]))
        assert_close(split(torch.tensor([4.0])), torch.tensor([4.0]))
    assert seen == [0, 1, 0, 1]


def test_modules_work_on_copies_that_nothing_else_reads():
    network = nn.Sequential(nn.Identity(), nn.Sequential(nn.ReLU(), nn.Tanh()))
    give_copies(network, (nn.ReLU,))
    values = torch.tensor([1.0, -1.0])
    entered = []
    inner = next(module for module in network.modules() if isinstance(module, nn.ReLU))
    inner.register_forward_pre_hook(lambda module, args: entered.append(args[0]))
    assert_close(network(values), values.relu().tanh())
    assert entered[0] is not values


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (16, 7)], ids=str)
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 1, "padding": 1},
        {"kernel_size": (3, 2), "stride": (1, 2)},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 5, "stride": 3, "padding": 2, "ceil_mode": True},
        {"kernel_size": 2},
    ],
    ids=str,
)
def test_pooling_with_shared_credit_is_the_same_pooling_and_its_contributions_sum_to_the_change(settings, size):
    draws = torch.Generator().manual_seed(1)
    both = torch.randint(-3, 4, (4, 3, *size), generator=draws).float().requires_grad_()
    pool = nn.MaxPool2d(**settings)
    shared = SharedMaxPool(pool)(both)
    assert_close(shared, pool(both), atol=0, rtol=0)
    photos, starts = both.detach().chunk(2)
    (multipliers,) = torch.autograd.grad(shared[:2].sum(), both)
    expected = (pool(photos) - pool(starts)).sum(dim=(1, 2, 3))
    assert_close((multipliers[:2] * (photos - starts)).sum(dim=(1, 2, 3)), expected, atol=1e-4, rtol=1e-5)


def test_equal_cells_share_the_credit():
    """A window of zeros that becomes -1, -2, -3, -2: its maximum fell by 1, and each of the four that held it has a quarter."""
    photo, start = torch.tensor([[-1.0, -2.0], [-3.0, -2.0]]), torch.zeros(2, 2)
    both = torch.stack([photo, start])[:, None].requires_grad_()
    (multipliers,) = torch.autograd.grad(SharedMaxPool(nn.MaxPool2d(2))(both)[0].sum(), both)
    assert_close(multipliers[0, 0] * (photo - start), torch.full((2, 2), -0.25))
