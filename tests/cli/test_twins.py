"""What a command can do Python can in as many words, and gets the same records."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import xaicli
from xaicli.cli.main import COMMANDS, cli

TWINS = {
    name: name for name in ("explain", "score", "compare", "report", "export", "merge", "baseline", "check", "train", "doctor")
}
TWINS |= {name: name for name in ("parity", "verify", "bundle", "trust", "audit", "augment", "aggregate", "study")}
TWINS["bank"] = "build_bank"
ALONE = {"list", "describe", "cache", "config", "completion"}
"""Commands that look things up or look after the installation, for people at a terminal."""
SHOWN = {"form", "no_controls", "every"}
"""Options that say how a command prints, or say an option's value in a shorter way."""
OTHERWISE = {(name, "output") for name in ("explain", "compare", "parity", "trust", "audit", "aggregate")}
"""Options whose default is another one in Python: all stays in memory unless a folder is named."""


def options_of(command: str) -> dict[str, click.Parameter]:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return {str(parameter.name): parameter for parameter in found.params if parameter.expose_value}


def parameters_of(command: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(xaicli, TWINS[command])).parameters)


def test_every_command_that_works_on_photos_or_results_has_a_twin() -> None:
    assert TWINS.keys() | ALONE == COMMANDS.keys()


@pytest.mark.parametrize("command", TWINS)
def test_every_option_has_a_parameter_of_its_name(command: str) -> None:
    parameters = set(parameters_of(command))
    if "classifier" in parameters:
        # The model's options are those of the function that loads one.
        parameters |= {"model", *inspect.signature(xaicli.load_classifier).parameters}
    assert set(options_of(command)) - SHOWN <= parameters


@pytest.mark.parametrize("command", TWINS)
def test_an_option_and_its_parameter_have_one_default(command: str) -> None:
    parameters, context = parameters_of(command), click.Context(click.Command(command))
    for name, option in options_of(command).items():
        if name not in parameters or option.required or (command, name) in OTHERWISE:
            continue
        given, default = option.get_default(context), parameters[name].default
        given = given if isinstance(given, str | int | float | tuple) else None
        nothing = (None, (), "", False, inspect.Parameter.empty)
        assert given == default or (given in nothing and default in nothing), name


NET = Path(__file__).parents[1] / "data" / "net.py"


@pytest.fixture
def records(shell: Any) -> Callable[..., list[dict[str, Any]]]:
    """Types a command and reads the records that it prints as JSON."""

    def typed(*words: object) -> list[dict[str, Any]]:
        assert shell(*words, "--format", "json") == 0, shell.err
        found: list[dict[str, Any]] = json.loads(shell.out)
        return found

    return typed


def test_explain_gives_the_records_that_the_command_prints(records: Any, shell: Any) -> None:
    words = ("explain", "photos", "--model", shell.model, "--method", "grad-cam,random", "--metric", "deletion@steps=4")
    typed = records(*words, "-o", "typed")
    made = xaicli.explain("photos", shell.model, ["grad-cam", "random"], metric="deletion@steps=4", output="called")
    assert [{**row, "map": "", "array": "", "record": ""} for row in made.rows] == [
        {**row, "map": "", "array": "", "record": ""} for row in typed
    ]
    assert (shell.folder / "called" / "0.grad-cam.png").read_bytes() == (shell.folder / "typed" / "0.grad-cam.png").read_bytes()
    assert str(made).splitlines()[0].split() == ["image", "decision", "p", "method", "deletion@steps=4", "map"]
    in_memory = xaicli.explain("photos", shell.model, ["grad-cam", "random"])
    assert [one.record.definition for one in in_memory] == [row["definition"] for row in typed]
    assert [one.values.tolist() for one in in_memory] == [one.values.tolist() for one in made]


def test_a_dry_run_gives_the_same_plan(records: Any, shell: Any) -> None:
    typed = records("explain", "photos", "--model", shell.model, "--method", "rise@n_masks=64", "--dry-run")
    assert xaicli.explain("photos", shell.model, "rise@n_masks=64", dry_run=True).rows == typed


def test_score_gives_the_rows_that_the_command_streams_and_prints_its_table(shell: Any) -> None:
    shell.score("--format", "jsonl")
    typed = shell.rows
    table = xaicli.score("photos", shell.model, xaicli.make_method("grad-cam"), metric=shell.metrics.split(","))
    key = lambda row: (row["image"], row["method"], row["metric"])  # noqa: E731
    assert sorted(table.rows, key=key) == sorted(typed, key=key)
    shell.score()
    assert f"{table}\n" == shell.out
    assert "<th>grad-cam</th>" in table._repr_html_()
    stored = xaicli.score(
        "photos", shell.model, "grad-cam", metric=shell.metrics, output="s.db", fail_under={"insertion@steps=4": 2.0}
    )
    assert stored.rows == table.rows
    assert stored.failed
    assert "wanted at least 2" in stored.failures[0]


def test_controls_are_chosen_alike(shell: Any) -> None:
    shell.score("--controls", "center,random", "--format", "jsonl")
    assert {row["method"] for row in shell.rows} == {"grad-cam", "random", "center"}
    table = xaicli.score("photos", shell.model, "grad-cam", metric=shell.metrics, controls=["random", "center"])
    assert {row["method"] for row in table.rows} == {"grad-cam", "random", "center"}
    shell.score("--no-controls", "--format", "jsonl")
    assert {row["method"] for row in shell.rows} == {"grad-cam"}
    assert shell.score("--controls", "centre") == 2
    assert 'no control "centre"; expected random, center, other' in shell.error
    assert shell.score("--controls", "none") == 2
    assert "For none of them: --no-controls." in shell.error


