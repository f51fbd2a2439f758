"""Infidelity: exact on linear models, and captum's on the same perturbations."""

from __future__ import annotations

import captum.metrics
import numpy as np
import pytest
import torch
from torch import Tensor

from xaicli.metrics.infidelity import Infidelity
from xaicli.passes.seeds import photo_seed, stream


@pytest.fixture
def linear(desk):
    """The logit of class 0 is the sum of the pixels, a pixel being the mean of its channels."""
    return desk(lambda x: torch.stack([x.mean(dim=1).sum(dim=(1, 2)), torch.zeros(len(x))], 1), (6, 6))


PHOTO = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0)).expand(1, 3, 6, 6).contiguous()


@pytest.mark.parametrize("scaled", [True, False])
def test_contributions_of_a_linear_model_are_faithful_under_squares(linear, scaled):
    row = linear.rows(Infidelity(output="logit", scaled=scaled), PHOTO, PHOTO[:, 0])[0]
    assert row.value == pytest.approx(0, abs=1e-9)
    assert row.readouts["correlation"] == pytest.approx(1)


def test_only_a_scaled_map_is_forgiven_its_unit(linear):
    given = linear.values([Infidelity(output="logit"), Infidelity(output="logit", scaled=False)], PHOTO, 5 * PHOTO[:, 0])
    assert given[0] == pytest.approx(0, abs=1e-9)
    assert given[1] > 0.1


def test_the_gradient_of_a_linear_model_is_faithful_under_noise(linear):
    """The gradient to each channel of a pixel is a third; the map must vary, so one pixel is wrong by little."""
    gradient = torch.full((1, 6, 6), 1 / 3)
    gradient[0, 0, 0] += 1e-4
    metric = Infidelity(perturbation="noise", output="logit", scaled=False)
    assert linear.values(metric, PHOTO, gradient) == [pytest.approx(0, abs=1e-6)]


@pytest.mark.parametrize("perturbation", ["square", "noise"])
@pytest.mark.parametrize("scaled", [True, False])
def test_it_is_captums_on_the_same_perturbations(desk, tiny_cnn, photo_batch, perturbation, scaled):
    seen: list[Tensor] = []

    def network(inputs: Tensor) -> Tensor:
        seen.append(inputs.clone())
        return tiny_cnn(inputs)

    photo, saliency = photo_batch[:1], photo_batch[:1, 0]
    metric = Infidelity(perturbation=perturbation, scaled=scaled, draws=12)
    row = desk(network, (32, 32), 5).rows(metric, photo, saliency, classes=[2], batch_size=64)[0]
    changed = seen[-1]
    change = photo - changed
    if perturbation == "square":
        # Where the map is a contribution, captum is given which pixels went instead of by how much.
        change = (change != 0).any(dim=1, keepdim=True).float().expand_as(changed)
    expected = captum.metrics.infidelity(
        lambda x: tiny_cnn(x).softmax(dim=1),
        lambda x: (change, changed),
        photo,
        saliency[:, None].expand_as(photo) / (3 if perturbation == "square" else 1),
        target=2,
        n_perturb_samples=12,
        normalize=scaled,
    )
    assert row.value == pytest.approx(expected.item(), abs=1e-5, rel=1e-3)


def test_squares_lie_within_the_photo_and_are_drawn_from_its_seed(linear):
    seen: list[Tensor] = []
    inner = linear.classifier.forward

    def network(inputs: Tensor) -> Tensor:
        seen.append(inputs.clone())
        return inner(inputs)

    object.__setattr__(linear.classifier, "forward", network)
    linear.rows(Infidelity(side=0.5), torch.ones(1, 3, 6, 6), PHOTO[:, 0], batch_size=64)
    removed = (seen[-1] == 0)[:, 0]
    assert removed.sum(dim=(1, 2)).tolist() == [9] * 64
    content = linear.photos(PHOTO)[0].content
    first = stream(photo_seed(0, content, 0, "scores"), "infidelity").integers(6 - 3 + 1, size=64)
    assert [int(np.nonzero(mask.any(dim=1).numpy())[0][0]) for mask in removed] == first.tolist()
