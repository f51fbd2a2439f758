"""Which output bears which name: by position, said where it could be meant otherwise, and never two alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xaicli.errors import InputError, UsageError
from xaicli.models.assemble import names_for
from xaicli.models.from_module import classifier
from xaicli.runs.target_choice import choose_targets


def network(count: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, count, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_names_of_the_model_in_another_order_are_refused() -> None:
    with pytest.raises(InputError, match=r"in another order: its output 1 is 10, not 2.*Leave --classes out"):
        names_for(3, ("1", "2", "10"), ("1", "10", "2"), "net", print)


def test_new_names_are_said_beside_the_model_s_own() -> None:
    said: list[str] = []
    assert names_for(2, ("cat", "dog"), ("n01", "n02"), "net", said.append) == ("cat", "dog")
    assert "cat for n01, dog for n02" in said[0]


def test_shown_names_are_unique() -> None:
    names = ("Trees, tall", "Trees, small", "crane", "crane", "boat, ship")
    made = classifier(network(5), crop=16, resize=16, classes=names)
    shown = [made.class_name(index) for index in range(5)]
    assert shown == ["Trees, tall", "Trees, small", "crane (2)", "crane (3)", "boat"]


def test_an_int_is_an_index_whatever_the_classes_are_called() -> None:
    made = classifier(network(3), crop=16, resize=16, classes=("1", "10", "2"))
    assert choose_targets(1, made).rule.index == 1
    assert choose_targets("1", made).rule.index == 0
    with pytest.raises(UsageError, match="out of range"):
        choose_targets(3, made)
    assert torch.is_grad_enabled()