def test_compare_prints_the_table_of_its_command_and_draws_its_sheet(shell: Any) -> None:
    words = ("--method", "grad-cam,layer-cam", "--metric", shell.metrics)
    assert shell("compare", "photos", "--model", shell.model, *words, "-o", "typed") == 0
    table = xaicli.compare("photos", shell.model, "grad-cam,layer-cam", metric=shell.metrics, output="called")
    assert f"{table}\n" == shell.out
    assert (shell.folder / "called" / "compare.png").read_bytes() == (shell.folder / "typed" / "compare.png").read_bytes()
    in_memory = xaicli.compare("photos", shell.model, "grad-cam,layer-cam", metric=shell.metrics)
    assert in_memory.rows == table.rows
    assert not in_memory.sheets


def test_a_dry_run_of_scores_tells_passes_and_time_and_what_controls_cost(records: Any, shell: Any) -> None:
    words = ("--method", "grad-cam,rise@n_masks=64", "--metric", "deletion@steps=4", "--dry-run")
    rows = records("score", "photos", "--model", shell.model, *words)
    assert [row["method"] for row in rows] == ["grad-cam", "rise@n_masks=64", "controls (random, center, other)"]
    assert "about" in shell.err
    passes = [float(row["passes per photo"]) for row in rows]
    # Each map takes four changed copies; a backward pass counts as two, and RISE passes the photo itself too.
    assert passes[0] == 3 + passes[2] / 4
    assert passes[2] == 4 * float(rows[0]["scoring"])
    assert all(row["time"] for row in rows)
    assert "times those without controls" in shell.err
    assert "if all passes are as fast as plain forward passes" in shell.err
    assert not list(shell.folder.glob("*.db"))


def test_a_dry_run_says_at_most_of_a_method_that_may_stop_earlier(records: Any, shell: Any) -> None:
    for verb in ("score", "explain"):
        words = ("--method", "grad-cam,rise@n_masks=64@tol=0.1", "--dry-run")
        plain, bounded, *_ = records(verb, "photos", "--model", shell.model, *words)
        assert not any("at most" in str(value) for value in plain.values())
        assert all(bounded[column].startswith("at most ") for column in ("passes per photo", "passes"))
    shell("score", "photos", "--model", shell.model, *words)
    assert "at most" in shell.err
    assert "about" not in shell.err


def test_export_merge_and_report_do_what_their_commands_do(records: Any, shell: Any) -> None:
    shell.score("-o", "s.db")
    made = xaicli.export("s.db", metric="deletion@steps=4", controls=False)
    shell("export", "s.db", "--metric", "deletion@steps=4", "--no-controls", "--format", "jsonl")
    assert made.rows == shell.rows
    shell("export", "s.db", "--metric", "deletion@steps=4", "--no-controls")
    assert f"{made}\n" == shell.out
    assert shell("export", "s.db", "--metric", "deletion") == 2
    assert 's.db has no rows of the metric "deletion"; expected deletion@steps=4' in shell.err
    assert "<th>metric</th>" in made._repr_html_()
    joined = xaicli.merge(["s.db"], "all.db")
    shell("merge", "s.db", "-o", "typed.db")
    assert joined.rows == [{"file": "all.db", "rows": len(shell.stored("typed.db"))}]
    page = xaicli.report("s.db", "page.html")
    shell("report", "s.db", "-o", "typed.html")
    assert (shell.folder / "page.html").read_bytes() == (shell.folder / "typed.html").read_bytes()
    assert str(page) == "6 photos in page.html"


def test_baseline_and_check_do_what_their_commands_do(records: Any, shell: Any) -> None:
    model = shell.folder / "net.py"
    model.write_text(NET.read_text())
    suite = 'model = "net.py:make"\nimages = ["photos/"]\nmetrics = ["insertion@steps=4"]\n'
    (shell.folder / "xai.toml").write_text(suite)
    assert len(xaicli.baseline(trust=True).rows) == 6
    assert shell("check", "--trust", "--format", "json") == 0
    found = xaicli.check(trust=True)
    assert not found.failed
    assert found.rows == json.loads(shell.out)["verdicts"]
    shell("check", "--trust")
    assert f"{found}\n" == shell.out


def test_doctor_finds_what_its_command_finds(records: Any, shell: Any) -> None:
    assert xaicli.doctor(shell.model).rows == records("doctor", "--model", shell.model)


def test_pandas_is_asked_for_where_it_is_missing(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(xaicli.XaiError, match=r'pandas is not installed\. Type: pip install "xaicli\[pandas\]"'):
        xaicli.doctor().to_pandas()


def test_progress_is_told_of_every_photo(shell: Any) -> None:
    class Loud(xaicli.Progress):
        def __init__(self) -> None:
            self.rows: list[Any] = []
            self.lines: list[str] = []

        def say(self, text: str) -> None:
            self.lines.append(text)

        def row(self, record: Any) -> None:
            self.rows.append(dict(record))

    heard = Loud()
    made = xaicli.explain("photos", shell.model, "grad-cam", output="out", progress=heard)
    assert heard.rows == made.rows
    assert any("6 photos x 1 method" in line for line in heard.lines)


def test_an_error_that_ends_a_run_holds_what_was_finished(shell: Any) -> None:
    (shell.folder / "photos" / "3.png").write_bytes(b"no photo")
    with pytest.raises(xaicli.XaiError, match=r"3\.png") as caught:
        xaicli.explain("photos", shell.model, "grad-cam")
    assert [row["image"] for row in caught.value.partial.rows] == [f"photos/{number}.png" for number in range(3)]
    assert len(xaicli.explain("photos", shell.model, "grad-cam", keep_going=True).errors) == 1
