"""The trial of a network when it is loaded: what it returns, and whether the outputs for a photo depend on that photo alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.containment import TRACEBACK, contained
from xaicli.errors import text_of
from xaicli.models.probe import LastSigmoid
from xaicli.network.classifier import Classifier
from xaicli.network.raw_output import read_outputs

TRIAL_PHOTOS = 2
OF_SIZE = re.compile(r"\b(sizes?|shapes?|heights?|widths?|dimensions?|resolution|patch(es)?)\b", re.IGNORECASE)
TOLERANCE = 2e-3
"""How far a photo's outputs may differ in a batch of another size by rounding, relative to the largest output. Dropout causes far
more."""


@dataclass(frozen=True, eq=False)
class Trial:
    """outputs: (2, C) of two fixed random inputs, as the network gives them; ends_in_sigmoid: whether it ends in a sigmoid;
    inconsistency: why the outputs for a photo depend on more than that photo, in words, empty if they do not; changes_input:
    whether the network writes into its input."""

    outputs: Tensor
    ends_in_sigmoid: bool
    inconsistency: str
    changes_input: bool


def try_network(classifier: Classifier) -> Trial:
    """Run two photos together and one of them alone; the caller's random state is restored.

    Raises RunError if the network fails or returns something other than outputs.
    """
    height, width = classifier.view.size
    inputs = trial_inputs(classifier.view.size, classifier.view.channels).to(classifier.device)

    # Not inference mode: a tensor that a network caches now would later not support gradients.
    with (
        contained(f"{classifier.name} on inputs of {height} x {width} pixels", hint=what_helps),
        torch.random.fork_rng(devices=[classifier.device] if classifier.device.type == "cuda" else []),
        torch.no_grad(),
    ):
        handed = inputs.clone()
        with LastSigmoid() as seen:
            outputs = outputs_on_trial(classifier, handed)
        alone = outputs_on_trial(classifier, inputs[:1].clone())
        inconsistency = ""
        if not near(alone, outputs[:1]):
            again = outputs_on_trial(classifier, inputs[:1].clone())
            inconsistency = BESIDE_OTHERS if near(alone, again) else EACH_TIME
    return Trial(outputs, seen.applied, inconsistency, not torch.equal(handed, inputs))


def what_helps(error: BaseException) -> str:
    """Another size, where the network says that this one is the reason."""
    of_size = isinstance(error, RuntimeError | ValueError | AssertionError) and OF_SIZE.search(text_of(error))
    return "Another size is set by --resize and --crop." if of_size else TRACEBACK


def outputs_on_trial(classifier: Classifier, photos: Tensor) -> Tensor:
    """The raw outputs for photos; for a detector, a few numbers about its proposals."""
    if classifier.decoding is not None:
        return classifier.proposals(photos).summary()
    return read_outputs(classifier.forward(photos), len(photos), classifier.name, classifier.output_name)


EACH_TIME = "gives other outputs for the same photo each time, as dropout inside forward() does"
BESIDE_OTHERS = "gives a photo other outputs beside other photos, as a norm by the batch's statistics does"


def trial_inputs(size: tuple[int, int], channels: int = 3) -> Tensor:
    """Two fixed random inputs (2, C, H, W)."""
    return torch.randn(TRIAL_PHOTOS, channels, *size, generator=torch.Generator().manual_seed(0))


def near(one: Tensor, other: Tensor) -> bool:
    """Whether outputs agree up to rounding; non-finite outputs are checked elsewhere."""
    if one.shape != other.shape or not bool(one.isfinite().all() & other.isfinite().all()):
        return one.shape == other.shape
    return bool((one - other).abs().max() <= TOLERANCE * one.abs().max().clamp_min(torch.finfo(one.dtype).tiny))
