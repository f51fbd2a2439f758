"""BEE (Barkan et al., AAAI 2025): path integrals from random baselines, and the map of them that a metric scores best."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.judge import Judge, judge_of
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.bee.arms import Arm, NoiseScale
from xaicli.methods.bee.bandit import Beliefs, Numbers
from xaicli.methods.bee.bee_training import BEETask, BEETraining
from xaicli.methods.bee.learned_prior import LearnedPrior, learned_prior, prior_checkpoint
from xaicli.methods.bee.path_integral import Integrand, places_of
from xaicli.methods.bee.pulls import Found, PathRule, Question, explore
from xaicli.models.checkpoint_content import content_of
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.suffix import Suffix, suffix
from xaicli.targets import Resolved, Targets
from xaicli.task import TaskOptions

WITHOUT_BANK: tuple[Arm, ...] = ("normal", "uniform", "blur", "constant")
USUAL = (224, 224)
"""The size of inputs for which the cost is given where no network is."""
CONSTANT_CONTEXT = np.ones(1)


@dataclass(frozen=True, kw_only=True)
class BEE(Method):
    """BEE: path integrals from random baselines, of which the map that a metric scores best is kept.

    `map = (h - b) mean_k g_k`, summed over channels: h are the features of one layer, b is a random baseline, g_k is the
    gradient of the target's logit at `b + t_k (h - b)`, t_k the middles of `n_steps` equal parts. Such a map sums to the logit
    less the baseline's. A bandit draws `n_pulls` baselines from families, its arms, by Thompson sampling, and learns from the
    rank of each map's score which family suits the photo. Maps are (B, T, h, w) at the layer's resolution, signed, in logits.

    The complete integral has the factor `h - b`, so that a noisy baseline leaves its noise in the map: a bright spot beside the
    object may be that. `integrand=relu_product` is calmer, and `noise=std` keeps the noise as large as the features.

    Where a mean over places and a linear head follow the layer, as in most convolutional networks, gradients at the last layer
    are the same from every baseline: the arms `constant` and `blur` then rank places as the signed HiResCAM does, and only noise
    ranks them otherwise. So there is little to choose from there. The authors let several layers compete, finer ones among them:
    `layer=layer2+layer3+layer4`, at so many times the passes.

    A score by `metric` is no independent judgement of this map, which was chosen by it: tables mark it, and show others beside.
    Without a trained prior this is Thompson sampling on one photo alone. `xai train bee` learns, for a network and a metric,
    which arms win on photos like this one; then there is the arm `train` too: features of other photos.

    Reconstructed: the authors' code does not run as published, and no public text settles what it leaves open. The default
    integrand is the complete one, `relu_product` and `product` are the code's; each arm has one belief; the context is the
    network's own pooled features in place of a ResNet-18's; a pull wins by its rank among those of the photo; a constant map has
    no score and loses. In a transformer the baseline takes the patches' place, and other tokens stay.

    Extras: `score` (B, T) of the map; `pull`, `arm` and `layer` (B, T), numbered from 0 in the order given; `trained_pulls`
    (B, T) that the prior has seen, 0 without one. With `parts` also `scores` and `maps` (B, T, pulls, layers, ...), `arms`
    (B, T, pulls).

    `xai explain cat.jpg --method bee@metric=deletion`
    """

    metric: str = param("insertion", r"what the map is fitted to: a metric of single maps; its own parameters after \@")
    layer: Literal["auto"] | str | tuple[str, ...] = param("auto", "feature layer, or several joined by +, each a candidate")
    n_pulls: int = param(16, "baselines drawn for a photo", ge=1)
    at_once: int = param(4, "pulls by the same beliefs, scored in one queue", ge=1)
    n_steps: Literal["auto"] | int = param(
        "auto", "points of the path; auto: 8, or 4 and the start for the code's integrands", ge=1
    )
    integrand: Integrand = param("ig", "the complete integral, or the authors' code's")
    arms: Literal["auto"] | tuple[Arm, ...] = param("auto", "families of baselines; auto: all, train only with a trained prior")
    noise: NoiseScale = param("unit", "scale of the noise in the arms normal and uniform: 1, or the features' own")
    update: bool = param(True, "learn from the photo's own pulls; false: the prior stays as it is")
    checkpoint: str = param(
        "auto", "the prior, a file of xai train bee; auto: the installed one if there is one; none: untrained"
    )
    prior_precision: float = param(1.0, "of beliefs about an arm of which nothing is known", gt=0)
    parts: bool = param(False, "also keep all maps, their scores and arms")

    name = "bee"
    paper = "Barkan, Elisha, Weill and Koenigstein, AAAI 2025, arXiv:2412.17512"
    needs = Needs.GRADIENTS | Needs.FEATURES
    stochastic = True
    training = BEETraining

    def __post_init__(self) -> None:
        super().__post_init__()
        judge = self.judge
        judge.require(self.name, self.sign)
        # One metric has one label; a metric in a file of the user's is found by its file alone.
        if ".py:" not in self.metric:
            object.__setattr__(self, "metric", judge.label)
        if self.arms != "auto" and len(set(self.arms)) < len(self.arms):
            raise UsageError("bee: arms names one of them twice", hint="Name each once.")

    @property
    def judge(self) -> Judge:
        return judge_of(self.metric)

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.integrand == "relu_product" else Sign.SIGNED

    def parameters_as_given(self) -> dict[str, Any]:
        """The metric counts by its definition, of which a new version may choose other maps, and a checkpoint by its content."""
        given = {**super().parameters_as_given(), "metric": self.judge.content}
        return given if self.checkpoint in ("auto", "none") else {**given, "checkpoint": content_of(self.checkpoint)}

    def found_for(self, classifier: Classifier) -> dict[str, str]:
        found = prior_checkpoint(classifier, self.checkpoint, self.trained_for(classifier))
        return {} if found is None else {"checkpoint": content_of(str(found.path))}

    @property
    def steps(self) -> int:
        if self.n_steps != "auto":
            return self.n_steps
        return 8 if self.integrand == "ig" else 4

    @property
    def rule(self) -> PathRule:
        return PathRule(integrand=self.integrand, steps=self.steps, noise=self.noise)

    def layers(self, classifier: Classifier) -> list[FeatureLayer]:
        names = (self.layer,) if isinstance(self.layer, str) else self.layer
        return [classifier.feature_layer(name) for name in names]

    def layers_read(self, classifier: Classifier) -> tuple[str, ...]:
        return tuple(map(str, self.layers(classifier)))

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """The photo's pass, and for each pull the path through what follows the layer and the metric's passes."""
        size = USUAL if classifier is None else classifier.view.size
        behind = [1.0] if classifier is None else [layer.behind for layer in self.layers(classifier)]
        path = len(places_of(self.integrand, self.steps)) * sum(behind)
        scoring = self.judge.passes(size) * len(behind)
        return Cost(1 + self.n_pulls * (path + scoring), self.n_pulls * path)

    def require(self, classifier: Classifier) -> None:
        self.judge.require(self.name, self.sign, classifier)
        self.prior(classifier)

    def prior(self, classifier: Classifier) -> LearnedPrior | None:
        """What training has learned; None without it. Raises XaiError for a file that was trained for something else."""
        return learned_prior(classifier, self.checkpoint, self.trained_for(classifier))

    def trained_for(self, classifier: Classifier) -> dict[str, Any]:
        return trained_for(self, list(self.layers_read(classifier)))

    def arms_with(self, prior: LearnedPrior | None) -> tuple[Arm, ...]:
        """The arms that are pulled; raises UsageError for one without what it needs."""
        if self.arms != "auto":
            if "train" in self.arms and (prior is None or prior.bank is None):
                raise UsageError(
                    "bee: the arm train needs features of other photos", hint="Train a prior: xai train bee --data DIR."
                )
            return self.arms
        return WITHOUT_BANK if prior is None else prior.arms

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        judge = self.judge
        judge.require(self.name, self.sign, classifier)
        layers, prior = self.layers(classifier), self.prior(classifier)
        # What does not fit is refused before any work.
        targets.resolve(inputs.new_zeros(len(inputs), classifier.outputs.columns(classifier.count)))
        found: list[list[Found]] = []
        logits = []
        # Tensors of a caller's inference mode would be of no use to gradients.
        with torch.inference_mode(False), torch.no_grad():
            for row, photo in enumerate(inputs.detach().clone().split(1)):
                with ExitStack() as stack:
                    rests = [stack.enter_context(suffix(classifier, layer, photo)) for layer in layers]
                    own = targets.photo(row).resolve(rests[0].logits)
                    each = [self.explored(classifier, judge, rests, one, prior, int(seeds[row])) for one in one_by_one(own)]
                    found.append(each)
                    logits.append(rests[0].logits)
        decided = torch.cat(logits)
        values = torch.stack([torch.stack([one.best for one in each]) for each in found])
        return Maps(values, targets.resolve(decided), decided, self.extras(found, prior, values))

    def explored(
        self,
        classifier: Classifier,
        judge: Judge,
        rests: Sequence[Suffix],
        target: Resolved,
        prior: LearnedPrior | None,
        seed: int,
    ) -> Found:
        """The pulls of one photo and target."""
        (rule,) = target.rules(0)
        passes = self.n_pulls * len(rests) * judge.passes((rests[0].photo.shape[2], rests[0].photo.shape[3]))
        expecting = replace(classifier, expected_passes=max(classifier.expected_passes, passes))
        scoring = judge.of_photo(expecting, rests[0].logits, rests[0].photo[0], rule, self.sign, seed)
        path = replace(self.rule, limit=classifier.batch_size)
        bank = None if prior is None else prior.bank
        question = Question(rests, target, scoring, path, bank, seed, f"bee {rule}")
        arms = self.arms_with(prior)
        beliefs, context = self.start(question, arms, prior)
        return explore(question, judge, beliefs, context, arms, self.n_pulls, self.at_once, self.update)

    def start(self, question: Question, arms: Sequence[Arm], prior: LearnedPrior | None) -> tuple[Beliefs, Numbers]:
        """The beliefs before the first pull, and the photo's context."""
        if prior is None:
            return Beliefs.prior(len(arms), 1, self.prior_precision), CONSTANT_CONTEXT
        return prior.beliefs(arms, self.prior_precision), prior.context(question.features)

    def extras(self, found: list[list[Found]], prior: LearnedPrior | None, like: Tensor) -> dict[str, Tensor]:
        def numbers(of: Any) -> Tensor:
            return torch.tensor(np.array([[of(one) for one in each] for each in found]), dtype=torch.float32, device=like.device)

        pulls = 0 if prior is None else prior.pulls
        extras = {name: numbers(lambda one, name=name: getattr(one, name)) for name in ("score", "pull", "arm", "layer")}
        extras["trained_pulls"] = numbers(lambda _: pulls)
        if self.parts:
            extras |= {"scores": numbers(lambda one: one.scores), "arms": numbers(lambda one: one.arms)}
            extras["maps"] = torch.stack([torch.stack([one.maps for one in each]) for each in found])
        return extras

    def task(self, classifier: Classifier, options: TaskOptions) -> BEETask:
        self.judge.require(self.name, self.sign, classifier)
        layers = self.layers(classifier)
        if len(layers) > 1:
            raise UsageError("bee: a prior is trained for one layer", hint="Name one: xai train bee@layer=PATH.")
        arms = (*WITHOUT_BANK, "train") if self.arms == "auto" else self.arms
        training = BEETraining.from_text(dict(options.parameters))
        about = trained_for(self, [str(layers[0])])
        return BEETask(classifier, training, layers[0], self.judge, self.rule, arms, self.sign, self.prior_precision, about)


def trained_for(method: BEE, layers: list[str]) -> dict[str, Any]:
    """What a prior must have been trained for: entries of its checkpoint."""
    return {"metric": method.judge.content, "layers": layers, "integrand": method.integrand, "noise": method.noise}


def one_by_one(chosen: Resolved) -> list[Resolved]:
    """The T targets of one photo, each alone."""
    parts = ("classes", "against", "scores")
    return [
        replace(chosen, **{name: getattr(chosen, name)[:, at : at + 1] for name in parts})
        for at in range(chosen.classes.shape[1])
    ]
