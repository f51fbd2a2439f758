"""Layer-wise relevance propagation, against its formulas written out and against captum run plainly."""

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule
from torch import nn
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.lrp import LRP
from xaicli.methods.pixel_gradients.pixel_gradients import InputXGradient
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.arange(5)


def explain(method, classifier, photos, rule=DECISION):
    return method.attribute(classifier, photos, Targets.same(rule, len(photos)), SEEDS[: len(photos)])


def chain(bias, norm=False, seed=6):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=bias),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Dropout(),
            nn.Conv2d(6, 8, 3, bias=bias),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5, bias=bias),
        )
        if norm:
            network[5].running_mean.normal_()
            network[5].running_var.uniform_(0.5, 2)
            network[5].weight.data.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


def test_the_epsilon_rule_without_biases_is_input_times_gradient(classifier_of, photo_batch):
    classifier = classifier_of(chain(bias=False))
    rule = TargetRule(top=2)
    expected = explain(InputXGradient(), classifier, photo_batch, rule).values
    assert_close(explain(LRP(rule="epsilon"), classifier, photo_batch, rule).values, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha1-beta0"])
def test_without_biases_relevance_sums_to_the_logit(classifier_of, photo_batch, rule):
    maps = explain(LRP(rule=rule), classifier_of(chain(bias=False)), photo_batch, TargetRule(top=3))
    assert_close(maps.values.sum(dim=(2, 3)), maps.targets.scores, atol=1e-4, rtol=1e-3)


def share(activations, weights, relevance):
    """One linear layer's rule written out: relevance (n,) of outputs, handed to inputs (m,) in proportion to a_i w_ji."""
    parts = activations * weights
    return (parts / parts.sum(dim=1, keepdim=True) * relevance[:, None]).nansum(dim=0)


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        (LRP(rule="gamma", gamma=0.4), lambda weights: weights + 0.4 * weights.clamp_min(0)),
        (LRP(rule="alpha1-beta0"), lambda weights: weights.clamp_min(0)),
    ],
    ids=lambda value: getattr(value, "label", ""),
)
def test_rules_for_convolutions_follow_their_formulas(classifier_of, method, changed):
    """On two pixels a network of 1 x 1 convolutions is a chain of dense layers for each, and the last layer joins them."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        convolutions = [nn.Conv2d(3, 16, 1, bias=False), nn.ReLU(), nn.Conv2d(16, 12, 1, bias=False), nn.ReLU()]
        network = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(24, 2, bias=False)).requires_grad_(False)
    photo = torch.tensor([[0.5, -0.8, 1.2], [1.0, 0.3, -0.4]]).T.reshape(1, 3, 1, 2)
    maps = explain(method, classifier_of(network, size=(1, 2)), photo, TargetRule(index=1))
    first = network[:2](photo)[0, :, 0]
    second = network[:4](photo)[0, :, 0]
    last = network[5].weight[1:].view(1, 12, 2)
    relevance = (second * last)[0]
    for pixel in range(2):
        middle = share(first[:, pixel], changed(network[2].weight[:, :, 0, 0]), relevance[:, pixel])
        expected = share(photo[0, :, 0, pixel], network[0].weight[:, :, 0, 0], middle).sum()
        assert relevance[:, pixel].abs().sum() > 0
        assert_close(maps.values[0, 0, 0, pixel], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_maps_are_captums_under_the_same_rules(classifier_of, photo_batch):
    network = chain(bias=True)
    maps = explain(LRP(), classifier_of(network), photo_batch)
    for module in network:
        if isinstance(module, nn.Flatten | nn.Identity):
            module.rule = EpsilonRule()
    network[4].rule = GammaRule(0.25, set_bias_to_zero=True)
    expected = captum.attr.LRP(network).attribute(photo_batch.clone(), target=maps.targets.classes[:, 0])
    assert_close(maps.values[:, 0], expected.sum(dim=1).detach(), atol=1e-5, rtol=1e-3)


def test_batch_norm_is_merged_into_the_convolution_before_it(classifier_of, photo_batch):
    normed, merged = chain(bias=True, norm=True), chain(bias=True)
    scale = normed[5].weight / (normed[5].running_var + normed[5].eps).sqrt()
    merged.load_state_dict(normed.state_dict(), strict=False)
    merged[4].weight.mul_(scale[:, None, None, None])
    merged[4].bias.copy_((normed[4].bias - normed[5].running_mean) * scale + normed[5].bias)
    expected = explain(LRP(), classifier_of(merged), photo_batch).values
    assert_close(explain(LRP(), classifier_of(normed), photo_batch).values, expected, atol=1e-4, rtol=1e-3)


class InOrder(nn.Module):
    """Two convolutions, each with a batch norm, held as attributes in an order of their own."""

    def __init__(self, order):
        super().__init__()
        for name, channels in ((name, {"stem": 3, "body": 6}[name]) for name in order):
            setattr(self, name, nn.Sequential(nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU()))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 5)

    def forward(self, inputs):
        return self.head(self.pool(self.body(self.stem(inputs))).flatten(1))


@pytest.mark.parametrize("alias", [False, True])
def test_the_first_convolution_is_the_one_that_runs_first(classifier_of, photo_batch, alias):
    """Attributes in another order, or a further name for a convolution, change nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(9)
        one = InOrder(["stem", "body"]).eval().requires_grad_(False)
    other = InOrder(["body", "stem"]).eval().requires_grad_(False)
    other.load_state_dict(one.state_dict())
    if alias:
        other._modules = {"further": other.stem[0], **other._modules}
    maps = [explain(LRP(), classifier_of(network), photo_batch) for network in (one, other)]
    assert_close(maps[1].values, maps[0].values)
    assert maps[0].values.abs().max() > 0


