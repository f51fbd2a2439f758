"""The engine: many passes run on the folded twin, few on the network itself, and both give the same logits."""

from __future__ import annotations

import copy
import dataclasses
import gc
import weakref

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.network.linear_layers import LinearByConvolution
from xaicli.network.taps import tap_many
from xaicli.passes import folded_engine
from xaicli.passes.folded_engine import WORTH_FOLDING, folded_engine_for, reading_engine_for
from xaicli.passes.queue import CopyJob, clean_logits, run


@pytest.fixture
def made(monkeypatch):
    """The twins that are made."""
    found = []

    def counting(classifier, photo, **options):
        logits, fast = whole(classifier, photo, **options)
        found.append(fast.module)
        return logits, fast

    whole = folded_engine.folded
    monkeypatch.setattr(folded_engine, "folded", counting)
    return found


@pytest.mark.parametrize(("passes", "twins"), [(0, 0), (WORTH_FOLDING - 1, 0), (WORTH_FOLDING, 1), (10_000, 1)])
def test_a_twin_is_made_where_passes_pay_for_it(tiny_cnn, classifier_of, photo_batch, made, passes, twins):
    classifier = classifier_of(tiny_cnn)
    chosen = folded_engine_for(classifier, photo_batch[:1], passes, exact=True)
    assert len(made) == twins
    assert (chosen is classifier) == (twins == 0)
    assert_close(chosen(photo_batch), classifier(photo_batch), rtol=0, atol=1e-5)


