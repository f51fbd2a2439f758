"""Deletion and insertion: exact values on tiny models, the authors' variant against a plain loop, ties, passes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

import xaicli
from xaicli.errors import UsageError
from xaicli.metric import Sign
from xaicli.metrics.deletion import Deletion, Insertion
from xaicli.registry import make_metric
from xaicli.results.store import Store
from xaicli.scoring.removal import rise_kernel

PIXELS = [0.4, 0.1, 0.2, 0.3]


@pytest.fixture
def toy(summing, grey):
    """Four pixels whose sum is the probability, and the map that is the photo itself."""
    photo = grey([[PIXELS]])
    return summing((1, 4)), photo, photo[:, 0]


def test_deletion_of_four_pixels_is_the_area_under_1_6_3_1_0(toy):
    desk, photo, saliency = toy
    row = desk.rows(Deletion(steps=4), photo, saliency)[0]
    assert row.curve.y == pytest.approx([1, 0.6, 0.3, 0.1, 0], abs=1e-6)
    assert row.curve.x == (0, 0.25, 0.5, 0.75, 1)
    assert row.value == pytest.approx(0.375, abs=1e-6)


def test_insertion_of_four_pixels_from_zero_is_the_area_under_0_4_7_9_1(toy):
    desk, photo, saliency = toy
    row = desk.rows(Insertion(steps=4, baseline="zero"), photo, saliency)[0]
    assert row.curve.y == pytest.approx([0, 0.4, 0.7, 0.9, 1], abs=1e-6)
    assert row.value == pytest.approx(0.625, abs=1e-6)


@pytest.mark.parametrize(("step", "expected"), [(1, 0.375), (3, 0.3)])
def test_the_authors_variant_gives_a_ragged_last_step_full_width(toy, step, expected):
    desk, photo, saliency = toy
    assert desk.values(Deletion(variant="rise", step=step), photo, saliency) == [pytest.approx(expected, abs=1e-6)]


def test_our_area_is_over_the_true_share_of_pixels(toy):
    """Three fractions of four pixels are 1, 3 and 4 pixels: 0, 1/4, 3/4, 1."""
    desk, photo, saliency = toy
    row = desk.rows(Deletion(steps=3), photo, saliency)[0]
    assert row.curve.x == (0, 0.25, 0.75, 1)
    assert row.value == pytest.approx((1 + 0.6) / 2 * 0.25 + (0.6 + 0.1) / 2 * 0.5 + 0.1 / 2 * 0.25, abs=1e-6)


def test_a_picture_of_fewer_pixels_than_steps_has_a_point_a_pixel(toy):
    desk, photo, saliency = toy
    assert len(desk.rows(Deletion(), photo, saliency)[0].curve.x) == 5


def test_the_trapezoid_is_the_specifications():
    assert torch.trapezoid(torch.tensor([1, 0.5, 0.25, 0]), dx=1 / 3).item() == pytest.approx(0.4166667, abs=1e-6)
    assert Deletion(variant="rise").counts(50176) == [min(1792 * i, 50176) for i in range(29)]
    assert len(Deletion().counts(50176)) == 29


def test_the_set_score_of_two_photos_is_the_area_under_the_mean_curve(summing, grey):
    photos = grey([[PIXELS], [[0.1, 0.2, 0.3, 0.4]]])
    rows = summing((1, 4)).rows(Deletion(steps=4), photos, photos[:, 0])
    mean_curve = torch.tensor([row.curve.y for row in rows]).mean(dim=0)
    assert torch.trapezoid(mean_curve, dx=0.25).item() == pytest.approx(np.mean([row.value for row in rows]), abs=1e-6)


def test_readouts_are_those_of_the_curve(toy):
    desk, photo, saliency = toy
    row = desk.rows(Deletion(steps=2, baseline="zero"), photo * 0.5, saliency)[0]
    log_odds = [math.log(p / (1 - p)) for p in (0.5, 0.15)]
    assert row.readouts["p0"] == pytest.approx(0.5)
    assert row.readouts["p_baseline"] == pytest.approx(0, abs=1e-6)
    assert row.readouts["tied"] == 0
    # The last point is the clamp of the toy model: p = 1e-30.
    last = math.log(1e-30)
    assert row.readouts["log_odds"] == pytest.approx((log_odds[0] + 2 * log_odds[1] + last) / 4, rel=1e-4)
    assert row.readouts["normalised"] == pytest.approx(row.value / 0.5, rel=1e-5)


def test_the_log_odds_area_only_scales_with_a_temperature(desk, photo_batch, tiny_cnn):
    """For two classes log-odds are the difference of the logits, so a temperature divides the area by itself."""
    saliency = photo_batch[:, 0]
    cold = desk(lambda x: tiny_cnn(x)[:, :2] * 8, (32, 32))
    warm = desk(lambda x: tiny_cnn(x)[:, :2] * 4, (32, 32))
    for one, other in zip(*(d.rows(Insertion(), photo_batch, saliency) for d in (cold, warm)), strict=True):
        assert one.readouts["log_odds"] == pytest.approx(2 * other.readouts["log_odds"], rel=1e-4)
        assert one.value != pytest.approx(other.value, abs=1e-4)


def test_log_odds_stay_exact_where_the_probability_is_one(desk, grey):
    """Logits 0 and 40 x mean: 1 - p is below float32's resolution, the log-odds are not."""
    sure = desk(lambda x: torch.stack([x.mean(dim=(1, 2, 3)) * 160, torch.zeros(len(x))], dim=1), (2, 2))
    row = sure.rows(Deletion(steps=4), grey([[[1, 1], [1, 1]]]), torch.tensor([[[4.0, 3], [2, 1]]]))[0]
    assert row.readouts["log_odds"] == pytest.approx(80, rel=1e-5)


