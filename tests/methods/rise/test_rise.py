"""RISE as a method: exact on a network that is linear in the pixels, and independent of everything but photo, target and seed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xaicli.errors import RunError, UsageError
from xaicli.method import Cost, Maps, Needs, Sign
from xaicli.methods.rise.masks import MaskGrid, MaskPainter
from xaicli.methods.rise.rise import RISE
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.tensor([11, 22, 33, 44, 55])
FEW = RISE(n_masks=300, grid=4)
SAMPLINGS = ["iid", "antithetic", "balanced"]


def explain(rise: RISE, classifier: Classifier, inputs: Tensor, rule: TargetRule = DECISION, seeds: Tensor = SEEDS) -> Maps:
    return rise.attribute(classifier, inputs, Targets.same(rule, len(inputs)), seeds[: len(inputs)])


class LinearInPixels(nn.Module):
    """Logits that are weighted sums of pixels."""

    def __init__(self, height: int, width: int, classes: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(6)
        self.weights = nn.Parameter(torch.randn(classes, 3, height, width, generator=generator), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", inputs, self.weights)


def expected_of_linear(rise: RISE, network: LinearInPixels, inputs: Tensor, index: int) -> Tensor:
    """S(l) = sum over m of w(m) x(m) E[M(m) M(l)] / p in closed form: (B, H, W).

    Cells are independent, so that E[M(m) M(l)] = p^2 + p (1 - p) K(m, l), where K(m, l), the mean over shifts of the sum over
    cells of A(m) A(l), is a product of one factor for rows and one for columns.
    """
    grid = rise.law((inputs.shape[2], inputs.shape[3])).grid
    down, across = (torch.einsum("dli,dmi->lm", side, side) / len(side) for side in (grid.rows, grid.columns))
    p = rise.p1
    pixels = (inputs * network.weights[index]).sum(dim=1).double()
    return p * pixels.sum(dim=(1, 2))[:, None, None] + (1 - p) * down @ pixels @ across.T


@pytest.fixture
def linear(classifier_of) -> Classifier:
    return classifier_of(LinearInPixels(13, 18), (13, 18))


@pytest.fixture
def linear_inputs() -> Tensor:
    return torch.randn(4, 3, 13, 18, generator=torch.Generator().manual_seed(8))


# The exact linear test


@pytest.mark.parametrize("estimator", ["naive", "center", "regress"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(("p1", "border"), [(0.5, "clamp"), (0.3, "mirror")])
def test_maps_of_a_linear_network_are_its_closed_form_within_their_standard_error(
    linear, linear_inputs, estimator, sampling, p1, border
):
    rise = RISE(
        n_masks=4096, grid=(3, 4), p1=p1, border=border, score="logit", estimator=estimator, sampling=sampling, return_se=True
    )
    maps = explain(rise, linear, linear_inputs, TargetRule(index=1))
    expected = expected_of_linear(rise, linear.torch_module, linear_inputs, 1)[:, None]
    errors = (maps.values - expected) / maps.extras["se"]
    # Eight groups: Student's t of 7 degrees of freedom, whose variance is 7/5; pixels of a map are far from independent.
    assert float(errors.square().mean()) < 3
    assert float(errors.abs().max()) < 12


@pytest.mark.parametrize("estimator", ["naive", "center", "regress"])
def test_the_mean_over_seeds_closes_in_on_the_closed_form(linear, linear_inputs, estimator):
    rise = RISE(n_masks=16, grid=(3, 4), score="logit", estimator=estimator, sampling="iid")
    photo = linear_inputs[:1].expand(400, -1, -1, -1)
    maps = explain(rise, linear, photo, TargetRule(index=2), torch.arange(400)).values[:, 0].double()
    expected = expected_of_linear(rise, linear.torch_module, linear_inputs[:1], 2)[0]
    errors = (maps.mean(dim=0) - expected) / (maps.var(dim=0) / len(maps)).sqrt()
    assert float(errors.square().mean()) < 3


def test_the_error_falls_with_the_root_of_the_number_of_masks(linear, linear_inputs):
    expected = expected_of_linear(RISE(grid=(3, 4)), linear.torch_module, linear_inputs, 0)[:, None]

    def error(n_masks: int) -> float:
        rise = RISE(n_masks=n_masks, grid=(3, 4), score="logit", sampling="iid")
        maps = explain(rise, linear, linear_inputs, TargetRule(index=0))
        return float((maps.values - expected).square().mean().sqrt())

    assert error(500) / error(32_000) == pytest.approx(8, rel=0.5)


def test_a_fixed_baseline_stands_under_closed_masks(linear, linear_inputs):
    """f(b + (x - b) M) of a linear f is f(b) and the score of the difference: the closed form of x - b, moved by f(b)."""
    rise = RISE(n_masks=4096, grid=(3, 4), score="logit", baseline=0.7, return_se=True)
    maps = explain(rise, linear, linear_inputs, TargetRule(index=1))
    expected = expected_of_linear(rise, linear.torch_module, linear_inputs - 0.7, 1) + 0.7 * linear.torch_module.weights[1].sum()
    errors = (maps.values - expected[:, None]) / maps.extras["se"]
    assert float(errors.square().mean()) < 3


def test_a_map_is_the_plain_sum_over_the_masks_that_were_passed(tiny_cnn, classifier_of, photo_batch):
    rise = RISE(n_masks=300, grid=4, estimator="naive")
    maps = explain(rise, classifier_of(tiny_cnn), photo_batch[:1], TargetRule(index=3))
    law = rise.law((32, 32))
    chunks = [law.draw(11, 0), law.draw(11, 1)]
    bits = torch.cat([chunk.bits for chunk in chunks])[:300].float()
    shifts = torch.cat([chunk.shifts for chunk in chunks])[:300]
    masks = MaskPainter.on(torch.device("cpu"), law.grid).masks(bits, shifts)
    scores = tiny_cnn(photo_batch[:1] * masks[:, None]).softmax(dim=1)[:, 3]
    expected = torch.einsum("n,nhw->hw", scores.double(), masks.double()) / (300 * 0.5)
    assert_close(maps.values[0, 0], expected.float(), rtol=0, atol=1e-6)


# What a map may depend on


def test_a_batch_is_its_photos_alone(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn, batch_size=64)
    together = explain(FEW, classifier, photo_batch)
    for row in range(5):
        alone = FEW.attribute(classifier, photo_batch[row : row + 1], Targets.same(DECISION, 1), SEEDS[row : row + 1])
        assert_close(together.values[row], alone.values[0], rtol=0, atol=1e-5)
        assert_close(together.logits[row], alone.logits[0], rtol=0, atol=1e-5)
        assert torch.equal(together.targets.classes[row], alone.targets.classes[0])


def test_order_does_not_matter(tiny_cnn, classifier_of, photo_batch):
    order = torch.tensor([3, 0, 4, 2, 1])
    straight = explain(FEW, classifier_of(tiny_cnn), photo_batch)
    mixed = explain(FEW, classifier_of(tiny_cnn), photo_batch[order], seeds=SEEDS[order])
    assert_close(mixed.values, straight.values[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", ["tiny_cnn", "tiny_vit"])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_the_batch_size_does_not_matter(network, batch_size, request, classifier_of, photo_batch):
    module = request.getfixturevalue(network)
    rise = RISE(n_masks=50, grid=4)
    small = explain(rise, classifier_of(module, batch_size=batch_size), photo_batch[:2])
    assert_close(small.values, explain(rise, classifier_of(module), photo_batch[:2]).values, rtol=0, atol=1e-5)


def test_running_out_of_memory_on_the_way_changes_nothing(tiny_cnn, classifier_of, photo_batch):
    def scarce(inputs: Tensor) -> Tensor:
        if len(inputs) > 10:
            raise torch.OutOfMemoryError
        return tiny_cnn(inputs)

    found = explain(FEW, classifier_of(scarce), photo_batch)
    assert_close(found.values, explain(FEW, classifier_of(tiny_cnn), photo_batch).values, rtol=0, atol=1e-5)


def test_a_repeated_run_is_identical_and_another_seed_is_not(tiny_cnn, classifier_of, photo_batch):
    first, again = (explain(FEW, classifier_of(tiny_cnn), photo_batch).values for _ in range(2))
    other = explain(FEW, classifier_of(tiny_cnn), photo_batch, seeds=SEEDS + 1).values
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-4)


def test_equal_photos_under_different_seeds_have_independent_masks(tiny_cnn, classifier_of, photo_batch):
    maps = explain(FEW, classifier_of(tiny_cnn), photo_batch[:1].expand(2, -1, -1, -1)).values
    assert not torch.allclose(maps[0], maps[1], atol=1e-4)


def test_more_masks_are_the_same_masks_and_further_ones(linear, linear_inputs):
    passed: list[Tensor] = []

    def noting(inputs: Tensor) -> Tensor:
        passed.append(inputs.clone())
        return linear.torch_module(inputs)

    black_box = Classifier(noting, None, "black-box", linear.view, (), 3, Needs.FORWARD, "0" * 16)
    runs = []
    for n_masks in (200, 300):
        passed.clear()
        explain(RISE(n_masks=n_masks, grid=3), black_box, linear_inputs[:1])
        runs.append(torch.cat(passed))
    assert torch.equal(runs[0], runs[1][:201])


# Targets


def test_the_top_three_at_once_are_the_three_alone(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn)
    together = explain(FEW, classifier, photo_batch, TargetRule(top=3))
    assert together.values.shape == (5, 3, 32, 32)
    for row in range(5):
        for at in range(3):
            rule = TargetRule(index=int(together.targets.classes[row, at]))
            alone = FEW.attribute(classifier, photo_batch[row : row + 1], Targets.same(rule, 1), SEEDS[row : row + 1])
            assert_close(together.values[row, at], alone.values[0, 0], rtol=0, atol=1e-6)


def test_further_targets_cost_no_further_passes(tiny_cnn, classifier_of, photo_batch):
    passes: list[int] = []

    def counting(inputs: Tensor) -> Tensor:
        passes.append(len(inputs))
        return tiny_cnn(inputs)

    explain(FEW, classifier_of(counting), photo_batch, TargetRule(top=3))
    assert sum(passes) == 5 * (300 + 1)


def test_a_contrast_is_the_difference_of_two_maps(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn)
    contrast = explain(FEW, classifier, photo_batch, TargetRule(index=1, against=4)).values
    first, second = (explain(FEW, classifier, photo_batch, TargetRule(index=index)).values for index in (1, 4))
    assert_close(contrast, first - second, rtol=0, atol=1e-6)


def test_each_photo_may_have_a_target_of_its_own(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn)
    rules = (TargetRule(index=2), TargetRule(index=0, against=3))
    both = FEW.attribute(classifier, photo_batch[:2], Targets(rules), SEEDS[:2])
    for row, rule in enumerate(rules):
        alone = FEW.attribute(classifier, photo_batch[row : row + 1], Targets((rule,)), SEEDS[row : row + 1])
        assert_close(both.values[row], alone.values[0], rtol=0, atol=1e-6)
    assert both.targets.names(1) == ["0-3"]


def test_the_decision_is_that_of_the_clean_photo(tiny_cnn, classifier_of, photo_batch):
    maps = explain(FEW, classifier_of(tiny_cnn), photo_batch)
    assert_close(maps.logits, tiny_cnn(photo_batch), rtol=0, atol=1e-5)
    assert torch.equal(maps.targets.classes[:, 0], tiny_cnn(photo_batch).argmax(dim=1))


# Shapes, precision, surroundings


@pytest.mark.parametrize("size", [(32, 32), (31, 45), (64, 17), (7, 9)])
@pytest.mark.parametrize("grid", [7, (3, 5)])
def test_maps_have_the_inputs_size(tiny_cnn, classifier_of, size, grid):
    inputs = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    maps = explain(RISE(n_masks=40, grid=grid), classifier_of(tiny_cnn, size), inputs)
    assert maps.values.shape == (2, 1, *size)
    assert maps.values.dtype == torch.float32
    assert maps.values.isfinite().all()


def test_it_runs_inside_inference_mode_and_on_inputs_with_gradients(tiny_cnn, classifier_of, photo_batch):
    plain = explain(FEW, classifier_of(tiny_cnn), photo_batch).values
    with torch.inference_mode():
        inside = explain(FEW, classifier_of(tiny_cnn), photo_batch).values
    inputs = photo_batch.clone().requires_grad_()
    assert_close(inside, plain, rtol=0, atol=0)
    assert_close(explain(FEW, classifier_of(tiny_cnn), inputs).values, plain, rtol=0, atol=0)
    assert inputs.grad is None


def test_a_black_box_is_explained_as_the_network_in_it(tiny_cnn, classifier_of, photo_batch):
    found = explain(FEW, classifier_of(lambda inputs: tiny_cnn(inputs)), photo_batch)
    assert_close(found.values, explain(FEW, classifier_of(tiny_cnn), photo_batch).values, rtol=0, atol=1e-5)


def test_bf16_changes_maps_little_and_the_decision_not_at_all(tiny_cnn, classifier_of, photo_batch):
    exact = explain(FEW, classifier_of(tiny_cnn), photo_batch)
    half = explain(FEW, classifier_of(tiny_cnn).with_masked_dtype(torch.bfloat16), photo_batch)
    assert_close(half.values, exact.values, rtol=0, atol=5e-3)
    assert not torch.equal(half.values, exact.values)
    assert torch.equal(half.logits, exact.logits)


class Interrupted(nn.Module):
    """Raises from its third pass on."""

    def __init__(self, network: nn.Module, error: type[BaseException]) -> None:
        super().__init__()
        self.network, self.error, self.passes = network, error, 0
        self.drop = nn.Dropout(0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        self.passes += 1
        if self.passes >= 3:
            raise self.error
        return self.drop(self.network(inputs))


@pytest.mark.parametrize(("error", "told"), [(KeyboardInterrupt, KeyboardInterrupt), (ValueError, RunError)])
def test_a_network_is_left_as_it_was_also_when_interrupted(tiny_cnn, classifier_of, photo_batch, error, told):
    network = Interrupted(tiny_cnn, error).train()
    tiny_cnn.features[1].eval()
    modes = [part.training for part in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(told):
        explain(FEW, classifier_of(network, count=5, batch_size=16), photo_batch)
    assert [part.training for part in network.modules()] == modes
    assert_close(dict(network.state_dict()), state, rtol=0, atol=0)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_dropout_and_batch_statistics_are_off(tiny_cnn, classifier_of, photo_batch):
    network = nn.Sequential(tiny_cnn, nn.Dropout(0.5))
    calm = explain(FEW, classifier_of(network.eval()), photo_batch).values
    assert_close(explain(FEW, classifier_of(network.train()), photo_batch).values, calm, rtol=0, atol=0)


class LargestTensor(TorchDispatchMode):
    """Notes how many elements the largest tensor made inside has."""

    largest = 0

    def __torch_dispatch__(self, operation, kinds, positional=(), named=None):  # type: ignore[no-untyped-def]
        made = operation(*positional, **(named or {}))
        sizes = [leaf.untyped_storage().nbytes() for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        self.largest = max([self.largest, *sizes])
        return made


def test_memory_does_not_grow_with_the_number_of_masks(tiny_cnn, classifier_of, photo_batch):
    largest = []
    for n_masks in (512, 4096):
        with LargestTensor() as watched:
            explain(RISE(n_masks=n_masks, grid=4), classifier_of(tiny_cnn, batch_size=16), photo_batch[:1])
        largest.append(watched.largest)
    assert largest[0] == largest[1]
    assert largest[1] < 512 * 32 * 32 * 4


# The stopping rule


def test_it_stops_at_the_first_look_where_the_error_is_small_enough(tiny_cnn, classifier_of, photo_batch):
    maps = explain(RISE(n_masks=2048, grid=4, tol=50.0), classifier_of(tiny_cnn), photo_batch)
    fixed = explain(RISE(n_masks=512, grid=4), classifier_of(tiny_cnn), photo_batch)
    assert maps.extras["masks_used"].tolist() == [512] * 5
    assert_close(maps.values, fixed.values, rtol=0, atol=1e-5)


def test_each_photo_stops_on_its_own_and_not_before_its_error_allows(tiny_cnn, classifier_of, photo_batch):
    tol = 0.2
    maps = explain(RISE(n_masks=4096, grid=4, tol=tol, n_min=256), classifier_of(tiny_cnn), photo_batch)
    used = maps.extras["masks_used"].tolist()
    assert len(set(used)) > 1
    for row, count in enumerate(used):
        assert count == 4096 or maps.extras["error"][row, 0] < tol
        for n_masks in {256, count - 256} - {0, count}:
            seeds = SEEDS[row : row + 1]
            fixed = explain(RISE(n_masks=n_masks, grid=4), classifier_of(tiny_cnn), photo_batch[row : row + 1], seeds=seeds)
            assert fixed.extras["error"][0, 0] >= tol


def test_without_end_in_sight_it_takes_all_masks_and_no_more(tiny_cnn, classifier_of, photo_batch):
    maps = explain(RISE(n_masks=700, grid=4, tol=1e-9), classifier_of(tiny_cnn), photo_batch[:2])
    fixed = explain(RISE(n_masks=700, grid=4), classifier_of(tiny_cnn), photo_batch[:2])
    assert maps.extras["masks_used"].tolist() == [700, 700]
    assert_close(maps.values, fixed.values, rtol=0, atol=1e-5)


def test_extras_have_the_photos_in_front(tiny_cnn, classifier_of, photo_batch):
    maps = explain(RISE(n_masks=300, grid=4, return_se=True), classifier_of(tiny_cnn), photo_batch, TargetRule(top=2))
    shapes = {name: tuple(tensor.shape) for name, tensor in maps.extras.items()}
    assert shapes == {"masks_used": (5,), "error": (5, 2), "se": (5, 2, 32, 32)}
    assert set(explain(FEW, classifier_of(tiny_cnn), photo_batch).extras) == {"masks_used", "error"}


# Parameters


def test_what_it_declares():
    rise = RISE()
    assert (rise.name, rise.label, rise.needs) == ("rise", "rise", Needs.FORWARD)
    assert rise.cost() == Cost(forward=4000)
    assert rise.stochastic
    assert rise.masks_input
    assert rise.class_specific


@pytest.mark.parametrize(
    ("rise", "sign"),
    [
        (RISE(), Sign.NONNEGATIVE),
        (RISE(n_masks=301), Sign.SIGNED),
        (RISE(p1=0.3), Sign.SIGNED),
        (RISE(sampling="iid"), Sign.SIGNED),
        (RISE(sampling="balanced", p1=0.1, n_masks=1000), Sign.NONNEGATIVE),
        (RISE(sampling="iid", estimator="naive"), Sign.NONNEGATIVE),
        (RISE(estimator="regress"), Sign.SIGNED),
        (RISE(score="logit"), Sign.SIGNED),
        (RISE(preset="paper"), Sign.NONNEGATIVE),
    ],
)
def test_maps_are_called_non_negative_where_no_estimate_can_be_below_zero(rise, sign):
    assert rise.sign is sign


def settings_that_promise() -> Iterator[RISE]:
    for estimator in ("naive", "center"):
        for sampling in SAMPLINGS:
            rise = RISE(n_masks=64, grid=3, estimator=estimator, sampling=sampling)
            if rise.sign is Sign.NONNEGATIVE:
                yield rise


@pytest.mark.parametrize("rise", list(settings_that_promise()), ids=lambda rise: rise.label)
def test_maps_called_non_negative_are(rise, classifier_of, photo_batch):
    def mostly_zero(inputs: Tensor) -> Tensor:
        return 200 * inputs.flatten(1)[:, 500:505]

    assert explain(rise, classifier_of(mostly_zero), photo_batch, TargetRule(index=2)).values.min() >= 0


@pytest.mark.parametrize(
    ("preset", "same"),
    [
        ("paper", RISE(n_masks=4000, grid=7, p1=0.5, estimator="naive", sampling="iid", border="mirror")),
        ("notebook", RISE(n_masks=6000, grid=8, p1=0.1, estimator="naive", sampling="iid", border="mirror")),
    ],
)
def test_presets_are_the_authors_settings(preset, same):
    rise = RISE.from_text({"preset": preset})
    assert rise.label == f"rise@preset={preset}"
    assert rise.applied == same
    assert rise.cost() == same.cost()


def test_a_preset_keeps_what_it_does_not_set():
    assert RISE(preset="notebook", score="logit", tol=0.2).applied.tol == 0.2


def test_parameters_as_typed():
    rise = RISE.from_text({"grid": "5+7", "p1": "0.3+0.5", "n-masks": "1_000", "tol": "none", "sampling": "Balanced"})
    assert rise == RISE(grid=(5, 7), p1=(0.3, 0.5), n_masks=1000, sampling="balanced")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_masks": 1}, "at least 2"),
        ({"grid": 0}, "at least 1"),
        ({"grid": (3, 4, 5)}, "grid"),
        ({"p1": 0.0}, "above 0"),
        ({"p1": 1.0}, "below 1"),
        ({"p1": (0.5, 1.5)}, "below 1"),
        ({"tol": 0.0}, "above 0"),
        ({"estimator": "median"}, "naive"),
        ({"sampling": "grid"}, "antithetic"),
        ({"baseline": float("nan")}, "baseline"),
        ({"estimator": "regress", "p1": (0.3, 0.5)}, "several p1"),
        ({"preset": "paper", "n_masks": 8000}, "preset=paper already sets n_masks"),
        ({"preset": "thesis"}, "paper"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(given, said):
    with pytest.raises(UsageError, match=said):
        RISE(**given)


def test_an_unknown_parameter_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match=r'no parameter "n_mask". Did you mean n_masks\?'):
        RISE.from_text({"n_mask": "100"})


def test_a_grid_finer_than_the_input_is_refused(tiny_cnn, classifier_of, photo_batch):
    with pytest.raises(UsageError, match="finer than the input of 32 x 32"):
        explain(RISE(n_masks=4, grid=33), classifier_of(tiny_cnn), photo_batch)


def test_scores_that_are_not_numbers_make_a_map_that_is_not_either(classifier_of, tiny_cnn, photo_batch):
    def broken_when_masked(inputs: Tensor) -> Tensor:
        logits = tiny_cnn(inputs)
        dark = (inputs == 0).flatten(1).any(dim=1)
        return logits.masked_fill(dark[:, None], torch.nan)

    maps = explain(FEW, classifier_of(broken_when_masked), photo_batch)
    assert maps.logits.isfinite().all()
    assert maps.values.isnan().any(dim=-1).any(dim=-1).all()


def test_the_grid_is_that_of_the_spec():
    law = RISE().law((224, 224))
    assert law.grid == MaskGrid((224, 224), (7, 7), "clamp")
    assert law.grid.cell == (32, 32)
