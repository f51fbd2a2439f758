"""LeGrad: the rules on numbers worked out by hand, and the whole method against plain autograd on written-out attention."""

import pytest
import torch
from plain_transformer import inputs, plain_transformer
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.legrad import LeGrad, answered, positive_mean
from xaicli.network.attention import Attention
from xaicli.network.token_attention import gradient_of_attention
from xaicli.targets import TargetRule, Targets

VALUES = torch.tensor([[1.0, 0], [2, -1], [0, 3]])
DIRECTION = torch.tensor([1.0, -1])
SEEDS = torch.zeros(2, dtype=torch.int64)


def map_of(values, gradient):
    """The map of an attention of one head, from its values (M, d) and the gradient (N, d) at its output."""
    attention = Attention("", nn.Identity(), values[None, None], torch.zeros(0))
    return positive_mean(gradient_of_attention(attention, gradient[None, None]))[0]


def test_under_mean_pooling_every_query_counts():
    assert_close(map_of(VALUES, DIRECTION.expand(3, 2) / 3), torch.tensor([1 / 3, 1, 0]))


def test_under_class_pooling_the_class_token_s_query_counts():
    gradient = torch.zeros(3, 2)
    gradient[0] = DIRECTION
    assert_close(map_of(VALUES, gradient), torch.tensor([1 / 3, 1, 0]))


def test_the_relu_comes_before_the_mean_over_heads():
    assert_close(positive_mean(torch.tensor([[[[3.0, -1]], [[-1, -2]]]])), torch.tensor([[1.5, 0]]))


def test_behind_a_cosine_positive_and_negative_gradients_of_a_pool_balance():
    row, values, text = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([[1.0, 2], [0, -1], [-2, 1]]), torch.ones(2)
    assert_close(map_of(values, text[None]), torch.tensor([3.0, 0, 0]))
    pooled = (row @ values).requires_grad_()
    (gradient,) = torch.autograd.grad(text @ functional.normalize(pooled, dim=0), pooled)
    assert_close(map_of(values, gradient[None]), torch.tensor([0.754167, 0.107738, 0]), rtol=1e-5, atol=1e-6)
    assert_close(row @ (values @ gradient), torch.tensor(0.0), rtol=0, atol=1e-6)


def test_patches_that_answer_the_prompt_without_an_object_are_erased():
    empty, own = torch.tensor([[[0.1, 0.9], [0.45, 0.5]]]), torch.tensor([[[[0.3, 1], [0.2, 0.6]]]])
    assert own.masked_fill(answered(empty, 0.8), 0).flatten().tolist() == pytest.approx([0.3, 0, 0.2, 0.6])


@pytest.mark.parametrize("reads", ["class", "pool"])
def test_the_empty_prompt_is_one_of_the_classes(reads):
    (_, classifier), photos = plain_transformer(reads), inputs()
    own, empty, corrected = (
        method.attribute(classifier, photos, Targets.same(TargetRule(index=index), 2), SEEDS)
        for method, index in ((LeGrad(), 2), (LeGrad(), 1), (LeGrad(empty=1, threshold=0.5), 2))
    )
    at = answered(empty.values[:, 0], 0.5)
    assert at.any()
    assert_close(corrected.values, torch.where(at, 0, own.values))
    assert_close(corrected.extras["erased"], at.float().mean(dim=(2, 3)))
    assert_close(corrected.extras["block_maps"], own.extras["block_maps"])
    with pytest.raises(UsageError, match="legrad: empty=99; expected a class from 0 to"):
        LeGrad(empty=99).require(classifier)


def plain_map(network, photos, block, scores_of, pool):
    """One block's map with gradients of its attention from autograd itself."""
    tokens = network.embed(photos)
    for own in network.blocks[: block + 1]:
        tokens = own(tokens)
    if network.reads == "pool":
        attention, logits = network.pool, network.tail(tokens)
    else:
        attention = network.blocks[block].attn
        logits = network.tail(tokens.mean(dim=1, keepdim=True).expand_as(tokens) if pool == "mean" else tokens)
    (gradient,) = torch.autograd.grad(scores_of(logits).sum(), attention.kept)
    mean = gradient.relu().mean(dim=(1, 2))
    return mean[:, 1:] if network.reads == "class" else mean


@pytest.mark.parametrize("reads", ["class", "mean", "pool"])
@pytest.mark.parametrize("pool", ["mean", "own"])
def test_the_map_is_the_one_that_autograd_gives_on_each_block_s_own_score(reads, pool):
    network, classifier = plain_transformer(reads)
    rule = TargetRule(index=1, against=3)
    maps = LeGrad(pool=pool).attribute(classifier, inputs(), Targets.same(rule, 2), SEEDS)

    def scores_of(logits):
        return logits[:, 1] - logits[:, 3]

    wanted = torch.stack([plain_map(network, inputs(), block, scores_of, pool) for block in range(2)], dim=1)
    assert_close(maps.extras["block_maps"][:, 0].flatten(2), wanted, rtol=1e-4, atol=1e-7)
    assert_close(maps.values[:, 0].flatten(1), wanted.sum(dim=1), rtol=1e-4, atol=1e-7)
    assert (wanted.amax(dim=2) > 1e-4).all()


def test_in_the_last_block_a_class_token_s_own_score_is_the_network_s():
    network, classifier = plain_transformer()
    maps = LeGrad(blocks=(-1,), pool="own").attribute(classifier, inputs(), Targets.same(TargetRule(index=2), 2), SEEDS)
    (gradient,) = torch.autograd.grad(network(inputs())[:, 2].sum(), network.blocks[-1].attn.kept)
    assert_close(maps.values[:, 0].flatten(1), gradient.relu().mean(dim=(1, 2))[:, 1:], rtol=1e-4, atol=1e-7)
    assert_close(maps.logits, network(inputs()).detach())


def test_a_block_that_is_not_there_is_refused():
    _, classifier = plain_transformer()
    with pytest.raises(UsageError, match=r"legrad: plain has no block -3; expected blocks from 0 to 1"):
        LeGrad(blocks=(-3,)).attribute(classifier, inputs(), Targets.same(TargetRule(index=2), 2), SEEDS)
