"""What every registered method is held to its contract on: three tiny networks, small photos, cheap parameters.

Methods come from the registry, so that a new one, a plugin's too, is held to all rules without a new test. A method may refuse a
network in words (an `XaiError`); what it accepts is what it is tried on, and one of them it must accept. For methods that are
trained there are checkpoints, of weights that nobody trained.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from detectors import LookAlike, ultralytics
from torch import Tensor, nn

from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.method import Maps, Method
from xaicli.methods.lfi.lfi_network import with_branch
from xaicli.models.architecture import build
from xaicli.models.checkpoint import about_classifier, checkpoints_folder, write_checkpoint
from xaicli.needs import Needs
from xaicli.network.box_similarity import FixedBoxes
from xaicli.network.classifier import Classifier
from xaicli.network.proposals import Decoding
from xaicli.network.sequences import ClipNetwork
from xaicli.params import parameters
from xaicli.registry import METHODS, Entry, entries, load
from xaicli.stamps import stamp
from xaicli.targets import DECISION, TargetRule, Targets
from xaicli.task import TaskOptions, Trainable

FEW = 8
FRAMES = 4
"""Of the inputs of a network of sequences."""
SQUARES = {"n_segments": 9}
CHEAP: dict[str, dict[str, Any]] = {
    "feature-ablation": SQUARES,
    "shapley-sampling": SQUARES,
    "occlusion": {"window": 8, "stride": 8},
}
"""Parameters of methods for which "few" will not do: all parameters called `n_...` are small anyway."""

ACCEPTED: dict[tuple[str, str], str] = {}
"""What a method said of a network: nothing, or why it refused it."""


def cheap(cls: type[Method]) -> Method:
    """An instance with few samples, masks or steps."""
    few = {p.name: max(FEW, int(p.bounds.get("ge", 0))) for p in parameters(cls) if p.name.startswith("n_") and p.kind is int}
    return cls(**{**few, **CHEAP.get(cls.name, {})})


@pytest.fixture
def cheap_of() -> Callable[[type[Method]], Method]:
    return cheap


@dataclass
class Trial:
    """One method on one network: `explain` gives the maps of some of the photos, by default their decisions'."""

    method: Method
    network: str
    classifier: Classifier
    photos: Tensor
    seeds: Tensor = field(default_factory=lambda: torch.arange(100, 105))

    def explain(self, rule: TargetRule | list[TargetRule] = DECISION, rows: list[int] | None = None) -> Maps:
        rows = list(range(len(self.photos))) if rows is None else rows
        rules = tuple(rule) if isinstance(rule, list) else (rule,) * len(rows)
        return self.method.attribute(self.classifier, self.photos[rows], Targets(rules), self.seeds[rows])

    def refusal(self) -> str:
        """Why the method refuses the network, empty where it accepts it."""
        key = self.method.label, self.network
        if key not in ACCEPTED:
            try:
                self.explain(rows=[0])
                ACCEPTED[key] = ""
            except (UsageError, InputError) as error:
                ACCEPTED[key] = str(error)
        return ACCEPTED[key]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "entry" in metafunc.fixturenames:
        metafunc.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in entries(METHODS) if not entry.fault])


@pytest.fixture
def method(entry: Entry) -> Method:
    """The method under test, with cheap parameters."""
    cls = load(METHODS, entry)
    assert issubclass(cls, Method)
    return cheap(cls)


@pytest.fixture
def networks(tiny_cnn: nn.Module, tiny_vit: nn.Module, method: Method) -> dict[str, nn.Module]:
    """A convolutional network with batch norm and in-place ReLU, one of plain modules in a row, and a vision transformer; for a
    method that is a network of its own, such a one too, and for one that explains boxes a detector."""
    own: dict[str, nn.Module] = {"own": with_untrained_branch(tiny_cnn)} if method.trains_network else {}
    if Needs.BOXES in method.needs:
        own |= {"detector": detector()}
    if method.of_frames:
        own |= {"clips": ClipNetwork(volumes(), FRAMES)}
    return {"cnn": tiny_cnn, "vit": tiny_vit, "plain": plain(), **own}


def detector() -> nn.Module:
    """A detector of untrained weights, in which the five boxes of `with_boxes` have different gradients."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LookAlike().eval().requires_grad_(False)


def with_untrained_branch(network: nn.Module) -> nn.Module:
    """A copy of a network with a feature importance branch."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return with_branch(copy.deepcopy(network), (32, 32)).eval().requires_grad_(False)


