"""Which networks give features: what is known of a network of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xaicli
from xaicli.network.classifier import Classifier

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")


def vit(**changes: int) -> nn.Module:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 0}
    made = timm.models.vision_transformer.VisionTransformer(**{**sizes, **changes})
    assert isinstance(made, nn.Module)
    return made


def base_model(pooled: bool = True) -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    made = transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **sizes), add_pooling_layer=pooled)
    assert isinstance(made, nn.Module)
    return made


class Around(nn.Module):
    """The user's own module around a network, with a further part behind it."""

    def __init__(self, network: nn.Module, behind: nn.Module) -> None:
        super().__init__()
        self.network, self.behind = network, behind

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.behind(self.network(inputs))
        return outputs


class ClassToken(nn.Module):
    """The class token of a base model of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.network = base_model(pooled=False)

    def forward(self, inputs: Tensor) -> Tensor:
        token: Tensor = self.network(inputs).last_hidden_state[:, 0]
        return token


class Convolutions(nn.Module):
    """Convolutions, their mean, and a part in the head's place."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.convolutions, self.fc = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU()), head

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.fc(self.convolutions(inputs).mean(dim=(2, 3)))
        return outputs


class ConvHead(nn.Module):
    """A head that is a convolution of 1 x 1, with the identity for its dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.head = nn.Conv2d(16, 5, 1), nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.scores(features).flatten(1))
        return outputs


class TextScores(nn.Module):
    """Scores by a product with fixed rows, one per class, behind a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.network = vit()
        self.register_buffer("texts", torch.randn(5, 16))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.network(inputs) @ self.texts.T
        return outputs


def made(network: nn.Module, **said: object) -> Classifier:
    return xaicli.classifier(network.eval(), resize=32, crop=32, **said)  # type: ignore[arg-type]


HEADLESS: dict[str, Callable[[], nn.Module]] = {
    "timm": vit,
    "timm in a module of one's own": lambda: Around(vit(), nn.Dropout()),
    "a base model of transformers": base_model,
    "a class token": ClassToken,
    "the identity in the head's place": lambda: Convolutions(nn.Identity()),
}
HEADED: dict[str, Callable[[], nn.Module]] = {
    "timm": lambda: vit(num_classes=5),
    "a head behind a network without one": lambda: Around(vit(), nn.Linear(16, 5)),
    "a head as wide as the features": lambda: Around(vit(), nn.Linear(16, 16)),
    "a linear head": lambda: Convolutions(nn.Linear(8, 4)),
    "a convolution as head": lambda: Around(nn.Sequential(vit(), nn.Unflatten(1, (16, 1, 1))), ConvHead()),
    "no head that is known": lambda: Convolutions(nn.ReLU()),
    "scores by texts": TextScores,
}


@pytest.mark.parametrize("name", HEADLESS)
def test_a_network_without_a_head_gives_features(name: str) -> None:
    assert made(HEADLESS[name]()).features


@pytest.mark.parametrize("name", HEADED)
def test_a_network_whose_outputs_may_be_scores_does_not(name: str) -> None:
    assert not made(HEADED[name]()).features


@pytest.mark.parametrize(
    "said", [{"outputs": "softmax"}, {"outputs": "values"}, {"classes": [f"class {at}" for at in range(16)]}]
)
def test_what_the_user_says_of_the_outputs_counts(said: dict[str, object]) -> None:
    assert not made(vit(), **said).features


def test_records_name_no_decision_and_say_what_is_explained() -> None:
    classifier = made(vit())
    said = {}
    for method, target in (("grad-cam", "top1"), ("grad-cam", "3"), ("grad-cam", "3-5"), ("daam@target=features", "top1")):
        [one] = explained = xaicli.explain("sample:hopper", classifier, method, target=target)
        said[method, target] = one.record.explains.partition(" of ")
        assert one.record.decision is None
        assert type(one.record).from_json(one.record.to_json(), "the record") == one.record
        assert "decision" not in explained.found[0]
        assert explained.found[0]["explained"] == one.record.explains
    assert said["grad-cam", "3"] == ("feature 3", " of ", "16")
    assert said["grad-cam", "3-5"] == ("feature 3 - feature 5", " of ", "16")
    assert said["grad-cam", "top1"][2] == "16, the largest"
    assert said["daam@target=features", "top1"][0] == "all 16 features"


def test_an_audit_names_no_decision_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"{number}.png")
    audit = xaicli.audit(".", made(vit()), "grad-cam")
    assert {row["decision"] for row in audit.rows} == {None}
    assert all(row["explained"].endswith("of 16, the largest") for row in audit.rows)
