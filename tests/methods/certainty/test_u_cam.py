"""U-CAM against a head worked out by hand, and that a photo's passes depend on its seed alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.method import Sign
from xaicli.methods.certainty.noise_source import altered, dropping
from xaicli.methods.certainty.u_cam import UCAM
from xaicli.methods.grad_cam import GradCAM
from xaicli.outputs import Outputs
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])


class TwoChannels(nn.Module):
    """Channels (A_1, A_2) of the input itself, their means, and a head diag(2, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.pick = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.pick.weight.copy_(torch.eye(2, 3)[..., None, None])
            self.head.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))

    def forward(self, inputs):
        return self.head(self.pick(inputs).mean(dim=(2, 3)))


class Dropping(nn.Module):
    """One number h, the mean of the first channel, dropped with p = 0.5 before the head (1, 0)."""

    def __init__(self) -> None:
        super().__init__()
        self.pick = nn.Conv2d(3, 2, 1, bias=False)
        self.drop = nn.Dropout(0.5)
        with torch.no_grad():
            self.pick.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])[..., None, None])

    def forward(self, inputs):
        return self.drop(self.pick(inputs).mean(dim=(2, 3)))


def planes():
    photo = torch.zeros(1, 3, 2, 2)
    photo[0, 0], photo[0, 1] = torch.eye(2), torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    return photo


def test_certainty_of_a_linear_head_by_hand(classifier_of):
    classifier = classifier_of(TwoChannels().eval(), (2, 2), layer="pick")
    maps = UCAM(show="certainty").attribute(classifier, planes(), Targets.same(DECISION, 1), SEEDS[:1])
    assert_close(maps.extras["uncertainty"], torch.tensor([0.6628473]))
    assert_close(maps.values[0, 0], torch.tensor([[0.0587509, -0.0587509], [0.0, 0.0587509]]))


def test_gated_is_the_class_map_where_it_makes_the_network_certain(tiny_cnn, classifier_of, photo_batch):
    classifier, targets = classifier_of(tiny_cnn), Targets.same(TargetRule(top=2), 5)
    gated = UCAM().attribute(classifier, photo_batch, targets, SEEDS)
    certain = UCAM(show="certainty").attribute(classifier, photo_batch, targets, SEEDS).values.relu()
    share = certain / certain.amax(dim=(2, 3), keepdim=True).clamp_min(1e-30)
    assert_close(gated.values, GradCAM().attribute(classifier, photo_batch, targets, SEEDS).values * share)


def test_dropout_passes_come_near_the_exact_uncertainty(classifier_of):
    classifier = classifier_of(Dropping().eval(), (2, 2), layer="pick")
    photo = torch.zeros(1, 3, 2, 2)
    photo[0, 0] = 2.0
    maps = UCAM(measure="model", n_passes=2000, show="certainty").attribute(
        classifier, photo, Targets.same(DECISION, 1), SEEDS[:1]
    )
    assert float(maps.extras["predictive_uncertainty"]) == pytest.approx(0.5720011, abs=0.015)
    assert float(maps.extras["model_uncertainty"]) == pytest.approx(0.1803801, abs=0.015)


def test_the_gradient_over_passes_is_that_of_the_measure(classifier_of):
    """Against one graph through all passes."""
    classifier = classifier_of(Dropping().eval(), (2, 2), layer="pick")
    photo = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 2
    for measure in ("total", "data", "model"):
        maps = UCAM(measure=measure, n_passes=6, show="certainty").attribute(
            classifier, photo, Targets.same(DECISION, 1), SEEDS[:1]
        )
        grid = classifier.torch_module.pick(photo).detach().requires_grad_(True)
        shares = []
        for number in range(6):
            with dropping(classifier.torch_module, SEEDS[:1], number):
                shares.append(classifier.torch_module.drop(grid.mean(dim=(2, 3))).softmax(dim=1))
        mean = torch.stack(shares).mean(dim=0)
        total = torch.special.entr(mean).sum()
        data = torch.stack([torch.special.entr(share).sum() for share in shares]).mean()
        value = {"total": total, "data": data, "model": total - data}[measure]
        (gradient,) = torch.autograd.grad(-value, grid)
        expected = (gradient.mean(dim=(2, 3), keepdim=True) * grid).sum(dim=1)
        assert_close(maps.values[:, 0], expected.detach(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("source", ["dropout", "augment"])
def test_a_photo_is_disturbed_by_its_own_seed_alone(classifier_of, source):
    classifier = classifier_of(Dropping().eval(), (4, 4), layer="pick")
    photos = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    method = UCAM(measure="total", source=source, n_passes=4, show="certainty")
    together = method.attribute(classifier, photos, Targets.same(DECISION, 3), SEEDS[:3])
    alone = method.attribute(classifier, photos[1:2], Targets.same(DECISION, 1), SEEDS[1:2])
    assert_close(together.values[1:2], alone.values)
    again = method.attribute(classifier, photos, Targets.same(DECISION, 3), SEEDS[:3])
    assert torch.equal(together.values, again.values)


def test_about_half_of_the_altered_photos_are_mirrored_and_colours_stay_in_range(classifier_of, tiny_cnn):
    view = classifier_of(tiny_cnn).view
    photos = torch.rand(1, 3, 8, 8).expand(64, 3, 8, 8)
    changed, mirrored = altered(photos, view, torch.arange(64), 0)
    assert 16 < int(mirrored.sum()) < 48
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed[0], changed[1])


def test_a_network_without_dropout_is_refused_by_name_and_altered_under_auto(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn)
    for measure in ("entropy", "model"):
        with pytest.raises(UsageError, match=r"has no dropout layer.*u-cam@source=augment"):
            UCAM(measure=measure, source="dropout").require(classifier)
    maps = UCAM(measure="model", n_passes=3).attribute(classifier, photo_batch, Targets.same(DECISION, 5), SEEDS)
    assert (maps.extras["model_uncertainty"] > 0).all()


def test_values_have_no_uncertainty(tiny_cnn, classifier_of):
    with pytest.raises(UsageError, match="gives values"):
        UCAM().require(classifier_of(tiny_cnn, outputs=Outputs.VALUES))


def test_what_it_declares():
    assert (UCAM().sign, UCAM(show="certainty").sign) == (Sign.NONNEGATIVE, Sign.SIGNED)
    assert UCAM().class_specific
    assert not UCAM(show="certainty").class_specific
    assert UCAM(measure="total").stochastic
    assert str(UCAM(measure="total", n_passes=10).cost()) == "21+11 passes"
