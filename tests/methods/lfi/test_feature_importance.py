import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.methods.lfi.feature_importance import FeatureImportance, Importance, convolutions, thumbnail, unit_channels, unit_map


class Given(nn.Module):
    """Stands for the convolutions: says the same scores of the channels, whatever it sees."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, stack):
        return self.scores[None, :, None, None].expand_as(stack)


TWO_CHANNELS = torch.tensor([[[[1.0, 3], [2, 5]], [[4, 0], [0, 4]]]])


@pytest.fixture
def weighing():
    """A branch that weighs two channels 1 to 3."""
    branch = FeatureImportance(2)
    branch.fin = Given(torch.tensor([1.0, 3.0]).log())
    return branch


@pytest.mark.parametrize(
    ("channel", "expected"),
    [([[1, 3], [2, 5]], [[0, 0.5], [0.25, 1]]), ([[4, 4], [4, 4]], [[1, 1], [1, 1]]), ([[0, 0], [0, 0]], [[0, 0], [0, 0]])],
    ids=["varied", "constant", "zero"],
)
def test_a_channel_is_scaled_to_its_range_and_a_constant_one_is_one_where_it_is_not_zero(channel, expected):
    assert_close(unit_channels(torch.tensor(channel).float()), torch.tensor(expected).float())


def test_zeros_of_a_channel_that_goes_below_zero_stay_zero_only_under_the_authors_rule():
    channel = torch.tensor([[-1.0, 0], [1, 3]])
    assert_close(unit_channels(channel, zeros_stay=True), torch.tensor([[0, 0], [0.5, 1]]))
    assert_close(unit_channels(channel), torch.tensor([[0, 0.25], [0.5, 1]]))


def test_the_grey_picture_is_the_plain_mean_of_colours():
    colour = torch.tensor([0.3, 0.6, 0.9]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert_close(thumbnail(colour, (2, 2)), torch.full((1, 1, 2, 2), 0.6))


def test_the_grey_picture_is_made_small_by_sampling_points():
    grid = torch.arange(16.0).view(1, 1, 4, 4)
    assert_close(thumbnail(grid, (2, 2)), torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))
    assert_close(thumbnail(torch.arange(8.0).view(1, 1, 1, 8), (1, 2)), torch.tensor([[[[1.5, 5.5]]]]))
    spike = torch.tensor([0.0, 0, 0, 9, 0, 0, 0, 0]).view(1, 1, 1, 8)
    assert_close(thumbnail(spike, (1, 2)), torch.zeros(1, 1, 1, 2))
    assert thumbnail(spike, (1, 2), antialias=True).sum() > 0


def test_the_attention_is_the_weighted_sum_of_channels_scaled(weighing):
    # Weights 0.25 and 0.75: R = [[3.25, 0.75], [0.5, 4.25]].
    expected = torch.tensor([[[2.75, 0.25], [0.0, 3.75]]]) / 3.75
    assert_close(weighing(TWO_CHANNELS, torch.randn(1, 3, 8, 8)), expected)
    assert_close(expected, torch.tensor([[[0.733333, 0.066667], [0, 1]]]), atol=1e-6, rtol=0)


def test_the_temperature_divides_scores():
    branch = FeatureImportance(2, Importance(temperature=2.0))
    branch.fin = Given(2 * torch.tensor([1.0, 3.0]).log())
    assert_close(branch(TWO_CHANNELS, torch.randn(1, 3, 8, 8))[0, 1, 1], torch.tensor(1.0))
    assert_close(branch(TWO_CHANNELS, torch.randn(1, 3, 8, 8))[0, 0, 0], torch.tensor(0.733333), atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_constant_map_stays_as_it_is(value):
    assert_close(unit_map(torch.full((1, 2, 2), value)), torch.full((1, 2, 2), value))


@pytest.mark.parametrize("value", [0.0, 0.7, -1.0])
def test_gradients_are_finite_where_all_channels_are_constant(value):
    features = torch.full((2, 4, 5, 5), value, requires_grad=True)
    branch = FeatureImportance(4)
    attention = branch(features, torch.randn(2, 3, 10, 10))
    (features * (1 + attention[:, None])).sum().backward()
    assert attention.isfinite().all()
    assert features.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in branch.parameters())


@pytest.mark.parametrize(("channels", "count"), [(256, 2_361_344), (512, 9_441_280), (2048, 151_011_328)])
def test_the_branch_has_36_weights_a_pair_of_channels_and_8_a_channel(channels, count):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in FeatureImportance(channels).parameters()) == count


def test_a_narrower_branch_has_its_convolutions_inside():
    branch = FeatureImportance(64, Importance(fin_width=8))
    assert sum(parameter.numel() for parameter in branch.parameters()) == 64 * 8 + 36 * 64 + 8 * 8 + 64 * 8 + 64
    assert branch(torch.rand(2, 64, 6, 6), torch.randn(2, 3, 12, 12)).shape == (2, 6, 6)


def test_relus_follow_each_pair_of_convolutions_or_every_one():
    kinds = {relu: "".join(type(layer).__name__[0] for layer in convolutions(4, relu)) for relu in ("pair", "every")}
    assert kinds == {"pair": "CBCBRCBCBR", "every": "CBRCBRCBRCBR"}


def test_brighter_features_have_the_same_attention():
    branch = FeatureImportance(6).eval()
    features, inputs = torch.rand(2, 6, 7, 5), torch.randn(2, 3, 28, 20)
    assert_close(branch(features * 3, inputs), branch(features, inputs))


def test_the_attention_lies_between_zero_and_one_and_reaches_both():
    attention = FeatureImportance(6).eval()(torch.rand(3, 6, 7, 5), torch.randn(3, 3, 28, 20))
    assert_close(attention.amin(dim=(1, 2)), torch.zeros(3))
    assert_close(attention.amax(dim=(1, 2)), torch.ones(3))


def test_half_precision_around_the_branch_leaves_its_sums_exact():
    branch = FeatureImportance(6).eval()
    features, inputs = torch.rand(2, 6, 8, 8), torch.randn(2, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attention = branch(features.bfloat16(), inputs)
    assert attention.dtype == torch.float32
    assert_close(attention, branch(features, inputs), atol=0.05, rtol=0)


def test_no_gradient_passes_a_detached_map():
    features = torch.rand(1, 4, 4, 4, requires_grad=True)
    assert FeatureImportance(4, Importance(detach_map=True))(features, torch.randn(1, 3, 8, 8)).requires_grad is False
