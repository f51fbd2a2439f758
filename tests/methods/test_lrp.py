"""Layer-wise relevance propagation, against its formulas written out and against captum run plainly."""

import copy

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
    network = chain(bias=False)
    maps = explain(LRP(), classifier_of(network), photo_batch)
    for module in network:
        if isinstance(module, nn.Flatten | nn.Identity):
            module.rule = EpsilonRule()
    network[4].rule = GammaRule(0.25)
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


EXAMPLE = {
    # rule: shares of the inputs 1, -2 and 3 behind weights 2, 1, 1 and a bias of 0.5, of the output 3.5
    "epsilon": (0.571429, -0.571429, 0.857143),
    "alpha1-beta0": (0.363636, 0.0, 0.545455),
    "gamma": (0.512821, -0.410256, 0.769231),
}
MIRRORED = {
    # the same behind weights 2, 1, -1, of the output -2.5
    "epsilon": (-0.8, 0.8, 1.2),
    "alpha1-beta0": (0.8, 0.0, 0.0),
    "gamma": (-0.533333, 0.666667, 1.0),
}


@pytest.mark.parametrize("rule", EXAMPLE)
def test_a_bias_stands_in_the_denominator_once(classifier_of, rule):
    """Worked by hand: an identity convolution, which is the first, then one neuron for 3.5 and one for -2.5."""
    first, second = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 2, 1)
    network = nn.Sequential(first, second, nn.Flatten()).requires_grad_(False)
    first.weight.copy_(torch.eye(3)[:, :, None, None])
    second.weight.copy_(torch.tensor([[2.0, 1.0, 1.0], [2.0, 1.0, -1.0]])[:, :, None, None])
    second.bias.fill_(0.5)
    photo = torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1)
    classifier = classifier_of(network, size=(1, 1))
    for index, (output, shares) in enumerate(((3.5, EXAMPLE[rule]), (-2.5, MIRRORED[rule]))):
        maps = explain(LRP(rule=rule), classifier, photo, TargetRule(index=index))
        assert float(maps.targets.scores) == pytest.approx(output)
        assert float(maps.values) == pytest.approx(output * sum(shares), abs=1e-4)


class Residual(nn.Module):
    """A residual network of one block, batch norms behind convolutions, a ReLU as a function."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, affine=False)
        self.body, self.body_norm = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, affine=False)
        self.head = nn.Linear(6, 5, bias=False)

    def forward(self, inputs):
        stem = F.relu(self.norm(self.stem(inputs)))
        return self.head(F.relu(stem + self.body_norm(self.body(stem))).mean(dim=(2, 3)))


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha1-beta0"])
def test_sums_share_relevance_so_that_a_residual_network_hands_all_of_it_back(classifier_of, photo_batch, rule):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Residual().eval().requires_grad_(False)
    network.norm.running_var.fill_(0.3)
    maps = explain(LRP(rule=rule), classifier_of(network), photo_batch)
    assert_close(maps.values.sum(dim=(2, 3)), maps.targets.scores, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("activation", [nn.ReLU6(), nn.Hardswish(), nn.SiLU(), nn.GELU(), nn.Tanh()], ids=str)
def test_activations_hand_relevance_on(classifier_of, photo_batch, activation):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = [nn.Conv2d(3, 6, 3, bias=False), activation, nn.Conv2d(6, 5, 30, bias=False), nn.Flatten()]
        network = nn.Sequential(*layers).requires_grad_(False)
    maps = explain(LRP(rule="epsilon"), classifier_of(network), photo_batch)
    assert_close(maps.values.sum(dim=(2, 3)), maps.targets.scores, atol=1e-4, rtol=1e-3)


def test_a_layer_norm_counts_its_deviation_as_constant(classifier_of):
    """Worked by hand: (1, 2, 3, 6) normed and read by (1, 0, 0, 2) is 2.138090, and so is the sum of what is handed back."""
    norm, head = nn.LayerNorm(4, eps=0.0, elementwise_affine=False), nn.Linear(4, 2, bias=False)
    spread = nn.Conv2d(3, 4, 1, bias=False)
    network = nn.Sequential(spread, nn.Flatten(), norm, head).requires_grad_(False)
    spread.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 2]])[:, :, None, None])
    head.weight.copy_(torch.tensor([[1.0, 0, 0, 2], [0, 0, 0, 0]]))
    photo = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    maps = explain(LRP(channels="sum"), classifier_of(network, size=(1, 1)), photo, TargetRule(index=0))
    assert float(maps.targets.scores) == pytest.approx(2.138090, abs=1e-5)
    assert float(maps.values) == pytest.approx(2.138090, abs=1e-5)


@pytest.mark.parametrize("activation", [nn.ELU, nn.Softplus])
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
        (F.gelu, "gelu"),
        (lambda values: values * values, "mul"),
        (lambda values: values.softmax(dim=1), "softmax"),
        (lambda values: F.conv2d(values, torch.ones(4, 4, 1, 1)), "convolution"),
    ],
)
def test_what_no_rule_reaches_is_refused(classifier_of, photo_batch, function, word):
    with pytest.raises(UsageError, match=f"there is no rule for _?{word} in Wrapped"):
        explain(LRP(), classifier_of(Wrapped(function)), photo_batch)


def test_numbers_may_be_moved_about_outside_of_modules(classifier_of, photo_batch):
    moved = Wrapped(lambda values: torch.cat([values[:, 2:], values[:, :2]], dim=1).flip(3).flip(3))
    for convolution in (moved.first, moved.second):
        convolution.bias = None
    maps = explain(LRP(), classifier_of(moved.requires_grad_(False)), photo_batch)
    assert_close(maps.values.sum(dim=(2, 3)), maps.targets.scores, atol=1e-4, rtol=1e-3)


def test_a_module_that_is_used_twice_follows_its_rule_each_time(classifier_of, photo_batch):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        first, middle, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 5, 32)
    shared, again = nn.ReLU(), copy.deepcopy(middle)
    once = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), again, nn.ReLU(), last, nn.Flatten()).requires_grad_(False)
    twice = nn.Sequential(first, shared, middle, shared, middle, shared, last, nn.Flatten()).requires_grad_(False)
    maps = [explain(LRP(), classifier_of(network), photo_batch).values for network in (once, twice)]
    assert_close(maps[0], maps[1])


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
