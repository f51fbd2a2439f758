"""Gradients of the pixels, against closed forms and against captum run plainly."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.errors import RunError, UsageError
from xaicli.method import Sign
from xaicli.methods.pixel_gradients.pixel_gradients import (
    GradientSHAP,
    InputXGradient,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
    normal,
    quadrature,
)
from xaicli.passes.baselines import baseline_inputs
from xaicli.passes.seeds import stream
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.arange(20, 25)
ALL = [Saliency, InputXGradient, IntegratedGradients, SmoothGrad, GradientSHAP]


class Linear(nn.Module):
    """Logits that are a weighted sum of pixels: weights (5, 3, 32, 32)."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(5, 3, 32, 32, generator=generator), requires_grad=False)
        self.bias = nn.Parameter(torch.randn(5, generator=generator), requires_grad=False)

    def forward(self, inputs):
        return torch.einsum("bchw,kchw->bk", inputs, self.weight) + self.bias


class Quadratic(nn.Module):
    """Logit k is a_k times half the sum of squares: the gradient at x is a_k x."""

    def forward(self, inputs):
        return 0.5 * inputs.square().sum(dim=(1, 2, 3))[:, None] * torch.tensor([1.0, -2.0, 3.0])


@pytest.fixture
def linear(classifier_of):
    return classifier_of(Linear())


def explain(method, classifier, photos, rule=DECISION, seeds=SEEDS):
    return method.attribute(classifier, photos, Targets.same(rule, len(photos)), seeds[: len(photos)])


def test_saliency_of_a_linear_network_is_its_weights(linear, photo_batch):
    maps = explain(Saliency(channels="sum"), linear, photo_batch, TargetRule(index=2))
    assert_close(maps.values[:, 0], linear.module.weight[2].sum(dim=0).expand(5, -1, -1))
    largest = explain(Saliency(), linear, photo_batch, TargetRule(index=2))
    assert_close(largest.values[:, 0], linear.module.weight[2].abs().amax(dim=0).expand(5, -1, -1))
    both = explain(Saliency(channels="abs-sum"), linear, photo_batch, TargetRule(index=2))
    assert_close(both.values[:, 0], linear.module.weight[2].abs().sum(dim=0).expand(5, -1, -1))


def test_a_contrast_is_the_gradient_of_the_difference(linear, photo_batch):
    maps = explain(Saliency(channels="sum"), linear, photo_batch, TargetRule(index=2, against=4))
    assert_close(maps.values[0, 0], (linear.module.weight[2] - linear.module.weight[4]).sum(dim=0))


def test_input_times_gradient_of_a_linear_network_sums_to_the_logit_less_the_bias(linear, photo_batch):
    maps = explain(InputXGradient(), linear, photo_batch, TargetRule(top=3))
    bias = linear.module.bias[maps.targets.classes]
    assert_close(maps.values.sum(dim=(2, 3)), maps.targets.scores - bias, atol=1e-3, rtol=0)


@pytest.mark.parametrize("baseline", ["zero", "black", "grey", "white", "mean", "blur"])
def test_integrated_gradients_sum_to_the_difference_of_scores(classifier_of, tiny_cnn, photo_batch, baseline):
    classifier = classifier_of(tiny_cnn)
    maps = explain(IntegratedGradients(n_steps=200, baseline=baseline), classifier, photo_batch, TargetRule(top=2))
    start = maps.targets.logit(classifier(baseline_inputs(baseline, classifier.view, photo_batch)))
    missing = maps.targets.scores - start - maps.values.sum(dim=(2, 3))
    assert_close(missing, maps.extras["gap"], atol=1e-4, rtol=0)
    assert missing.abs().max() < 0.02 * (maps.targets.scores - start).abs().max()


def test_two_gauss_points_are_exact_where_the_gradient_is_linear(classifier_of, photo_batch):
    classifier = classifier_of(Quadratic())
    maps = explain(IntegratedGradients(n_steps=2, baseline="white"), classifier, photo_batch, TargetRule(index=2))
    # The integral of 3 (1 + a (x - 1)) over a in 0..1, times x - 1.
    expected = (3 * (photo_batch + 1) / 2 * (photo_batch - 1)).sum(dim=1)
    assert_close(maps.values[:, 0], expected, atol=1e-4, rtol=1e-5)


