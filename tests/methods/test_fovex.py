"""FovEx against the numbers of its specification."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.transforms.functional import gaussian_blur

from xaicli.errors import UsageError
from xaicli.methods.fovex import FovEx, blur, foveated, search, window
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])
CPU = torch.device("cpu")


def at(*places):
    return torch.tensor(places)


def test_the_window_falls_with_the_squared_distance_in_shares_of_half_a_side():
    found = window(at((0.0, 0.0)), (5, 5), 0.15)[0]
    expected = {(2, 2): 1.0, (2, 3): 0.18887560, (3, 3): 0.03567399, (0, 2): 0.00127263, (0, 0): 1.6196e-6}
    for place, value in expected.items():
        assert float(found[place]) == pytest.approx(value, rel=1e-4)


def test_the_first_coordinate_is_the_row():
    assert int(window(at((-1.0, 0.0)), (5, 5), 0.15).argmax()) == 2


def test_memory_of_one_place_converges():
    seen, values = torch.zeros(1, 5, 5), []
    for _ in range(3):
        seen = 0.1 * seen + window(at((0.0, 0.0)), (5, 5), 0.15)
        values.append(float(seen[0, 2, 2]))
    assert values == pytest.approx([1, 1.1, 1.11])


def test_a_constant_photo_stays_itself():
    photo = torch.full((1, 3, 32, 32), 0.3)
    assert_close(blur(photo, 41, 10.0), photo)


def test_the_place_that_is_looked_at_is_sharp_and_the_gradient_leads_to_what_is_missed():
    photo = torch.zeros(1, 1, 5, 5)
    photo[0, 0, 2, 2] = 1
    blurred = gaussian_blur(photo, [3, 3], [1.0, 1.0])
    assert float(blurred[0, 0, 2, 2]) == pytest.approx(0.2041799)
    assert float(blurred[0, 0, 1, 2]) == pytest.approx(0.1238414)
    place = at((0.0, 0.5)).requires_grad_(True)
    seen = foveated(photo, blurred - photo, window(place, (5, 5), 0.15)[:, None])
    assert float(seen[0, 0, 2, 2].detach()) == pytest.approx(0.3544909)
    assert float(seen[0, 0, 1, 2].detach()) == pytest.approx(0.1194235)
    assert float(seen[0, 0, 2, 3].detach()) == float(photo[0, 0, 2, 3])
    (slope,) = torch.autograd.grad(-seen[0, 0, 2, 2], place)
    assert_close(slope, at((0.0, 1.0021)), atol=1e-4, rtol=0)

    def look(places):
        shown = foveated(photo, blurred - photo, window(places, (5, 5), 0.15)[:, None])
        return -shown[:, 0, 2, 2], shown[:, 0, 2, 2]

    # All walks begin in the middle, on the impulse itself: there the loss is least.
    found = search(look, FovEx(n_steps=5), [np.random.default_rng(0)], CPU)
    assert found.places.tolist() == [[0, 0]]
    assert float(found.losses) == pytest.approx(-1)


def test_two_blobs_add_up():
    both = window(at((-0.5, 0.0), (0.5, 0.0)), (5, 5), 0.15).sum(dim=0)
    assert both[[1, 3, 2], [2, 2, 2]].tolist() == pytest.approx([1.0012726, 1.0012726, 0.3777512])


class Checkerboard(nn.Module):
    """Sees fine texture in one patch: logits (sum of squared contrast there, 3)."""

    calls = 0

    def forward(self, inputs):
        self.calls += len(inputs)
        patch = inputs[:, :, 6:12, 20:26]
        contrast = (patch - 0.5).square().mean(dim=1).sum(dim=(1, 2))
        return torch.stack([contrast, torch.full_like(contrast, 3.0)], dim=1)


def checkerboard():
    photo = torch.full((1, 3, 32, 32), 0.5)
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    photo[:, :, 6:12, 20:26] = ((rows + columns) % 2).float()
    return photo


@pytest.mark.parametrize("seed", range(6))
def test_the_specifications_search_ends_where_it_says(classifier_of, seed):
    """A blur of 9 pixels and standard deviation 3 on 32 pixels."""
    method = FovEx(n_fixations=1, blur_kernel=63, blur_sigma=21.0)
    targets = Targets.same(TargetRule(index=0), 1)
    maps = method.attribute(classifier_of(Checkerboard().eval()), checkerboard(), targets, torch.tensor([seed]))
    found = maps.logits.log_softmax(dim=1)[0, 0]
    assert float(-found) == pytest.approx(0.0024757, rel=1e-3)
    assert float(maps.extras["blur_loss"][0, 0]) == pytest.approx(3.05, abs=0.01)
    assert float(maps.extras["loss"][0, 0, 0]) <= 0.04
    assert_close(maps.extras["scanpath"][0, 0, 0] * 2 - 1, at(-0.4516, 0.4516), atol=0.15, rtol=0)


def test_the_width_of_the_blur_is_no_part_of_older_stamps():
    assert not {"blur_kernel", "blur_sigma"} & set(FovEx().parameters_as_given())
    with pytest.raises(UsageError, match="odd"):
        FovEx(blur_kernel=40)


@pytest.mark.parametrize("seed", range(6))
def test_the_window_finds_the_texture_that_decides(classifier_of, seed):
    classifier = classifier_of(Checkerboard().eval())
    targets = Targets.same(TargetRule(index=0), 1)
    maps = FovEx(n_fixations=1).attribute(classifier, checkerboard(), targets, torch.tensor([seed]))
    place = maps.extras["scanpath"][0, 0, 0] * 2 - 1
    assert_close(place, at(-0.4516, 0.4516), atol=0.15, rtol=0)
    assert float(maps.extras["loss"][0, 0, 0]) < 0.06
    assert float(maps.extras["blur_loss"][0, 0]) > 2.5
    row, column = divmod(int(maps.values[0, 0].argmax()), 32)
    assert 5 <= row <= 12
    assert 19 <= column <= 26


def test_it_counts_its_passes(classifier_of):
    network = Checkerboard().eval()
    classifier = classifier_of(network)
    network.calls = 0
    method = FovEx(n_fixations=3, n_steps=20)
    method.attribute(classifier, checkerboard(), Targets.same(DECISION, 1), SEEDS[:1])
    assert network.calls == 62 == method.cost().forward


def test_steps_end_in_the_map_and_each_target_has_its_own_path(tiny_cnn, classifier_of, photo_batch):
    method = FovEx(n_fixations=2, n_steps=3)
    maps = method.attribute(classifier_of(tiny_cnn), photo_batch, Targets.same(TargetRule(top=2), 5), SEEDS)
    assert maps.values.shape == (5, 2, 32, 32)
    assert torch.equal(maps.extras["steps"][:, :, -1], maps.values)
    assert maps.extras["scanpath"].shape == (5, 2, 2, 2)
    assert_close(maps.values, window(maps.extras["scanpath"].flatten(0, 2) * 2 - 1, (32, 32), 0.15).view(5, 2, 2, 32, 32).sum(2))
    index = int(maps.targets.classes[1, 1])
    alone = method.attribute(classifier_of(tiny_cnn), photo_batch[1:2], Targets.same(TargetRule(index=index), 1), SEEDS[1:2])
    assert_close(alone.values[0, 0], maps.values[1, 1])


def test_weights_follow_the_loss_or_the_probability(tiny_cnn, classifier_of, photo_batch):
    def maps(weights):
        method = FovEx(n_fixations=2, n_steps=3, weights=weights)
        return method.attribute(classifier_of(tiny_cnn), photo_batch, Targets.same(DECISION, 5), SEEDS)

    equal, by_loss, by_probability = maps("equal"), maps("loss"), maps("probability")
    assert torch.equal(equal.extras["loss"], by_loss.extras["loss"])
    blobs = window(equal.extras["scanpath"].flatten(0, 2) * 2 - 1, (32, 32), 0.15).view(5, 1, 2, 32, 32)
    assert_close(by_loss.values, ((-equal.extras["loss"]).softmax(dim=2)[..., None, None] * blobs).sum(dim=2))
    assert_close(by_probability.values, ((-equal.extras["loss"]).exp()[..., None, None] * blobs).sum(dim=2))


def test_a_walk_from_a_place_nearby_stays_inside_the_photo(classifier_of):
    classifier = classifier_of(Checkerboard().eval())
    method = FovEx(n_fixations=1, n_steps=40, restart=False, lr=0.5)
    maps = method.attribute(classifier, checkerboard(), Targets.same(TargetRule(index=0), 1), SEEDS[:1])
    assert maps.extras["scanpath"].min() >= 0
    assert maps.extras["scanpath"].max() <= 1
