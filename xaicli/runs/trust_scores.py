"""The scores of trust's checks: each method by itself, the cheapest first, on as many photos as its budget allows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from xaicli.errors import XaiError
from xaicli.method import Method
from xaicli.progress import Progress, Step
from xaicli.registry import CONTROLS
from xaicli.results.store import Store
from xaicli.rows import Row
from xaicli.runs.photo_scores import score_missing
from xaicli.runs.photos import Failure
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.score_table import rows_of
from xaicli.runs.trust_checks import FIDELITY, Plan, Planned

Values = dict[str, dict[str, list[float | None]]]


def measured(plan: Plan, planned: Sequence[Planned], store: Store, progress: Progress) -> tuple[Values, dict[str, XaiError]]:
    """The values of each method and property, photo by photo; and the methods that failed, with the error.

    Each method runs by itself, so that one that fails costs only its own row, and one that is stopped loses no cheaper one.
    """
    costs = {one.label: passes_of(one, plan) for one in plan.methods}
    ordered = sorted(plan.methods, key=lambda one: costs[one.label])
    single = {one.label: runs_of(one, plan, planned, costs[one.label]) for one in ordered}
    values: Values = defaultdict(lambda: defaultdict(list))
    failed: dict[str, XaiError] = {}
    with progress.task("maps", sum(len(run.sources) for runs in single.values() for _, run in runs)) as step:
        for label, runs in single.items():
            try:
                for part, run in runs:
                    run.check()
                    carry_out(run, store, step)
                    for name, listed in properties_of(part, run, label, store).items():
                        values[label][name] += listed
            except XaiError as error:
                failed[label] = error
    return values, failed


def passes_of(method: Method, plan: Plan) -> float:
    cost = method.cost(plan.classifier)
    return cost.forward + cost.backward


def runs_of(method: Method, plan: Plan, planned: Sequence[Planned], passes: float) -> list[tuple[Planned, ScoreRun]]:
    """A method's part of each run; where it would take more passes than the budget, on a share of the photos."""
    mine = [part for part in planned if method in part.run.methods]
    maps = sum(part.maps * len(part.run.sources) for part in mine)
    share = 1.0 if plan.budget is None or passes * maps <= plan.budget else plan.budget / (passes * maps)
    return [(part, part.on([method], share)) for part in mine]


def carry_out(run: ScoreRun, store: Store, step: Step) -> None:
    """Make what the store lacks, and count all; raises the first error."""
    step(len(run.sources) - len(run.todo(store)))
    for result in score_missing(run, store):
        if isinstance(result, Failure):
            raise result.error
        step()


def properties_of(part: Planned, run: ScoreRun, label: str, store: Store) -> dict[str, list[float | None]]:
    """A method's values by property: of fidelity, the lead over the control `random` on the same photo."""
    contents = set(run.contents.values())
    rows = [row for row in rows_of(run, store) if row.photo in contents]
    found = {
        name: [row.value for row in rows if row.method == label and row.metric == metric]
        for metric, name in part.measures.items()
        if name != FIDELITY
    }
    if FIDELITY in part.measures.values() and label != CONTROLS[0]:
        own, chance = (differences(rows, name) for name in (label, CONTROLS[0]))
        found[FIDELITY] = [own[key] - chance[key] for key in own if key in chance]
    return found


def differences(rows: Iterable[Row], label: str) -> dict[tuple[str, str], float]:
    """Insertion less deletion by photo and target."""
    by_metric: dict[str, dict[tuple[str, str], float]] = {"insertion": {}, "deletion": {}}
    for row in rows:
        name = row.metric.partition("@")[0]
        if name in by_metric and row.method == label and row.value is not None:
            by_metric[name][row.photo, row.target] = row.value
    inserted, deleted = by_metric["insertion"], by_metric["deletion"]
    return {key: inserted[key] - deleted[key] for key in inserted if key in deleted}