def test_the_papers_sum_takes_the_right_end_of_each_step():
    places, weights = quadrature("right", 4)
    assert places.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert weights.tolist() == [0.25] * 4
    assert quadrature("middle", 2)[0].tolist() == [0.25, 0.75]
    places, weights = quadrature("gauss-legendre", 7)
    assert np.sum(weights * places**13) == pytest.approx(1 / 14)


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (Saliency(channels="abs-sum"), captum.attr.Saliency, {"abs": True}),
        (InputXGradient(), captum.attr.InputXGradient, {}),
        (IntegratedGradients(n_steps=7), captum.attr.IntegratedGradients, {"n_steps": 7}),
        (
            IntegratedGradients(n_steps=7, rule="right"),
            captum.attr.IntegratedGradients,
            {"n_steps": 7, "method": "riemann_right"},
        ),
        (
            IntegratedGradients(n_steps=7, rule="middle"),
            captum.attr.IntegratedGradients,
            {"n_steps": 7, "method": "riemann_middle"},
        ),
    ],
    ids=lambda value: getattr(value, "label", ""),
)
@pytest.mark.parametrize("network", ["tiny_cnn", "tiny_vit"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_maps_are_captums_summed_over_colours(request, classifier_of, photo_batch, ours, theirs, settings, network):
    classifier = classifier_of(request.getfixturevalue(network))
    maps = explain(ours, classifier, photo_batch)
    target = maps.targets.classes[:, 0]
    expected = theirs(classifier.module).attribute(photo_batch.clone(), target=target, **settings).sum(dim=1)
    assert_close(maps.values[:, 0], expected, atol=1e-5, rtol=1e-4)


def test_smoothgrad_is_the_mean_gradient_over_its_noise(classifier_of, tiny_cnn, photo_batch):
    classifier = classifier_of(tiny_cnn)
    maps = explain(SmoothGrad(n_samples=6, noise=0.2, channels="sum"), classifier, photo_batch, TargetRule(index=1))
    for row in (0, 3):
        photo = photo_batch[row]
        spread = 0.2 * (photo.max() - photo.min())
        noise = torch.stack([normal(int(SEEDS[row]), sample, photo) for sample in range(6)])
        points = (photo + spread * noise).requires_grad_()
        (gradients,) = torch.autograd.grad(tiny_cnn(points)[:, 1].sum(), points)
        assert_close(maps.values[row, 0], gradients.mean(dim=0).sum(dim=0), atol=1e-5, rtol=1e-4)


def test_smoothgrads_noise_is_standard_normal_and_another_for_each_sample_and_seed():
    draws = torch.stack([normal(seed, sample, torch.empty(3, 32, 32)) for seed in (1, 2) for sample in range(20)])
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
    assert torch.corrcoef(draws.flatten(1)).fill_diagonal_(0).abs().max() < 0.1


def test_smoothgrad_of_a_quadratic_score_has_the_moments_of_its_noise(classifier_of, photo_batch):
    classifier, few = classifier_of(Quadratic()), photo_batch[:2]
    spread = 0.15 * (few.amax(dim=(1, 2, 3)) - few.amin(dim=(1, 2, 3)))
    settings = {"n_samples": 400, "channels": "sum"}
    rule = TargetRule(index=2)
    mean = explain(SmoothGrad(**settings), classifier, few, rule).values[:, 0]
    assert ((mean - 3 * few.sum(dim=1)).abs().mean(dim=(1, 2)) < 0.2 * spread * 3).all()
    # The gradient 3 (x + noise) has the variance 9 spread^2 a colour.
    variance = explain(SmoothGrad(**settings, statistic="variance"), classifier, few, rule).values[:, 0]
    assert_close(variance.mean(dim=(1, 2)), 27 * spread**2, atol=0, rtol=0.02)
    square = explain(SmoothGrad(**settings, statistic="square"), classifier, few, rule).values[:, 0]
    assert_close(square.mean(), 27 * (spread**2).mean() + 9 * few.square().sum(dim=1).mean(), atol=0, rtol=0.02)


def test_gradient_shap_is_exact_on_a_linear_network_with_one_baseline(linear, photo_batch):
    maps = explain(GradientSHAP(n_samples=3, baselines=("white",)), linear, photo_batch, TargetRule(index=1))
    assert_close(maps.values[:, 0], (linear.module.weight[1] * (photo_batch - 1)).sum(dim=1), atol=1e-4, rtol=1e-4)


def test_gradient_shap_draws_baseline_and_point_from_the_photos_own_stream(classifier_of, tiny_cnn, photo_batch):
    classifier = classifier_of(tiny_cnn)
    names = ("black", "white", "blur")
    maps = explain(GradientSHAP(n_samples=5, baselines=names), classifier, photo_batch, TargetRule(index=0))
    expected = torch.zeros(32, 32)
    for sample in range(5):
        draw = stream(int(SEEDS[2]), "path", sample)
        start = baseline_inputs(names[draw.integers(3)], classifier.view, photo_batch)[2]
        point = (start + draw.random() * (photo_batch[2] - start)).float().requires_grad_()
        (gradient,) = torch.autograd.grad(tiny_cnn(point[None])[0, 0], point)
        expected += (gradient * (photo_batch[2] - start)).sum(dim=0) / 5
    assert_close(maps.values[2, 0], expected, atol=1e-5, rtol=1e-4)


def test_the_sign_follows_from_the_rule_for_colours():
    assert Saliency().sign is Sign.NONNEGATIVE
    assert Saliency(channels="sum").sign is Sign.SIGNED
    assert IntegratedGradients().sign is Sign.SIGNED
    assert SmoothGrad(channels="sum").sign is Sign.SIGNED
    assert SmoothGrad(channels="sum", statistic="variance").sign is Sign.NONNEGATIVE


def test_the_alias_ig_is_integrated_gradients():
    from xaicli.registry import make_method

    assert make_method("ig@n_steps=8") == IntegratedGradients(n_steps=8)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (IntegratedGradients, {"n_steps": 0}),
        (IntegratedGradients, {"rule": "left"}),
        (IntegratedGradients, {"baseline": "purple"}),
        (SmoothGrad, {"noise": 0.0}),
        (SmoothGrad, {"n_samples": 0}),
        (GradientSHAP, {"baselines": ()}),
        (GradientSHAP, {"baselines": ("zero", "nothing")}),
        (Saliency, {"channels": "mean"}),
    ],
)
def test_parameters_out_of_bounds_are_refused(cls, settings):
    with pytest.raises(UsageError, match=cls.name):
        cls(**settings)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_a_network_that_changes_its_input_in_place_is_explained_alike(classifier_of, tiny_cnn, photo_batch, cls):
    class Centred(nn.Module):
        def __init__(self, in_place):
            super().__init__()
            self.inner, self.in_place = tiny_cnn, in_place

        def forward(self, inputs):
            return self.inner(inputs.sub_(0.5) if self.in_place else inputs - 0.5)

    before = photo_batch.clone()
    expected = explain(cls(), classifier_of(Centred(False)), photo_batch).values
    assert torch.equal(explain(cls(), classifier_of(Centred(True)), photo_batch).values, expected)
    assert torch.equal(photo_batch, before)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_a_network_without_gradients_is_refused_in_words(classifier_of, photo_batch, cls):
    class Steps(nn.Module):
        def forward(self, inputs):
            return (inputs > 0).float().sum(dim=(2, 3))

    with pytest.raises(RunError, match="passes no gradients"):
        explain(cls(), classifier_of(Steps()), photo_batch)


