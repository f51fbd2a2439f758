"""Smooth changes end on the boundary, lie on their grid, and become shorter along it."""

from __future__ import annotations

import dataclasses
import warnings
from contextlib import contextmanager

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.boundary.boundary import Boundary
from xaicli.methods.boundary.smooth_change import Smoothing, extent, shortened, smooth_boundary
from xaicli.targets import DECISION, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])


def enlarged(cells, size):
    """The matrix that enlarges a grid of `cells` a side to `size` a side."""
    units = torch.eye(cells * cells).view(-1, 1, cells, cells)
    return functional.interpolate(units, (size, size), mode="bilinear", align_corners=False).flatten(1)


@pytest.fixture
def found(tiny_cnn, classifier_of, photo_batch):
    """Maps on a classifier whose colours span all inputs that are met, and the inputs on the boundary."""
    classifier = classifier_of(tiny_cnn)
    view = dataclasses.replace(classifier.view, mean=(0.5, 0.5, 0.5), std=(0.01, 0.01, 0.01))
    classifier = dataclasses.replace(classifier, view=view)
    method = Boundary(space="input", smooth=4, parts=True)
    maps = method.attribute(classifier, photo_batch, Targets.same(DECISION, 5), SEEDS)
    colours = maps.extras["counterfactual"]
    assert 0 < float(colours.min()) < float(colours.max()) < 1
    return maps, view.normalise(colours)[:, 0]


def test_the_change_is_a_coarse_grid_enlarged_and_ends_on_the_boundary(found, tiny_cnn, photo_batch):
    maps, points = found
    assert maps.extras["reached"].all()
    grids, start, there = enlarged(4, 32), tiny_cnn(photo_batch), tiny_cnn(points)
    for row in range(5):
        index, rival = int(maps.targets.classes[row, 0]), int(maps.extras["rival"][row, 0])
        before, after = (float(logits[row, index] - logits[row, rival]) for logits in (start, there))
        assert abs(after) <= 1e-3 * abs(before)
        assert float(maps.extras["clipped_margin"][row, 0]) == pytest.approx(after, abs=1e-5)
        change = (points[row] - photo_batch[row]).flatten(1)
        fitted = torch.linalg.lstsq(grids.T, change.T).solution
        assert_close(grids.T @ fitted, change.T, atol=1e-4, rtol=0)
        assert float(maps.extras["distance"][row, 0]) == pytest.approx(float(change.norm()), rel=1e-3)


def test_the_map_is_the_gradient_at_the_photo_times_the_way(found, tiny_cnn, photo_batch):
    maps, points = found
    inputs = photo_batch.clone().requires_grad_(True)
    logits = tiny_cnn(inputs)
    margins = logits.gather(1, maps.targets.classes) - logits.gather(1, maps.extras["rival"].long())
    (slopes,) = torch.autograd.grad(margins.sum(), inputs)
    assert_close(maps.values[:, 0], (slopes * (photo_batch - points)).sum(dim=1), atol=1e-4, rtol=1e-3)


def circle(at):
    """The squared distance from the origin, less 1: a curved boundary of grids (1, 1, 2)."""
    return at.square().sum() - 1


def test_along_a_boundary_the_nearest_point_is_found():
    """On the unit circle the point nearest to (3, 4) is (0.6, 0.8); the way begins at (1, 0)."""

    def size(at):
        return (at - torch.tensor([[[3.0, 4.0]]])).norm()

    found = shortened(circle, size, torch.tensor([[[1.0, 0.0]]]), 1e-4, 100)
    assert_close(found, torch.tensor([[[0.6, 0.8]]]), atol=0.01, rtol=0)
    assert abs(float(circle(found))) <= 1e-4
    assert torch.equal(shortened(circle, size, torch.tensor([[[1.0, 0.0]]]), 1e-4, 0), torch.tensor([[[1.0, 0.0]]]))


def test_more_rounds_give_no_larger_change_and_variation_makes_it_plainer(tiny_cnn, photo_batch):
    def margins(at):
        logits = tiny_cnn(at)[0]
        return torch.stack([logits[0] - logits[1]])

    def change(variation, rounds):
        arrival = smooth_boundary(margins, photo_batch[0], [1], 20, 1e-4, Smoothing(8, variation, rounds))
        assert arrival.arrived
        assert abs(float(margins(arrival.point[None])[0])) <= 1e-3 * abs(float(margins(photo_batch[:1])[0]))
        return arrival.point - photo_batch[0]

    none, plain, short = change(0.05, 0), change(0.05, 100), change(0.0, 100)
    assert float(extent(plain, 0.05)) < float(extent(none, 0.05))
    assert float(short.norm()) <= float(none.norm())
    assert float(extent(plain, 1.0) - plain.norm()) < float(extent(short, 1.0) - short.norm())


def test_a_smooth_change_is_found_without_a_warning_of_torch(tiny_cnn, photo_batch):
    def margins(at):
        logits = tiny_cnn(at)[0]
        return torch.stack([logits[0] - logits[1]])

    with warnings.catch_warnings(), torch_warns_always():
        warnings.simplefilter("error")
        assert smooth_boundary(margins, photo_batch[0], [1], 20, 1e-4, Smoothing(8, 0.01, 20)).arrived


@contextmanager
def torch_warns_always():
    """Torch says some things once a process; here each time, whatever ran before."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        yield
    finally:
        torch.set_warn_always(before)


def test_extent_is_length_and_differences_of_neighbours():
    change = torch.zeros(1, 3, 3)
    change[0, 1, 1] = 2
    assert float(extent(change, 0.5)) == 2 + 0.5 * 8


def test_it_belongs_to_the_space_of_photos_and_says_what_it_costs():
    with pytest.raises(UsageError, match="smooth has no meaning with space=feature"):
        Boundary(smooth=28)
    assert not {"smooth", "variation", "rounds"} & set(Boundary(space="input").parameters_as_given())
    plain, smooth = Boundary(space="input").cost(), Boundary(space="input", smooth=28, rounds=10).cost()
    assert (smooth.forward - plain.forward, smooth.backward - plain.backward) == (16, 16)
