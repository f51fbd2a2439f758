"""Metrics that let the method explain again: randomization, stability, sensitivity, class sensitivity, seed variance."""

from __future__ import annotations

import copy

import captum.metrics
import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import xaicli
from xaicli.errors import RunError, UsageError
from xaicli.method import Maps
from xaicli.metrics.class_sensitivity import ClassSensitivity
from xaicli.metrics.max_sensitivity import MaxSensitivity
from xaicli.metrics.randomization.randomised import parameters_top_down, randomiser
from xaicli.metrics.randomization.randomization import Randomization
from xaicli.metrics.seed_variance import SeedVariance
from xaicli.metrics.stability import Stability
from xaicli.network.dry_run import dry_run
from xaicli.passes.seeds import photo_seed, stream
from xaicli.targets import DECISION, TargetRule, Targets


def input_gradient(classifier, inputs, targets, seeds) -> Maps:
    """The gradient of the logit, summed over channels: a method that depends on every weight."""
    with torch.enable_grad():
        leaf = inputs.clone().requires_grad_()
        logits = classifier(leaf)
        chosen = targets.resolve(logits)
        (gradient,) = torch.autograd.grad(chosen.scores.sum(), leaf)
    return Maps(gradient.sum(dim=1, keepdim=True), chosen, logits.detach())


def brightness(classifier, inputs, targets, seeds) -> Maps:
    """The photo itself: a method that knows nothing of the network, nor of the class."""
    logits = classifier(inputs)
    return Maps(inputs.mean(dim=1, keepdim=True), targets.resolve(logits), logits)


def noisy(classifier, inputs, targets, seeds) -> Maps:
    """The photo plus noise of variance 1/4 from the method's seed."""
    made = brightness(classifier, inputs, targets, seeds)
    noise = [stream(int(seed), "noise").standard_normal(tuple(inputs.shape[2:]), dtype=np.float32) for seed in seeds]
    return Maps(made.values + 0.5 * torch.from_numpy(np.stack(noise))[:, None], made.targets, made.logits)


@pytest.fixture
def given(desk, tiny_cnn):
    return desk(tiny_cnn, (32, 32), 5)


@pytest.fixture
def explained(given, photo_batch):
    """`explained(method)`: its maps of the batch for the decided classes, ready to explain again."""

    def make(method, *, label="given", stochastic=False):
        seeds = torch.tensor([photo.seed_for(label) for photo in given.photos(photo_batch)])
        maps = method(given.classifier, photo_batch, Targets.same(DECISION, 5), seeds)
        classes = maps.targets.classes
        return given.explanation(maps.values, classes, attribute=method, stochastic=stochastic, label=label)

    return make


