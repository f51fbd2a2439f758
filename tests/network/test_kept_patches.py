"""Leaving patches out of a transformer's sequence is the same as an attention that does not see them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.testing import assert_close

from tests.network.test_attention import NETWORKS, photos
from tests.plain_transformer import GRID, inputs, masked_by_hand, plain_transformer
from xaicli.errors import UsageError
from xaicli.network.classifier import Classifier
from xaicli.network.hidden_tokens import hiding_tokens
from xaicli.network.kept_patches import kept_patches

ClassifierOf = Callable[..., Classifier]
SOME = torch.tensor([True, False, False, True, True, False])
FIT = ("timm", "timm distilled", "timm registers", "timm with norms", "ViT", "ViT eager", "DeiT")


def test_hidden_tokens_have_scores_of_minus_infinity() -> None:
    network, _ = plain_transformer()
    seen = torch.cat([torch.tensor([True]), SOME])
    with torch.no_grad(), hiding_tokens(network, seen):
        found = network(inputs(1))
    assert_close(found, masked_by_hand(network, inputs(1), seen))
    assert not torch.allclose(found, network(inputs(1)), atol=1e-3)


def test_a_shorter_sequence_gives_what_masked_attention_gives() -> None:
    network, classifier = plain_transformer()
    with torch.no_grad(), kept_patches(classifier, inputs(1), "rise") as passes:
        assert passes.layout.grid == GRID
        found = passes(torch.stack([SOME, ~SOME]))
        for kept, logits in zip((SOME, ~SOME), found, strict=True):
            seen = torch.cat([torch.tensor([True]), kept])
            assert_close(logits[None], masked_by_hand(network, inputs(1), seen))
        assert_close(passes(torch.ones(1, 6, dtype=torch.bool)), network(inputs(1)))


@pytest.mark.parametrize("name", FIT)
def test_networks_of_timm_and_transformers_lose_patches_as_masked_attention_does(name: str, classifier_of: ClassifierOf) -> None:
    make, size, _ = NETWORKS[name]
    check(classifier_of(make(), size), size)


def test_networks_of_torchvision_lose_patches_as_masked_attention_does(tiny_vit: nn.Module, classifier_of: ClassifierOf) -> None:
    size = (tiny_vit.image_size, tiny_vit.image_size)
    check(classifier_of(tiny_vit, size), size)


def check(classifier: Classifier, size: tuple[int, int]) -> None:
    photo = photos(size, 1)
    with torch.no_grad(), kept_patches(classifier, photo, "rise") as passes:
        layout = passes.layout
        count = layout.grid[0] * layout.grid[1]
        kept = torch.rand(5, count, generator=torch.Generator().manual_seed(3)).argsort(dim=1) < count // 2
        found = passes(kept)
        for row, logits in zip(kept, found, strict=True):
            seen = torch.ones(layout.prefix + count + layout.trailing, dtype=torch.bool)
            seen[layout.prefix : layout.prefix + count] = row
            with hiding_tokens(classifier.torch_module, seen):
                expected = classifier(photo)
            assert_close(logits[None], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["timm relative bias", "timm rotary", "Beit", "Dinov2WithRegisters"])
def test_networks_in_which_that_is_not_the_same_are_refused(name: str, classifier_of: ClassifierOf) -> None:
    make, size, _ = NETWORKS[name]
    refuse(classifier_of(make(), size), photos(size, 1))


def test_convolutions_windows_and_means_of_patches_are_refused(classifier_of: ClassifierOf) -> None:
    timm = pytest.importorskip("timm")
    resnet = torchvision.models.resnet18(weights=None, num_classes=5)
    refuse(classifier_of(resnet.eval(), (32, 32)), photos((32, 32), 1))
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=56, embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)
    )
    refuse(classifier_of(swin.eval(), (56, 56)), photos((56, 56), 1))
    _, means = plain_transformer("mean")
    refuse(means, inputs(1))


def refuse(classifier: Classifier, photo: Tensor) -> None:
    with pytest.raises(UsageError, match="no patches can be left out of"), kept_patches(classifier, photo, "rise"):
        raise AssertionError("it was not refused")
