"""DeepLIFT against closed forms, its sum rule, and captum run plainly where captum is right."""

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.deeplift import DeepLIFT
from xaicli.passes.baselines import baseline_inputs
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.arange(5)


def explain(method, classifier, photos, rule=DECISION):
    return method.attribute(classifier, photos, Targets.same(rule, len(photos)), SEEDS[: len(photos)])


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = make()
        network(torch.zeros(1, 3, 32, 32))
    return network.eval().requires_grad_(False)


def pooled(kernel, stride, padding=0, ceil_mode=False):
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode),
            nn.Conv2d(6, 6, 3),
            nn.Tanh(),
            nn.Flatten(),
            nn.LazyLinear(5),
        )
    )


def test_one_neuron_follows_the_rescale_rule(classifier_of):
    """f = 3 relu(w x + b) with sums over pixels: the multiplier is 3 (relu(z) - relu(z0)) / (z - z0), its share w (x - x0)."""
    weight = torch.linspace(-1, 1, 3 * 32 * 32)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 1), nn.ReLU(), nn.Linear(1, 2, bias=False)).requires_grad_(False)
    network[1].weight.copy_(weight[None])
    network[1].bias.fill_(-2.0)
    network[3].weight.copy_(torch.tensor([[3.0], [-1.0]]))
    photo = torch.full((1, 3, 32, 32), 0.1)
    photo[:, :, 16:] = 0.5
    before, reached = -2.0, float(weight @ photo.flatten()) - 2.0
    assert reached > 0
    expected = 3 * reached / (reached - before) * (weight.view(3, 32, 32) * photo[0]).sum(dim=0)
    maps = explain(DeepLIFT(), classifier_of(network), photo, TargetRule(index=0))
    assert_close(maps.values[0, 0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("baseline", ["zero", "white", "blur"])
@pytest.mark.parametrize(
    "shape", [(2, 2), (3, 2), (3, 2, 1), (3, 3, 1), (3, 1), (2, 2, 0, True), (3, 2, 0, True), (3, 2, 1, True)], ids=str
)
def test_contributions_sum_to_the_difference_of_scores_also_under_overlapping_pooling(
    classifier_of, photo_batch, shape, baseline
):
    classifier = classifier_of(pooled(*shape))
    maps = explain(DeepLIFT(baseline=baseline), classifier, photo_batch, TargetRule(top=2))
    start = maps.targets.logit(classifier(baseline_inputs(baseline, classifier.view, photo_batch)))
    assert_close(maps.values.sum(dim=(2, 3)), maps.targets.scores - start, atol=1e-4, rtol=1e-3)
    assert maps.extras["gap"].abs().max() < 1e-4


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_maps_are_captums_where_captum_is_right(classifier_of, tiny_cnn, photo_batch):
    pooling = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    )
    for network, baseline in ((tiny_cnn, "white"), (pooling, "blur")):
        classifier = classifier_of(network)
        maps = explain(DeepLIFT(baseline=baseline), classifier, photo_batch)
        starts = baseline_inputs(baseline, classifier.view, photo_batch)
        # captum's rule for max pooling reads the first photo's gradient for the whole batch, so that each photo goes alone.
        rows = [slice(row, row + 1) for row in range(len(photo_batch))]
        rule, target = captum.attr.DeepLift(network), maps.targets.classes[:, 0]
        expected = torch.cat([rule.attribute(photo_batch[row].clone(), starts[row], target=target[row]) for row in rows])
        assert_close(maps.values[:, 0], expected.sum(dim=1).detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(4), nn.MaxPool2d(3, 1, 1)], ids=str)
