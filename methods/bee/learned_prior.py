"""A trained prior out of a checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import InputError
from xaicli.methods.bee.arms import Arm
from xaicli.methods.bee.bandit import Beliefs, Numbers
from xaicli.methods.bee.prior import Prior
from xaicli.models.checkpoint import Checkpoint, checkpoint_for, installed
from xaicli.network.classifier import Classifier

NAME = "bee"


@dataclass(frozen=True, eq=False)
class LearnedPrior:
    """What training has learned. trained: the arms whose beliefs the module holds, in order."""

    module: Prior
    trained: tuple[Arm, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The trained arms, as far as there is what they draw from."""
        return tuple(arm for arm in self.trained if arm != "train" or self.bank is not None)

    @property
    def bank(self) -> Tensor | None:
        return self.module.photos

    @property
    def pulls(self) -> int:
        """Pulls that training has seen."""
        return int(self.module.pulls)

    def beliefs(self, arms: Sequence[Arm], precision: float) -> Beliefs:
        """The beliefs about some arms; of an arm that was not trained, none."""
        known = self.module.beliefs
        made = Beliefs.prior(len(arms), known.means.shape[1], precision)
        for at, arm in enumerate(arms):
            if arm in self.trained:
                made.means[at] = known.means[self.trained.index(arm)]
                made.precisions[at] = known.precisions[self.trained.index(arm)]
        return made

    def context(self, features: Tensor) -> Numbers:
        """The context (d,) of a photo with features (K, h, w)."""
        return np.asarray(self.module(features.cpu()).double().numpy())


def learned_prior(classifier: Classifier, given: str, wanted: Mapping[str, Any]) -> LearnedPrior | None:
    """The prior of a checkpoint: the named file, or for `auto` the installed one; None for `none`, or if none is installed.

    wanted: what it must have been trained for. Raises InputError for a file that was trained for something else.
    """
    checkpoint = prior_checkpoint(classifier, given, wanted)
    if checkpoint is None:
        return None
    for key, value in wanted.items():
        found = checkpoint.metadata.get(key)
        if found != value:
            raise InputError(
                f"{checkpoint.path.name} was trained for {key} {said(found, value)}, not {said(value, found)}",
                hint="Train one with the same parameters, or give checkpoint=none.",
            )
    return prior_of(checkpoint)


def prior_checkpoint(classifier: Classifier, given: str, wanted: Mapping[str, Any]) -> Checkpoint | None:
    """The named file or, for `auto`, the installed one that was trained for what is wanted; None for `none`, or without one."""
    if given == "none":
        return None
    return installed(NAME, classifier, wanted) if given == "auto" else checkpoint_for(NAME, classifier, given)


def said(value: Any, beside: Any) -> str:
    """An entry of a checkpoint in words, beside another one: of a metric of the same name the parameters that differ."""
    if isinstance(value, Mapping):
        there = beside if isinstance(beside, Mapping) else {}
        name, mine, theirs = value.get("name"), dict(value.get("parameters") or {}), dict(there.get("parameters") or {})
        unlike = {key: one for key, one in mine.items() if theirs.get(key) != one} if there.get("name") == name else {}
        return "".join([str(name), *(f"@{key}={one}" for key, one in unlike.items())])
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


@functools.lru_cache(maxsize=4)
def prior_of(checkpoint: Checkpoint) -> LearnedPrior:
    """The prior that a checkpoint holds, frozen; raises InputError where it is damaged."""
    record, arms = checkpoint.metadata.get("prior"), checkpoint.metadata.get("arms")
    name = checkpoint.path.name
    if not isinstance(record, dict) or not isinstance(arms, list):
        raise InputError(f"{name} holds no prior", expected="a checkpoint of xai train bee")
    # Building draws initial weights; the caller's random state stays as it was.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        try:
            module = Prior(**record)
            module.load_state_dict(checkpoint.state("prior"))
        except (TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"the prior in {name} is damaged: {reason}", hint="Train it again, or copy it again.") from error
    if len(arms) != module.means.shape[0]:
        raise InputError(f"the prior in {name} is damaged: {len(arms)} arms", hint="Train it again, or copy it again.")
    return LearnedPrior(module.eval().requires_grad_(False), tuple(arms))
