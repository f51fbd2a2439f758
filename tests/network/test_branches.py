"""Networks whose features reach the logits on several ways: a layer of one way is named as such, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from xaicli.network.branches import one_of_branches, parallel_branches
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import default_layer, named_layer

SIZE = (32, 32)


def convolutions(depth: int, channels: int = 4) -> nn.Sequential:
    sides = [3, *[channels] * depth]
    return nn.Sequential(
        *(part for at in range(depth) for part in (nn.Conv2d(sides[at], sides[at + 1], 3, padding=1), nn.SiLU()))
    )


class Joined(nn.Module):
    """Branches on the photo, pooled, side by side before one linear layer."""

    def __init__(self, *branches: nn.Module, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.head = nn.Linear(channels, 3)

    def forward(self, photos: Tensor) -> Tensor:
        return self.head(torch.cat([branch(photos).mean(dim=(2, 3)) for branch in self.branches], dim=1))


class Mean(nn.Module):
    """An ensemble: the mean of the logits."""

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, photos: Tensor) -> Tensor:
        return torch.stack([member(photos) for member in self.members]).mean(dim=0)


class TwoViews(nn.Module):
    """One network on the photo and on a darker copy of it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = convolutions(2), nn.Linear(4, 3)

    def forward(self, photos: Tensor) -> Tensor:
        return self.head(self.body(photos).mean(dim=(2, 3)) + self.body(photos / 2).mean(dim=(2, 3)))


def classifier(depth: int = 2) -> nn.Module:
    return nn.Sequential(convolutions(depth), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def found(network: nn.Module) -> tuple[str, tuple[str, ...]]:
    torch.manual_seed(0)
    trace = dry_run(network.eval(), SIZE)
    layer = default_layer(trace)
    return str(layer), parallel_branches(trace, layer)


@pytest.mark.parametrize(
    ("make", "layer", "others"),
    [
        (lambda: Joined(convolutions(2), convolutions(3), channels=8), "branches.1", ("branches.0",)),
        (lambda: Joined(*(convolutions(2) for _ in range(3)), channels=12), "branches.2", ("branches.1", "branches.0")),
        (lambda: Mean(classifier(), classifier(3)), "members.1.0", ("members.0.0",)),
        (TwoViews, "body#-1", ("body#0",)),
    ],
)
def test_the_other_branches_are_found(make: Callable[[], nn.Module], layer: str, others: tuple[str, ...]) -> None:
    network = make()
    assert found(network) == (layer, others)
    trace = dry_run(network, SIZE)
    for name in others:
        assert str(named_layer(trace, name)) == name


class Shortcut(nn.Module):
    """The sum of a block, its shortcut and a gate, all joined in the network's own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.gate, self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid()), nn.Linear(4, 3)

    def forward(self, photos: Tensor) -> Tensor:
        features = self.stem(photos).relu()
        changed = self.block(features)
        return self.head((features + changed * self.gate(changed)).relu().mean(dim=(2, 3)))


class Inception(nn.Module):
    """Convolutions and a pool side by side, then a convolution over all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), convolutions(2)
        self.pool, self.after = nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(11, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, photos: Tensor) -> Tensor:
        joined = torch.cat([self.left(photos), self.right(photos), self.pool(photos)], dim=1)
        return self.head(self.after(joined).mean(dim=(2, 3)))


class DeepSupervision(nn.Module):
    """A second head, which counts in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.aside, self.head, self.second = convolutions(2), nn.Conv2d(4, 4, 3), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, photos: Tensor) -> Tensor:
        features = self.body(photos)
        logits, further = self.head(features.mean(dim=(2, 3))), self.second(self.aside(features).mean(dim=(2, 3)))
        return logits + further if self.training else logits


class ColourBeside(nn.Module):
    """A deep network, and one convolution on the photo beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.colour, self.body, self.head = nn.Conv2d(3, 4, 1), convolutions(4), nn.Linear(4, 3)

    def forward(self, photos: Tensor) -> Tensor:
        return self.head((0.1 * self.colour(photos) + self.body(photos)).mean(dim=(2, 3)))


@pytest.mark.parametrize("make", [Shortcut, Inception, DeepSupervision, ColourBeside])
def test_parts_that_are_joined_before_the_layer_or_do_not_count_are_no_branches(make: Callable[[], nn.Module]) -> None:
    _, others = found(make())
    assert others == ()


def test_a_convolutional_network_and_a_transformer_have_one_branch(tiny_cnn: nn.Module, tiny_vit: nn.Module) -> None:
    assert found(tiny_cnn)[1] == ()
    assert found(tiny_vit)[1] == ()


def test_the_warning_names_each_branch_and_what_to_type() -> None:
    assert one_of_branches("b", ["a"]) == (
        "layer b is one of 2 parallel branches, and a is not in its map: name layer=a to see it"
    )
    assert one_of_branches("c", ["b", "a"]) == (
        "layer c is one of 3 parallel branches, and b and a are not in its map: name layer=b (or another) to see it"
    )