def plain_rise(network, photo: Tensor, saliency: Tensor, target: int, step: int, mode: str) -> tuple[float, list[float]]:
    """The authors' metric as a loop, a pass a step, on one photo (3, H, W)."""
    height, width = saliency.shape
    if mode == "deletion":
        start, finish = photo.clone(), torch.zeros_like(photo)
    else:
        impulse = np.zeros((11, 11))
        impulse[5, 5] = 1
        kernel = torch.from_numpy(scipy.ndimage.gaussian_filter(impulse, 5)).float()
        blurred = [functional.conv2d(channel[None, None], kernel[None, None], padding=5)[0, 0] for channel in photo]
        start, finish = torch.stack(blurred), photo.clone()
    # Ascending, then read from its end: of equal pixels the last comes first.
    order = np.argsort(saliency.numpy().ravel(), kind="stable")[::-1]
    scores = []
    for begin in range(0, height * width + step, step):
        scores.append(network(start[None]).softmax(dim=1)[0, target].item())
        for place in order[begin : begin + step]:
            start[:, place // width, place % width] = finish[:, place // width, place % width]
        if begin >= height * width:
            break
    return (sum(scores) - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1), scores


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("step", [None, 100, 37])
def test_the_authors_variant_agrees_with_a_plain_loop(desk, tiny_cnn, photo_batch, batch_size, step):
    sharp = lambda inputs: tiny_cnn(inputs) * 4  # noqa: E731
    saliency = photo_batch[:, 1].relu()
    classes = tiny_cnn(photo_batch).argmax(dim=1)
    metrics = [Deletion(variant="rise", step=step), Insertion(variant="rise", step=step)]
    given = desk(sharp, (32, 32), 5)
    rows = given.rows(metrics, photo_batch, saliency, classes=classes, batch_size=batch_size, sign=Sign.NONNEGATIVE)
    for row in rows:
        at = int(row.image.partition(".")[0])
        pixels = step or math.ceil(1024 / 28)
        area, scores = plain_rise(sharp, photo_batch[at], saliency[at], int(classes[at]), pixels, row.metric.partition("@")[0])
        assert row.value == pytest.approx(area, abs=1e-5)
        assert row.curve.y == pytest.approx(scores, abs=1e-5)


def test_of_equal_pixels_the_authors_take_the_last_first(desk, grey):
    """Four pixels alike, worth 1, 2, 4 and 8 of 15: from the last back 15, 7, 3, 1 and 0 are left."""
    worth = torch.tensor([1.0, 2, 0, 4, 8, 0])

    def network(photos: Tensor) -> Tensor:
        share = ((photos[:, 0].flatten(1) * worth).sum(dim=1) / 15).clamp(1e-6, 1 - 1e-6)
        return torch.stack([share.log(), (1 - share).log()], dim=1)

    # The largest pixel is one of a kind and worth nothing: a constant map has no score.
    photo, flat = grey([[[1, 1, 1], [1, 1, 1]]]), torch.tensor([[[1.0, 1, 2], [1, 1, 0]]])
    for metric in (Deletion(variant="rise", step=1), Deletion(steps=6, ties="authors", baseline="zero")):
        row = desk(network, (2, 3)).rows(metric, photo, flat, classes=[0])[0]
        assert row.curve.y == pytest.approx([1, 1, 7 / 15, 3 / 15, 1 / 15, 0, 0], abs=1e-4)


def test_the_variant_says_in_its_stamp_which_order_it_fixes():
    assert Deletion(variant="rise").parameters_as_given()["ties"] == "authors"
    assert Deletion(variant="rise", ties="authors") == Deletion(variant="rise")
    assert Deletion().parameters_as_given()["ties"] == "random"


def test_the_authors_blur_is_folded_and_nearly_flat():
    kernel = rise_kernel().double()
    factor = [0.087958, 0.088896, 0.090474, 0.092191, 0.093489, 0.093982]
    line = torch.tensor([*factor, *factor[-2::-1]], dtype=torch.float64)
    assert_close(kernel, line[:, None] * line[None, :], atol=2e-6, rtol=0)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert kernel[5, 5].item() == pytest.approx(0.00883263, abs=1e-7)
    assert kernel[0, 0].item() == pytest.approx(0.00773664, abs=1e-7)


@pytest.mark.parametrize("steps", [28, 224])
def test_deletion_and_insertion_of_one_photo_take_two_passes_a_step_and_one(desk, counting, tiny_cnn, photo_batch, steps):
    network = counting(tiny_cnn)
    metrics = [Deletion(steps=steps), Insertion(steps=steps)]
    desk(network, (32, 32), 5).rows(metrics, photo_batch[:1], photo_batch[:1, 0])
    assert network.photos == 2 * steps + 1


def test_methods_share_the_clean_and_the_baseline_passes(desk, counting, tiny_cnn, photo_batch):
    network = counting(tiny_cnn)
    given = desk(network, (32, 32), 5)
    maps = [given.explanation(photo_batch[:, channel], label=f"channel {channel}") for channel in range(3)]
    given.rows([Deletion(), Insertion()], photo_batch, maps)
    assert network.photos == len(photo_batch) * (3 + 3 * 2 * 27)


def test_a_shared_baseline_is_passed_once(desk, counting, tiny_cnn, photo_batch):
    network = counting(tiny_cnn)
    metrics = [Deletion(), Insertion(baseline="zero"), Deletion(steps=10)]
    desk(network, (32, 32), 5).rows(metrics, photo_batch[:1], photo_batch[:1, 0])
    assert network.photos == 2 + 27 + 27 + 9


def test_equal_pixels_go_in_one_seeded_order_whatever_the_method(summing, grey):
    """Two maps that differ only by a monotone change have the same ties, hence the same curves."""
    photo = grey(torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(1)) / 36)
    ties = torch.tensor([[0.0, 1], [1, 0]]).repeat(1, 3, 3)
    one, other = (summing((6, 6)).rows(Deletion(), photo, maps)[0] for maps in (ties, ties * 5 + 2))
    assert one.curve == other.curve
    assert one.readouts["tied"] == 1


