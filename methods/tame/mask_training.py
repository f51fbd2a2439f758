"""How attention is trained by masking (Ntrougkas et al., ISM 2022): what T-TAME and P-TAME share.

The photo is seen through the map of the class that the network decided on, and the network, which stays as it is, is asked to
decide so again; the maps are kept small and smooth. No labels are needed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.methods.tame.attention_head import AttentionHead
from xaicli.methods.tame.mask_losses import area, over_reference, variation
from xaicli.network.classifier import Classifier
from xaicli.params import Definition, param
from xaicli.passes.baselines import BASELINE_HELP, Baseline, baseline_inputs
from xaicli.task import Augmentation, Task

LAYERS_HELP = "layers that are read, shallow first, joined by +; auto: by the network's family, or its last resolutions"


@dataclass(frozen=True, kw_only=True)
class MaskTraining(Definition):
    """The loss, weighted: ce x cross-entropy of the masked photo + area x mean of (map + 0.0005) ** power + variation x sum of
    squared differences."""

    layers: Literal["auto"] | tuple[str, ...] = param("auto", LAYERS_HELP)
    ce: float = param(1.5, "weight of the cross-entropy of the masked photo", ge=0)
    area: float = param(2.0, "weight of the maps' area", ge=0)
    variation: float = param(0.01, "weight of the maps' variation", ge=0)
    power: float = param(0.3, "to which map values are raised in the area", gt=0)
    border: float = param(0.3, "how much the maps' edges count in the variation", ge=0)
    maps: Literal["batch", "matched"] = param("batch", "area and variation of the maps of all labels in the batch, or of its own")
    reference: int | None = param(32, "batch size that the loss weights are meant for; none: the batch size of the run", ge=1)
    baseline: Baseline = param("black", f"what masked pixels become: {BASELINE_HELP}")
    target: Literal["decision", "label"] = param("decision", "the class whose map masks the photo")
    fast_fuser: bool = param(True, "compute only the maps that the loss reads: exact, and much cheaper")


class MaskTask(Task):
    """An attention head on features of a frozen network, trained for a frozen classifier."""

    augmentation = Augmentation()

    def __init__(self, classifier: Classifier, training: MaskTraining, head: AttentionHead) -> None:
        self.classifier, self.training, self.head = classifier, training, head.to(classifier.device)
        self.needs_labels = training.target == "label"
        self.weights = {"ce": training.ce, "area": training.area, "variation": training.variation}

    @abstractmethod
    def features_and_logits(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        """The features (B, C_i, h_i, w_i) that the head reads and the classifier's logits (B, N), without graphs."""

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"attention": self.head}

    @property
    def frozen(self) -> dict[str, nn.Module]:
        return {"classifier": self.classifier.torch_module}

    def losses(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        return self.measured(inputs, labels)[0]

    def evaluate(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """The terms; whether the masked photo is decided alike; the share of the class's probability that is left."""
        terms, wanted, clean, masked = self.measured(inputs, labels)
        before, after = (logits.softmax(dim=1).gather(1, wanted[:, None])[:, 0] for logits in (clean, masked))
        kept = (masked.argmax(dim=1) == wanted).float()
        return {"loss": self.total(terms), **terms, "kept": kept, "probability left": after / before.clamp_min(1e-8)}

    def measured(self, inputs: Tensor, labels: Tensor | None) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        """The terms of the loss; the class wanted of each photo; its logits as it is, and masked."""
        own = self.training
        features, clean = self.features_and_logits(inputs)
        wanted = self.wanted(clean, labels)
        maps, row = self.maps(features, wanted)
        photos = torch.arange(len(inputs), device=inputs.device)
        masked = self.decided(inputs, maps[photos, row])
        size, rough = area(maps, own.power), variation(maps, own.border)
        if own.maps == "batch":
            # The map that photo i has of photo j's class, for all i and j: classes that occur twice count twice.
            mean_size, _ = over_reference(size[:, row], own.reference)
            _, sum_rough = over_reference(rough[:, row], own.reference)
        else:
            mean_size, sum_rough = size.mean(), rough.mean()
        terms = {"ce": functional.cross_entropy(masked, wanted), "area": mean_size, "variation": sum_rough}
        return terms, wanted, clean, masked.detach()

    def wanted(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        if self.training.target == "decision":
            return logits.argmax(dim=1)
        if labels is None:
            raise UsageError(f"{self.name}: target=label needs labels, and this data has none", hint="Leave target=label out.")
        return labels

    def maps(self, features: Sequence[Tensor], wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, n, R, R), 0 to 1, and which of the n is of each photo's own class, (B,)."""
        if self.training.maps == "matched":
            classes, row = wanted[:, None], torch.zeros_like(wanted)
        else:
            classes, row = wanted.unique(return_inverse=True)
        if self.training.fast_fuser:
            logits = self.head(features, classes)
        else:
            whole = self.head.dense(features)
            shared = classes.expand(len(wanted), -1)
            logits = whole.gather(1, shared[..., None, None].expand(-1, -1, *whole.shape[2:]))
        return logits.float().sigmoid(), row

    def decided(self, inputs: Tensor, maps: Tensor) -> Tensor:
        """The classifier's logits (B, N) of photos seen through maps (B, R, R)."""
        return self.classifier(self.masked(inputs, maps))

    def masked(self, inputs: Tensor, maps: Tensor) -> Tensor:
        """Photos (B, 3, H, W) seen through maps (B, R, R): where a map is 0 there is the baseline."""
        masks = functional.interpolate(maps[:, None], inputs.shape[2:], mode="bilinear", align_corners=False)
        baseline = baseline_inputs(self.training.baseline, self.classifier.view, inputs)
        return baseline + masks * (inputs - baseline)

    def metadata(self) -> dict[str, Any]:
        return {"parameters": self.training.parameters_as_given(), "attention": self.head.described()}
