"""P-TAME: class maps from the layers of a small auxiliary network, for a classifier that is only asked for its decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from xaicli.errors import InputError, UsageError
from xaicli.grammar import fold
from xaicli.method import Cost, Maps, Needs, param
from xaicli.methods.tame.attention_head import AttentionHead
from xaicli.methods.tame.auxiliary import default_auxiliary, open_auxiliary, recorded_auxiliary, seen_by
from xaicli.methods.tame.fuser import Upsampling
from xaicli.methods.tame.mask_training import MaskTask, MaskTraining
from xaicli.methods.tame.t_tame import TrainedMaps
from xaicli.methods.tame.trained_attention import grids, head_of, layer_names, require_channels, scaled
from xaicli.models.checkpoint import Checkpoint, checkpoint_for
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.stages import find_stages
from xaicli.network.taps import listening, tap_many
from xaicli.passes.folded_engine import reading_engine_for
from xaicli.passes.queue import clean_logits
from xaicli.targets import Targets
from xaicli.task import Schedule, TaskOptions

LAYERS = 4
RESNET, VGG, VIT = "resnet", "vgg", "vit"
RECIPES: dict[str, dict[str, str]] = {
    RESNET: {"ce": "0.161429", "area": "0.838571", "variation": "0", "power": "0.3", "border": "0.3"},
    VGG: {"ce": "0.07278", "area": "0.977712", "variation": "0.0001", "power": "0.3", "border": "0.3"},
    VIT: {"ce": "0.131292", "area": "0.838571", "variation": "0", "power": "0.5", "border": "0"},
}
"""What the authors' search found for each kind of classifier (paper's configuration; tuned on the test photos)."""
DECAYS = {RESNET: 2.4266e-4, VGG: 0.13324, VIT: 1.3309e-4}


@dataclass(frozen=True, kw_only=True)
class PTAMETraining(MaskTraining):
    """How P-TAME is trained; weights of the loss, power and border come from the recipe where they are not given."""

    recipe: Literal["auto", "resnet", "vgg", "vit"] = param("auto", "weights found for such a classifier; auto: by its family")
    auxiliary: str = param("auto", "network whose layers are read; auto: resnet18 where its weights are here, else tiny")
    upsampling: Upsampling = param("doubling", "of smaller layers: doubled as often as needed, or resized once")
    fuser_bias: bool = param(False, "a bias for each class")

    name = "p-tame"

    @classmethod
    def of(cls, typed: Mapping[str, str], classifier: Classifier) -> PTAMETraining:
        """The parameters as typed, the others by the recipe."""
        recipe = cls.from_text(dict(typed)).recipe
        kind = kind_of(classifier) if recipe == "auto" else recipe
        stated = {fold(key) for key in typed}
        missing = {key: value for key, value in {**RECIPES[kind], "recipe": kind}.items() if fold(key) not in stated}
        return cls.from_text({**missing, **typed, **({"recipe": kind} if recipe == "auto" else {})})


def kind_of(classifier: Classifier) -> str:
    """Which recipe is nearest: a transformer's, a VGG's, or else a ResNet's."""
    if classifier.module is None:
        return RESNET
    if any(type(part).__name__ == "VGG" for part in classifier.module.modules()):
        return VGG
    return VIT if Needs.ATTENTION in classifier.provides else RESNET


