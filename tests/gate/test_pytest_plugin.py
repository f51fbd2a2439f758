"""The gate as tests of somebody's own suite, in a pytest of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xaicli.gate.baseline_file import save
from xaicli.gate.suite import read_suite

pytest_plugins = "pytester"

OWN = "def test_own():\n    assert True\n"
FAULT = "\n\nfirst = make\n\n\ndef make():\n    return first(mean=(0, 0, 0), std=(1, 1, 1))\n"

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def project(room):
    """A project with a baseline and a test of its own in tests/."""
    save(room.baseline(), read_suite(room.folder / "xai.toml").baseline_folder)
    (room.folder / "tests").mkdir()
    (room.folder / "tests" / "test_own.py").write_text(OWN)
    return room


@pytest.fixture
def run(project, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(project.folder)
    return lambda *words: pytester.runpytest_inprocess("-p", "no:cacheprovider", f"--rootdir={project.folder}", *words)


def add_fault(project) -> None:
    path = project.folder / "net.py"
    path.write_text(path.read_text() + FAULT)


def test_each_rule_is_a_test_that_passes(run: Run) -> None:
    result = run("-v", "--xai", "--xai-trust")
    result.assert_outcomes(passed=4)
    for name in ("grad-cam map similarity", "decisions", "p0"):
        result.stdout.fnmatch_lines(f"*xai.toml::{name} PASSED*")


def test_a_failure_shows_the_verdict_and_the_worst_photos(project, run: Run) -> None:
    add_fault(project)
    result = run("--xai", "--xai-trust")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines("grad-cam map similarity: *at least 0.98 and 0.80 wanted*")
    result.stdout.fnmatch_lines("worst: *.png *")
    assert "Traceback" not in result.stdout.str()


def test_a_suite_that_compares_two_models_needs_no_baseline(project, run: Run) -> None:
    for model, failed in (("wrapped", 0), ("other", 1)):
        project.suite(compare=f"net.py:{model}", methods=["grad-cam"], rules=[{"metric": "map-similarity", "at_least": 0.9}])
        shutil.rmtree(project.folder / ".xai", ignore_errors=True)
        assert run("--xai", "--xai-trust").parseoutcomes().get("failed", 0) == failed


def test_the_suite_at_the_root_is_taken_in_where_testpaths_name_another_folder(project, run: Run) -> None:
    (project.folder / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    run("--xai", "--xai-trust").assert_outcomes(passed=4)
    run("--xai", "--xai-trust", "tests/test_own.py").assert_outcomes(passed=1)
    run("--xai", "--xai-trust", "xai.toml").assert_outcomes(passed=3)


def test_a_suite_in_pyproject_is_collected_and_another_pyproject_is_not(project, run: Run) -> None:
    suite = (project.folder / "xai.toml").read_text()
    (project.folder / "xai.toml").unlink()
    (project.folder / "pyproject.toml").write_text("[tool.xai]\n" + suite)
    run("--xai", "--xai-trust").assert_outcomes(passed=4)
    (project.folder / "tests" / "deeper").mkdir()
    for other in ("[project]\nname = 'x'\n", "tool = 3", "[[["):
        (project.folder / "tests" / "deeper" / "pyproject.toml").write_text(other)
        run("--xai", "--xai-trust", "tests").assert_outcomes(passed=1)


def test_a_suite_that_cannot_be_run_is_an_error_in_one_line(project, run: Run) -> None:
    result = run("--xai")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines("*would run the code in net.py*add --xai-trust.*")
    assert "add --trust" not in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    (project.folder / ".xai/baseline/baseline.json").unlink()
    run("--xai", "--xai-trust").stdout.fnmatch_lines("*no baseline in*")


def test_warnings_warn(project, run: Run) -> None:
    add_fault(project)
    project.suite(rules=[{"metric": "map-similarity", "level": "warn"}])
    result = run("--xai", "--xai-trust", "xai.toml")
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines("*PytestWarning: grad-cam map similarity: *")


def test_what_is_inconclusive_is_skipped_and_under_strict_fails(project, run: Run) -> None:
    photos = project.baseline().photos
    project.suite(rules=[{"metric": "p0", "at_least": sum(photo.probability for photo in photos) / len(photos)}])
    result = run("--xai", "--xai-trust", "-rs", "xai.toml")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines("*inconclusive: *photos cannot tell*")
    run("--xai", "--xai-trust", "--xai-strict", "xai.toml").assert_outcomes(passed=1, failed=1)


def test_without_the_option_nothing_happens_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    heavy = "{'torch', 'numpy', 'scipy', 'PIL', 'click'}"
    (tmp_path / "test_own.py").write_text(f"import sys\n\n\ndef test_own():\n    assert not {heavy} & set(sys.modules)\n")
    (tmp_path / "xai.toml").write_text("nonsense")
    for words, told in (
        ([], "1 passed"),
        (["-p", "no:xaicli"], "1 passed"),
        (["-p", "no:xaicli", "--xai"], "unrecognized arguments"),
    ):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert told in done.stdout + done.stderr
