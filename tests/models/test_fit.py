from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models import mnasnet0_5

from xaicli.errors import InputError
from xaicli.models.fit import fit, head_classes, misfit, shapes


def net(classes=3, width=4):
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, width, 3), norm=nn.BatchNorm2d(width), head=nn.Linear(width, classes)))


def state_of(module):
    return OrderedDict((name, tensor.clone()) for name, tensor in module.state_dict().items())


def test_weights_that_fit_are_loaded():
    source, target = net(), net()
    fit(target, state_of(source), "net.pth", "net")
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in source.state_dict().items())


def test_batch_norm_s_counters_may_be_absent():
    state = state_of(net())
    del state["norm.num_batches_tracked"]
    fit(net(), state, "net.pth", "net")


def test_a_prefix_before_all_the_names_is_seen_through_and_what_lies_beside_it_left_out():
    source, target = net(), net()
    state = OrderedDict((f"model.{name}", tensor) for name, tensor in state_of(source).items())
    state["loss.weight"] = torch.ones(3)
    fit(target, state, "net.ckpt", "net")
    assert torch.equal(target.head.weight, source.head.weight)


def test_a_network_that_checks_its_version_loads_from_files_that_state_none():
    with torch.random.fork_rng():
        source, target = mnasnet0_5(num_classes=4), mnasnet0_5(num_classes=4)
    fit(target, state_of(source), "net.safetensors", "mnasnet0_5")
    assert torch.equal(target.state_dict()["classifier.1.weight"], source.state_dict()["classifier.1.weight"])


def test_another_architecture_is_named_by_its_first_keys():
    given = OrderedDict((f"features.{index}.weight", torch.ones(1)) for index in range(9))
    with pytest.raises(InputError) as caught:
        fit(net(), given, "mobilenet.pth", "resnet18")
    assert str(caught.value) == (
        "mobilenet.pth does not fit resnet18: it has features.0.weight … (9 keys), wanted conv.weight … (9). "
        "Which architecture is it?"
    )


def test_a_few_lacking_and_extra_keys_are_named():
    state = state_of(net())
    state["top.weight"] = state.pop("head.weight")
    difference = misfit(shapes(net()), shapes(state))
    assert difference == "it lacks 1 of 9 keys (head.weight) and has 1 too many (top.weight)"


def test_other_shapes_are_named_and_counted():
    difference = misfit(shapes(net(width=4)), shapes(net(width=8)))
    assert difference == (
        "conv.weight is 8x3x3x3, wanted 4x3x3x3, conv.bias is 8, wanted 4, norm.weight is 8, wanted 4 … (7 of 9 keys differ)"
    )


def test_nothing_differs_between_equals():
    assert misfit(shapes(net()), shapes(net())) == ""


def test_a_network_that_refuses_is_reported_in_one_line():
    class Strict(nn.Linear):
        def _load_from_state_dict(self, *args):
            raise ValueError("wrong\nversion")

    with pytest.raises(InputError, match="does not fit strict: wrong version"):
        fit(Strict(2, 2), OrderedDict(weight=torch.ones(2, 2), bias=torch.ones(2)), "net.pth", "strict")


@pytest.mark.parametrize(
    ("module", "count", "expected"),
    [
        (net(classes=7), 3, 7),
        (net(classes=3), 3, None),
        (net(classes=7, width=5), 3, None),
        (net(classes=7), 4, None),
        (nn.Linear(2, 2), 3, None),
    ],
)
def test_the_head_s_classes_are_read_where_it_alone_differs(module, count, expected):
    assert head_classes(shapes(net()), shapes(module), count) == expected
