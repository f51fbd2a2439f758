"""Finer-CAM (Zhang et al., 2025): a class against the classes that are most like it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.grad_cam import GradCAM, GradientCAM
from xaicli.network.classifier import Classifier
from xaicli.network.embedding import class_weights
from xaicli.targets import NO_CLASS, Resolved, Targets

Weights = Literal["uniform", "softmax", "softmax-detached"]
Aggregate = Literal["score", "maps"]
References = Literal["nearest", "top", "weight"] | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FinerCAM(Method):
    """Finer-CAM: a CAM of what sets a class apart from the classes most like it.

    The base CAM explains `Y = y_c - gamma sum_d pi_d y_d` in the place of the logit y_c: d runs over the k classes whose logits
    are nearest to y_c, above it or below (`references=nearest`), over the k highest others (`references=top`), over the k whose
    weights in the linear head have the largest cosine to those of c, for a text-image model the embeddings of the prompts
    (`references=weight`), or over classes by index (`references=12+14`), c itself left out. pi is 1 / k, or a softmax over the
    logits of those classes, which the authors' code differentiates too (`weights=softmax`, with their `gamma=1`). At gamma 0 the
    map is the base's own; at 1 what the classes have in common is gone, and the map may be empty. Maps are the base's:
    (B, T, h, w) at the layer's resolution. `aggregate=maps` makes a map of `y_c - gamma y_d` for each reference, which the base
    clips for itself, and takes their mean by pi: where one reference outweighs the class, the maps of the others stay.
    A target A-B takes B as its references, all k of them.

    extras: `references` (B, T, k), the classes; `reference_weights` (B, T, k), pi.

    `xai explain bird.jpg --method finer-cam@gamma=1`
    """

    base: Method = param(GradCAM(), "a CAM by gradients, with its parameters")
    gamma: float = param(0.6, "how much of the references is taken away", ge=0)
    k: int = param(3, "how many classes it is set against", ge=1)
    references: References = param("nearest", "nearest logits, highest others, most similar weights, or indices joined by +")
    weights: Weights = param("uniform", "how references count: alike, or by a softmax over their logits")
    aggregate: Aggregate = param("score", "one map of the whole score, or the mean of one map for each reference", later=True)

    name = "finer-cam"
    paper = "Zhang et al., CVPR 2025, arXiv:2501.11309"
    needs = Needs.GRADIENTS | Needs.FEATURES
    clean_pass_first = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.base, GradientCAM):
            raise UsageError(
                f"finer-cam cannot wrap {self.base.name}",
                expected="grad-cam, grad-cam++, xgrad-cam, layer-cam or hirescam",
                hint="Try base=grad-cam.",
            )

    @property
    def sign(self) -> Sign:
        return self.base.sign

    def with_negative(self, keep: bool) -> FinerCAM:
        return replace(self, base=self.base.with_negative(keep))

    def cost(self, classifier: Classifier | None = None) -> Cost:
        base = self.base.cost(classifier)
        return base if self.aggregate == "score" else replace(base, backward=base.backward * self.compared_with(classifier))

    def compared_with(self, classifier: Classifier | None) -> int:
        """How many references a class has."""
        if isinstance(self.references, tuple):
            return len(self.references)
        return self.k if classifier is None else min(self.k, classifier.count - 1)

    def require(self, classifier: Classifier) -> None:
        if classifier.count < 2:
            raise UsageError(f"finer-cam sets a class against others, and {classifier.name} has one output", hint="Try grad-cam.")
        if isinstance(self.references, tuple) and not all(0 <= one < classifier.count for one in self.references):
            named = "+".join(map(str, self.references))
            raise UsageError(f"finer-cam: references={named}", expected=f"indices of classes from 0 to {classifier.count - 1}")

    def layers_read(self, classifier: Classifier) -> tuple[str, ...]:
        return self.base.layers_read(classifier)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        rows = class_weights(classifier) if self.references == "weight" else None
        each = 0 if self.aggregate == "score" else self.compared_with(classifier)
        maps = self.base.attribute(classifier, inputs, FinerTargets((), plain=targets, rule=self, rows=rows, each=each), seeds)
        chosen = targets.resolve(maps.logits)
        references, weights = self.compared(chosen, maps.logits, rows)
        values, extras = maps.values, maps.extras
        if each:
            apart, spread = values.unflatten(1, (-1, each)), weights.reshape(*weights.shape, *[1] * (values.ndim - 2))
            values = (apart * spread).sum(dim=2)
            extras = {name: one.unflatten(1, (-1, each)).amax(dim=2) for name, one in extras.items()}
        return Maps(values, chosen, maps.logits, {**extras, "references": references.float(), "reference_weights": weights})

    def compared(self, chosen: Resolved, logits: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The references (B, T, k) of each target, and their weights (B, T, k), which have the graph of the logits (B, C); rows:
        the weights (C, K) of the classes, where references are found by them."""
        scores = chosen.outputs.scores(logits)
        against = chosen.against[:, :, None]
        references = torch.where(against == NO_CLASS, self.found(chosen, scores.detach(), rows), against)
        others = scores[:, None].expand(-1, references.shape[1], -1).gather(2, references)
        counted = references != chosen.classes[:, :, None]
        if not bool(counted.any(dim=2).all()):
            raise UsageError("finer-cam: a class is its own only reference", hint="Name others: references=A+B.")
        if self.weights == "uniform":
            return references, counted / counted.sum(dim=2, keepdim=True).to(others.dtype)
        others = others if self.weights == "softmax" else others.detach()
        return references, others.masked_fill(~counted, -torch.inf).softmax(dim=2)

    def found(self, chosen: Resolved, scores: Tensor, rows: Tensor | None) -> Tensor:
        """The references (B, T, k) by their rule, from scores (B, C)."""
        wanted = (*chosen.classes.shape, scores.shape[1])
        if isinstance(self.references, tuple):
            listed = torch.tensor(self.references, device=scores.device)
            return listed.expand(*chosen.classes.shape, len(self.references))
        if rows is not None:
            alike = functional.normalize(rows, dim=1)
            distance = -(alike @ alike.T)[chosen.classes]
        elif self.references == "nearest":
            distance = (scores[:, None] - scores.gather(1, chosen.classes)[:, :, None]).abs()
        else:
            distance = -scores[:, None]
        distance = distance.expand(wanted).clone().scatter_(2, chosen.classes[:, :, None], torch.inf)
        return distance.argsort(dim=2, stable=True)[:, :, : min(self.k, wanted[2] - 1)]

    def score(self, chosen: Resolved, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Y (B, T) of logits (B, C), with their graph."""
        references, weights = self.compared(chosen, logits, rows)
        scores = chosen.outputs.scores(logits)
        others = scores[:, None].expand(-1, references.shape[1], -1).gather(2, references)
        return scores.gather(1, chosen.classes) - self.gamma * (weights * others).sum(dim=2)

    def one_by_one(self, chosen: Resolved, logits: Tensor, rows: Tensor | None = None) -> Resolved:
        """Each target once for each of its references, (B, T k), with the score `y_c - gamma y_d`."""
        references, _ = self.compared(chosen, logits, rows)
        scores = chosen.outputs.scores(logits)
        others = scores.gather(1, references.flatten(1))
        classes, against = (part.repeat_interleave(references.shape[2], dim=1) for part in (chosen.classes, chosen.against))
        return replace(chosen, classes=classes, against=against, scores=scores.gather(1, classes) - self.gamma * others)


@dataclass(frozen=True, eq=False)
class FinerTargets(Targets):
    """The same classes as `plain`, each with the score by which `rule` sets it apart; rows: the weights of the classes; each: of
    one map for each reference, how many references there are, else 0."""

    plain: Targets = field(default_factory=lambda: Targets(()))
    rule: FinerCAM = field(default_factory=FinerCAM)
    rows: Tensor | None = None
    each: int = 0

    def resolve(self, logits: Tensor) -> Resolved:
        chosen = self.plain.resolve(logits)
        if self.each:
            return self.rule.one_by_one(chosen, logits, self.rows)
        return replace(chosen, scores=self.rule.score(chosen, logits, self.rows))

    @property
    def count(self) -> int:
        return self.plain.count * (self.each or 1)

    def photo(self, row: int) -> Targets:
        return replace(self, plain=self.plain.photo(row))
