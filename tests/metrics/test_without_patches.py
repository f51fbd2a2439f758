"""Deletion and insertion that leave patches out of a vision transformer's sequence, against attention masked by hand."""

from __future__ import annotations

import pytest
import torch

from tests.plain_transformer import CLASSES, GRID, SIZE, inputs, masked_by_hand, plain_transformer
from xaicli.errors import UsageError
from xaicli.metrics.deletion import Deletion, Insertion

MAP = torch.tensor([[[0.1, 0.9, 0.4], [0.6, 0.2, 0.8]]])
ORDER = (1, 5, 3, 2, 4, 0)


def area_by_hand(network, removed_first):
    """The trapezoid over 0, 1/6 ... 1 of the probability of class 2 without the patches removed so far."""
    curve = []
    for count in range(7):
        seen = torch.ones(7, dtype=torch.bool)
        seen[1:][list(removed_first[:count])] = False
        curve.append(float(masked_by_hand(network, inputs(1), seen).softmax(dim=1)[0, 2]))
    return curve, sum(curve[1:-1]) / 6 + (curve[0] + curve[-1]) / 12


def test_deletion_leaves_the_most_salient_patches_out_first_and_insertion_last(desk):
    network, _ = plain_transformer()
    rows = desk(network, SIZE, CLASSES).rows(
        [Deletion(steps=6, remove="tokens"), Insertion(steps=6, remove="tokens")], inputs(1), MAP, classes=[2]
    )
    deleted, area = area_by_hand(network, ORDER)
    assert rows[0].curve.y == pytest.approx(deleted, abs=1e-5)
    assert rows[0].value == pytest.approx(area, abs=1e-5)
    inserted, area = area_by_hand(network, ORDER[::-1])
    assert rows[1].curve.y == pytest.approx(inserted[::-1], abs=1e-5)
    assert rows[1].value == pytest.approx(area, abs=1e-5)


def test_a_finer_map_counts_by_its_mean_over_each_patch(desk):
    network, _ = plain_transformer()
    given = desk(network, SIZE, CLASSES)
    noise = torch.randn(1, *SIZE, generator=torch.Generator().manual_seed(1))
    squares = noise.unflatten(1, (GRID[0], 4)).unflatten(3, (GRID[1], 4))
    fine = noise - squares.mean(dim=(2, 4), keepdim=True).expand_as(squares).reshape_as(noise)
    fine += MAP.repeat_interleave(4, 1).repeat_interleave(4, 2)
    metric = Deletion(steps=6, remove="tokens")
    coarse_row, fine_row = (given.rows(metric, inputs(1), maps, classes=[2])[0] for maps in (MAP, fine))
    assert fine_row.curve.y == pytest.approx(coarse_row.curve.y, abs=1e-6)


def test_targets_and_methods_run_together_as_they_do_alone(desk):
    network, _ = plain_transformer()
    given = desk(network, SIZE, CLASSES)
    metrics = [Deletion(remove="tokens"), Insertion(remove="tokens", ties="both"), Deletion()]
    maps = torch.rand(1, 2, *GRID, generator=torch.Generator().manual_seed(4))
    together = given.rows(metrics, inputs(1), given.explanation(maps, [[1, 3]]))
    for at, target in ((0, 1), (3, 3)):
        alone = given.rows(metrics, inputs(1), given.explanation(maps[:, at // 3 : at // 3 + 1], [[target]]))
        assert [row.value for row in alone] == pytest.approx([row.value for row in together[at : at + 3]], abs=1e-5)


def test_what_is_of_pixels_and_convolutions_are_refused(desk, tiny_cnn, photo_batch):
    for further in ({"variant": "rise"}, {"baseline": "black"}, {"output": "iou"}):
        with pytest.raises(UsageError, match="is of pixels"):
            Deletion(remove="tokens", **further)
    with pytest.raises(UsageError, match="no patches can be left out"):
        desk(tiny_cnn, (32, 32), 5).rows(Deletion(remove="tokens"), photo_batch[:1], photo_batch[:1, 0])


def test_the_stamp_says_so_and_the_plain_one_stays():
    assert Deletion(remove="tokens").parameters_as_given()["remove"] == "tokens"
    assert "remove" not in Deletion().parameters_as_given()
