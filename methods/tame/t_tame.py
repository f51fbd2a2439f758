"""T-TAME and TAME: class maps of a small head on a frozen network's layers, trained by masking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.tame.attention_head import AttentionHead
from xaicli.methods.tame.mask_training import MaskTask, MaskTraining
from xaicli.methods.tame.trained_attention import (
    Scaling,
    grids,
    head_of,
    layer_names,
    require_channels,
    require_class_token,
    scaled,
)
from xaicli.models.checkpoint import Checkpoint, checkpoint_for
from xaicli.models.checkpoint_content import content_of
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.stages import find_stages
from xaicli.network.taps import listening, tap_many
from xaicli.network.tokens import Axes
from xaicli.passes.folded_engine import reading_engine_for
from xaicli.targets import Targets
from xaicli.task import Schedule, TaskOptions

LAYERS = 3
CHECKPOINT_HELP = "file that xai train wrote; auto: the installed one for this network (xai list checkpoints)"
SCALING_HELP = "each map from 0 to 1, or the sigmoid of training, or the class scores as they are"


@dataclass(frozen=True, kw_only=True)
class TTAMETraining(MaskTraining):
    """How T-TAME is trained."""

    max_map: int = param(56, "most rows and columns of a map", ge=1)
    vit_tap: Literal["ln1", "block_out"] = param("ln1", "of a transformer's last blocks: their first norm, or what they give")
    cls_gate: bool = param(False, "of a transformer: patches times the class token")

    name = "t-tame"

    def schedule(self, classifier: Classifier) -> Schedule:
        return Schedule(epochs=8, batch_size=32, lr=1e-3, weight_decay=5e-4, nesterov=True, decay="weights")


@dataclass(frozen=True, kw_only=True)
class TAMETraining(TTAMETraining):
    """How TAME is trained: the recipe of 2022."""

    name = "tame"

    def schedule(self, classifier: Classifier) -> Schedule:
        residual = any(type(part).__name__ == "ResNet" for part in classifier.torch_module.modules())
        epochs, lr = (4, 1e-4) if residual else (8, 1e-3)
        return Schedule(epochs=epochs, batch_size=32, lr=lr, weight_decay=5e-4, nesterov=True, decay="weights")


@dataclass(frozen=True, kw_only=True)
class TrainedMaps(Method):
    """A method whose maps come from an attention head in a checkpoint."""

    checkpoint: str = param("auto", CHECKPOINT_HELP)
    scaling: Scaling = param("minmax", SCALING_HELP)

    @property
    def sign(self) -> Sign:
        return Sign.SIGNED if self.scaling == "none" else Sign.NONNEGATIVE

    def parameters_as_given(self) -> dict[str, Any]:
        """A checkpoint counts by its content, not by the folder that it lies in."""
        given = super().parameters_as_given()
        return given if self.checkpoint == "auto" else {**given, "checkpoint": content_of(self.checkpoint)}

    def found_for(self, classifier: Classifier) -> dict[str, str]:
        found = checkpoint_for(self.name, classifier, self.checkpoint)
        return {"checkpoint": content_of(str(found.path))}


@dataclass(frozen=True, kw_only=True)
class TTAME(TrainedMaps):
    """T-TAME: class maps from three layers, by a small head that was trained to keep the masked photo's decision.

    `map_c = scaled(b_c + sum_i resize(W_ci u_i))`, `u_i = relu(norm(V_i F_i) + F_i)`: F_i are the features of three layers, V_i
    and W_i are 1 x 1 convolutions, and the map of class c is scaled to 0..1. The head is trained once for a network, on photos
    without labels (`xai train t-tame`): the photo, seen through the map of its class, shall be decided as before, and maps
    shall be small and smooth. The network itself, convolutional or a vision transformer, stays as it is. Afterwards one forward
    pass gives the maps of all classes. The map of a contrast A-B is that of A less that of B. Maps are (B, T, h, w) at the
    first layer's resolution, at most 56 x 56.

    `xai explain cat.jpg --model tiny --method t-tame`
    """

    name = "t-tame"
    paper = "Ntrougkas, Gkalelis and Mezaris, IEEE Access 2024, arXiv:2403.04523"
    needs = Needs.FEATURES | Needs.CHECKPOINT
    training: ClassVar[type[MaskTraining]] = TTAMETraining

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1)

    def require(self, classifier: Classifier) -> None:
        self.attention(classifier)

    def attention(self, classifier: Classifier) -> tuple[Checkpoint, AttentionHead, tuple[FeatureLayer, ...]]:
        """The checkpoint, its head and the layers that it reads; raises XaiError where they do not fit the classifier."""
        checkpoint = checkpoint_for(self.name, classifier, self.checkpoint)
        head = head_of(checkpoint, classifier.device)
        layers = classifier.stages(layer_names(checkpoint))
        require_channels(layers, head, checkpoint.path.name)
        return checkpoint, head, layers

    def layers_read(self, classifier: Classifier) -> tuple[str, ...]:
        return layer_names(self.attention(classifier)[0])

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        checkpoint, head, found = self.attention(classifier)
        engine, layers = reading_engine_for(classifier, inputs[:1], len(inputs), found)
        with tap_many(engine.torch_module, {str(layer): layer for layer in layers}, gradients=False) as taps:
            logits = engine(inputs)
            chosen = targets.resolve(logits).detached()
            features = grids(list(taps.values()), cls_gate=bool(checkpoint.metadata.get("cls_gate")))
            maps = head.contrast(features, chosen.classes, chosen.against)
        return Maps(scaled(maps, self.scaling), chosen, logits)

    def task(self, classifier: Classifier, options: TaskOptions) -> MaskTask:
        return TTAMETask(classifier, TTAMETraining.from_text(dict(options.parameters)))


@dataclass(frozen=True, kw_only=True)
class TAME(TTAME):
    """TAME: T-TAME's forerunner of 2022, for convolutional networks, with its own training recipe.

    Maps are those of T-TAME's head (see `t-tame` for the formula and shapes). No checkpoint ships with the package, so no
    scores are shown: train one (`xai train tame`), or take `t-tame`.

    `xai explain cat.jpg --model resnet50 --method tame@checkpoint=my-tame.safetensors`
    """

    name = "tame"
    paper = "Ntrougkas, Gkalelis and Mezaris, IEEE ISM 2022, arXiv:2301.07407"
    training = TAMETraining

    def task(self, classifier: Classifier, options: TaskOptions) -> TTAMETask:
        task = TAMETask(classifier, TAMETraining.from_text(dict(options.parameters)))
        if any(layer.layout.axes is Axes.TOKENS for layer in task.layers):
            raise UsageError(f"tame is for convolutional networks, and {classifier.name} is none", hint="Train t-tame instead.")
        return task


class TTAMETask(MaskTask):
    """A head on layers of the classifier itself."""

    name = "t-tame"

    def __init__(self, classifier: Classifier, training: TTAMETraining) -> None:
        if not classifier.provides & Needs.GRADIENTS:
            raise UsageError(f"{training.name} is trained through the network, and {classifier.name} is a black box")
        if training.layers == "auto":
            self.layers = find_stages(classifier.trace, LAYERS, training.vit_tap)
        else:
            self.layers = classifier.stages(training.layers)
        if training.cls_gate:
            require_class_token(self.layers)
        self.cls_gate = training.cls_gate
        channels = [layer.channels for layer in self.layers]
        super().__init__(classifier, training, AttentionHead(channels, classifier.count, largest=training.max_map))
        self.schedule = training.schedule(classifier)

    def features_and_logits(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        with listening(self.layers) as features:
            logits = self.classifier(inputs)
            return grids(features, cls_gate=self.cls_gate), logits

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "layers": list(map(str, self.layers)), "cls_gate": self.cls_gate}


class TAMETask(TTAMETask):
    """The same, under the recipe of 2022."""

    name = "tame"
