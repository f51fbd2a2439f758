"""A network is tried as it is loaded: is it a function of one photo, does it leave its input alone, what does it compute?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from xaicli.models.fingerprint import computed
from xaicli.models.from_module import classifier


class Net(nn.Module):
    """Three logits of the mean colours, made in one of several ways from the same weights."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.linear = nn.Linear(3, 3)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(3) * 20)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.way == "writes":
            inputs.add_(1.0)
        if self.way == "dropout":
            inputs = nn.functional.dropout(inputs, 0.5, training=True)
        colours = inputs.mean(dim=(2, 3))
        if self.way == "batch":
            colours = colours - colours.mean(dim=0)
        return self.linear(colours.abs() if self.way == "edited" else colours)


@pytest.mark.parametrize(
    ("way", "words"),
    [("plain", ""), ("writes", ""), ("dropout", "each time, as dropout inside forward"), ("batch", "beside other photos")],
)
def test_a_network_must_be_a_function_of_one_photo(way: str, words: str) -> None:
    made = classifier(Net(way), crop=8)
    assert words in made.inconsistency
    assert bool(made.inconsistency) == bool(words)


def test_a_network_that_writes_into_its_input_is_handed_a_copy() -> None:
    made = classifier(Net("writes"), crop=8)
    photos = torch.rand(2, 3, 8, 8)
    before = photos.clone()
    assert torch.equal(made(photos), made(photos))
    assert torch.equal(photos, before)
    assert not classifier(Net("plain"), crop=8).copies_input


def test_the_same_weights_in_another_forward_are_another_model() -> None:
    plain, edited = Net("plain"), Net("edited")
    edited.load_state_dict(plain.state_dict())
    one, other = (classifier(network, crop=8) for network in (plain, edited))
    assert one.fingerprint != other.fingerprint
    assert one.weights_fingerprint == other.weights_fingerprint
    assert classifier(plain, crop=8).fingerprint == one.fingerprint


def test_rounding_and_thread_counts_do_not_count() -> None:
    outputs = torch.randn(2, 100, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(2, 100, generator=torch.Generator().manual_seed(4))
    assert computed(outputs) == computed(outputs + 1e-5 * noise)
    assert computed(outputs) != computed(outputs.flip(1))
    assert computed(outputs) != computed(2 * outputs)
    assert computed(outputs.fill_(torch.nan)) == ["not finite"]
