"""A check: run the suite again, compare it with its baseline, and judge."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from xaicli.errors import InputError, UsageError
from xaicli.gate.baseline import Baseline, Tick
from xaicli.gate.measure import ReadySuite, run_suite, with_classes
from xaicli.gate.photo_result import PhotoResult
from xaicli.gate.verdict import Verdict
from xaicli.gate.verdicts import judge
from xaicli.images.source import Source, content_hash
from xaicli.kinds import show
from xaicli.words import are, count


@dataclass(frozen=True)
class Sides:
    """What a run and the two sides that it compares are called: as columns (before, after), and after a number (then, now)."""

    verb: str = "xai check"
    before: str = "before"
    then: str = "before"
    now: str = "now"
    after: str = "after"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of a check. now: the photos of this run, in the order of the baseline's; sources: where they are; seconds: that
    the run took; fingerprint: of the model of this run."""

    verdicts: tuple[Verdict, ...]
    baseline: Baseline
    now: tuple[PhotoResult, ...]
    sources: tuple[Source, ...]
    sides: Sides = Sides()
    seconds: float = field(default=0.0, kw_only=True)
    fingerprint: str = field(default="", kw_only=True)

    @property
    def to_look_at(self) -> list[tuple[int, str]]:
        """Position and method of the photos that failing rules name."""
        named = (
            (at, verdict.method)
            for verdict in self.verdicts
            for at in verdict.places
            if verdict.state == "fail" and verdict.method and verdict.method in self.now[at].maps
        )
        return list(dict.fromkeys(named))

    def failed(self, *, strict: bool = False) -> bool:
        """Whether the check fails: a rule failed or, under `strict`, a rule could not be decided."""
        return any(verdict.failed or (strict and verdict.open) for verdict in self.verdicts)


def run_against(ready: ReadySuite, baseline: Baseline, *, seed: int | None = None, tick: Tick = lambda done: None) -> Outcome:
    """Explain the baseline's classes again on the baseline's photos, and judge.

    seed: of stochastic methods, by default the baseline's. Raises UsageError if the suite differs from the baseline's, InputError
    if photos are missing.
    """
    start = time.monotonic()
    refuse_other_definitions(ready, baseline)
    added = len(ready.sources) - len(baseline.photos)
    ready = in_order(ready, baseline)
    again = with_classes(ready, {source.path: photo.target for source, photo in zip(ready.sources, baseline.photos, strict=True)})
    seed = baseline.seed if seed is None else seed
    now = run_suite(again, seed, tick=tick)
    verdicts = judge(ready, baseline, now, same_seed=seed == baseline.seed)
    if added > 0:
        text = (
            f"{added} of the suite's photos {are(added)} not in the baseline and not checked (xai check --update takes them in)"
        )
        verdicts.append(Verdict("note", "photos", text))
    seconds = time.monotonic() - start
    return Outcome(tuple(verdicts), baseline, now, ready.sources, seconds=seconds, fingerprint=ready.classifier.fingerprint)


def refuse_other_definitions(ready: ReadySuite, baseline: Baseline) -> None:
    """Raise UsageError, naming what differs, if maps or scores would be made in another way than the baseline's."""
    differs = list(differences(ready.definitions(), baseline.definitions))
    if ready.targets.text != baseline.target_rule:
        differs.append(f"target {baseline.target_rule} there, {ready.targets.text} here")
    if ready.suite.expect != baseline.expect:
        differs.append(f"expect {baseline.expect} there, {ready.suite.expect} here")
    if differs:
        hint = "Renew it deliberately: xai check --update"
        if ready.suite.expect != baseline.expect:
            # Renewing it with the current model would approve a model that nobody has judged.
            hint = "Make it again with the old model: xai baseline --overwrite"
        raise UsageError(f"the baseline was made with different settings: {'; '.join(differs)}", hint=hint)


def differences(now: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The differences between the definitions of two runs, in words, by label."""
    yield from (f"{label} is new" for label in now if label not in before)
    yield from (f"{label} is gone" for label in before if label not in now)
    for label in (label for label in now if label in before):
        one, other = (flat(entry) for entry in (before[label], now[label]))
        for key in dict.fromkeys([*one, *other]):
            if one.get(key) != other.get(key):
                yield f"{label}: {key} {show(one.get(key, 'absent'))} there, {show(other.get(key, 'absent'))} here"


def flat(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition as one table: name, version, each parameter, and the hash of the user's file that it is read from."""
    file = {"file": str(definition["file"])[:8]} if "file" in definition else {}
    return {"name": definition["name"], "version": definition["version"], **file, **definition["parameters"]}


def in_order(ready: ReadySuite, baseline: Baseline) -> ReadySuite:
    """The suite with the baseline's photos, in the baseline's order, matched by content; raises InputError if one is missing."""
    by_content: dict[tuple[str | None, int], Source] = {}
    for source in ready.sources:
        by_content.setdefault((content_hash(source), source.frame), source)
    if not baseline.photos:
        raise InputError("the baseline holds no photos", hint="An empty set of photos never passes.")
    missing = [photo.image for photo in baseline.photos if (photo.content, photo.frame) not in by_content]
    if missing:
        whole = count(len(baseline.photos), "photo")
        raise InputError(
            f"{len(missing)} of the baseline's {whole} {are(len(missing))} missing or changed, such as {missing[0]}",
            expected="the photos of the baseline, unchanged",
            hint="Bring them back, or renew the baseline deliberately: xai check --update",
        )
    return replace(ready, sources=tuple(by_content[photo.content, photo.frame] for photo in baseline.photos))
