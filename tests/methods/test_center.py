import math

import pytest
import torch
from torch.testing import assert_close

from xaicli.method import Cost, Sign
from xaicli.methods.center import Center
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])


@pytest.mark.parametrize("size", [(32, 32), (9, 14)])
def test_the_map_is_a_gaussian_whose_sigma_is_a_quarter_of_each_side(tiny_cnn, classifier_of, size):
    inputs = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    maps = Center().attribute(classifier_of(tiny_cnn, size), inputs, Targets.same(DECISION, 2), SEEDS[:2])
    assert maps.values.shape == (2, 1, *size)
    height, width = size
    for row, column in [(0, 0), (3, 5), (height - 1, 2)]:
        down, across = (row + 0.5 - height / 2) / (height / 4), (column + 0.5 - width / 2) / (width / 4)
        assert float(maps.values[1, 0, row, column]) == pytest.approx(math.exp(-(down**2 + across**2) / 2), abs=1e-6)
    assert_close(maps.values, maps.values.flip(2, 3))


def test_all_photos_and_targets_have_the_same_map_and_their_own_decision(tiny_cnn, classifier_of, photo_batch):
    maps = Center().attribute(classifier_of(tiny_cnn), photo_batch, Targets.same(TargetRule(top=3), 5), SEEDS)
    assert maps.values.shape == (5, 3, 32, 32)
    assert (maps.values == maps.values[0, 0]).all()
    assert_close(maps.logits, tiny_cnn(photo_batch), rtol=0, atol=1e-5)
    assert torch.equal(maps.targets.classes[:, 0], tiny_cnn(photo_batch).argmax(dim=1))


def test_what_it_declares():
    assert Center().cost() == Cost()
    assert Center().sign is Sign.NONNEGATIVE
    assert not Center.class_specific
    assert not Center.stochastic
    assert Center.name == "center"
