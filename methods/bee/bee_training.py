"""How BEE's prior is trained: one pull a photo, after which the beliefs and the context learn from its rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.judge import Judge
from xaicli.methods.bee.arms import Arm
from xaicli.methods.bee.bandit import chance_of_winning
from xaicli.methods.bee.prior import Prior
from xaicli.methods.bee.pulls import PathRule, Question
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.suffix import suffix
from xaicli.params import Definition, param
from xaicli.passes.seeds import stream
from xaicli.sign import Sign
from xaicli.targets import DECISION, Targets
from xaicli.task import Schedule, Task

LARGEST_SEED = 2**62


@dataclass(frozen=True, kw_only=True)
class BEETraining(Definition):
    """How BEE's prior is trained."""

    context_dim: int = param(100, "dimensions of the context", ge=1)
    n_bank: int = param(16, "photos whose features are kept as baselines, for the arm train", ge=0)

    name = "bee"


@dataclass(frozen=True, eq=False)
class Pull:
    """One pull of training: features (K, h, w) of the photo, the arm, and the map's score."""

    features: Tensor
    arm: int
    score: float


class BEETask(Task):
    """Beliefs about arms, and the context that they are held in, for one network, layer and metric.

    A pull wins by the rank of its score among the latest of training. The beliefs are updated photo by photo; the context takes
    one step a batch on `log(1 + exp(-r w . c))`.
    """

    name = "bee"

    def __init__(
        self,
        classifier: Classifier,
        training: BEETraining,
        layer: FeatureLayer,
        judge: Judge,
        rule: PathRule,
        arms: Sequence[Arm],
        sign: Sign,
        precision: float,
        about: Mapping[str, Any],
    ) -> None:
        self.classifier, self.training, self.layer, self.judge, self.rule = classifier, training, layer, judge, rule
        # Nothing can be drawn from an empty bank.
        self.arms = tuple(arm for arm in arms if arm != "train" or training.n_bank)
        self.sign, self.about = sign, dict(about)
        self.variant = judge.label
        bank = (training.n_bank, layer.channels, *layer.layout.grid)
        self.prior = Prior(len(self.arms), layer.channels, training.context_dim, precision, bank)
        self.schedule = Schedule(epochs=1, batch_size=8, lr=1e-3, optimizer="adamw")
        # The score is only shown.
        self.weights = {"score": 0.0}

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"prior": self.prior}

    @property
    def frozen(self) -> dict[str, nn.Module]:
        return {"classifier": self.classifier.torch_module}

    def losses(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        pulls = self.pulls(inputs, torch.randint(LARGEST_SEED, (len(inputs),)).tolist())
        terms = []
        for pull, draw in zip(pulls, torch.rand(len(pulls)).tolist(), strict=True):
            known = self.prior.remember(pull.score)
            chance = chance_of_winning(pull.score, known, higher=self.judge.higher, binary=self.judge.binary)
            terms.append(self.learned(pull, won=draw < chance))
            self.prior.keep(pull.features)
        return {"surprise": torch.stack(terms).mean(), "score": self.mean_score(pulls)}

    def evaluate(self, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """The mean score of one pull a photo, under the beliefs as they are."""
        pulls = self.pulls(inputs, list(range(len(inputs))))
        return {"score": self.mean_score(pulls)}

    def pulls(self, inputs: Tensor, seeds: Sequence[int]) -> list[Pull]:
        """One pull of each photo by the beliefs as they are."""
        with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
            return [self.pull(photo, seed) for photo, seed in zip(inputs.float().split(1), seeds, strict=True)]

    def pull(self, photo: Tensor, seed: int) -> Pull:
        with suffix(self.classifier, self.layer, photo) as rest, torch.no_grad():
            target = Targets.same(DECISION, 1, self.classifier.outputs).resolve(rest.logits)
            rule = target.rules(0)[0]
            scoring = self.judge.of_photo(self.classifier, rest.logits, photo[0], rule, self.sign, seed)
            question = Question((rest,), target, scoring, self.rule, self.prior.photos, seed, f"bee {rule}")
            # Until the bank holds a photo nothing can be drawn from it.
            open_arms = [at for at, arm in enumerate(self.arms) if arm != "train" or self.prior.photos is not None]
            beliefs = self.prior.beliefs.of(open_arms)
            features = question.features
            context = self.prior(features).double().cpu().numpy()
            arm = open_arms[beliefs.sample(context, stream(seed, "arm"))]
            maps = question.maps([self.arms[arm]], 0)
            return Pull(features, arm, float(question.scores(maps)[0, 0]))

    def learned(self, pull: Pull, *, won: bool) -> Tensor:
        """Update the beliefs by one pull; what it says of the context."""
        context = self.prior(pull.features)
        updated = self.prior.beliefs.updated(pull.arm, context.detach().double().cpu().numpy(), won)
        self.prior.believe(updated)
        weights = torch.from_numpy(updated.means[pull.arm]).to(context)
        return functional.softplus(-(1.0 if won else -1.0) * (weights @ context))

    def mean_score(self, pulls: Sequence[Pull]) -> Tensor:
        known = [pull.score for pull in pulls if pull.score == pull.score]
        return torch.tensor(sum(known) / len(known) if known else 0.0)

    def metadata(self) -> dict[str, Any]:
        return {
            "parameters": self.training.parameters_as_given(),
            **self.about,
            "arms": list(self.arms),
            "prior": self.prior.described(),
        }
