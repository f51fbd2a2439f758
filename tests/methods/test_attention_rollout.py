"""Attention rollout: the product of what blocks mix, read at the tokens that the head reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.method import Cost
from xaicli.methods.attention_rollout import AttentionRollout, tokens_read
from xaicli.network.classifier import Classifier
from xaicli.targets import DECISION, TargetRule, Targets

ClassifierOf = Callable[..., Classifier]


def maps_of(method: AttentionRollout, classifier: Classifier, inputs: Tensor, rule: TargetRule = DECISION) -> Tensor:
    seeds = torch.zeros(len(inputs), dtype=torch.int64)
    return method.attribute(classifier, inputs, Targets.same(rule, len(inputs)), seeds).values


def probabilities_of(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Attention (B, heads, N, N) of a torchvision VisionTransformer, from its own modules."""
    entering: list[Tensor] = []
    blocks = list(network.encoder.layers)
    handles = [block.ln_1.register_forward_hook(lambda _, __, output: entering.append(output)) for block in blocks]
    network(inputs)
    for handle in handles:
        handle.remove()
    pairs = zip(blocks, entering, strict=True)
    return [block.self_attention(x, x, x, need_weights=True, average_attn_weights=False)[1] for block, x in pairs]


def test_its_cost_is_two_passes_and_one_back(tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    classifier, passed, back = classifier_of(tiny_vit), [], []
    assert classifier.feature_layer() is not None
    passed_by = tiny_vit.register_forward_hook(lambda part, args, output: passed.append(len(output)))
    back_by = tiny_vit.heads.register_full_backward_hook(lambda part, given, taken: back.append(len(taken[0])))
    maps_of(AttentionRollout(), classifier, photo_batch[:1])
    passed_by.remove()
    back_by.remove()
    assert AttentionRollout().cost() == Cost(sum(passed), sum(back)) == Cost(2, 1)


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
def test_it_is_the_product_of_what_the_blocks_mix(
    heads: str, tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    mixed = torch.eye(17)
    for probabilities in probabilities_of(tiny_vit, photo_batch):
        pooled = {"mean": probabilities.mean(1), "max": probabilities.amax(1), "min": probabilities.amin(1)}[heads]
        step = 0.5 * pooled / pooled.sum(dim=-1, keepdim=True) + 0.5 * torch.eye(17)
        mixed = step @ mixed
    found = maps_of(AttentionRollout(heads=heads), classifier_of(tiny_vit), photo_batch)  # type: ignore[arg-type]
    assert_close(found[:, 0], mixed[:, 0, 1:].unflatten(1, (4, 4)))


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
def test_rows_may_be_made_to_sum_to_1_after_the_residual_path_is_added(
    heads: str, tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    mixed = torch.eye(17)
    for probabilities in probabilities_of(tiny_vit, photo_batch):
        pooled = {"mean": probabilities.mean(1), "max": probabilities.amax(1), "min": probabilities.amin(1)}[heads]
        step = pooled + torch.eye(17)
        mixed = step / step.sum(dim=-1, keepdim=True) @ mixed
    method = AttentionRollout(heads=heads, renormalise="mixed")  # type: ignore[arg-type]
    found = maps_of(method, classifier_of(tiny_vit), photo_batch)
    assert_close(found[:, 0], mixed[:, 0, 1:].unflatten(1, (4, 4)))


def test_the_shares_of_all_tokens_are_one(tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    found = maps_of(AttentionRollout(), classifier_of(tiny_vit), photo_batch).sum(dim=(2, 3))
    assert ((found > 0) & (found < 1)).all()


def test_it_is_the_same_for_every_target(tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    found = maps_of(AttentionRollout(), classifier_of(tiny_vit), photo_batch, TargetRule(top=3))
    assert found.shape == (5, 3, 4, 4)
    assert torch.equal(found[:, 0], found[:, 2])


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("vit_tiny_patch16_224", {}, [1.0, 0.0, 0.0, 0.0, 0.0]),
        ("deit_tiny_distilled_patch16_224", {}, [0.5, 0.5, 0.0, 0.0, 0.0, 0.0]),
        ("vit_tiny_patch16_224", {"global_pool": "avg", "class_token": False}, [0.25, 0.25, 0.25, 0.25]),
        ("vit_tiny_patch16_224", {"global_pool": "avg"}, [0.0, 0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_the_tokens_that_the_head_reads_are_found(
    name: str, settings: dict[str, object], expected: list[float], classifier_of: ClassifierOf
) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model(name, pretrained=False, num_classes=5, depth=2, img_size=32, **settings).eval()
    classifier = classifier_of(network)
    assert tokens_read(classifier).tolist() == expected
    assert maps_of(AttentionRollout(), classifier, torch.randn(2, 3, 32, 32)).shape == (2, 1, 2, 2)


def test_a_convolutional_network_is_refused_in_words(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    with pytest.raises(UsageError, match=r"attention-rollout cannot be used.*expected a vision transformer"):
        maps_of(AttentionRollout(), classifier_of(tiny_cnn), photo_batch)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "cait_xxs24_224"])
def test_windows_and_class_attention_are_refused_in_words(name: str, classifier_of: ClassifierOf) -> None:
    timm = pytest.importorskip("timm")
    settings = {"window_size": 2} if "swin" in name else {"depth": 2}
    network = timm.create_model(name, pretrained=False, num_classes=5, img_size=64, **settings).eval()
    with pytest.raises(UsageError, match="every token attends to every token"):
        maps_of(AttentionRollout(), classifier_of(network, size=(64, 64)), torch.randn(1, 3, 64, 64))
