"""The baseline: the results of a suite that somebody has looked at and approved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xaicli.errors import InputError, RunError
from xaicli.gate.map_similarity import Noise, Similarity, similarity
from xaicli.gate.measure import ReadySuite, run_suite, with_classes
from xaicli.gate.photo_result import PhotoResult
from xaicli.kinds import show
from xaicli.packages import versions

FURTHER_SEEDS = 4
"""How often a stochastic method is repeated with another seed, to measure how far its maps move by chance."""

Tick = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class Baseline:
    """photos: in the suite's order; definitions: how each map and score is made, by label; noise: how another seed changes the
    maps of stochastic methods, by method label; view: how photos became inputs, by setting, empty in older baselines;
    places: where the layers are in the network, by method label, empty likewise; classes: the names of the classes that were
    decided on or explained, by index, empty likewise."""

    photos: tuple[PhotoResult, ...]
    definitions: Mapping[str, Mapping[str, Any]]
    layers: Mapping[str, str]
    model: str
    fingerprint: str
    target_rule: str
    expect: str
    seed: int
    noise: Mapping[str, Noise] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    view: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)


def photos_to_run(ready: ReadySuite) -> int:
    """How many photos are explained to make a baseline, repetitions with other seeds included."""
    return len(ready.sources) * (1 + FURTHER_SEEDS * any(method.stochastic for method in ready.methods))


def make_baseline(ready: ReadySuite, tick: Tick = lambda done: None) -> Baseline:
    """Run the suite, and repeat stochastic methods to measure their noise. tick: called with the number of photos done.

    Raises InputError if there are no photos, or if the outputs for a photo depend on more than that photo; RunError if a map is
    not finite, since no later map could match it.
    """
    if why := ready.classifier.inconsistency:
        raise InputError(f"{ready.classifier.name} {why}", expected="a network whose outputs depend on the photo alone")
    photos = run_suite(ready, ready.suite.seed, tick=tick)
    if not photos:
        raise InputError("the suite names no photos", hint="An empty set of photos never passes.")
    for photo in photos:
        for label, values in photo.maps.items():
            if not np.isfinite(values).all():
                raise RunError(f"the map of {label} of {photo.image} is not finite", hint="See xai doctor --model SPEC.")
    return baseline_with(ready, photos, noise_of(ready, photos, tick))


def baseline_with(ready: ReadySuite, photos: tuple[PhotoResult, ...], noise: Mapping[str, Noise]) -> Baseline:
    """The baseline of a suite from its measured photos."""
    return Baseline(
        photos=photos,
        definitions=ready.definitions(),
        layers=ready.layers(),
        places=ready.places(),
        model=ready.classifier.name,
        fingerprint=ready.classifier.fingerprint,
        target_rule=ready.targets.text,
        expect=ready.suite.expect,
        seed=ready.suite.seed,
        noise=noise,
        versions=versions(),
        view=view_of(ready),
        classes=ready.class_names(photos),
    )


def view_of(ready: ReadySuite) -> dict[str, str]:
    """How photos become inputs, each setting in words."""
    return {name: show(value) for name, value in ready.classifier.view.as_dict().items()}


def noise_of(ready: ReadySuite, photos: Sequence[PhotoResult], tick: Tick) -> dict[str, Noise]:
    """How far the maps of each stochastic method move by chance, from runs with other seeds on the classes of `photos`."""
    stochastic = tuple(method for method in ready.methods if method.stochastic)
    if not stochastic:
        return {}
    targets = {source.path: photo.target for source, photo in zip(ready.sources, photos, strict=True)}
    again = with_classes(dataclasses.replace(ready, methods=stochastic), targets)
    size = ready.classifier.view.size
    found: dict[str, list[list[Similarity]]] = {method.label: [] for method in stochastic}
    for repetition in range(1, FURTHER_SEEDS + 1):
        before = repetition * len(photos)
        seed = other_seed(ready.suite.seed, repetition)
        fresh = run_suite(again, seed, score=False, tick=lambda done, before=before: tick(before + done))  # type: ignore[misc]
        for label, repetitions in found.items():
            pairs = zip(photos, fresh, strict=True)
            repetitions.append([similarity(old.maps[label], new.maps[label], size) for old, new in pairs])
    return {label: Noise.of(repetitions) for label, repetitions in found.items()}


def other_seed(seed: int, repetition: int) -> int:
    """A seed that differs from the suite's, also near the largest possible seed."""
    return seed + repetition if seed < 2**62 else seed - repetition
