"""Grad-ECLIP: the rules on numbers worked out by hand, and the whole method on written-out attention."""

import pytest
import torch
from plain_transformer import inputs, plain_transformer
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.grad_eclip import GradECLIP, like_the_query
from xaicli.network.attention import Attention
from xaicli.network.tokens import Axes, Layout
from xaicli.targets import TargetRule, Targets

GRID = Layout(Axes.TOKENS, (2, 2), prefix=1)
KEYS = torch.tensor([[0.0, 0], [2, 0], [1, 1], [0, 3], [-1, 0]])
VALUES = torch.tensor([[0.0, 0], [1, 0], [2, 1], [3, 0], [4, 0]])
SEEDS = torch.zeros(2, dtype=torch.int64)


def attention(keys=KEYS):
    """One head, a class token with query (1, 0), and four patches."""
    query = torch.tensor([1.0, 0]).expand(5, 2)
    return Attention("", nn.Identity(), VALUES[None, None], torch.zeros(0), query[None, None], keys[None, None])


def test_the_least_alike_patch_counts_nothing_and_the_most_alike_counts_whole():
    assert_close(
        like_the_query(attention(), nn.Identity(), GRID).flatten(), torch.tensor([1, 0.853553, 0.5, 0]), rtol=1e-5, atol=1e-6
    )


def test_values_along_the_gradient_times_likeness_make_the_map():
    gradient = torch.zeros(1, 1, 5, 2)
    gradient[0, 0, 0] = torch.tensor([1.0, -1])
    likeness = like_the_query(attention(), nn.Identity(), GRID)
    weighted = GradECLIP().of_layer(attention(), gradient, likeness, GRID)
    assert_close(weighted.flatten(), torch.tensor([1, 0.853553, 1.5, 0]), rtol=1e-5, atol=1e-6)
    plain = GradECLIP(use_lambda=False).of_layer(attention(), gradient, likeness, GRID)
    assert_close(plain.flatten(), torch.tensor([1.0, 1, 3, 4]))


def test_likeness_is_over_all_heads_side_by_side():
    query = torch.tensor([[1.0, 0, 0, 1]] * 4)
    keys = torch.tensor([[0.0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 2], [0, 1, 1, 0]])
    heads = [part.unflatten(1, (2, 2)).transpose(0, 1)[None] for part in (query, keys)]
    made = Attention("", nn.Identity(), torch.zeros(1, 2, 4, 2), torch.zeros(0), *heads)
    assert_close(like_the_query(made, nn.Identity(), Layout(Axes.TOKENS, (1, 3), prefix=1)).flatten(), torch.tensor([1.0, 1, 0]))


def test_a_constant_in_all_keys_changes_likeness_though_not_the_softmax():
    moved = like_the_query(attention(KEYS + torch.tensor([2.0, 0])), nn.Identity(), GRID).flatten()
    assert_close(moved, torch.tensor([1, 0.8848, 0, 1]), rtol=0, atol=1e-4)


def test_the_gradient_of_a_contrast_of_cosines_is_the_difference_of_their_gradients():
    features = torch.tensor([3.0, 4]).requires_grad_()
    for text, wanted in (([1.0, 0], [0.128, -0.096]), ([0.0, 1], [-0.096, 0.072]), ([1.0, -1], [0.224, -0.168])):
        score = functional.normalize(features, dim=0) @ torch.tensor(text)
        assert_close(torch.autograd.grad(score, features)[0], torch.tensor(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("reads", "layers"), [("class", 1), ("class", 2), ("pool", 1)])
def test_the_map_is_the_one_that_autograd_gives(reads, layers):
    network, classifier = plain_transformer(reads)
    method = GradECLIP(blocks=tuple(range(-layers, 0)))
    maps = method.attribute(classifier, inputs(), Targets.same(TargetRule(index=1, against=3), 2), SEEDS)
    logits = network(inputs())
    parts = [network.pool] if reads == "pool" else [block.attn for block in network.blocks][-layers:]
    score = (logits[:, 1] - logits[:, 3]).sum()
    gradients = torch.autograd.grad(score, [part.output for part in parts])
    wanted = torch.zeros(2, 6)
    for part, gradient in zip(parts, gradients, strict=True):
        joined = [tensor.transpose(1, 2).flatten(2) for tensor in (part.query, part.key, part.value, gradient)]
        query, key, value, weights = (tensor.detach() for tensor in joined)
        first = 1 if reads == "class" else 0
        cosine = functional.cosine_similarity(query[:, :1], key[:, first:], dim=2)
        low, high = cosine.amin(dim=1, keepdim=True), cosine.amax(dim=1, keepdim=True)
        wanted += ((cosine - low) / (high - low) * (value[:, first:] @ weights[:, 0, :, None])[..., 0]).relu()
    assert_close(maps.values[:, 0].flatten(1), wanted, rtol=1e-4, atol=1e-6)
    assert (wanted.amax(dim=1) > 1e-3).all()


def test_values_along_the_gradient_are_the_head_summed_gradient_of_the_softmax():
    network, classifier = plain_transformer()
    maps = GradECLIP(use_lambda=False).attribute(classifier, inputs(), Targets.same(TargetRule(index=2), 2), SEEDS)
    (gradient,) = torch.autograd.grad(network(inputs())[:, 2].sum(), network.blocks[-1].attn.kept)
    assert_close(maps.values[:, 0].flatten(1), gradient[:, :, 0, 1:].sum(dim=1).relu(), rtol=1e-4, atol=1e-6)


def test_heads_that_average_patches_and_blocks_that_are_not_there_are_refused():
    _, averaging = plain_transformer("mean")
    with pytest.raises(UsageError, match=r"grad-eclip cannot be used with plain, whose head averages patches"):
        GradECLIP().attribute(averaging, inputs(), Targets.same(TargetRule(index=2), 2), SEEDS)
    _, classifier = plain_transformer()
    with pytest.raises(UsageError, match=r"plain has no block 2 with a query that its head reads; expected blocks from 0 to 1"):
        GradECLIP(blocks=(2,)).attribute(classifier, inputs(), Targets.same(TargetRule(index=2), 2), SEEDS)


@pytest.mark.parametrize("reads", ["class", "pool"])
def test_projected_queries_and_keys_pass_the_output_projection_with_its_bias(reads):
    network, classifier = plain_transformer(reads)
    maps = GradECLIP(qk="projected").attribute(classifier, inputs(), Targets.same(TargetRule(index=1), 2), SEEDS)
    network(inputs())
    part = network.pool if reads == "pool" else network.blocks[-1].attn
    query, key = (
        tensor.detach().transpose(1, 2).flatten(2) @ part.proj.weight.T + part.proj.bias for tensor in (part.query, part.key)
    )
    first = 1 if reads == "class" else 0
    cosine = functional.cosine_similarity(query[:, :1], key[:, first:], dim=2)
    low, high = cosine.amin(dim=1, keepdim=True), cosine.amax(dim=1, keepdim=True)
    assert_close(maps.extras["likeness"].flatten(1), (cosine - low) / (high - low), rtol=1e-4, atol=1e-6)
    raw = GradECLIP().attribute(classifier, inputs(), Targets.same(TargetRule(index=1), 2), SEEDS)
    assert not torch.allclose(raw.extras["likeness"], maps.extras["likeness"], atol=1e-2)