def test_another_seed_is_another_order(summing, grey):
    photo = grey(torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(1)) / 36)
    ties = torch.tensor([[0.0, 1], [1, 0]]).repeat(1, 3, 3)
    first, again, second = (summing((6, 6)).rows(Deletion(), photo, ties, seed=seed)[0] for seed in (0, 0, 1))
    assert first == again
    assert first.curve != second.curve


def test_both_orders_of_ties_average_to_the_straight_line(summing, grey):
    """An order and its reverse remove complementary pixels, so under a linear model their mean curve is straight within a tie."""
    photo = grey(torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(1)) / 16)
    halves = torch.tensor([1.0, 0]).repeat_interleave(2).expand(1, 4, 4)
    row = summing((4, 4)).rows(Deletion(ties="both", steps=4), photo, halves)[0]
    start, middle = row.curve.y[0], row.curve.y[2]
    assert row.curve.y[1] == pytest.approx((start + middle) / 2, abs=1e-6)
    assert row.curve.y[3] == pytest.approx(middle / 2, abs=1e-6)


def test_both_orders_of_ties_cost_double(desk, counting, tiny_cnn, photo_batch):
    network = counting(tiny_cnn)
    metric = Deletion(ties="both")
    desk(network, (32, 32), 5).rows(metric, photo_batch[:1], photo_batch[:1, 0])
    assert network.photos == 2 + 2 * 27
    assert metric.passes((32, 32)) == 1 + 2 * 27


