"""RISE that leaves closed patches out: the plain sum over masks of patches, with a network that does not attend to the others."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.plain_transformer import GRID, inputs, masked_by_hand, plain_transformer
from xaicli.errors import UsageError
from xaicli.methods.rise.masks import MaskGrid, MaskPainter
from xaicli.methods.rise.rise import RISE
from xaicli.targets import DECISION, Targets


def in_float32():
    network, classifier = plain_transformer()
    return network, classifier.with_masked_dtype(torch.float32)


@pytest.mark.parametrize("sampling", ["iid", "antithetic", "balanced"])
def test_the_map_is_the_weighted_sum_of_masks_of_patches(sampling):
    network, classifier = in_float32()
    photo = inputs(1)
    rise = RISE(n_masks=40, grid=2, remove="tokens", estimator="naive", sampling=sampling)
    maps = rise.attribute(classifier, photo, Targets.same(DECISION, 1), torch.tensor([7]))
    law = rise.law(GRID)
    drawn = law.draw(7, 0)
    masks = MaskPainter.on(torch.device("cpu"), law.grid).masks(drawn.bits[:40].float(), drawn.shifts[:40])
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    expected = torch.zeros(GRID)
    for mask in masks:
        seen = torch.cat([torch.tensor([True]), mask.flatten() > 0.5])
        expected += mask * masked_by_hand(network, photo, seen).softmax(dim=1)[0, maps.targets.classes[0, 0]].detach()
    assert_close(maps.values[0, 0], expected / (40 * 0.5))


def test_each_patch_is_open_with_probability_p():
    """Of all 16 grids of 2 x 2 cells at all shifts, each patch is open in half."""
    grid = MaskGrid((3, 4), (2, 2), smooth=False)
    cells = torch.tensor([[number >> bit & 1 for bit in range(4)] for number in range(16)]).float()
    shifts = torch.cartesian_prod(*map(torch.arange, grid.cell))
    painter = MaskPainter.on(torch.device("cpu"), grid)
    masks = torch.cat([painter.masks(cells, shift.expand(16, 2)) for shift in shifts])
    assert_close(masks.mean(dim=0), torch.full((3, 4), 0.5))


@pytest.mark.parametrize("estimator", ["naive", "center", "regress"])
def test_over_all_grids_and_shifts_every_estimate_is_the_expectation(estimator):
    """E[f M] / E[M] by enumeration, and the mean over seeds near it: three standard errors."""
    network, classifier = in_float32()
    grid = MaskGrid(GRID, (2, 2), smooth=False)
    cells = torch.tensor([[number >> bit & 1 for bit in range(4)] for number in range(16)]).float()
    painter = MaskPainter.on(torch.device("cpu"), grid)
    shifts = torch.cartesian_prod(*map(torch.arange, grid.cell))
    masks = torch.cat([painter.masks(cells, shift.expand(16, 2)) for shift in shifts])
    photo, target = inputs(1), int(network(inputs(1)).argmax())
    seen = torch.cat([torch.ones(len(masks), 1, dtype=torch.bool), masks.flatten(1) > 0.5], dim=1)
    scores = torch.stack([masked_by_hand(network, photo, row).softmax(dim=1)[0, target] for row in seen]).detach()
    expected = torch.einsum("n,nhw->hw", scores, masks) / (0.5 * len(masks))
    rise = RISE(n_masks=128, grid=2, remove="tokens", estimator=estimator)
    found = torch.stack(
        [rise.attribute(classifier, photo, Targets.same(DECISION, 1), torch.tensor([seed])).values[0, 0] for seed in range(12)]
    )
    error = found.std(dim=0) / 12**0.5
    assert bool(((found.mean(dim=0) - expected).abs() <= 3 * error + 1e-5).all())


def test_photos_and_batches_do_not_matter():
    _, classifier = in_float32()
    rise = RISE(n_masks=20, grid=2, remove="tokens")
    both = rise.attribute(classifier, inputs(2), Targets.same(DECISION, 2), torch.tensor([1, 2])).values
    for row in range(2):
        alone = rise.attribute(classifier, inputs(2)[row : row + 1], Targets.same(DECISION, 1), torch.tensor([row + 1])).values
        assert_close(both[row], alone[0], atol=1e-5, rtol=1e-5)


def test_what_is_of_pixels_cannot_be_given():
    for key, value in (("baseline", 1.0), ("border", "mirror"), ("preset", "paper"), ("score", "dice")):
        with pytest.raises(UsageError, match="is of pixels"):
            RISE(remove="tokens", **{key: value})


def test_convolutional_networks_are_refused(tiny_cnn, classifier_of):
    with pytest.raises(UsageError, match="no patches can be left out"):
        RISE(remove="tokens").require(classifier_of(tiny_cnn))
