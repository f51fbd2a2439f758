"""Entropies and their derivatives against numbers worked out by hand."""

from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from xaicli.methods.certainty.uncertainty import Uncertainty, entropy, slope
from xaicli.outputs import Outputs

SOFTMAX, SIGMOID = Outputs.SOFTMAX, Outputs.SIGMOID


def test_entropy_and_its_gradient_at_the_logits():
    logits = torch.tensor([[2.0, 0.0, 0.0]], requires_grad=True)
    found = entropy(logits.softmax(dim=1), SOFTMAX)
    assert_close(found, torch.tensor([0.6655727]))
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert_close(gradient, torch.tensor([[-0.3352780, 0.1676390, 0.1676390]]))
    shares = logits.detach().softmax(dim=1)
    by_slope = torch.autograd.functional.jvp(lambda z: (slope(shares, SOFTMAX) * z.softmax(dim=1)).sum(), logits, logits * 0 + 1)
    assert_close(by_slope[1], gradient.sum())


def test_a_certain_probability_has_no_entropy_and_a_finite_gradient():
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    found = entropy(logits.softmax(dim=1), SOFTMAX)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert float(found.detach()) < 1e-30
    assert gradient.isfinite().all()
    assert slope(logits.softmax(dim=1), SOFTMAX).isfinite().all()


def test_two_passes_divide_into_what_the_data_and_the_model_leave_open():
    found = Uncertainty.of(torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]), SOFTMAX)
    assert_close(torch.stack([found.total, found.data, found.model])[:, 0], torch.tensor([0.6108643, 0.5091151, 0.1017492]))


def test_equal_passes_leave_nothing_to_the_model():
    assert float(Uncertainty.of(torch.tensor([[[0.7, 0.3]]]).expand(4, 1, 2), SOFTMAX).model) < 1e-7


def test_labels_are_uncertain_each_by_itself():
    assert_close(entropy(torch.tensor([[0.5, 0.5, 1.0]]), SIGMOID), torch.tensor([2 * math.log(2)]))
    assert_close(slope(torch.tensor([[0.5, 0.25]]), SIGMOID), torch.tensor([[0.0, math.log(3)]]))