class TestRandomization:
    def test_a_map_that_ignores_the_network_stays_the_same(self, given, explained, photo_batch):
        for row in given.rows(Randomization(), photo_batch, explained(brightness)):
            assert row.value == pytest.approx(1)
            assert row.readouts["ssim"] == pytest.approx(1)
            assert row.readouts["last"] == pytest.approx(1)

    def test_a_gradient_does_not(self, given, explained, photo_batch):
        for row in given.rows(Randomization(), photo_batch, explained(input_gradient)):
            assert row.value < 0.6
            assert row.curve.x[0] == 0
            assert row.curve.y[0] == 1
            assert row.readouts["last"] == row.curve.y[-1]
            assert row.value == pytest.approx(np.mean(row.curve.y[1:]))

    def test_the_network_is_bit_for_bit_what_it_was(self, given, explained, photo_batch, tiny_cnn):
        before = copy.deepcopy(tiny_cnn.state_dict())
        given.rows(Randomization(), photo_batch, explained(input_gradient))
        assert all(torch.equal(before[name], tensor) for name, tensor in tiny_cnn.state_dict().items())

    def test_also_when_the_method_raises_meanwhile(self, given, explained, photo_batch, tiny_cnn):
        before = copy.deepcopy(tiny_cnn.state_dict())
        calls = []

        def failing(*args):
            calls.append(1)
            if len(calls) > 2:
                assert any(not torch.equal(before[name], tensor) for name, tensor in tiny_cnn.state_dict().items())
                raise KeyboardInterrupt
            return input_gradient(*args)

        with pytest.raises(KeyboardInterrupt):
            given.rows(Randomization(), photo_batch, explained(failing))
        assert all(torch.equal(before[name], tensor) for name, tensor in tiny_cnn.state_dict().items())

    def test_every_photo_meets_the_same_random_network(self, given, explained, photo_batch):
        together = given.rows(Randomization(stages=2), photo_batch, explained(input_gradient))
        whole = explained(input_gradient)
        for at in (0, 3):
            classes = whole.maps.targets.classes[at : at + 1]
            one = given.explanation(whole.maps.values[at : at + 1], classes, attribute=input_gradient)
            alone = given.rows(Randomization(stages=2), photo_batch[at : at + 1], one, names=[f"{at}.png"])
            assert alone[0].value == pytest.approx(together[at].value, abs=1e-4)

    def test_layers_are_found_from_the_output_down(self, tiny_cnn, tiny_vit):
        assert parameters_top_down(tiny_cnn, dry_run(tiny_cnn, (32, 32)).begun) == [
            ["head.weight", "head.bias"],
            ["features.6.weight", "features.6.bias"],
            ["features.4.weight", "features.4.bias"],
            ["features.3.weight", "features.3.bias"],
            ["features.1.weight", "features.1.bias"],
            ["features.0.weight", "features.0.bias"],
        ]
        names = parameters_top_down(tiny_vit, dry_run(tiny_vit, (32, 32)).begun)
        assert names[0] == ["heads.head.weight", "heads.head.bias"]
        assert names[-1] == ["class_token"]
        assert sorted(name for group in names for name in group) == sorted(name for name, _ in tiny_vit.named_parameters())

    def test_modules_that_their_parents_run_count_where_the_parents_do(self, tiny_vit):
        """Attention reads the weights of its projections; they are never called as modules."""
        names = [group[0] for group in parameters_top_down(tiny_vit, dry_run(tiny_vit, (32, 32)).begun)]
        order = [names.index(f"encoder.layers.encoder_layer_{layer}.self_attention.out_proj.weight") for layer in (0, 1)]
        middle = names.index("encoder.layers.encoder_layer_1.ln_1.weight")
        assert order[1] < middle < order[0]

    def test_random_weights_keep_mean_and_spread(self):
        layer = nn.Linear(400, 400)
        with torch.no_grad():
            layer.weight.mul_(3).add_(0.5)
        before = layer.weight.detach().clone()
        with randomiser(layer, 0) as weights:
            weights.randomise(["weight"])
            assert layer.weight.mean().item() == pytest.approx(before.mean().item(), abs=0.002)
            assert layer.weight.std().item() == pytest.approx(before.std().item(), rel=0.01)
            assert abs(np.corrcoef(layer.weight.detach().flatten(), before.flatten())[0, 1]) < 0.02
        assert torch.equal(layer.weight, before)

    def test_weights_made_in_inference_mode_are_randomised_and_restored_too(self):
        with torch.inference_mode():
            layer = nn.Linear(4, 4)
        before = layer.weight.clone()
        with randomiser(layer, 0) as weights:
            weights.randomise(["weight", "bias"])
            assert not torch.equal(layer.weight, before)
        assert torch.equal(layer.weight, before)


class TestStability:
    def test_the_photo_itself_as_a_map_moves_with_the_photo(self, given, explained, photo_batch):
        for row in given.rows(Stability(), photo_batch, explained(brightness)):
            assert row.readouts["flip"] == pytest.approx(1)
            assert row.readouts["shift"] == pytest.approx(1)
            assert row.readouts["jpeg"] > 0.7
            assert row.value == pytest.approx(np.mean([row.readouts[name] for name in ("flip", "shift", "jpeg")]))

    def test_a_map_that_stays_where_it_is_does_not_follow_a_flip(self, given, photo_batch):
        ramp = torch.arange(32.0).expand(5, 1, 32, 32)

        def fixed(classifier, inputs, targets, seeds):
            logits = classifier(inputs)
            return Maps(ramp[: len(inputs)], targets.resolve(logits), logits)

        rows = given.rows(Stability(changes=("flip",)), photo_batch, given.explanation(ramp, attribute=fixed))
        assert [row.value for row in rows] == pytest.approx([-1] * 5)
        assert "jpeg" not in rows[0].readouts

    def test_each_change_is_explained_for_the_same_target_under_the_same_seed(self, given, explained, photo_batch):
        asked = []

        def listening(classifier, inputs, targets, seeds):
            asked.append((inputs, targets.rules, seeds.tolist()))
            return brightness(classifier, inputs, targets, seeds)

        explanation = explained(listening, label="rise")
        first = asked.pop()
        given.rows(Stability(shift=3), photo_batch, explanation)
        assert len(asked) == 3 * 5
        classes = explanation.maps.targets.classes[:, 0].tolist()
        for photo in range(5):
            mine = asked[3 * photo : 3 * photo + 3]
            assert torch.equal(mine[0][0][0], photo_batch[photo].flip(2))
            assert torch.equal(mine[1][0][0, :, 3:, 3:], photo_batch[photo, :, :-3, :-3])
            assert all([rule.index for rule in rules] == [classes[photo]] for _, rules, _ in mine)
            assert all(seeds == [first[2][photo]] for *_, seeds in mine)

    def test_a_shift_beyond_the_photo_is_refused(self, given, explained, photo_batch):
        with pytest.raises(UsageError, match="leaves nothing of 32 x 32"):
            given.rows(Stability(shift=32), photo_batch, explained(brightness))

    def test_naming_a_change_twice_is_refused(self):
        with pytest.raises(UsageError, match="twice"):
            Stability(changes=("flip", "flip"))