def test_a_plateau_of_the_native_map_stays_a_tie_when_upsampled(summing, grey):
    """0.1 cannot be written in binary: its weighted sums must round back to itself."""
    photo = grey(torch.full((1, 24, 24), 1 / 576))
    plateau = torch.full((1, 7, 7), 0.1)
    plateau[0, :3] = 0.7
    row = summing((24, 24)).rows(Deletion(), photo, plateau)[0]
    # On the slope between the plateaus each row is a tie of 24 pixels.
    assert row.readouts["tied"] == 1


@pytest.mark.parametrize(
    ("kind", "expected"), [("zero", 0.0), ("black", -0.5 / 0.25), ("mean", 0.5)], ids=["zero", "black", "mean"]
)
def test_baselines_are_what_their_names_say(desk, kind, expected):
    """A model that answers with its mean input shows the baseline at the end of the curve."""
    linear = desk(lambda x: torch.stack([x.mean(dim=(1, 2, 3)), torch.zeros(len(x))], 1), (4, 4), 2, (0.5,) * 3, (0.25,) * 3)
    photo = torch.linspace(-1, 2, 16).view(1, 1, 4, 4).expand(1, 3, 4, 4)
    row = linear.rows(Deletion(baseline=kind), photo, photo[:, 0])[0]
    assert row.readouts["p_baseline"] == pytest.approx(torch.tensor(expected).sigmoid().item(), abs=1e-6)


def test_noise_is_a_seeded_picture_of_valid_pixels(desk):
    seen: list[Tensor] = []

    def network(inputs: Tensor) -> Tensor:
        seen.append(inputs.clone())
        return torch.zeros(len(inputs), 2)

    given = desk(network, (8, 8), 2, (0.5,) * 3, (0.25,) * 3)
    photo = torch.zeros(1, 3, 8, 8)
    saliency = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    given.rows(Deletion(baseline="noise", steps=1), photo, saliency, batch_size=1)
    first = seen[-1] * 0.25 + 0.5
    assert 0 <= first.min() < 0.1
    assert 0.9 < first.max() <= 1
    given.rows(Deletion(baseline="noise", steps=1), photo, saliency, batch_size=1)
    assert_close(seen[-1] * 0.25 + 0.5, first)


def test_a_contrast_is_scored_by_its_own_probability(desk, grey):
    """A against B: p is the sigmoid of the difference of their logits, whatever the third class does."""

    def network(x: Tensor) -> Tensor:
        return torch.stack([x.mean(dim=(1, 2, 3)), torch.ones(len(x)), torch.full((len(x),), 9.0)], 1)

    photo = grey([[[1.0, 2], [3, 4]]])
    row = desk(network, (2, 2), 3).rows(Deletion(steps=1), photo, photo[:, 0], classes=[0], against=1)[0]
    assert row.target == "0-1"
    assert row.curve.y == pytest.approx([1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(1))], abs=1e-6)


def test_each_target_of_a_photo_has_its_own_map_and_shares_the_ends(desk, counting, tiny_cnn, photo_batch):
    network = counting(tiny_cnn)
    maps = torch.stack([photo_batch[:, 0], photo_batch[:, 1]], dim=1)
    classes = torch.tensor([[0, 1]]).expand(5, 2)
    rows = desk(network, (32, 32), 5).rows(Deletion(), photo_batch, maps, classes=classes)
    assert [row.target for row in rows] == ["0", "1"] * 5
    assert network.photos == 5 * (1 + 1 + 2 * 27)
    alone = desk(tiny_cnn, (32, 32), 5).rows(Deletion(), photo_batch[2:3], photo_batch[2:3, 1], classes=[1], names=["2.png"])
    assert alone[0].value == pytest.approx(rows[5].value, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Deletion(step=10), "step=10 belongs to variant rise"),
        (lambda: Deletion(variant="rise", steps=56), "variant rise fixes steps"),
        (lambda: Insertion(variant="rise", baseline="zero"), "variant rise fixes baseline"),
        (lambda: Deletion(variant="rise", ties="both", baseline="mean"), "fixes ties and baseline"),
        (lambda: Deletion(steps=0), "steps=0 cannot be used; expected int at least 1"),
        (lambda: Deletion(baseline="grey"), "baseline=grey cannot be used; expected zero | black | mean | blur | noise"),
    ],
)
def test_what_does_not_go_together_is_refused(make, words):
    with pytest.raises(UsageError, match=words.replace("|", r"\|")):
        make()


