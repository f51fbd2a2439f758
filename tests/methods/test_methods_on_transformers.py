"""Methods on attention on real constructors: timm's, torchvision's, transformers' and open_clip's vision transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from text_image_models import save_text_image_model, text_image_model, tokenizer
from torch import nn

import xaicli
from xaicli.errors import UsageError
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.registry import make_method
from xaicli.targets import TargetRule, Targets

METHODS = ("gae", "legrad", "grad-eclip", "finer-cam", "recipro-cam")
ON_ATTENTION = ("gae", "legrad", "grad-eclip")
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 4}


def of_timm(kind: str = "VisionTransformer", **changes: object) -> nn.Module:
    timm = pytest.importorskip("timm")
    made = {"VisionTransformer": timm.models.vision_transformer.VisionTransformer}
    made["Distilled"] = timm.models.deit.VisionTransformerDistilled
    return made[kind](**{**SMALL, **changes})


def of_torchvision() -> nn.Module:
    torchvision = pytest.importorskip("torchvision")
    return torchvision.models.VisionTransformer(32, 8, 3, 2, 24, 48, num_classes=4)


def of_transformers() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    return transformers.ViTForImageClassification(transformers.ViTConfig(image_size=32, patch_size=8, num_labels=4, **sizes))


NETWORKS = {
    "class token": of_timm,
    "mean of patches": lambda: of_timm(global_pool="avg", class_token=False),
    "attention pool": lambda: of_timm(global_pool="map", class_token=False),
    "registers": lambda: of_timm(reg_tokens=2),
    "distilled": lambda: of_timm("Distilled"),
    "torchvision": of_torchvision,
    "transformers": of_transformers,
}
TEXT_IMAGE = ("clip", "siglip", "siglip2")


def classifier_of(name: str) -> Classifier:
    """A small network with fixed random weights that are far from their start, at which maps would be nearly even."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        if name in TEXT_IMAGE:
            return xaicli.classifier(
                text_image_model(name), prompts="a cat,a dog,a red bee", tokenizer=tokenizer(), resize=32, crop=32
            )
        module = NETWORKS[name]()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
    return xaicli.classifier(module, resize=32, crop=32, output_name="logits" if name == "transformers" else "")


CASES = [(name, method) for name in (*NETWORKS, *TEXT_IMAGE) for method in METHODS]
CASES.remove(("mean of patches", "grad-eclip"))  # There is no class token.


@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_map_on_the_grid_of_patches_is_each_photo_s_own(name, method):
    classifier = classifier_of(name)
    photos = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    rule, seeds = TargetRule(index=0, against=1), torch.zeros(3, dtype=torch.int64)
    maps = make_method(method).attribute(classifier, photos, Targets.same(rule, 3), seeds)
    assert maps.values.shape == (3, 1, 4, 4)
    assert maps.values.isfinite().all()
    assert (maps.values.amax(dim=(1, 2, 3)) > maps.values.amin(dim=(1, 2, 3))).all()
    alone = make_method(method).attribute(classifier, photos[1:2], Targets.same(rule, 1), seeds[:1])
    torch.testing.assert_close(maps.values[1:2], alone.values, rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in classifier.torch_module.parameters())


@pytest.mark.parametrize("method", ON_ATTENTION)
def test_networks_whose_tokens_do_not_all_attend_to_each_other_are_refused(method, tiny_cnn):
    timm = pytest.importorskip("timm")
    swin = timm.models.swin_transformer.SwinTransformer(
        img_size=32, patch_size=4, embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=4, num_classes=4
    )
    for network in (swin, tiny_cnn):
        classifier = xaicli.classifier(network, resize=32, crop=32)
        with pytest.raises(UsageError, match=rf"{method} cannot be used with \w+; expected a vision transformer"):
            make_method(method).attribute(
                classifier, torch.randn(1, 3, 32, 32), Targets.same(TargetRule(index=0), 1), torch.zeros(1, dtype=torch.int64)
            )


def test_a_clip_loaded_from_disk_is_explained_prompt_by_prompt(tmp_path: Path):
    save_text_image_model(tmp_path / "clip")
    classifier = load_classifier(f"hf:{tmp_path / 'clip'}", prompts="a cat,a dog,a red bee")
    photo = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for method in METHODS:
        maps = [
            make_method(method)
            .attribute(classifier, photo, Targets.same(TargetRule(index=index), 1), torch.zeros(1, dtype=torch.int64))
            .values
            for index in range(2)
        ]
        assert not torch.allclose(*maps)
