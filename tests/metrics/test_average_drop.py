"""Average drop, increase in confidence, average gain: the specification's checks and the keep rule."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.metric import Sign
from xaicli.metrics.average_drop import AverageDrop, AverageGain, IncreaseInConfidence

ALL = [AverageDrop(), IncreaseInConfidence(), AverageGain()]
FIRST_KEPT = torch.tensor([[[1.0, 0.0]]])


@pytest.fixture
def three(summing, grey):
    """Photos of two pixels, the map keeps the first: p = .8, .5, .2 and o = .4, .6, .2."""
    return summing((1, 2)), grey([[[0.4, 0.4]], [[0.6, -0.1]], [[0.2, 0.0]]]), FIRST_KEPT.expand(3, 1, 2)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize(("metric", "expected"), list(zip(ALL, [16.6667, 33.3333, 6.6667], strict=True)), ids=lambda m: str(m))
def test_three_photos_give_the_specifications_figures(three, metric, expected):
    assert mean(three[0].values(metric, *three[1:])) == pytest.approx(expected, abs=1e-3)


def test_map_densities_are_quotients_of_the_readouts(desk):
    """UCAG's specification, check 9: E = [[1, .5], [0, .5]], f(x E) = .8 and f(x (1 - E)) = .3 have the densities
    D+ = f(x E) / mean(E) = 1.6 and D- = .6, of E and of what it leaves."""
    evidence = torch.tensor([[[1.0, 0.5], [0.0, 0.5]]])

    def network(inputs: Tensor) -> Tensor:
        p = torch.where(inputs[:, 0, 0, 0] > 0.5, 0.8, 0.3)
        return torch.stack([p.log(), (1 - p).log()], dim=1)

    rows = [desk(network, (2, 2)).rows(AverageDrop(), torch.ones(1, 3, 2, 2), maps)[0] for maps in (evidence, 1 - evidence)]
    assert [row.readouts["p_kept"] / row.readouts["mass"] for row in rows] == pytest.approx([1.6, 0.6])


def test_terms_are_means_over_photos_not_over_batches(summing, grey):
    """Terms 0, 0 and 1 in batches of two and one: 33.33, where a mean of batch means would say 50."""
    photos = grey([[[0.5, 0.0]], [[0.5, 0.0]], [[0.0, 0.5]]])
    values = summing((1, 2)).values(AverageDrop(), photos, FIRST_KEPT.expand(3, 1, 2), batch_size=2)
    assert values == pytest.approx([0, 0, 100], abs=1e-3)


def test_a_mask_of_ones_has_no_drop_no_increase_and_no_gain(summing, grey):
    """All ones but for one pixel of the photo that is 0 anyway."""
    photo, almost_one = grey([[[0.5, 0.25, 0.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
    assert summing((1, 3)).values(ALL, photo, almost_one) == pytest.approx([0, 0, 0], abs=1e-4)


def test_an_increase_is_strict(summing, grey):
    assert summing((1, 2)).values(IncreaseInConfidence(), grey([[[0.2, 0.0]]]), FIRST_KEPT) == [0]


def test_a_probability_of_one_has_no_gain_and_one_of_zero_no_drop(desk):
    sure = desk(lambda x: torch.stack([torch.full((len(x),), 200.0), torch.zeros(len(x))], 1), (1, 2))
    photo = torch.ones(1, 3, 1, 2)
    assert sure.values([AverageDrop(), AverageGain()], photo, FIRST_KEPT) == [0, 0]
    assert sure.values([AverageDrop(), AverageGain()], photo, FIRST_KEPT, classes=[1]) == [0, 0]


@pytest.mark.parametrize(
    ("area", "pixels", "kept"), [(15, 10, 2), (50, 10, 5), (15, 50176, 7527), (50, 50176, 25088), (100, 9, 9)]
)
def test_a_mask_keeps_the_specifications_number_of_pixels(area, pixels, kept):
    assert AverageDrop(area=area).kept(pixels) == kept


def masked_photo(desk, metric, saliency: Tensor) -> Tensor:
    """What the model is shown of a photo of ones."""
    seen: list[Tensor] = []

    def network(inputs: Tensor) -> Tensor:
        seen.append(inputs.clone())
        return torch.zeros(len(inputs), 2)

    photo = torch.ones(1, 3, *saliency.shape[1:])
    desk(network, tuple(saliency.shape[1:])).rows(metric, photo, saliency)
    return seen[-1][0, 0]


def test_a_soft_mask_keeps_its_values_and_a_binary_one_does_not(desk):
    saliency = torch.arange(10.0).view(1, 2, 5)
    soft = masked_photo(desk, AverageDrop(area=50), saliency)
    binary = masked_photo(desk, AverageDrop(area=50, mask="binary"), saliency)
    assert soft.flatten().tolist() == pytest.approx([0] * 5 + [at / 9 for at in range(5, 10)])
    assert binary.flatten().tolist() == [0] * 5 + [1] * 5


def test_a_tied_map_still_keeps_exactly_its_share(desk):
    saliency = torch.tensor([[[1.0, 1, 1, 1, 1, 1, 1, 1, 1, 0]]])
    assert masked_photo(desk, AverageDrop(area=50, mask="binary"), saliency).sum() == 5


def test_the_map_is_scaled_at_its_own_resolution_and_not_again_after_upsampling(desk, grey):
    """A peak of one cell is 1 at the cell's centre alone: upsampled to an even factor it stays below 1."""
    seen: list[Tensor] = []

    def network(inputs: Tensor) -> Tensor:
        seen.append(inputs.clone())
        return torch.zeros(len(inputs), 2)

    peak = torch.zeros(1, 3, 3)
    peak[0, 1, 1] = 5
    desk(network, (12, 12)).rows(AverageDrop(), torch.ones(1, 3, 12, 12), peak)
    assert seen[-1].max().item() == pytest.approx((1 - 1 / 8) ** 2)


