"""Maps: their form, their sign, and that they depend on the photo, the target and the seed alone."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pickle

import pytest
import torch
from torch import nn

from xaicli.errors import XaiError
from xaicli.method import Cost, Needs, Sign
from xaicli.suitability import refuse_unmet
from xaicli.targets import DECISION, TargetRule

SIZES = [(32, 32), (37, 29), (24, 40)]


def assert_agree(one, other, name=""):
    """Equal to 1e-5 of the largest value, or to 1e-5 where that is below 1."""
    scale = max(1.0, float(other[other.isfinite()].abs().max()))
    torch.testing.assert_close(one, other, atol=1e-5 * scale, rtol=0, msg=lambda text: f"on {name}: {text}")


def test_one_network_at_least_is_accepted_and_a_refusal_is_in_words(trial_on, networks):
    refusals = [trial_on(network).refusal() for network in networks]
    assert not all(refusals), refusals
    for refusal in filter(None, refusals):
        assert len(refusal) > 20


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_maps_have_their_form_at_any_size(trial_on, size):
    for network in ("cnn", "vit", "plain") if size == (32, 32) else ("cnn", "plain"):
        trial = trial_on(network, size=size)
        if trial_on(network).refusal():
            continue
        maps = trial.explain()
        photos, targets, height, width = maps.values.shape
        assert (photos, targets) == (5, 1)
        assert 1 <= height <= size[0]
        assert 1 <= width <= size[1]
        assert maps.values.dtype == torch.float32
        assert not maps.values.requires_grad
        assert maps.values.isfinite().all()
        for name, extra in maps.extras.items():
            assert isinstance(name, str)
            assert extra.shape[0] == 5
            assert not extra.requires_grad


def test_decision_and_logits_are_the_classifiers_own(trials):
    for trial in trials:
        maps = trial.explain()
        logits = trial.classifier(trial.photos)
        assert_agree(maps.logits, logits, trial.network)
        assert maps.logits.dtype == torch.float32
        assert not maps.logits.requires_grad
        assert maps.targets.classes.tolist() == logits.argmax(dim=1, keepdim=True).tolist()
        assert maps.targets.against.tolist() == [[-1]] * 5
        assert_agree(maps.targets.scores, logits.amax(dim=1, keepdim=True), trial.network)
        assert not maps.targets.scores.requires_grad


def test_a_non_negative_map_has_no_negative_value(trials):
    for trial in trials:
        if trial.method.sign is Sign.NONNEGATIVE:
            for index in range(5):
                assert trial.explain(TargetRule(index=index)).values.min() >= 0


def test_relu_keeps_what_speaks_for_the_target(trials, method):
    if not hasattr(method, "relu"):
        return
    negative = False
    for trial in trials:
        kept = dataclasses.replace(trial, method=dataclasses.replace(method, relu=True))
        signed = dataclasses.replace(trial, method=dataclasses.replace(method, relu=False))
        assert (kept.method.sign, signed.method.sign) == (Sign.NONNEGATIVE, Sign.SIGNED)
        both = [signed.explain(TargetRule(index=index)).values for index in range(5)]
        negative |= any(bool((values < 0).any()) for values in both)
        assert_agree(kept.explain(TargetRule(index=2)).values, both[2].relu(), trial.network)
    assert negative


def test_a_batch_gives_what_single_photos_give_in_any_order_and_with_any_neighbours(trials, trial_on):
    for trial in trials:
        maps = trial.explain()
        for rows in ([0], [4], [3, 1], [4, 2, 0, 3, 1], [2, 2, 2]):
            part = trial.explain(rows=rows)
            assert_agree(part.values, maps.values[rows], trial.network)
            assert_agree(part.logits, maps.logits[rows], trial.network)
        chunked = trial_on(trial.network, batch_size=3).explain()
        assert_agree(chunked.values, maps.values, trial.network)


def test_a_photo_of_nan_spoils_no_neighbour(trials):
    for trial in trials:
        clean = trial.explain(TargetRule(index=1))
        trial.photos = trial.photos.clone()
        trial.photos[2] = torch.nan
        rows = [0, 1, 3, 4]
        assert_agree(trial.explain(TargetRule(index=1)).values[rows], clean.values[rows], trial.network)


def test_the_same_run_twice_gives_the_same_bytes(trials, trial_on):
    for trial in trials:
        first = trial.explain()
        for again in (trial.explain(), trial_on(trial.network).explain()):
            assert torch.equal(again.values, first.values)
            assert torch.equal(again.logits, first.logits)
            for name in first.extras:
                assert torch.equal(again.extras[name].nan_to_num(), first.extras[name].nan_to_num())


def test_another_seed_gives_another_map_exactly_where_the_method_is_stochastic(trials):
    changed = []
    for trial in trials:
        first = trial.explain().values
        changed.append(not torch.equal(dataclasses.replace(trial, seeds=trial.seeds + 1).explain().values, first))
    assert any(changed) == trials[0].method.stochastic


def test_maps_of_two_classes_differ_exactly_where_the_method_is_class_specific(trials):
    differ = []
    for trial in trials:
        maps = [trial.explain(TargetRule(index=index)).values for index in range(5)]
        differ.append(not all(torch.equal(maps[0], other) for other in maps[1:]))
    assert any(differ) == trials[0].method.class_specific


def test_the_top_k_are_the_maps_of_the_single_classes(trials):
    for trial in trials:
        top = trial.explain(TargetRule(top=3))
        assert top.values.shape[:2] == (5, 3)
        assert all(extra.shape[1:2] in ((), (3,)) for extra in top.extras.values())
        order = trial.classifier(trial.photos).argsort(dim=1, descending=True, stable=True)[:, :3]
        assert torch.equal(top.targets.classes, order)
        for place in range(3):
            single = trial.explain([TargetRule(index=int(order[row, place])) for row in range(5)])
            assert_agree(top.values[:, place], single.values[:, 0], trial.network)


def test_a_contrast_asks_why_the_one_and_not_the_other(trials):
    differ = []
    for trial in trials:
        rules = [TargetRule(index=1, against=3), TargetRule(index=1), DECISION, TargetRule(index=3, against=1), DECISION]
        maps = trial.explain(rules)
        assert maps.values.shape[:2] == (5, 1)
        assert maps.values.isfinite().all()
        assert [maps.targets.names(row) for row in (0, 1, 3)] == [["1-3"], ["1"], ["3-1"]]
        logits = trial.classifier(trial.photos)
        assert_agree(maps.targets.scores[0, 0], logits[0, 1] - logits[0, 3], trial.network)
        plain = trial.explain(TargetRule(index=1))
        assert_agree(maps.values[1], plain.values[1], trial.network)
        differ.append(not torch.equal(maps.values[0], plain.values[0]))
    assert any(differ) == trials[0].method.class_specific


def test_unmet_needs_are_refused_and_a_black_box_gives_the_same_map_where_the_forward_pass_is_enough(trials, trial_on, networks):
    method = trials[0].method
    if method.needs & ~(Needs.FORWARD | Needs.CHECKPOINT):
        with pytest.raises(XaiError, match=f"{method.name} needs".replace("+", r"\+")):
            refuse_unmet(method, Needs.FORWARD, "net")
        return
    for trial in trials:
        # A bound method is no module: a function, of which nothing is known.
        black_box = trial_on(trial.network, networks[trial.network].forward)
        assert_agree(black_box.explain().values, trial.explain().values, trial.network)


def test_only_methods_that_mask_the_input_follow_the_precision_of_masked_passes(trials):
    for trial in trials:
        half = dataclasses.replace(trial, classifier=trial.classifier.with_masked_dtype(torch.bfloat16)).explain()
        full = trial.explain()
        assert half.values.dtype == torch.float32
        assert_agree(half.logits, full.logits, trial.network)
        if not trial.method.masks_input:
            assert torch.equal(half.values, full.values)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_photo_of_one_colour_has_a_finite_map(trials, value):
    for trial in trials:
        trial.photos = torch.full_like(trial.photos, value)
        maps = trial.explain()
        assert maps.values.shape[0] == 5
        assert maps.values.isfinite().all()


def test_nan_logits_end_in_words_or_in_maps_never_in_a_bare_exception(trials, trial_on, networks):
    for trial in trials:
        broken = trial_on(trial.network)
        with torch.no_grad():
            for tensor in broken.classifier.module.parameters():
                tensor.fill_(torch.nan)
        with contextlib.suppress(XaiError):
            assert broken.explain().logits.isnan().all()


class Hook:
    def __init__(self, module, function):
        self.close = module.register_forward_pre_hook(function).remove


def test_the_method_costs_no_more_passes_than_it_says(trials, monkeypatch):
    # What converting a network for a runtime takes is no part of a method, nor what comparing it with its folded twin takes.
    monkeypatch.setattr("xaicli.passes.engine.WORTH_CONVERTING", math.inf)
    for trial in trials:
        trial.explain(rows=[0])
        passed = 0

        def count(module, args, trial=trial):
            nonlocal passed
            # Where only what follows a layer is computed again, the first layer does not run: another forward answers for it.
            passed += 0 if "forward" in vars(module) else len(args[0])

        first = next(part for part in trial.classifier.module.modules() if isinstance(part, nn.Conv2d | nn.Conv3d))
        with contextlib.closing(Hook(first, count)):
            trial.explain()
        cost = trial.method.cost(trial.classifier)
        assert isinstance(trial.method.cost(), Cost)
        # One pass more, in which the photo is decided.
        compared = 4 if cost.forward >= 64 else 0
        assert passed <= 5 * (cost.forward + 1) + compared, f"{passed / 5} passes a photo, {cost.forward} said"


def test_the_inputs_and_seeds_handed_in_are_not_written_to(trials):
    for trial in trials:
        photos, seeds = trial.photos.clone(), trial.seeds.clone()
        trial.explain()
        assert torch.equal(trial.photos, photos)
        assert torch.equal(trial.seeds, seeds)
        assert not trial.photos.requires_grad
        assert trial.photos.grad is None


def test_a_method_can_be_sent_to_another_process(method):
    assert pickle.loads(pickle.dumps(method)) == method


def test_a_layer_that_does_not_exist_is_refused_in_words(trials, method):
    if not hasattr(method, "layer"):
        return
    for trial in trials:
        with pytest.raises(XaiError, match="no-such-layer"):
            dataclasses.replace(trial, method=dataclasses.replace(method, layer="no-such-layer")).explain()
