"""`xai check`: run a suite again, hold it against its baseline, and say what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xaicli.errors import InputError, UsageError
from xaicli.gate.baseline import Baseline, ticking
from xaicli.gate.measure import Bench, PhotoResult, run_suite, with_classes
from xaicli.gate.verdicts import Verdict, judge
from xaicli.images.source import Source, content_hash


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a check found. now: the photos of this run, in the order of the baseline's."""

    verdicts: tuple[Verdict, ...]
    baseline: Baseline
    now: tuple[PhotoResult, ...]

    def failed(self, *, strict: bool = False) -> bool:
        """Whether the gate closes: a rule failed, or under `strict` one could not be decided."""
        return any(verdict.failed or (strict and verdict.state == "inconclusive") for verdict in self.verdicts)


def check(bench: Bench, baseline: Baseline, *, seed: int | None = None, tick: Callable[[int], object] = lambda done: None) -> Outcome:
    """Explain the baseline's classes again on the baseline's photos, and judge.

    seed: of stochastic methods, by default the baseline's. Raises UsageError where the suite is another one than the baseline's.
    """
    refuse_other_definitions(bench, baseline)
    ordered = in_order(bench, baseline)
    again = with_classes(ordered, {source.path: photo.target for source, photo in zip(ordered.sources, baseline.photos, strict=True)})
    now = tuple(ticking(run_suite(again, baseline.seed if seed is None else seed), tick))
    return Outcome(tuple(judge(again, baseline, now)), baseline, now)


def refuse_other_definitions(bench: Bench, baseline: Baseline) -> None:
    """Raise UsageError, naming what differs, where maps or scores would be made in another way than the baseline's."""
    now = bench.definitions()
    differs = [f"{label} is new" for label in now if label not in baseline.definitions]
    differs += [f"{label} is gone" for label in baseline.definitions if label not in now]
    differs += [f"{label} is made in another way" for label, stamp in now.items() if baseline.definitions.get(label, stamp) != stamp]
    if bench.targets.text != baseline.target_rule:
        differs.append(f"target {baseline.target_rule} there, {bench.targets.text} here")
    if bench.suite.expect != baseline.expect:
        differs.append(f"expect {baseline.expect} there, {bench.suite.expect} here")
    if differs:
        raise UsageError(
            f"the baseline is of another definition: {'; '.join(differs)}",
            hint="Renew it deliberately: xai check --update, or xai baseline --overwrite.",
        )


def in_order(bench: Bench, baseline: Baseline) -> Bench:
    """The bench with its photos in the baseline's order, matched by content; raises InputError where one is missing or changed."""
    by_content: dict[tuple[str | None, int], Source] = {}
    for source in bench.sources:
        by_content.setdefault((content_hash(source), source.frame), source)
    missing = [photo.image for photo in baseline.photos if (photo.content, photo.frame) not in by_content]
    if missing:
        raise InputError(
            f"{len(missing)} of the baseline's {len(baseline.photos)} photos are missing or changed, such as {missing[0]}",
            expected="the photos of the baseline, unchanged",
            hint="Bring them back, or make a new baseline: xai baseline --overwrite",
        )
    if not baseline.photos:
        raise InputError("the baseline holds no photos", hint="An empty set of photos never passes.")
    chosen = tuple(by_content[photo.content, photo.frame] for photo in baseline.photos)
    return Bench(bench.suite, bench.classifier, chosen, bench.methods, bench.metrics, bench.targets, bench.truth)


def worst_photos(outcome: Outcome, most: int) -> Sequence[tuple[int, str]]:
    """Which photos to draw: place and method label of those that failing map rules name first."""
    chosen: list[tuple[int, str]] = []
    places = {photo.image: at for at, photo in enumerate(outcome.now)}
    for verdict in outcome.verdicts:
        if verdict.state != "fail" or not verdict.method:
            continue
        for entry in verdict.worst[:most]:
            image = entry.rpartition(" ")[0]
            if image in places and (places[image], verdict.method) not in chosen:
                chosen.append((places[image], verdict.method))
    return chosen