def test_the_ground_is_black_in_pixels_not_in_normalised_units(desk):
    given = desk(lambda x: torch.stack([x.mean(dim=(1, 2, 3)), torch.zeros(len(x))], 1), (1, 2), 2, (0.5,) * 3, (0.25,) * 3)
    photo = torch.full((1, 3, 1, 2), 2.0)
    row = given.rows(AverageDrop(), photo, FIRST_KEPT)[0]
    assert row.readouts["p_kept"] == pytest.approx(torch.tensor(0.0).sigmoid().item())


def test_the_three_share_one_pass_and_another_area_takes_another(desk, counting, tiny_cnn, photo_batch):
    network = counting(tiny_cnn)
    given = desk(network, (32, 32), 5)
    given.rows(ALL, photo_batch, photo_batch[:, 0])
    assert network.photos == 2 * len(photo_batch)
    given.rows([AverageDrop(area=50), AverageGain(area=50), AverageGain(area=50, mask="binary")], photo_batch, photo_batch[:, 0])
    assert network.photos == (2 + 3) * len(photo_batch)


def test_two_methods_do_not_share_their_masks(summing, grey):
    given, photo = summing((1, 2)), grey([[[0.4, 0.3]]])
    maps = [given.explanation(torch.tensor([[pair]]), label=str(pair)) for pair in ([1.0, 0.0], [0.0, 1.0])]
    kept = [row.readouts["p_kept"] for row in given.rows(AverageDrop(), photo, maps)]
    assert kept == pytest.approx([0.4, 0.3])


def test_a_binary_mask_of_everything_is_refused():
    with pytest.raises(UsageError, match="keeps all"):
        AverageDrop(mask="binary")


def test_an_all_negative_map_is_valid(summing, grey):
    values = summing((1, 2)).values(ALL, grey([[[0.4, 0.4]]]), FIRST_KEPT - 5, sign=Sign.SIGNED)
    assert values == pytest.approx([50, 0, 0], abs=1e-3)
