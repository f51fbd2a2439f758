"""Maps of `xai explain`, made again from their records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xaicli.attribution import Attribution
from xaicli.errors import UsageError, XaiError
from xaicli.gate.map_similarity import similarity
from xaicli.images.source import Source
from xaicli.method import Method, content_on
from xaicli.network.classifier import Classifier
from xaicli.record import Record
from xaicli.registry import is_own_file, make_method
from xaicli.runs.method_differences import moved_parameters
from xaicli.runs.photo_maps import Explained, explain_photos
from xaicli.runs.remade import CannotBeMade, ModelsAtHand, PhotosAtHand, Remade, Result
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice, choose_targets
from xaicli.stamps import definition_stamp
from xaicli.suitability import require_fit
from xaicli.targets import COMPARED, DECISION, TargetRule

TOLERANCE = 0.01
"""How far values may differ, as a share of the map's range: another processor's rounding, masks in half precision included."""
OF_FILE = "file"
"""The rule of targets that a CSV file named photo by photo; each record has its own."""


@dataclass(frozen=True, eq=False)
class KeptResult:
    """A map on disk. name: of its record, from the folder that is verified."""

    name: str
    attribution: Attribution

    @property
    def record(self) -> Record:
        return self.attribution.record

    @property
    def precision(self) -> str:
        return self.record.precision

    def becomes(self, result: Result, why: str = "", off: float = 0.0) -> Remade:
        record = self.record
        return Remade(self.name, record.image, record.method, record.target, "", result, why, off)


@dataclass(frozen=True)
class Setting:
    """What results must share to be made in one run, as they may have been: rounding depends on what is in a batch."""

    model: str
    fingerprint: str
    method: str
    rule: str
    precision: str
    seed: int

    @classmethod
    def of(cls, record: Record) -> Setting:
        return cls(record.model, record.fingerprint, record.method, record.rule, record.precision, record.seed)


def read_results(folder: Path, sidecars: Iterable[Path]) -> Iterator[KeptResult | Remade]:
    """Maps on disk; one that is damaged cannot be compared."""
    for path in sidecars:
        name = path.relative_to(folder).as_posix()
        try:
            yield KeptResult(name, Attribution.load(path))
        except XaiError as error:
            # Without its folder, which for a zip is one that is gone when this is read.
            why = error.found.replace(f"{folder}/", "")
            yield Remade(name, "", "", "", "", "differs", f"it is damaged: {why}")


def remake_maps(kept: Sequence[KeptResult], photos: PhotosAtHand, models: ModelsAtHand) -> Iterator[Remade]:
    """Make maps again, those of one setting in one run; in the order of settings."""
    groups: dict[Setting, list[KeptResult]] = {}
    for one in kept:
        groups.setdefault(Setting.of(one.record), []).append(one)
    for setting, members in groups.items():
        members.sort(key=lambda one: (one.record.image, one.record.frame))
        yield from remake_group(setting, members, photos, models)


def remake_group(setting: Setting, members: Sequence[KeptResult], photos: PhotosAtHand, models: ModelsAtHand) -> Iterator[Remade]:
    try:
        first = members[0].attribution
        classifier = models.classifier(setting.model, setting.fingerprint, setting.precision, first.view)
        method = method_of(first.record, classifier, trust=models.trust)
    except CannotBeMade as error:
        yield from (one.becomes("cannot be made", str(error)) for one in members)
        return
    by_source: dict[Source, list[KeptResult]] = {}
    for one in members:
        try:
            by_source.setdefault(photos.source(one.record.image, one.record.photo, one.record.frame), []).append(one)
        except CannotBeMade as error:
            yield one.becomes("cannot be made", str(error))
    if not by_source:
        return
    try:
        targets = targets_of(setting, by_source, classifier)
        settings = Settings(seed=setting.seed, precision=setting.precision)
        made = explain_photos(list(by_source), classifier, [method], targets, settings)
        for (_, own), result in zip(by_source.items(), made, strict=True):
            yield from (outcome_of(one, result, method) for one in own)
    except XaiError as error:
        yield from (one.becomes("cannot be made", error.found) for own in by_source.values() for one in own)


def method_of(record: Record, classifier: Classifier, *, trust: bool) -> Method:
    """The method of a record; raises CannotBeMade if this installation has it not, or another version of it."""
    if is_own_file(record.method) and not trust:
        raise CannotBeMade(f"the record would run the code in {record.method}; trust it: --trust")
    try:
        method = make_method(record.method)
        require_fit(method, classifier)
    except XaiError as error:
        raise CannotBeMade(f"the method {record.method}: {error.found}") from error
    content = content_on(method, classifier)
    if definition_stamp(content, record.rule, record.precision) != record.definition:
        if moved := moved_parameters(record.parameters, content["parameters"]):
            raise CannotBeMade(f"{record.method}: {', '.join(moved)}")
        raise CannotBeMade(f"{record.method} is version {record.version} in the record, {method.version} here, or differs")
    return method


def targets_of(setting: Setting, by_source: dict[Source, list[KeptResult]], classifier: Classifier) -> TargetChoice:
    """The targets of a run: its rule, or those that a file named photo by photo."""
    if setting.rule.startswith(COMPARED):
        raise UsageError(f"its target {setting.rule} is another photo, which records do not hold")
    if setting.rule != OF_FILE:
        return choose_targets(setting.rule, classifier, list(by_source))
    rules = {source.path: TargetRule.of_name(own[0].record.target) for source, own in by_source.items()}
    return TargetChoice(OF_FILE, DECISION, rules, "the records")


def outcome_of(kept: KeptResult, result: object, method: Method) -> Remade:
    """What became of one map: the map again, or the error of its photo."""
    if not isinstance(result, Explained):
        error = getattr(result, "error", None)
        return kept.becomes("cannot be made", error.found if isinstance(error, XaiError) else "its photo failed")
    for made in result.made[method.label]:
        if made.record.target == kept.record.target:
            return kept.becomes(*compared(kept.attribution, made))
    now = result.made[method.label][0].record
    return kept.becomes("differs", f"target {kept.record.target} in the record, {now.target} now")


def compared(old: Attribution, new: Attribution) -> tuple[Result, str, float]:
    """Whether two attributions are the same: their maps, and what the network said of the photo."""
    before, now = old.record.decision, new.record.decision
    # Records of a network of features have none; those of before had the largest feature in its place.
    if before is not None and now is not None and before.index != now.index:
        return "differs", f"the decision was {before.name}, and is {now.name}", 0.0
    return compare_maps(old.values, new.values)


def compare_maps(old: NDArray[np.float32], new: NDArray[np.float32]) -> tuple[Result, str, float]:
    """What became of a map, why, and how far its values are off, as a share of its range."""
    if old.shape != new.shape or old.dtype != new.dtype:
        return "differs", f"a map of {old.shape} {old.dtype}, now {new.shape} {new.dtype}", 0.0
    if old.tobytes() == new.tobytes():
        return "same bytes", "", 0.0
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        return "differs", "values that are not finite", 0.0
    span = float(old.max() - old.min())
    off = float(np.abs(old - new).max())
    if off <= TOLERANCE * span:
        # Two constant maps of 0 and -0 have no range.
        part = off / span if span else 0.0
        return "same within tolerance", f"up to {part:.1e} of its range", part
    found = similarity(old, new, (old.shape[0], old.shape[1]))
    share = f"up to {off / span:.2g} of its range" if span else "a constant map changed"
    return "differs", f"{share}; rank correlation {found.spearman:.2f}", 0.0