@pytest.fixture
def checkpoints(
    networks: dict[str, nn.Module], classifier_of: Callable[..., Classifier], method: Method, tmp_path: Path
) -> dict[str, Classifier]:
    """For a method that needs them, installed checkpoints for each network it can be trained on, of untrained weights."""
    classifiers = {name: identified(classifier_of(module, count=5), name) for name, module in networks.items()}
    if not isinstance(method, Trainable) or method.trains_network:
        return classifiers
    for name, classifier in classifiers.items():
        with torch.random.fork_rng(), contextlib.suppress(UsageError):
            torch.manual_seed(8)
            task = method.task(classifier, TaskOptions(parameters=TRAINING.get(method.name, lambda folder: {})(tmp_path)))
            told = {"method": method.name, **about_classifier(classifier), **task.metadata()}
            write_checkpoint(checkpoints_folder() / f"{method.name}.{name}.safetensors", task.finish(), told)
    return classifiers


def with_auxiliary(folder: Path) -> dict[str, str]:
    """How P-TAME is trained here: its auxiliary network is a file."""
    built = build("tiny@widths=4+8@blocks=1", 3)
    told = {"method": "classifier", "architecture": {"spec": built.spec, "count": 3}, "view": View(32, 32).as_dict()}
    state = {f"network.{name}": tensor for name, tensor in built.module.state_dict().items()}
    write_checkpoint(folder / "auxiliary.safetensors", state, told)
    return {"auxiliary": str(folder / "auxiliary.safetensors")}


TRAINING: dict[str, Callable[[Path], dict[str, str]]] = {"p-tame": with_auxiliary}


def identified(classifier: Classifier, network: str) -> Classifier:
    """The classifier with a fingerprint of its network's name: copies of a network, and a black box made of it, are it too."""
    return dataclasses.replace(classifier, fingerprint=stamp(network), weights_fingerprint=stamp(network))


def plain() -> nn.Module:
    """Convolutions, ReLU, pooling and a linear head, each a module used once: for rules that know no other layers."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        network = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return network.eval().requires_grad_(False)


@pytest.fixture
def trial_on(
    networks: dict[str, nn.Module],
    classifier_of: Callable[..., Classifier],
    method: Method,
    checkpoints: dict[str, Classifier],
) -> Callable[..., Trial]:
    """A function that makes a trial of the method on a copy of a network, or on a changed one, or on a function (a black box)."""

    def make(
        network: str, changed: Callable[[Tensor], Tensor] | None = None, size: tuple[int, int] = (32, 32), **settings: Any
    ) -> Trial:
        function = changed if changed is not None else copy.deepcopy(networks[network])
        classifier = identified(classifier_of(function, size=size, count=5, **settings), network)
        if network == "detector":
            classifier = with_boxes(classifier)
        if network == "clips":
            classifier = of_clips(classifier)
        return Trial(method, network, classifier, photos_of(size, classifier.view.channels))

    return make


@pytest.fixture
def trials(networks: dict[str, nn.Module], trial_on: Callable[..., Trial]) -> list[Trial]:
    """A trial on each network that the method accepts."""
    return [trial for trial in map(trial_on, networks) if not trial.refusal()]


def with_boxes(classifier: Classifier) -> Classifier:
    """A detector as a classifier of five boxes."""
    corners = torch.tensor([[4.0 * at, 2.0 * at, 4.0 * at + 14, 2.0 * at + 12] for at in range(5)])
    scores = torch.eye(3)[[0, 1, 2, 0, 1]] * 0.8 + 0.1
    decoding = Decoding(ultralytics)
    fixed = FixedBoxes(corners, scores.argmax(dim=1), scores, decoding.floor)
    provides = classifier.provides | Needs.BOXES
    return dataclasses.replace(classifier, decoding=decoding, provides=provides).for_boxes(fixed, tuple("abcde"))


def volumes() -> nn.Module:
    """A network of clips (B, 3, F, H, W), of convolutions over time too."""
    with torch.random.fork_rng():
        torch.manual_seed(9)
        layers = nn.Conv3d(3, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 8, 3, padding=1)
        head = nn.Linear(8, 5)
        nn.init.normal_(head.weight)
    network = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), head)
    return network.eval().requires_grad_(False)


def of_clips(classifier: Classifier) -> Classifier:
    """The classifier as one of sequences."""
    view = dataclasses.replace(classifier.view, frames=FRAMES)
    return dataclasses.replace(classifier, view=view, provides=classifier.provides | Needs.FRAMES)


def photos_of(size: tuple[int, int], channels: int = 3) -> Tensor:
    """Five smooth, different inputs (5, C, H, W)."""
    coarse = torch.randn(5, channels, 8, 8, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
