"""What a network's outputs are: found by a trial, stated, undone where softmax or sigmoid was applied."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xaicli import classifier
from xaicli.errors import UsageError
from xaicli.models.probe import output_kind
from xaicli.outputs import Outputs


class Head(nn.Module):
    """A linear network on 8 x 8 photos whose outputs go through `function`."""

    def __init__(self, count=3, function=lambda x: x, gate=False):
        super().__init__()
        self.linear, self.function, self.gate = nn.Linear(192, count), function, gate

    def forward(self, inputs):
        flat = inputs.flatten(1)
        return self.function(self.linear(flat.sigmoid() * flat if self.gate else flat))


def made(count=3, function=lambda x: x, gate=False, **given):
    torch.manual_seed(0)
    return classifier(Head(count, function, gate), resize=None, crop=8, **given)


@pytest.mark.parametrize("function", [torch.sigmoid, nn.Sigmoid(), lambda x: {"logits": x.sigmoid()}])
def test_sigmoids_in_the_end_are_found_and_undone(function):
    plain, found = made(), made(function=function)
    assert (found.outputs, found.probabilities) == (Outputs.SIGMOID, True)
    photos = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(found(photos), plain(photos), rtol=1e-4, atol=1e-4)


def test_a_sigmoid_inside_the_network_is_none_in_the_end():
    assert made(gate=True).outputs is Outputs.SOFTMAX


def test_small_logits_between_0_and_1_are_logits():
    found = made(function=lambda x: x * 1e-3 + 0.5)
    assert (found.outputs, found.probabilities) == (Outputs.SOFTMAX, False)


def test_what_is_stated_is_believed():
    assert made(outputs="sigmoid").outputs is Outputs.SIGMOID
    assert not made(outputs="sigmoid").probabilities
    assert made(outputs="values").outputs is Outputs.VALUES
    assert made(function=torch.sigmoid, outputs="softmax").outputs is Outputs.SOFTMAX
    with pytest.raises(UsageError, match=r"no outputs are called.*softmax, sigmoid, values"):
        made(outputs="sigmoids")


def test_one_yes_or_no_output_is_two_labels_each_with_its_own_probability():
    plain, found = made(1, outputs="values", name="x"), made(1, outputs="sigmoid", classes=["dog"], name="x")
    photos = torch.randn(4, 3, 8, 8)
    x = plain(photos)
    assert found.classes == ("not dog", "dog")
    torch.testing.assert_close(found(photos), torch.cat([-x, x], dim=1))
    torch.testing.assert_close(found.outputs.probabilities(found(photos))[:, :1], 1 - x.sigmoid())


def test_the_fingerprint_says_how_outputs_are_read():
    softmax, sigmoid, values = (made(outputs=kind).fingerprint for kind in ("softmax", "sigmoid", "values"))
    assert softmax == made().fingerprint
    assert len({softmax, sigmoid, values}) == 3


@pytest.mark.parametrize(
    ("outputs", "softmax"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], True),
        ([[0.2, 0.80005], [0.5, 0.5]], True),
        ([[0.2, 0.81], [0.5, 0.5]], False),
        ([[-0.1, 1.1], [0.5, 0.5]], False),
        ([[float("nan"), 1.0], [0.5, 0.5]], False),
    ],
)
def test_probabilities_of_a_softmax_are_not_negative_and_sum_to_one(outputs, softmax):
    kind = output_kind(torch.tensor(outputs), "net", None, ends_in_sigmoid=False)
    assert kind.applied is softmax
