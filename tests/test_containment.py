from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from xaicli.containment import contained
from xaicli.errors import RunError
from xaicli.network.classifier import Classifier

ClassifierOf = Callable[..., Classifier]


class InNumpy(nn.Module):
    """A network whose arithmetic torch does not see."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.from_numpy(self.network(inputs).numpy() * 2)


def test_a_network_that_computes_in_numpy_is_refused_gradients_in_our_words(
    tiny_cnn: nn.Module, classifier_of: ClassifierOf
) -> None:
    with pytest.raises(RunError) as error:
        classifier_of(InNumpy(tiny_cnn)).feature_layer()
    assert error.value.found.endswith("computes in NumPy, through which no gradient passes")
    assert "rise" in error.value.hint


def test_a_network_that_computes_in_numpy_is_refused_bfloat16_in_our_words(
    tiny_cnn: nn.Module, classifier_of: ClassifierOf
) -> None:

    classifier = classifier_of(InNumpy(tiny_cnn)).with_masked_dtype(torch.bfloat16)
    refused = pytest.raises(RunError, match=r"InNumpy computes in NumPy, which has no bfloat16\. Give --precision fp32\.$")
    with refused, contained("InNumpy"):
        classifier.masked(torch.zeros(2, 3, 32, 32))