@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
def test_a_contrast_is_the_difference_of_two_maps(classifier_of, photo_batch, rule):
    classifier = classifier_of(chain(bias=True))
    first, second, both = (
        explain(LRP(rule=rule), classifier, photo_batch, TargetRule(**target)).values
        for target in ({"index": 1}, {"index": 3}, {"index": 1, "against": 3})
    )
    assert_close(both, first - second)


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU, nn.ELU])
def test_activations_without_a_rule_are_refused_by_name(classifier_of, photo_batch, activation):
    network = nn.Sequential(nn.Conv2d(3, 5, 32), activation(), nn.Flatten())
    with pytest.raises(UsageError, match=rf"lrp cannot explain Sequential: there is no rule for .* 1 \({activation.__name__}\)"):
        explain(LRP(), classifier_of(network), photo_batch)


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.second, self.function = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 30), function

    def forward(self, inputs):
        return self.second(self.function(self.first(inputs))).flatten(1)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (F.relu, "relu"),
        (lambda values: values + values, "add"),
        (lambda values: values * 2, "mul"),
        (lambda values: F.avg_pool2d(values, 3, 1, 1), "avg_pool2d"),
    ],
)
def test_what_is_computed_outside_of_modules_is_refused(classifier_of, photo_batch, function, word):
    with pytest.raises(UsageError, match=f"there is no rule for {word} in Wrapped"):
        explain(LRP(), classifier_of(Wrapped(function)), photo_batch)


def test_numbers_may_be_moved_about_outside_of_modules(classifier_of, photo_batch):
    moved = Wrapped(lambda values: torch.cat([values[:, 2:], values[:, :2]], dim=1).flip(3).flip(3))
    for convolution in (moved.first, moved.second):
        convolution.bias = None
    maps = explain(LRP(), classifier_of(moved.requires_grad_(False)), photo_batch)
    assert_close(maps.values.sum(dim=(2, 3)), maps.targets.scores, atol=1e-4, rtol=1e-3)


def test_a_module_that_is_used_twice_is_refused(classifier_of, photo_batch):
    shared = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 4, 3), shared, nn.Conv2d(4, 5, 30), shared, nn.Flatten())
    with pytest.raises(UsageError, match="its ReLU 1 is used more than once"):
        explain(LRP(), classifier_of(network), photo_batch)


def test_a_softmax_that_was_found_is_refused(classifier_of, photo_batch):
    with pytest.raises(UsageError, match="ends in a softmax"):
        explain(LRP(), classifier_of(chain(bias=True), probabilities=True), photo_batch)


def test_weights_are_where_they_were_after_a_rule_that_changes_them(classifier_of, photo_batch):
    network = chain(bias=True)
    before = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in network.state_dict(keep_vars=True).items()}
    explain(LRP(rule="alpha1-beta0"), classifier_of(network), photo_batch)
    for name, tensor in network.state_dict(keep_vars=True).items():
        assert tensor.data_ptr() == before[name][0]
        assert torch.equal(tensor, before[name][1])
