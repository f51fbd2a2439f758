"""The one type of model that methods and metrics see."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from xaicli.errors import RunError, UsageError


class Ends(nn.Module):
    """A network with a last step of one's choice."""

    def __init__(self, network, last):
        super().__init__()
        self.network, self.last = network, last

    def forward(self, inputs):
        return self.last(self.network(inputs))


def test_a_call_gives_the_networks_own_logits(tiny_cnn, classifier_of, photo_batch):
    logits = classifier_of(tiny_cnn)(photo_batch)
    assert torch.equal(logits, tiny_cnn(photo_batch))
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_are_float32_whatever_the_network_computes_in(tiny_cnn, classifier_of, photo_batch, dtype):
    logits = classifier_of(Ends(tiny_cnn, lambda output: output.to(dtype)))(photo_batch)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, tiny_cnn(photo_batch).to(dtype).float())


@pytest.mark.parametrize(
    ("last", "found"),
    [
        (lambda output: {"hidden": output[:, None]}, "returned no output of shape"),
        (lambda output: None, "returned is None; expected"),
        (lambda output: output[:, :, None, None], r"shape \(5, 5, 1, 1\)"),
        (lambda output: output[:, :, None], r"shape \(5, 5, 1\)"),
    ],
)
def test_what_is_no_batch_of_logits_is_refused_in_words(tiny_cnn, classifier_of, photo_batch, last, found):
    with pytest.raises(RunError, match=found) as caught:
        classifier_of(Ends(tiny_cnn, last), count=5)(photo_batch)
    assert "expected" in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_softmax_at_the_end_is_undone_but_for_a_constant_a_photo(tiny_cnn, classifier_of, photo_batch):
    logits = tiny_cnn(photo_batch)
    undone = classifier_of(Ends(tiny_cnn, nn.Softmax(dim=1)), probabilities=True)(photo_batch)
    torch.testing.assert_close(undone.softmax(dim=1), logits.softmax(dim=1))
    difference = undone - logits
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference))


def test_a_probability_of_zero_becomes_a_finite_logit_with_a_finite_gradient(classifier_of):
    classifier = classifier_of(lambda inputs: inputs.flatten(1), count=3, probabilities=True)
    inputs = torch.tensor([[[[0.0, 1.0, 0.0]]]], requires_grad=True)
    logits = classifier(inputs)
    logits.sum().backward()
    assert logits.isfinite().all()
    torch.testing.assert_close(logits.softmax(dim=1), torch.tensor([[0.0, 1.0, 0.0]]))
    assert inputs.grad.isfinite().all()


def test_nan_logits_pass_through_for_the_caller_to_judge(classifier_of):
    for probabilities in (False, True):
        classifier = classifier_of(lambda inputs: inputs.flatten(1), count=3, probabilities=probabilities)
        assert classifier(torch.full((1, 3, 1, 1), torch.nan)).isnan().all()


def test_masked_passes_have_no_gradient_and_equal_a_call_in_float32(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn.requires_grad_(True))
    masked = classifier.masked(photo_batch)
    assert not masked.requires_grad
    assert torch.equal(masked, classifier(photo_batch))


def test_masked_passes_in_bfloat16_are_close_and_decisions_stay_in_float32(tiny_cnn, classifier_of, photo_batch):
    full = classifier_of(tiny_cnn)
    half = full.with_masked_dtype(torch.bfloat16)
    assert half.masked(photo_batch).dtype == torch.float32
    assert not torch.equal(half.masked(photo_batch), full(photo_batch))
    torch.testing.assert_close(half.masked(photo_batch), full(photo_batch), atol=0.05, rtol=0.05)
    assert torch.equal(half(photo_batch), full(photo_batch))
    assert full.masked_dtype == torch.float32
    assert (half.module, half.name, half.view) == (full.module, full.name, full.view)


def test_the_feature_layer_is_the_default_the_models_own_or_the_one_named(tiny_cnn, classifier_of):
    found = classifier_of(tiny_cnn)
    own = classifier_of(tiny_cnn, layer="features.3")
    assert found.feature_layer().name == found.default_layer.name
    assert own.feature_layer().name == "features.3"
    assert own.feature_layer("features.0").name == "features.0"
    assert own.feature_layer("features.0") is own.feature_layer("features.0")
    with pytest.raises(UsageError, match="features"):
        own.feature_layer("featuers.0")


def test_a_black_box_has_no_layers(classifier_of):
    classifier = classifier_of(lambda inputs: inputs.flatten(1)[:, :5])
    for ask in (lambda: classifier.torch_module, classifier.feature_layer, lambda: classifier.default_layer):
        with pytest.raises(RunError, match="black box"):
            ask()


def test_a_class_is_called_by_its_first_name_or_else_by_its_index(tiny_cnn, classifier_of):
    classifier = dataclasses.replace(classifier_of(tiny_cnn), classes=("tench, Tinca tinca", " crane "))
    assert [classifier.class_name(index) for index in range(3)] == ["tench", "crane", "2"]


def test_a_classifier_does_not_print_its_weights(tiny_cnn, classifier_of):
    shown = repr(classifier_of(tiny_cnn))
    assert "tensor(" not in shown
    assert "Conv2d" not in shown
    assert len(shown) < 1000