def test_a_run_of_many_passes_folds_for_each_of_its_calls(tiny_cnn, classifier_of, photo_batch, made):
    classifier = dataclasses.replace(classifier_of(tiny_cnn), expected_passes=1000, engine="torch")
    for _ in range(3):
        assert_close(clean_logits(classifier, photo_batch), tiny_cnn(photo_batch), rtol=0, atol=1e-5)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("names", "folds"), [(["features.2", "features.6"], True), (["features.0"], False), (["features.2", "features.1"], False)]
)
def test_layers_are_read_from_a_twin_only_where_it_has_the_networks_features(tiny_cnn, classifier_of, photo_batch, names, folds):
    classifier = classifier_of(tiny_cnn)
    layers = [classifier.feature_layer(name) for name in names]
    engine, own = reading_engine_for(classifier, photo_batch[:1], 1000, layers)
    assert (engine is not classifier) == folds
    with tap_many(engine.torch_module, dict(zip(names, own, strict=True)), gradients=False) as taps:
        engine(photo_batch)
        found = {name: taps[name].activation for name in names}
    with tap_many(tiny_cnn, dict(zip(names, layers, strict=True)), gradients=False) as taps:
        classifier(photo_batch)
        for name in names:
            assert_close(found[name], taps[name].activation, rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", ["tiny_vit", "a function"])
def test_what_has_no_batch_norms_runs_as_it_is(request, tiny_cnn, classifier_of, photo_batch, network, monkeypatch):
    monkeypatch.setattr(folded_engine, "mkl_is_slow", lambda: False)
    module = tiny_cnn.forward if network == "a function" else request.getfixturevalue(network)
    classifier = classifier_of(module)
    assert folded_engine_for(classifier, photo_batch[:1], 1000, exact=True) is classifier


def test_linear_layers_of_tokens_compute_as_convolutions_where_mkl_is_slow(tiny_vit, classifier_of, photo_batch, monkeypatch):
    monkeypatch.setattr(folded_engine, "mkl_is_slow", lambda: True)
    classifier = classifier_of(tiny_vit)
    engine = folded_engine_for(classifier, photo_batch[:1], 1000, exact=True)
    kinds = {type(part) for part in engine.torch_module.modules()}
    assert LinearByConvolution in kinds
    assert nn.Linear not in kinds
    many = photo_batch.repeat(20, 1, 1, 1)
    assert_close(engine(many), classifier(many), rtol=0, atol=1e-5)


def test_a_twin_is_made_once_a_network_and_never_under_bf16(tiny_cnn, classifier_of, photo_batch, made):
    meant = classifier_of(tiny_cnn).with_masked_dtype(torch.bfloat16)
    for exact in (True, False, True, False):
        engine = folded_engine_for(meant, photo_batch[:1], 1000, exact=exact)
        assert (engine.module is tiny_cnn) is not exact
    assert len(made) == 1
    folded_engine_for(classifier_of(copy.deepcopy(tiny_cnn)), photo_batch[:1], 1000, exact=True)
    assert len(made) == 2


def through_an_optimizer(network):
    """As after a training step."""
    with torch.no_grad():
        network.features[3].weight.mul_(1.5)


def behind_torchs_back(network):
    """In a way that leaves the tensors' versions as they were."""
    network.features[3].weight.data.mul_(1.5)


def by_other_signs(network):
    """The norm stays as it was."""
    network.features[3].weight.data.neg_()


def in_another_order(network):
    """The norm stays as it was, and so does the sum."""
    network.features[3].weight.data.copy_(network.features[3].weight.data.flip(0))


def by_another_module(network):
    network.features[5] = nn.Sigmoid()


@pytest.mark.parametrize(
    "change", [through_an_optimizer, behind_torchs_back, by_other_signs, in_another_order, by_another_module]
)
def test_a_changed_network_is_not_run_by_its_old_twin(tiny_cnn, classifier_of, photo_batch, change):
    classifier = classifier_of(tiny_cnn)
    before = folded_engine_for(classifier, photo_batch[:1], 1000, exact=True)(photo_batch)
    change(tiny_cnn)
    after = folded_engine_for(classifier, photo_batch[:1], 1000, exact=True)(photo_batch)
    assert (after - before).abs().max() > 0.01
    assert_close(after, classifier(photo_batch), rtol=0, atol=1e-5)


def test_a_buffer_of_nan_is_no_change(tiny_cnn, classifier_of, photo_batch, made):
    tiny_cnn.register_buffer("unset", torch.full((3,), torch.nan))
    classifier = classifier_of(tiny_cnn)
    for _ in range(2):
        folded_engine_for(classifier, photo_batch[:1], 1000, exact=True)
    assert len(made) == 1


def test_a_twin_that_gives_other_logits_is_not_used(tiny_cnn, classifier_of, photo_batch, monkeypatch):
    classifier, wrong = classifier_of(tiny_cnn), copy.deepcopy(tiny_cnn)
    with torch.no_grad():
        wrong.head.bias.add_(0.001)
    monkeypatch.setattr(folded_engine, "folded", lambda given, photo, **options: (given(photo), folded_engine.over(given, wrong)))
    assert folded_engine_for(classifier, photo_batch[:1], 1000, exact=True) is classifier


def test_a_network_whose_logits_are_not_finite_is_not_run_by_a_twin_that_hides_it(tiny_cnn, classifier_of, photo_batch):
    with torch.no_grad():
        tiny_cnn.features[0].weight[0, 0, 0, 0] = torch.nan
    classifier = classifier_of(tiny_cnn)
    assert folded_engine_for(classifier, photo_batch[:1], 1000, exact=True) is classifier


def test_a_twin_is_gone_with_its_network(tiny_cnn, classifier_of, photo_batch):
    network = copy.deepcopy(tiny_cnn)
    twin = weakref.ref(folded_engine_for(classifier_of(network), photo_batch[:1], 1000, exact=True).module)
    del network
    gc.collect()
    assert twin() is None


def test_the_same_call_gives_the_same_bytes_whatever_ran_before(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn)

    def few_and_many():
        return clean_logits(classifier, photo_batch), clean_logits(classifier, photo_batch, passes=1000)

    first, other_size = few_and_many(), clean_logits(classifier, photo_batch[..., :24], passes=1000)
    again = few_and_many()
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert torch.equal(other_size, clean_logits(classifier, photo_batch[..., :24], passes=1000))


@pytest.mark.parametrize(("jobs", "twins"), [(list, 1), (iter, 0)])
def test_the_queue_counts_the_copies_of_a_list_of_blocks(tiny_cnn, classifier_of, photo_batch, made, jobs, twins):
    pieces = []
    many = [
        CopyJob(40, lambda out, start, stop: out.copy_(photo_batch[:1].expand_as(out)), lambda logits, *_: pieces.append(logits))
    ]
    run(classifier_of(tiny_cnn), jobs(many * 2), (3, 32, 32), exact=True)
    assert len(made) == twins
    assert_close(torch.cat(pieces), tiny_cnn(photo_batch[:1]).expand(80, -1), rtol=0, atol=1e-5)