@dataclass(frozen=True, kw_only=True)
class PTAME(TrainedMaps):
    """P-TAME: class maps by a trained head on a small auxiliary network; the classifier itself may be a black box.

    The formula is that of `t-tame`, with the features of four layers of the auxiliary network in place of the classifier's. So
    maps are finer, 56 x 56 with ResNet-18, and the classifier is asked for nothing but its decision. The head is trained for
    one classifier (`xai train p-tame`), through the classifier's gradient at the input. What the auxiliary network does not
    see, the map cannot show. Maps are (B, T, h, w), 0 to 1, at the resolution of the auxiliary network's first layer.

    `xai explain cat.jpg --model tiny --method p-tame`
    """

    auxiliary: str = param("auto", "network whose layers are read; auto: the one that the checkpoint names")

    name = "p-tame"
    paper = "Ntrougkas, Mezaris and Patras, IEEE Open Journal of Signal Processing 2025, arXiv:2501.17813"
    needs = Needs.FORWARD | Needs.CHECKPOINT
    training = PTAMETraining

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """One pass of the classifier, and one of the auxiliary network, which is counted as another."""
        return Cost(forward=2)

    def require(self, classifier: Classifier) -> None:
        self.attention(classifier)

    def attention(self, classifier: Classifier) -> tuple[AttentionHead, Classifier, tuple[FeatureLayer, ...]]:
        """The head, the auxiliary network and its layers; raises XaiError where one does not fit the other."""
        checkpoint = checkpoint_for(self.name, classifier, self.checkpoint)
        head = head_of(checkpoint, classifier.device)
        auxiliary = self.auxiliary_of(checkpoint, classifier)
        layers = auxiliary.stages(layer_names(checkpoint))
        require_channels(layers, head, checkpoint.path.name)
        return head, auxiliary, layers

    def auxiliary_of(self, checkpoint: Checkpoint, classifier: Classifier) -> Classifier:
        """The auxiliary network that a checkpoint was trained with; raises InputError where another one is given."""
        recorded = checkpoint.metadata.get("auxiliary")
        if not isinstance(recorded, Mapping) or not isinstance(recorded.get("spec"), str):
            raise InputError(f"{checkpoint.path.name} names no auxiliary network", expected="a checkpoint of xai train p-tame")
        own = self.auxiliary == "auto"
        spec, wanted = recorded["spec"] if own else self.auxiliary, str(recorded.get("fingerprint"))
        return recorded_auxiliary(spec, classifier.device, wanted, checkpoint.path.name, trust=not own)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        head, auxiliary, found = self.attention(classifier)
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits).detached()
        seen = seen_by(auxiliary.view, inputs.detach(), classifier.view)
        engine, layers = reading_engine_for(auxiliary, seen[:1], max(len(inputs), classifier.expected_passes / 2), found)
        with tap_many(engine.torch_module, {str(layer): layer for layer in layers}, gradients=False) as taps:
            engine(seen)
            maps = head.contrast(grids(list(taps.values())), chosen.classes, chosen.against)
        return Maps(scaled(maps, self.scaling), chosen, logits)

    def task(self, classifier: Classifier, options: TaskOptions) -> PTAMETask:
        training = PTAMETraining.of(options.parameters, classifier)
        if not classifier.provides & Needs.GRADIENTS:
            raise UsageError(
                f"p-tame is trained through the gradient at the input, and {classifier.name} is a black box",
                hint="Train it on the network that this one was made from; black boxes can be explained afterwards.",
            )
        if training.auxiliary == "auto":
            spec, auxiliary = default_auxiliary(classifier.device)
        else:
            spec, auxiliary = training.auxiliary, open_auxiliary(training.auxiliary, classifier.device, trust=True)
        return PTAMETask(classifier, training, spec, auxiliary)


class PTAMETask(MaskTask):
    """A head on layers of the auxiliary network, which `spec` names, trained through the classifier."""

    name = "p-tame"

    def __init__(self, classifier: Classifier, training: PTAMETraining, spec: str, auxiliary: Classifier) -> None:
        self.spec, self.auxiliary = spec, auxiliary
        if training.layers == "auto":
            self.layers = find_stages(self.auxiliary.trace, LAYERS)
        else:
            self.layers = self.auxiliary.stages(training.layers)
        channels = [layer.channels for layer in self.layers]
        # A map finer than what the classifier sees would say nothing more.
        finest, side = max(self.layers[0].layout.grid), min(classifier.view.size)
        head = AttentionHead(
            channels,
            classifier.count,
            bias=training.fuser_bias,
            upsampling=training.upsampling,
            largest=side if finest > side else None,
        )
        super().__init__(classifier, training, head)
        self.schedule = Schedule(
            epochs=1,
            batch_size=32,
            lr=1e-4,
            weight_decay=DECAYS.get(training.recipe, DECAYS[RESNET]),
            optimizer="adamw",
            amsgrad=True,
        )

    @property
    def frozen(self) -> dict[str, nn.Module]:
        return {**super().frozen, "auxiliary": self.auxiliary.torch_module}

    def features_and_logits(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        with listening(self.layers) as features:
            self.auxiliary(seen_by(self.auxiliary.view, inputs, self.classifier.view))
            read = grids(features)
            return read, self.classifier(inputs)

    def metadata(self) -> dict[str, Any]:
        auxiliary = {"spec": self.spec, "fingerprint": self.auxiliary.weights_fingerprint}
        return {**super().metadata(), "layers": list(map(str, self.layers)), "auxiliary": auxiliary}