def test_an_input_of_one_gradient_pass_that_does_not_fit_is_split(classifier_of, tiny_cnn, photo_batch):
    """A network that takes at most two photos at once, as a small device would."""

    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.widest = tiny_cnn, []

        def forward(self, inputs):
            if torch.is_grad_enabled() and len(inputs) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.widest.append(len(inputs))
            return self.inner(inputs)

    method = IntegratedGradients(n_steps=7)
    narrow = Narrow()
    expected = explain(method, classifier_of(tiny_cnn), photo_batch)
    assert_close(explain(method, classifier_of(narrow), photo_batch).values, expected.values, atol=1e-5, rtol=1e-5)


def test_not_even_one_gradient_fitting_is_said_in_words(classifier_of, photo_batch):
    class Huge(nn.Module):
        def forward(self, inputs):
            if torch.is_grad_enabled():
                raise torch.OutOfMemoryError("CUDA out of memory")
            return inputs.sum(dim=(2, 3))

    with pytest.raises(RunError, match="with gradients ran out of memory on a single 32 x 32 input"):
        explain(IntegratedGradients(n_steps=3), classifier_of(Huge()), photo_batch)


def test_the_batch_size_of_the_classifier_bounds_gradient_passes(classifier_of, tiny_cnn, photo_batch):
    widest = []
    hook = tiny_cnn.register_forward_pre_hook(lambda module, args: widest.append(len(args[0])))
    explain(SmoothGrad(n_samples=7), classifier_of(tiny_cnn, batch_size=3), photo_batch)
    hook.remove()
    assert max(widest) == 3
