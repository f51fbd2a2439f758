"""Heads fitted to a patch: the direction, its gain, and what a blind head ignores; on which photos they are scored."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaicli.network.planted_head import (
    GAINS,
    RIDGE,
    Head,
    best_gain,
    blind,
    by_photo,
    by_place,
    fit_direction,
    head_of,
    left_out_rates,
    read_head,
    with_head,
)
from xaicli.runs.find_photos import find_photos
from xaicli.runs.photos import load_ahead
from xaicli.runs.planted_photos import on_exact, pasted
from xaicli.runs.planting import plant
from xaicli.runs.trust_checks import photos_at_size


def test_a_direction_is_one_on_and_nothing_off():
    generator = torch.Generator().manual_seed(0)
    off = torch.randn(40, 6, generator=generator)
    on = off[:20] + torch.tensor([0, 3.0, 0, 0, 0, 0])
    direction, offset = fit_direction(on, off)
    assert float((on @ direction + offset).mean()) == pytest.approx(1.0, abs=1e-4)
    assert float((off @ direction + offset).mean()) == pytest.approx(0.0, abs=1e-4)
    assert int(direction.abs().argmax()) == 1


def test_a_direction_is_the_ridge_regression_of_a_library():
    generator = torch.Generator().manual_seed(1)
    on, off = torch.randn(30, 4, generator=generator) + 1, torch.randn(30, 4, generator=generator)
    both = torch.cat([on, off]).double().numpy()
    scaled = (both - both.mean(axis=0)) / both.std(axis=0)
    wanted = np.repeat([0.5, -0.5], 30)
    expected = np.linalg.lstsq(
        np.concatenate([scaled / np.sqrt(60), np.sqrt(RIDGE) * np.eye(4)]), np.concatenate([wanted / np.sqrt(60), np.zeros(4)]),
        rcond=None,
    )[0] / both.std(axis=0)  # fmt: skip
    direction = fit_direction(on, off)[0].double().numpy()
    assert direction / np.linalg.norm(direction) == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def planted(layer: nn.Linear, direction: torch.Tensor, offset: float) -> nn.Linear:
    """A copy of the layer whose second output grows along a direction."""
    moved = copy.deepcopy(layer)
    moved.weight[1] += direction
    moved.bias[1] += offset
    return moved


def test_a_gain_is_judged_on_photos_that_the_fit_has_not_seen():
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(8, 3).requires_grad_(False)
    off = torch.randn(10, 8, generator=generator)
    on = off.repeat(2, 1) + torch.randn(20, 8, generator=generator)
    rates = left_out_rates(Head("head", layer), (on, off), 1, 2.0, by_photo(10, 2))
    decided = {gain: [0, 0] for gain in GAINS}
    for fold in range(5):
        others = [at for at in range(20) if at % 10 % 5 != fold]
        direction, offset = fit_direction(on[others], off[[at for at in others if at < 10]])
        for gain in GAINS:
            moved = planted(layer, 2 * gain * direction, 2 * gain * offset)
            for at in range(20):
                if at % 5 == fold:
                    decided[gain][0] += int(moved(on[at]).argmax() == 1)
                    decided[gain][1] += int(at < 10 and moved(off[at % 10]).argmax() == 1)
    expected = {gain: seen / 20 * (1 - false / 10) for gain, (seen, false) in decided.items()}
    assert rates == pytest.approx(expected)
    assert best_gain({1.0: 0.5, 2.0: 0.75, 4.0: 0.75}) == 2.0


def test_a_gain_is_judged_at_places_that_the_fit_has_not_seen_where_it_saw_all_photos():
    generator = torch.Generator().manual_seed(4)
    layer = nn.Linear(8, 3).requires_grad_(False)
    off = torch.randn(4, 8, generator=generator)
    on = off.repeat(2, 1) + torch.randn(8, 8, generator=generator)
    rates = left_out_rates(Head("head", layer), (on, off), 1, 2.0, by_place(4, 2))
    decided = {gain: [0, 0] for gain in GAINS}
    for fitted, tried in ((on[4:], on[:4]), (on[:4], on[4:])):
        direction, offset = fit_direction(fitted, off)
        for gain in GAINS:
            moved = planted(layer, 2 * gain * direction, 2 * gain * offset)
            for count, part in zip((0, 1), (tried, off), strict=True):
                decided[gain][count] += int((moved(part).argmax(dim=1) == 1).sum())
    assert rates == pytest.approx({gain: seen / 8 * (1 - false / 8) for gain, (seen, false) in decided.items()})


def test_with_few_photos_a_patch_is_scored_at_places_that_the_fit_has_not_seen(colours, grey_photos):
    network = on_exact(colours)
    photos = photos_at_size(list(load_ahead(find_photos(grey_photos, limit=8).sources, colours.view, picture=False)), colours)
    made = plant(network, head_of(network), photos, 0, 0)
    fitted = {
        at: {pasted(f"{at}-{place}-fit0.png", photos[at].pixels, made.look, 0, 0).box for place in range(3)} for at in range(8)
    }
    scored = {int(photo.source.path.partition("-")[0]): photo.box for photo in (*made.decided, *made.ignored)}
    assert scored.keys() == fitted.keys()
    assert not any(box in fitted[at] for at, box in scored.items())


def test_a_blind_head_does_not_see_what_moves_along_the_directions(colours):
    head = head_of(colours)
    generator = torch.Generator().manual_seed(0)
    middle = torch.rand(12, generator=generator)
    step = torch.randn(12, generator=generator)
    ignores = blind(colours, head, step.repeat(4, 1), middle)
    made = dict(ignores.module.named_modules())[head.name]
    before, after = made(middle), made(middle + 3 * step)
    assert before.tolist() == pytest.approx(head.layer(middle).tolist(), abs=1e-5)
    assert after.tolist() == pytest.approx(before.tolist(), abs=1e-4)


def test_another_head_is_another_network_that_shares_the_rest(colours):
    head = head_of(colours)
    made = with_head(colours, head, torch.zeros(5, 12), torch.arange(5.0), "constant")
    inputs = torch.rand(2, 3, 32, 32)
    assert read_head(made, head, inputs).logits.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert made.fingerprint != colours.fingerprint
    shared = dict(made.module.named_parameters())["features.0.weight"]
    assert shared.data_ptr() == colours.module.features[0].weight.data_ptr()


class PooledConvolution(nn.Module):
    """As SqueezeNet ends: a 1 x 1 convolution to classes, and the mean over cells."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.body(inputs).relu()).mean(dim=(2, 3))


def test_a_convolution_to_classes_is_a_head_too(classifier_of):
    head = head_of(classifier_of(PooledConvolution()))
    assert head.name == "last"
    assert read_head(classifier_of(PooledConvolution()), head, torch.rand(2, 3, 32, 32)).features.shape == (2, 6, 16, 16)


def test_a_head_that_was_fitted_to_other_photos_is_another_network(colours, grey_photos):
    network = on_exact(colours)
    loaded = list(load_ahead(find_photos(grey_photos).sources, colours.view, picture=False))
    photos = photos_at_size(loaded, colours)
    others = [photos[1], photos[0], *photos[2:]]
    one, another = (plant(network, head_of(network), part, 0, 0) for part in (photos, others))
    assert one.seeing.name == another.seeing.name
    assert one.seeing.fingerprint != another.seeing.fingerprint
    assert one.blind.fingerprint != another.blind.fingerprint