# Overlaps of class maps


class Grey(nn.Module):
    """Class 1 where the photo is not black."""

    def forward(self, inputs):
        shares = inputs.mean(dim=1)
        return torch.stack([torch.full_like(shares, 0.1), shares], dim=1)


@pytest.fixture
def segmented():
    """Two grey rows of four pixels over two black ones, and a function that scores a map of them."""
    photo = np.zeros((4, 4, 3), dtype=np.uint8)
    photo[:2] = 128
    view = {"resize": None, "crop": 4, "mean": (0, 0, 0), "std": (1, 1, 1)}
    classifier = xaicli.classifier(Grey(), classes=["black", "grey"], **view)

    def scored(metric, values, target="grey", folder=None):
        np.save(folder / "photo.npy", np.asarray(values, dtype=np.float32))
        Image.fromarray(photo).save(folder / "photo.png")
        table = xaicli.score(
            folder / "photo.png", classifier, maps=folder, metric=metric, target=target, controls=False, output=folder / "s.db"
        )
        with Store.open(folder / "s.db", write=False) as store:
            [row] = [row for row in store.rows(curves=True) if row.metric == make_metric(metric).label]
        assert len(table.records()) == 1
        return row

    return scored


def test_deletion_of_an_overlap_is_the_share_of_the_clean_prediction_that_is_left(segmented, tmp_path):
    """The map is the order of the pixels: with the eight grey ones first, half of them are left after a quarter, none after a
    half. The curve (1, 0.5, 0, 0, 0) has the area (0.75 + 0.25) / 4."""
    order = np.arange(16, 0, -1).reshape(4, 4)
    row = segmented("deletion@output=iou@steps=4", order, folder=tmp_path)
    assert row.curve.y == pytest.approx([1, 0.5, 0, 0, 0])
    assert row.value == pytest.approx((0.75 + 0.25) / 4)
    assert (row.readouts["p0"], row.readouts["p_baseline"]) == (1, 0)
    assert "log_odds" not in row.readouts


def test_insertion_of_an_overlap_grows_from_the_baseline(segmented, tmp_path):
    """The specification's curve (1, 0.5, 0) has the area 0.5, and so has the same one upwards."""
    order = np.array([[8, 7, 6, 5], [4, 3, 2, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    row = segmented("insertion@output=iou@steps=4@baseline=zero", order, folder=tmp_path)
    assert row.curve.y == pytest.approx([0, 0.5, 1, 1, 1])
    row = segmented("deletion@output=iou@variant=rise@step=8", order, folder=tmp_path)
    assert row.curve.y == pytest.approx([1, 0, 0])


def test_an_overlap_is_measured_within_the_region_that_is_named(segmented, tmp_path):
    """Of the box over the first column two cells are grey; the first step takes the upper one of them."""
    order = np.zeros((4, 4))
    order[0] = [4, 3, 2, 1]
    row = segmented("deletion@output=iou@steps=4", order, "grey@region=0:0:0.5:3.5", tmp_path)
    assert row.curve.y[:2] == pytest.approx([1, 0.5])


def test_a_class_that_is_predicted_nowhere_in_the_region_has_no_overlap(segmented, tmp_path):
    row = segmented("deletion@output=iou@steps=4", np.arange(16).reshape(4, 4), "grey@region=0:3", tmp_path)
    assert (row.value, row.status) == (None, "undefined")


def test_overlaps_need_a_class_map_and_plain_stamps_stay(toy):
    desk, photo, saliency = toy
    with pytest.raises(UsageError, match=r"deletion@output=iou needs a class map"):
        desk.rows(Deletion(output="iou"), photo, saliency)
    assert "output" not in Deletion().parameters_as_given()
    assert Deletion(output="iou").parameters_as_given()["output"] == "iou"