class TestMaxSensitivity:
    def test_a_map_that_does_not_change_has_none(self, given, photo_batch):
        still = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))

        def fixed(classifier, inputs, targets, seeds):
            logits = classifier(inputs)
            return Maps(still.expand(len(inputs), -1, -1, -1), targets.resolve(logits), logits)

        maps = given.explanation(still.expand(5, -1, -1, -1), attribute=fixed)
        assert given.values(MaxSensitivity(), photo_batch, maps) == [0] * 5

    def test_it_is_captums_on_the_same_noise(self, given, explained, photo_batch):
        """captum draws its noise elsewhere, so it is handed ours."""
        explanation = explained(input_gradient)
        rows = given.rows(MaxSensitivity(draws=4, radius=0.3), photo_batch[:1], given_first(given, explanation))
        content = given.photos(photo_batch)[0].content
        seed = photo_seed(0, content, 0, "scores")
        noise = [stream(seed, "max-sensitivity", draw).random((3, 32, 32), dtype=np.float32) for draw in range(4)]
        moved = photo_batch[:1] + (2 * torch.from_numpy(np.stack(noise)) - 1) * 0.3
        index = int(explanation.maps.targets.classes[0, 0])

        def explain(inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            photos = inputs[0]
            rules = Targets.same(TargetRule(index=index), len(photos))
            return (input_gradient(given.classifier, photos, rules, torch.zeros(len(photos))).values,)

        expected = captum.metrics.sensitivity_max(
            explain, photo_batch[:1], perturb_func=lambda inputs, radius: (moved,), perturb_radius=0.3, n_perturb_samples=4
        )
        assert rows[0].value == pytest.approx(expected.item(), rel=1e-4)
        assert 0 <= rows[0].readouts["decided"] <= 1
        assert rows[0].readouts["mean"] <= rows[0].value

    def test_the_radius_is_in_pixel_units(self, desk, tiny_cnn):
        seen: list[Tensor] = []

        def listening(classifier, inputs, targets, seeds):
            seen.append(inputs)
            return brightness(classifier, inputs, targets, seeds)

        given = desk(tiny_cnn, (32, 32), 5, (0.5,) * 3, (0.25,) * 3)
        photo = torch.zeros(1, 3, 32, 32)
        maps = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
        given.rows(MaxSensitivity(draws=1), photo, given.explanation(maps, attribute=listening))
        assert 0.95 * 0.02 / 0.25 < seen[0].abs().max() <= 0.02 / 0.25


def given_first(given, explanation):
    """The same explanation for its first photo alone."""
    maps = explanation.maps
    return given.explanation(maps.values[:1], maps.targets.classes[:1], attribute=explanation.explainer.attribute)


class TestClassSensitivity:
    def test_a_map_that_ignores_the_class_is_its_own_likeness(self, given, explained, photo_batch):
        assert given.values(ClassSensitivity(), photo_batch, explained(brightness)) == pytest.approx([1] * 5)

    @pytest.mark.parametrize(("other", "place"), [("last", -1), ("second", 1)])
    def test_it_is_the_rank_correlation_with_the_other_classs_map(self, given, explained, photo_batch, tiny_cnn, other, place):
        explanation = explained(input_gradient)
        rows = given.rows(ClassSensitivity(other=other), photo_batch, explanation)
        orders = tiny_cnn(photo_batch).argsort(dim=1, descending=True)
        for row, (mine, order) in zip(rows, enumerate(orders), strict=True):
            rules = Targets.same(TargetRule(index=int(order[place])), 1)
            theirs = input_gradient(given.classifier, photo_batch[mine : mine + 1], rules, torch.zeros(1)).values[0, 0]
            expected = scipy.stats.spearmanr(explanation.maps.values[mine, 0].flatten(), theirs.flatten()).statistic
            assert row.value == pytest.approx(expected, abs=1e-4)

    def test_values_are_no_classes(self):
        pooled = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 1))
        value = xaicli.classifier(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), *pooled).eval(), outputs="values")
        with pytest.raises(UsageError, match="class-sensitivity needs probabilities"):
            xaicli.score("sample:hopper", value, "grad-cam", metric="class-sensitivity", target=0, controls=False)

    def test_a_constant_map_of_the_other_class_counts_as_uncorrelated(self, given, explained, photo_batch):
        def blank(classifier, inputs, targets, seeds):
            made = brightness(classifier, inputs, targets, seeds)
            return Maps(torch.zeros_like(made.values), made.targets, made.logits)

        maps = explained(brightness).maps
        rows = given.rows(ClassSensitivity(), photo_batch, given.explanation(maps.values, maps.targets.classes, attribute=blank))
        assert [(row.value, row.readouts["blank"]) for row in rows] == [(0, 1)] * 5


