"""GAE: the rules on numbers worked out by hand, and the whole method against plain autograd on written-out attention."""

import pytest
import torch
from plain_transformer import CLASSES, inputs, plain_transformer
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.gae import GAE, handed_on, positive_mean, tokens_read
from xaicli.targets import TargetRule, Targets

A1 = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.4, 0.2, 0.4]])
G1 = torch.tensor([[1.0, 2, -1], [0, 1, 0], [-1, 0, 3]])
A2 = torch.tensor([[0.5, 0.25, 0.25], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
G2 = torch.tensor([[0.0, 4, 2], [1, 0, 0], [0, 0, 1]])


def weighted(attention, gradient):
    return positive_mean(attention[None, None], gradient[None, None])


def row_through(start):
    row = torch.tensor([start])
    for relevance in (weighted(A2, G2), weighted(A1, G1)):
        row = handed_on(row, relevance)
    return row[0]


def test_positive_products_of_attention_and_gradient_count():
    assert_close(weighted(A1, G1)[0], torch.tensor([[0.2, 1, 0], [0, 0.6, 0], [0, 0, 1.2]]))
    assert_close(weighted(A2, G2)[0], torch.tensor([[0, 1, 0.5], [0.3, 0, 0], [0, 0, 0.6]]))


def test_a_row_handed_down_is_the_row_of_the_product_of_matrices():
    assert_close(row_through([1.0, 0, 0]), torch.tensor([1.2, 2.6, 1.1]))
    assert_close(row_through([0.0, 1, 0]), torch.tensor([0.36, 1.9, 0]))


def test_the_last_block_alone_is_gradient_times_attention():
    assert_close(handed_on(torch.tensor([[1.0, 0, 0]]), weighted(A2, G2))[0, 1:], torch.tensor([1, 0.5]))


def test_the_relu_comes_before_the_mean_over_heads():
    products = torch.tensor([1.0, -0.5]).reshape(1, 2, 1, 1)
    assert_close(positive_mean(torch.ones_like(products), products), torch.tensor([[[0.5]]]))


def test_the_map_of_a_contrast_is_not_the_difference_of_the_maps():
    attention, first, second = torch.tensor([[0.4, 0.6]]), torch.tensor([[1.0, 2]]), torch.tensor([[0.5, 3]])
    assert_close(weighted(attention, first - second)[0, 0], torch.tensor([0.2, 0]))
    assert_close((weighted(attention, first) - weighted(attention, second))[0, 0], torch.tensor([0.2, -0.6]))


def test_read_outs_of_patches_and_of_a_pool():
    start = [0, 0.5, 0.5]
    assert_close((row_through(start) - torch.tensor(start))[1:], torch.tensor([0.45, 1.26]))
    assert_close(row_through([0, 0.2, 0.4]), torch.tensor([0.072, 0.38, 1.408]))


def test_tokens_without_a_gradient_are_not_read():
    gradient = torch.zeros(1, 2, 4, 3)
    gradient[0, 1, 2, 0] = -1e-9
    gradient[0, 0, 3, 1] = 2.0
    assert_close(tokens_read(gradient), torch.tensor([[0, 0, 0.5, 0.5]]))
    assert not tokens_read(torch.zeros(1, 2, 4, 3)).any()


def plain_relevance(network, photos, scores_of, first=0):
    """The map by matrices, gradients of attention from autograd itself."""
    score = scores_of(network(photos)).sum()
    blocks = [block.attn for block in network.blocks][first:]
    pool = [network.pool] if network.reads == "pool" else []
    gradients = torch.autograd.grad(score, [attention.kept for attention in (*blocks, *pool)])
    rows = [(a.kept * g).relu().mean(dim=1) for a, g in zip((*blocks, *pool), gradients, strict=True)]
    relevance = torch.eye(rows[0].shape[2])
    for own in rows[: len(blocks)]:
        relevance = relevance + own @ relevance
    if pool:
        return (rows[-1] @ relevance)[:, 0]
    if network.reads == "mean":
        return relevance.mean(dim=1) - 1 / relevance.shape[2]
    return relevance[:, 0, 1:]


@pytest.mark.parametrize("reads", ["class", "mean", "pool"])
@pytest.mark.parametrize("start", [0, -1])
def test_the_map_is_the_one_that_matrices_and_autograd_give(reads, start):
    network, classifier = plain_transformer(reads)
    maps = GAE(start_layer=start).attribute(
        classifier, inputs(), Targets.same(TargetRule(index=2), 2), torch.zeros(2, dtype=torch.int64)
    )
    wanted = plain_relevance(network, inputs(), lambda logits: logits[:, 2], start % 2)
    assert_close(maps.values[:, 0].flatten(1), wanted, rtol=1e-4, atol=1e-6)
    assert wanted.abs().max() > 1e-3


def test_a_contrast_is_differentiated_once():
    network, classifier = plain_transformer()
    rule = TargetRule(index=1, against=3)
    maps = GAE().attribute(classifier, inputs(), Targets.same(rule, 2), torch.zeros(2, dtype=torch.int64))
    wanted = plain_relevance(network, inputs(), lambda logits: logits[:, 1] - logits[:, 3])
    assert_close(maps.values[:, 0].flatten(1), wanted, rtol=1e-4, atol=1e-6)


def test_all_classes_are_explained_in_one_pass_forward():
    _, classifier = plain_transformer()
    one = GAE().attribute(classifier, inputs(1), Targets.same(TargetRule(top=CLASSES), 1), torch.zeros(1, dtype=torch.int64))
    for place, index in enumerate(one.targets.classes[0].tolist()):
        alone = GAE().attribute(
            classifier, inputs(1), Targets.same(TargetRule(index=index), 1), torch.zeros(1, dtype=torch.int64)
        )
        assert_close(one.values[:, place], alone.values[:, 0])


def test_a_block_that_is_not_there_is_refused():
    _, classifier = plain_transformer()
    with pytest.raises(UsageError, match=r"gae: plain has no block 2; expected start_layer from -2 to 1"):
        GAE(start_layer=2).attribute(
            classifier, inputs(1), Targets.same(TargetRule(index=0), 1), torch.zeros(1, dtype=torch.int64)
        )
