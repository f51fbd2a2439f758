import pytest
import torch
from torch.testing import assert_close

from xaicli.methods.tame.mask_losses import area, over_reference, variation

STRIPES = torch.tensor([[0.0, 1], [1, 0]])


@pytest.mark.parametrize(("value", "expected"), [(0.5, 0.812496), (0.0, 0.102257), (1.0, 1.000150)])
def test_the_area_of_a_constant_map(value, expected):
    assert_close(area(torch.full((7, 5), value)), torch.tensor(expected), atol=1e-6, rtol=0)


def test_the_area_under_another_power():
    assert_close(area(torch.full((2, 2), 0.5), 0.5), torch.tensor(0.707460), atol=1e-6, rtol=0)


def test_the_area_of_no_map_has_a_finite_slope():
    maps = torch.zeros(1, 1, requires_grad=True)
    area(maps).backward()
    assert_close(maps.grad, torch.tensor([[61.4]]), atol=0.1, rtol=0)


def test_area_and_variation_of_a_chequered_map():
    assert_close(area(STRIPES), torch.tensor(0.551203), atol=1e-6, rtol=0)
    # Four differences of 1, four edges with one 1 each at 0.3; halved.
    assert_close(variation(STRIPES), torch.tensor(2.6))


@pytest.mark.parametrize(("side", "expected"), [(2, 0.3), (3, 0.45)])
def test_a_constant_map_varies_at_its_edges_alone(side, expected):
    assert_close(variation(torch.full((side, side), 0.5)), torch.tensor(expected))
    assert variation(torch.full((side, side), 0.5), border=0).item() == 0


def test_edges_of_a_map_that_is_not_square_are_summed_apart():
    assert_close(variation(torch.ones(2, 5)), torch.tensor(0.3 * (2 * 5 + 2 * 2) / 2))


def test_the_published_example_of_matched_and_batch_maps():
    # Constant maps of two photos and three classes; the labels are 0 and 1, so that the third class must not matter.
    maps = torch.tensor([[1.0, 0.5, 0.9], [0.2, 0.0, 0.9]])[:, :, None, None].expand(2, 3, 2, 2)
    matched = maps[torch.arange(2), torch.tensor([0, 1])]
    assert_close(2 * area(matched).mean() + 0.01 * variation(matched).mean(), torch.tensor(1.108406), atol=1e-6, rtol=0)
    assert_close(area(matched).mean(), torch.tensor(0.551203), atol=1e-6, rtol=0)
    assert_close(variation(matched).mean(), torch.tensor(0.6))
    whole = maps[:, torch.tensor([0, 1])]
    size, rough = over_reference(area(whole), None)[0], over_reference(variation(whole), None)[1]
    assert_close(size, torch.tensor(0.633100), atol=1e-6, rtol=0)
    assert_close(rough, torch.tensor(0.774))
    assert_close(2 * size + 0.01 * rough, torch.tensor(1.273939), atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [2, 3, 8, 32])
def test_the_weight_of_a_photos_own_map_does_not_depend_on_the_batch(count):
    each = torch.full((count, count), 0.25) + torch.eye(count)
    mean, total = over_reference(each, 32)
    assert_close(mean, torch.tensor((1.25 + 31 * 0.25) / 32))
    assert_close(total, torch.tensor(1.25 + 31 * 0.25))


def test_a_batch_of_the_reference_size_is_what_the_authors_have():
    each = torch.rand(6, 6, generator=torch.Generator().manual_seed(1))
    for ours, theirs in zip(over_reference(each, 6), over_reference(each, None), strict=True):
        assert_close(ours, theirs)
    assert_close(over_reference(each, None)[0], each.mean())
    assert_close(over_reference(each, None)[1], each.sum() / 6)


def test_a_single_photo_has_its_own_map_alone():
    assert [part.item() for part in over_reference(torch.tensor([[0.7]]), 32)] == pytest.approx([0.7, 0.7])


def test_half_precision_does_not_overflow():
    # More differences of 1 than float16 can count.
    chequered = ((torch.arange(300)[:, None] + torch.arange(300)) % 2).half()
    assert_close(variation(chequered, border=0), torch.tensor(2 * 300 * 299 / 2))
    assert area(chequered).dtype == torch.float32
