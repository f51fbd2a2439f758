"""The gate as tests of a user's own suite: `pytest --xai` runs the suite's check, one test a rule.

Loaded by pytest through its entry point; imports nothing heavy until the suite is collected.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xaicli.gate.verdicts import Verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("xai", "saliency quality")
    group.addoption("--xai", action="store_true", help="check the suite xai.toml against its baseline, one test a rule")
    group.addoption("--xai-trust", action="store_true", help="let the suite's own model file run")
    group.addoption("--xai-strict", action="store_true", help="inconclusive rules fail")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if parent.config.getoption("--xai") and file_path.name == "xai.toml":
        collected: pytest.Collector = SuiteFile.from_parent(parent, path=file_path)
        return collected
    return None


class SuiteFile(pytest.File):
    """A suite: its check runs when it is collected, since only then are its verdicts known."""

    def collect(self) -> Iterator[pytest.Item]:
        from xaicli.errors import XaiError
        from xaicli.gate.baseline import load
        from xaicli.gate.check import check
        from xaicli.gate.measure import make_ready
        from xaicli.gate.suite import read_suite

        try:
            suite = read_suite(self.path)
            bench = make_ready(suite, trust=self.config.getoption("--xai-trust"))
            outcome = check(bench, load(Path(suite.place(suite.baseline))))
        except XaiError as error:
            raise self.CollectError(error.line()) from error
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
        strict = self.config.getoption("--xai-strict")
        if verdict.failed or (strict and verdict.state == "inconclusive"):
            raise RuleFailed(verdict)
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
        worst = f"\nworst: {', '.join(verdict.worst)}" if verdict.worst else ""
        super().__init__(f"{verdict.method} {verdict.what}: {verdict.text}{worst}".strip())