@pytest.mark.parametrize("baseline", ["zero", "white"])
def test_on_a_network_that_is_its_own_mirror_a_mirrored_photo_has_a_mirrored_map(classifier_of, photo_batch, pool, baseline):
    """Under a plain baseline all cells of a window are largest: none of them is first."""
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), pool, nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
        )
    )  # fmt: skip
    for convolution in (network[0], network[3]):
        convolution.weight.copy_((convolution.weight + convolution.weight.flip(3)) / 2)
    classifier, rule = classifier_of(network), TargetRule(index=1)
    maps = explain(DeepLIFT(baseline=baseline), classifier, photo_batch, rule).values
    mirrored = explain(DeepLIFT(baseline=baseline), classifier, photo_batch.flip(3), rule).values
    assert_close(mirrored.flip(3), maps, atol=1e-5 * float(maps.max() - maps.min()), rtol=1e-3)


def test_a_contrast_is_the_difference_of_two_maps(classifier_of, tiny_cnn, photo_batch):
    """The rescale rule is linear in the score above the last activation."""
    classifier = classifier_of(tiny_cnn)
    first, second, both = (
        explain(DeepLIFT(), classifier, photo_batch, TargetRule(**rule)).values
        for rule in ({"index": 1}, {"index": 3}, {"index": 1, "against": 3})
    )
    assert_close(both, first - second, atol=1e-5, rtol=1e-4)


class Residual(nn.Module):
    """A ReLU used twice, in place, and a sum that reads the input of the second."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.activation, self.head = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, inputs):
        hidden = self.second(self.activation(self.first(inputs)))
        hidden = self.activation(hidden.clone()) + hidden
        return self.head(hidden.mean(dim=(2, 3)))


def test_a_reused_activation_is_refused_or_split_as_told(classifier_of, photo_batch):
    classifier = classifier_of(seeded(Residual))
    with pytest.raises(UsageError, match=r"ReLU activation is used 2 times.*deeplift@split=true"):
        explain(DeepLIFT(), classifier, photo_batch)
    maps = explain(DeepLIFT(split=True, baseline="blur"), classifier, photo_batch)
    assert maps.extras["gap"].abs().max() < 1e-5


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU, nn.Softmax2d])
def test_activations_without_a_rule_are_refused_by_name(classifier_of, photo_batch, activation):
    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), activation(), nn.Flatten(), nn.LazyLinear(5)))
    with pytest.raises(UsageError, match=rf"deeplift cannot explain Sequential: it has no rule for .*\({activation.__name__}\)"):
        explain(DeepLIFT(), classifier_of(network), photo_batch)


def test_a_softmax_is_refused_since_captums_rule_mixes_photos(classifier_of, photo_batch):
    network = seeded(lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.Softmax(dim=1)))
    with pytest.raises(UsageError, match="no rule for _softmax in 2"):
        explain(DeepLIFT(), classifier_of(network), photo_batch)


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.function = function

    def forward(self, inputs):
        return self.second(self.function(self.first(inputs))).mean(dim=(2, 3))


@pytest.mark.parametrize(
    "function",
    [
        F.relu,
        torch.sigmoid,
        lambda values: F.max_pool2d(values, 2),
        lambda values: values * values.mean(dim=(2, 3), keepdim=True),
        lambda values: values / (values.mean() ** 2 + 1),
        lambda values: 1 / (values + 10),
        torch.square,
    ],
)
def test_what_is_not_linear_and_no_module_is_refused(classifier_of, photo_batch, function):
    with pytest.raises(UsageError, match="has no rule for"):
        explain(DeepLIFT(), classifier_of(Functional(function)), photo_batch)


@pytest.mark.parametrize(
    "function",
    [
        lambda values: values * 3 - 1,
        lambda values: 2 - values / 7,
        lambda values: F.avg_pool2d(values, 2),
        lambda values: torch.cat([values[:, :2], values[:, 2:].flip(1)], dim=1) + values,
        lambda values: F.interpolate(values, scale_factor=2, mode="bilinear"),
        lambda values: F.pad(values, (1, 1, 1, 1)),
        lambda values: F.batch_norm(values, torch.zeros(4), torch.ones(4)),
    ],
)
def test_what_is_linear_may_be_a_function(classifier_of, photo_batch, function):
    assert explain(DeepLIFT(), classifier_of(Functional(function)), photo_batch).extras["gap"].abs().max() < 1e-5
