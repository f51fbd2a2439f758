"""From the maps of a batch to attributions with complete records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from xaicli.attribution import Attribution, status_of
from xaicli.boxes import shown_box
from xaicli.images.source import Source
from xaicli.method import Maps, Method, content_on
from xaicli.needs import Needs
from xaicli.network.branches import one_of_branches
from xaicli.network.classifier import Classifier
from xaicli.packages import versions
from xaicli.record import BASELINE_VALUE, Prediction, Record
from xaicli.rows import fitted_metric
from xaicli.runs.photos import LoadedPhoto
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.segment_pairs import PAIRS, pairs_of
from xaicli.sign import Sign
from xaicli.stamps import definition_stamp, subject_stamp
from xaicli.targets import NO_CLASS, TargetRule

TOP = 5


def attributions_of(
    maps: Maps, loaded: LoadedPhoto, classifier: Classifier, method: Method, targets: TargetChoice, settings: Settings
) -> list[Attribution]:
    """The attributions of one photo (a batch of one), one for each target."""
    names = maps.targets.names(0)
    logits = maps.logits[0]
    boxes, rules = maps.targets.boxes, maps.targets.rules(0)
    name_of, chance_of = naming(maps, classifier)
    best = classifier.outputs.scores(logits[None])[0].argsort(descending=True, stable=True)[:TOP].tolist()
    top = tuple(Prediction(index, name_of(index), chance_of(index)) for index in best)
    number = maps.targets.logit if classifier.features else maps.targets.probability
    own = number(logits[None])[0].tolist()
    chances = [chance_of(rule.index) for rule in rules] if boxes else own
    values = maps.values[0].detach().cpu().numpy()
    sign, content = method.sign, content_on(method, classifier)
    if sign is Sign.NONNEGATIVE and bool((values < 0).any()):
        # For a contrast, RISE and similar methods give a difference, which has both signs.
        sign = Sign.SIGNED
    made = []
    for at, rule in enumerate(rules):
        numbers, arrays = extras_of(maps, at)
        explains = features_explained(rule, method, classifier, largest=best[0]) if classifier.features else ""
        pairs = pairs_of(arrays.pop(PAIRS)) if method.pairwise else []
        record = Record(
            image=recorded_path(loaded.source),
            photo=loaded.photo.content,
            frame=loaded.photo.frame,
            size=loaded.photo.size,
            method=method.label,
            parameters=content["parameters"],
            version=method.version,
            rule=targets.text,
            target=names[at],
            target_name=explains if method.of_all_features and explains else rule.shown(name_of) + rule.place,
            target_probability=chances[at],
            targets=tuple(names),
            decision=None if classifier.features else top[0],
            top=top,
            sign=sign.value,
            status=status_of(values[at]),
            model=classifier.name,
            fingerprint=classifier.fingerprint,
            view=classifier.view.as_dict(),
            precision=settings.precision,
            definition=definition_stamp(content, targets.text, settings.precision),
            subject=subject_stamp(loaded.photo.content, loaded.photo.frame, classifier.fingerprint, names[at]),
            seed=settings.seed,
            layer=resolved_layer(method, classifier),
            passes=str(method.cost(classifier)),
            device=classifier.device.type,
            engine=" + ".join(sorted(classifier.engines_used)),
            masked_dtype=str(classifier.masked_dtype).removeprefix("torch.") if method.masks_input else "float32",
            versions=versions(),
            command=settings.command,
            notes=(*loaded.photo.notes, *cautions(classifier), *branches_left_out(method, classifier)),
            extras=numbers,
            arrays=tuple(arrays),
            pairs=tuple(pair.as_dict() for pair in pairs),
            box=dataclasses.asdict(boxes[rule.index]) if boxes else {},
            fitted_to=fitted_metric(content),
            explains=explains,
        )
        made.append(Attribution(np.ascontiguousarray(values[at], dtype=np.float32), record, arrays, loaded.photo.image))
    return made


def features_explained(rule: TargetRule, method: Method, classifier: Classifier, largest: int) -> str:
    """What a map of a network of features explains, in words: "feature 108 of 192, the largest", "all 192 features"."""
    if method.of_all_features:
        return f"all {classifier.count} features"
    of = f"{rule.shown(classifier.class_name)} of {classifier.count}"
    return f"{of}, the largest" if (rule.index, rule.against) == (largest, NO_CLASS) else of


def naming(maps: Maps, classifier: Classifier) -> tuple[Callable[[int], str], Callable[[int], float]]:
    """The names of targets by number, and their probabilities, of features their values. A box is always perfectly similar to
    itself, so its confidence is given instead."""
    if boxes := maps.targets.boxes:
        return partial(shown_box, boxes=boxes), lambda number: boxes[number].score
    logits = maps.logits
    probabilities = (logits if classifier.features else classifier.outputs.probabilities(logits))[0].tolist()
    return classifier.class_name, probabilities.__getitem__


def said(record: Record) -> str:
    """What a model says of a photo, in one line: its decision and probability, or what is explained: a value, features."""
    if record.decision is None:
        return record.explains
    if BASELINE_VALUE in record.extras:
        return f"{record.target_name} {record.target_probability:.4g}, baseline {record.extras[BASELINE_VALUE]:.4g}"
    return f"{record.decision.name} {record.decision.probability:.2f}"


def cautions(classifier: Classifier) -> tuple[str, ...]:
    """Warnings about the network for readers of a record."""
    found = (f"the network {classifier.inconsistency}" if classifier.inconsistency else "", classifier.view.padding)
    return tuple(caution for caution in found if caution)


def branches_left_out(method: Method, classifier: Classifier) -> tuple[str, ...]:
    """A warning for maps of the layer that was found for a network, where that layer is of one branch of several; none where the
    user named a layer or a method reads them all."""
    read = method.layers_read(classifier)
    if not read or classifier.layer != "auto" or str(classifier.default_layer) not in read:
        return ()
    left_out = [name for name in classifier.branches if name not in read]
    return (one_of_branches(str(classifier.default_layer), left_out),) if left_out else ()


def recorded_path(source: Source) -> str:
    """The path as given; for an absolute path the name alone, so that records do not describe the machine."""
    return source.name if Path(source.path).is_absolute() else source.path


def extras_of(maps: Maps, at: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """A map's further results: single numbers, and arrays."""
    numbers: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in maps.extras.items():
        own = tensor[0].detach().cpu()
        own = own[at] if own.ndim else own
        if own.ndim:
            arrays[name] = own.numpy()
        elif own.isfinite():
            numbers[name] = float(own)
    return numbers, arrays


def place_of_layer(method: Method, classifier: Classifier) -> str:
    """Where in the network those layers are, by structure and not by name: channels, grid, and the share of the work behind.
    Empty for trained explainers, which know their network by its weights."""
    if Needs.CHECKPOINT in method.needs:
        return ""
    layers = [classifier.feature_layer(name) for name in method.layers_read(classifier)]
    return " + ".join(f"{one.channels} x {one.layout.grid[0]} x {one.layout.grid[1]}, {one.behind:.4f} behind" for one in layers)


def resolved_layer(method: Method, classifier: Classifier) -> str:
    """The layers that a method reads on this classifier, joined by `+`; empty if it reads none."""
    return "+".join(method.layers_read(classifier))
