"""DAAM of features: networks without a head, by a memory bank and without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from xaicli.errors import InputError, UsageError
from xaicli.method import Maps
from xaicli.methods.daam.daam import DAAM
from xaicli.models.feature_bank import Bank
from xaicli.network.classifier import Classifier
from xaicli.params import parse_spec
from xaicli.registry import METHODS, make
from xaicli.targets import DECISION, TargetRule, Targets

timm = pytest.importorskip("timm")
from timm.models.vision_transformer import VisionTransformer  # noqa: E402

GRID = (3, 5)
ClassifierOf = Callable[..., Classifier]


def inputs_of() -> Tensor:
    return torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(3))


def explain(method: DAAM, classifier: Classifier, inputs: Tensor, rule: TargetRule = DECISION) -> Maps:
    return method.attribute(classifier, inputs, Targets.same(rule, len(inputs)), torch.zeros(len(inputs), dtype=torch.int64))


def of_the_last_block(maps: Maps) -> Tensor:
    """The map (B, h, w) of the last block alone, from those that are accumulated."""
    steps = maps.extras["steps"][:, 0]
    return steps[:, -1] - steps[:, -2]


@pytest.fixture
def dino(classifier_of: ClassifierOf) -> Classifier:
    """A transformer without head: 16 features."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = VisionTransformer(img_size=(24, 40), patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=0)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
    return classifier_of(network.eval().requires_grad_(False), size=(24, 40))


def by_gradient(network: VisionTransformer, inputs: Tensor, weights: Tensor) -> Tensor:
    """The unclipped map of the last block for the score sum_j w_j f_j, by finite means: attention times its gradient."""
    kept: list[Tensor] = []
    attention = network.blocks[-1].attn
    attention.fused_attn = False

    def keep(part: nn.Module, args: Any, output: Tensor) -> Tensor:
        kept.append(output * 1)
        return kept[-1]

    hook = attention.attn_drop.register_forward_hook(keep)
    score = (network(inputs.clone().requires_grad_()) * weights).sum()
    hook.remove()
    attention.fused_attn = True
    (gradient,) = torch.autograd.grad(score, kept)
    return (kept[0] * gradient)[:, :, 0].sum(dim=1)[:, 1:].relu().unflatten(1, GRID).detach()


def test_features_without_a_bank_weigh_their_own_squares(dino: Classifier) -> None:
    inputs = inputs_of()
    found = of_the_last_block(explain(DAAM(target="features"), dino, inputs))
    features = dino(inputs)
    weights = (features / features.norm(dim=1, keepdim=True)) ** 2
    assert_close(found, by_gradient(dino.torch_module, inputs, weights), atol=1e-5, rtol=1e-4)


def bank_of(classifier: Classifier, **changes: Any) -> Bank:
    features = functional.normalize(torch.randn(12, 16, generator=torch.Generator().manual_seed(5)), dim=1)
    labels = torch.arange(12) % 3
    return Bank(**{
        "features": features, "labels": labels, "classes": ("a", "b", "c"), "model": classifier.name,
        "fingerprint": classifier.fingerprint, **changes,
    })  # fmt: skip


@pytest.mark.parametrize("unit", [True, False], ids=["minmax", "sum"])
def test_features_with_a_bank_weigh_what_agreeing_neighbours_share(dino: Classifier, unit: bool, tmp_path: Path) -> None:
    bank, inputs = bank_of(dino), inputs_of()
    bank.save(tmp_path / "bank.safetensors")
    method = DAAM(target="features", bank=str(tmp_path / "bank.safetensors"), k=5, weights="minmax" if unit else "sum")
    maps = explain(method, dino, inputs)
    weights = []
    for own, winner, kept in zip(dino(inputs), maps.extras["bank_class"], maps.extras["neighbours_kept"], strict=True):
        own = own / own.norm()
        similarity = [(float(row @ own), int(label), row) for row, label in zip(bank.features, bank.labels, strict=True)]
        nearest = sorted(similarity, key=lambda one: one[0], reverse=True)[:5]
        votes = {c: sum(torch.tensor(s / 0.07).exp() for s, label, _ in nearest if label == c) for c in range(3)}
        best = max(votes, key=lambda c: float(votes[c]))
        agreeing = [row for _, label, row in nearest if label == best]
        assert (int(winner), int(kept)) == (best, len(agreeing))
        w = own * torch.stack(agreeing).mean(dim=0)
        w = w / w.sum().abs()
        weights.append((w - w.min()) / (w.max() - w.min()) if unit else w)
    assert_close(of_the_last_block(maps), by_gradient(dino.torch_module, inputs, torch.stack(weights)), atol=1e-5, rtol=1e-3)


def test_a_bank_of_another_network_is_refused(dino: Classifier, tmp_path: Path) -> None:
    bank_of(dino, fingerprint="f" * 16, model="timm:other").save(tmp_path / "other")
    with pytest.raises(InputError, match=r"features of timm:other .* xai bank"):
        explain(DAAM(target="features", bank=str(tmp_path / "other")), dino, inputs_of())


def test_a_bank_that_is_not_there_is_refused(dino: Classifier, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no bank .*none.* xai bank"):
        explain(DAAM(target="features", bank=str(tmp_path / "none")), dino, inputs_of())


def test_features_have_no_classes_to_ask_for(dino: Classifier) -> None:
    with pytest.raises(UsageError, match="explains all features, not target 2"):
        explain(DAAM(target="features"), dino, inputs_of(), TargetRule(index=2))


def test_a_bank_counts_by_its_content_and_its_folder_is_not_recorded(dino: Classifier, tmp_path: Path) -> None:
    given = []
    for folder, classes in (("one", ("a", "b", "c")), ("two", ("a", "b", "c")), ("three", ("a", "b", "other"))):
        (tmp_path / folder).mkdir()
        bank_of(dino, classes=classes).save(tmp_path / folder / "bank")
        method = make(METHODS, parse_spec(f"daam@target=features@bank={tmp_path / folder / 'bank'}"))
        given.append(method.parameters_as_given()["bank"])
    bank_of(dino, labels=torch.zeros(12, dtype=torch.int64)).save(tmp_path / "one" / "bank")
    changed = DAAM(target="features", bank=str(tmp_path / "one" / "bank")).parameters_as_given()["bank"]
    assert given[0] == given[1]
    assert changed != given[0]
    assert str(tmp_path) not in str(given)
