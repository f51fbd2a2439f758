"""A network is tried as it is loaded: is it a function of one photo, does it leave its input alone, what does it compute?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from xaicli.errors import RunError
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


EDITS = {
    "channels": lambda photos: photos.flip(1),
    "left and right": lambda photos: photos.flip(3),
    "up and down": lambda photos: photos.flip(2),
    "rows and columns": lambda photos: photos.transpose(2, 3),
    "a shift by a pixel": lambda photos: photos.roll(1, dims=3),
    "blur": lambda photos: nn.functional.avg_pool2d(photos, 3, 1, 1),
    "half": lambda photos: photos / 2,
}


class Edited(nn.Module):
    """A small convolutional network with one of these edits before it."""

    def __init__(self, seed: int, edit: str = "") -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.edit = edit
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        photos = EDITS[self.edit](photos) if self.edit else photos
        return self.head(self.features(photos).mean((2, 3)))


@pytest.mark.parametrize("seed", range(3))
def test_every_edit_of_forward_is_another_model(seed: int) -> None:
    made = [classifier(Edited(seed, edit), crop=32) for edit in ("", *EDITS)]
    assert len({one.weights_fingerprint for one in made}) == 1
    assert len({one.fingerprint for one in made}) == len(made)


def test_a_spread_that_only_rounding_makes_does_not_count() -> None:
    flat = torch.full((2, 100), 3.0)
    noise = 1e-6 * torch.randn(2, 100, generator=torch.Generator().manual_seed(4))
    assert computed(flat) == computed(flat + noise)


def test_rounding_and_thread_counts_do_not_count() -> None:
    outputs = torch.randn(2, 100, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(2, 100, generator=torch.Generator().manual_seed(4))
    assert computed(outputs) == computed(outputs + 1e-5 * noise)
    assert computed(outputs) != computed(outputs.flip(1))
    assert computed(outputs) != computed(2 * outputs)
    assert computed(outputs.fill_(torch.nan)) == ["not finite"]


class Raising(nn.Module):
    """Raises an error, whatever it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.linear, self.error = nn.Linear(3, 3), error

    def forward(self, inputs: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    ("error", "hinted"),
    [
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x9 and 16x2)"), True),
        (ValueError("Input image size (224*224) doesn't match model (384*384)."), True),
        (AssertionError("Input height (224) doesn't match model (256)."), True),
        (KeyError("labels"), False),
        (AttributeError("'NoneType' object has no attribute 'shape'"), False),
        (RuntimeError("a licence is missing"), False),
    ],
)
def test_another_size_is_advised_only_where_the_size_is_the_reason(error: Exception, hinted: bool) -> None:
    with pytest.raises(RunError) as told:
        classifier(Raising(error), crop=8)
    assert ("--resize" in told.value.line()) is hinted
    assert ("--debug" in told.value.line()) is not hinted


def test_the_advice_to_take_another_size_helps_where_it_is_given() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    with pytest.raises(RunError, match="--resize and --crop"):
        classifier(module, crop=8)
    assert classifier(module, crop=16).count == 2