class TestSeedVariance:
    def test_a_deterministic_method_has_none_and_is_not_run_again(self, given, photo_batch):
        def never(*args):
            raise AssertionError("a deterministic method was run again")

        maps = photo_batch[:, :1]
        assert given.values(SeedVariance(), photo_batch, given.explanation(maps, attribute=never)) == [0] * 5

    def test_noise_of_known_size_is_found(self, given, photo_batch, explained):
        """Noise of standard deviation 1/2 on maps of known spread."""
        rows = given.rows(SeedVariance(draws=40), photo_batch, explained(noisy, stochastic=True, label="noisy"))
        for row, photo in zip(rows, photo_batch, strict=True):
            assert row.value == pytest.approx(0.5 / photo.mean(dim=0).std(correction=0).item(), rel=0.1)
            assert 0 < row.readouts["spearman"] < 1

    def test_pure_noise_has_no_signal_to_compare_with(self, given, photo_batch):
        """The mean of alternating signs is 0: nothing is left but noise."""
        base = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
        made = []

        def turning(classifier, inputs, targets, seeds):
            logits = classifier(inputs)
            made.append(1)
            return Maps(base * (-1) ** len(made), targets.resolve(logits), logits)

        explanation = given.explanation(base, attribute=turning, stochastic=True)
        (row,) = given.rows(SeedVariance(draws=2), photo_batch[:1], explanation)
        assert row.status == "undefined"


def test_a_plugins_fault_is_reported_under_its_name(given, explained, photo_batch):
    def broken(*args):
        raise ValueError("no such thing")

    maps = explained(brightness).maps
    explanation = given.explanation(maps.values, maps.targets.classes, attribute=broken, label="mine")
    with pytest.raises(RunError, match=r"stability@shift=2 on the maps of mine raised ValueError: no such thing"):
        given.rows(Stability(shift=2), photo_batch, explanation)


def test_batches_of_maps_that_are_made_again_do_not_matter(given, photo_batch, monkeypatch):
    classes = torch.arange(5)
    maps = noisy(given.classifier, photo_batch, Targets.same(DECISION, 5), torch.arange(5)).values.expand(-1, 5, -1, -1)
    explanation = given.explanation(maps, classes.expand(5, 5), attribute=noisy, stochastic=True, label="noisy")
    metrics = [Stability(), MaxSensitivity(draws=2), SeedVariance(draws=2), ClassSensitivity()]
    found = []
    for size in (1, 2, 5):
        monkeypatch.setattr("xaicli.scoring.case.AT_ONCE", size)
        found.append(given.rows(metrics, photo_batch[:2], explanation))
    for rows in zip(*found, strict=True):
        assert all(row.value == pytest.approx(rows[0].value, abs=1e-5) for row in rows)
