"""`xaicli.check`: does the model still look at the same places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xaicli.errors import InputError, UsageError, XaiError
from xaicli.files import require_writable
from xaicli.gate.baseline import Baseline
from xaicli.gate.baseline_file import load
from xaicli.gate.check_page import NAME as PAGE
from xaicli.gate.check_page import write_page
from xaicli.gate.formats import record_of, render
from xaicli.gate.measure import ReadySuite, make_ready, model_in
from xaicli.gate.outcome import Outcome, refuse_other_definitions, run_against
from xaicli.gate.parity import ParityOutcome
from xaicli.gate.parity_formats import render_pair
from xaicli.gate.parity_verdicts import default_rules
from xaicli.gate.pictures import claim_pictures, draw_failures
from xaicli.gate.suite import Suite, find_suite, read_suite
from xaicli.named_files import files_named
from xaicli.progress import SILENT, Progress
from xaicli.runs.baseline import MadeBaseline, write_baseline
from xaicli.runs.parity import compare, like_original
from xaicli.tabular import Tabular
from xaicli.words import count


@dataclass(frozen=True, eq=False)
class Checked(Tabular):
    """The verdicts of a check, one record each.

    outcome: None if nothing could be compared and the baseline was renewed; pictures: the folder of pictures of failures, if any
    were drawn; failed: whether the check fails; renewed: the new baseline of an update.
    """

    outcome: Outcome | None
    pictures: Path | None = None
    failed: bool = False
    renewed: MadeBaseline | None = None

    columns = ("state", "method", "rule", "text")

    def records(self) -> list[dict[str, Any]]:
        return [] if self.outcome is None else [record_of(verdict, self.outcome) for verdict in self.outcome.verdicts]

    def render(self, format: str = "table", *, width: int = 0) -> str:
        """All verdicts as table, json, markdown, junit or github."""
        where = "" if self.pictures is None else f"{self.pictures}/"
        if isinstance(self.outcome, ParityOutcome):
            return render_pair(self.outcome, format, pictures=where, width=width).removesuffix("\n")
        return "" if self.outcome is None else render(self.outcome, format, pictures=where, width=width).removesuffix("\n")


def check(
    suite: str | Path | None = None,
    *,
    trust: bool = False,
    model: str | None = None,
    weights: str | Path | None = None,
    against: str | None = None,
    seed: int | None = None,
    output: str | Path | None = None,
    strict: bool = False,
    update: bool = False,
    yes: bool = False,
    progress: Progress = SILENT,
) -> Checked:
    """Run a suite again and compare it with its baseline: maps, scores, confidence, decisions and the layer.

    suite, trust, model, weights: as in `xaicli.baseline`; against: another model, with which the suite's is compared in place of
    a baseline, as a suite's `compare`; seed: of stochastic methods, by default the baseline's; output: the folder of
    before-and-after pictures and their page, by default beside the baseline; strict: fail also if a rule is inconclusive; update:
    make the present results the baseline (if a rule fails, only with `yes`). Raises UsageError if the suite differs from the
    baseline's, InputError if photos are missing.

        assert not xaicli.check("xai.toml").failed
    """
    named = locals()
    read = read_suite(find_suite(None if suite is None else str(suite)))
    pictures = read.pictures_folder if output is None else Path(output)
    claim_pictures(pictures, PAGE, files_named(named))
    if output is not None:
        require_writable(pictures)
    if against or read.compare:
        if update:
            raise UsageError("--update in a comparison of two models", expected="a check against a baseline")
        theirs = {"model": model, "weights": None if weights is None else str(weights)}
        ready, pair = compared_models(read, against=against, trust=trust, seed=seed, progress=progress, **theirs)
        return Checked(pair, draw(ready, pair, pictures, progress), pair.failed(strict=strict))
    before = load(read.baseline_folder)
    ready = make_ready(read, trust=trust, model=model, weights=None if weights is None else str(weights))
    outcome, drawn = None, None
    try:
        # Checked before any work: a baseline made with other settings can only be renewed.
        refuse_other_definitions(ready, before)
        outcome = compared(ready, before, seed, progress)
    except (UsageError, InputError) as error:
        if not update or (ready.suite.expect != before.expect and not yes):
            raise
        progress.warn(f"nothing to compare: {error.found}")
    else:
        drawn = draw(ready, outcome, pictures, progress)
    failed = outcome is not None and outcome.failed(strict=strict and not update)
    if update and failed and not yes:
        progress.warn("the baseline stays, since a rule fails: look at the pictures, then type xai check --update --yes")
    elif update:
        return Checked(outcome, drawn, False, renew(ready, read.baseline_folder, progress))
    return Checked(outcome, drawn, failed)


def compared_models(
    suite: Suite,
    *,
    against: str | None = None,
    trust: bool = False,
    model: str | None = None,
    weights: str | None = None,
    seed: int | None = None,
    progress: Progress = SILENT,
) -> tuple[ReadySuite, ParityOutcome]:
    """Compare a suite's model with another one, by the suite's rules or, without any, those of a comparison."""
    suite = suite if seed is None else replace(suite, seed=seed)
    ready = make_ready(suite, trust=trust, model=model, weights=weights)
    theirs = {key: value for key, value in suite.options.items() if key != "weights"}
    second = replace(suite, model=suite.compare, options=theirs)
    other = make_ready(second, trust=trust, model=against)
    classifier = like_original(other.classifier, ready.classifier, against or model_in(second))
    ready = ready if suite.rules else replace(ready, rules=default_rules(ready))
    return ready, compare(ready, replace(other, sources=ready.sources, classifier=classifier), progress)


def compared(ready: ReadySuite, before: Baseline, seed: int | None, progress: Progress) -> Outcome:
    with progress.task("photos", len(before.photos)) as step:
        return run_against(ready, before, seed=seed, tick=lambda done: step())


def draw(ready: ReadySuite, outcome: Outcome, folder: Path, progress: Progress) -> Path | None:
    """Draw pictures of the failures; returns their folder, None without any. A read-only checkout cannot hold them, which is only
    a warning."""
    try:
        drawn = draw_failures(ready, outcome, folder)
        if page := write_page(ready, outcome, drawn, folder):
            progress.say(f"before and after: {page}" if drawn else f"the check as a page: {page}")
        return folder if drawn else None
    except (XaiError, OSError) as error:
        progress.warn(f"no pictures: {error.found if isinstance(error, XaiError) else error}")
        return None


def renew(ready: ReadySuite, folder: Path, progress: Progress) -> MadeBaseline:
    """Make the present results the baseline."""
    made = write_baseline(ready, folder, progress)
    photos = count(len(made.baseline.photos), "photo")
    progress.say(f"the baseline in {folder} is renewed: {photos}, model {made.baseline.fingerprint[:8]}")
    return made
