"""The gate as pytest tests: `pytest --xai` runs a suite's check, one test per rule.

pytest loads this file through its entry point; nothing heavy is imported until a suite is collected.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xaicli.gate.outcome import Outcome
    from xaicli.gate.verdict import Verdict

FILES = ("xai.toml", "pyproject.toml")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("xai", "saliency quality")
    group.addoption("--xai", action="store_true", help="check the suite xai.toml against its baseline, one test per rule")
    group.addoption("--xai-trust", action="store_true", help="let the suite's own model file run")
    group.addoption("--xai-strict", action="store_true", help="rules that are inconclusive fail")


def pytest_configure(config: pytest.Config) -> None:
    """Add the suite in the root folder, even if `testpaths` names only a folder below it."""
    if not config.getoption("--xai"):
        return
    found = suite_of(config.rootpath)
    places = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    if found is not None and not named and not any(found.resolve().is_relative_to(place) for place in places):
        config.args.append(str(found))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if not parent.config.getoption("--xai") or file_path.name not in FILES or suite_of(file_path.parent) != file_path:
        return None
    collected: pytest.Collector = SuiteFile.from_parent(parent, path=file_path)
    return collected


def suite_of(folder: Path) -> Path | None:
    """The suite's file in a folder; a pyproject.toml that cannot be read is ignored here."""
    from xaicli.errors import XaiError
    from xaicli.gate.suite import suite_in

    try:
        return suite_in(folder)
    except XaiError:
        return None


class SuiteFile(pytest.File):
    """A suite. Its check runs at collection, since its tests are its verdicts."""

    def collect(self) -> Iterator[pytest.Item]:
        from xaicli.errors import XaiError
        from xaicli.gate.baseline_file import load
        from xaicli.gate.measure import make_ready
        from xaicli.gate.outcome import run_against
        from xaicli.gate.suite import read_suite
        from xaicli.passes.device import threads
        from xaicli.runs.check import compared_models

        trust = self.config.getoption("--xai-trust")
        try:
            suite = read_suite(self.path)
            with threads():
                outcome: Outcome
                if suite.compare:
                    _, outcome = compared_models(suite, trust=trust)
                else:
                    outcome = run_against(make_ready(suite, trust=trust), load(suite.baseline_folder))
        except XaiError as error:
            raise self.CollectError(in_pytest(error.line())) from error
        for verdict in outcome.verdicts:
            if verdict.state != "note":
                name = " ".join(part for part in (verdict.method, verdict.what) if part)
                yield RuleItem.from_parent(self, name=name, verdict=verdict)


class RuleItem(pytest.Item):
    """One rule of a suite."""

    def __init__(self, *, verdict: Verdict, **further: Any) -> None:
        super().__init__(**further)
        self.verdict = verdict

    def runtest(self) -> None:
        verdict = self.verdict
        if verdict.failed or (verdict.open and self.config.getoption("--xai-strict")):
            raise RuleFailed(verdict)
        if verdict.warns:
            warnings.warn(text_of(verdict), pytest.PytestWarning, stacklevel=1)
        if verdict.state == "inconclusive":
            pytest.skip(f"inconclusive: {verdict.text}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, RuleFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name


class RuleFailed(Exception):
    """A rule that does not hold."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(text_of(verdict))


def in_pytest(line: str) -> str:
    """An error's line with the options of `xai check` as pytest has them."""
    return re.sub(r"(?<![\w-])--(trust|strict)\b", r"--xai-\1", line)


def text_of(verdict: Verdict) -> str:
    from xaicli.terminal import printable

    worst = f"\nworst: {', '.join(map(printable, verdict.worst))}" if verdict.worst else ""
    return printable(f"{verdict.method} {verdict.what}: {verdict.text}".strip()) + worst
