"""The table of models and methods: every cell runs, or refuses in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import models_and_targets
from tools.model_kinds import KINDS, ModelKind
from tools.models_and_targets import BEGIN, END, KindCell, lines_of, page
from xaicli.builtin import METHODS
from xaicli.errors import RunError, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "models-and-targets.md"


def rows_of(lines):
    """The table without the numbers of its footnotes, which are in words there."""
    return [re.sub(r"\[\d+\]", "no", line) for line in lines if line.startswith("|")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_method_runs_or_refuses_in_one_line_as_the_page_says(kind):
    """A method that is new, or that learned or lost a kind of model: python -m tools.models_and_targets."""
    cells = list(models_and_targets.table([kind]))
    assert [one.method for one in cells] == list(METHODS)
    assert [f"{one.method}: {one.fault}" for one in cells if one.fault] == []
    for one in cells:
        assert "\n" not in one.refusal
        assert "fault in xai" not in one.refusal
    text = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    table = [[part.strip() for part in row.split("|")[1:-1]] for row in rows_of(text.splitlines())]
    at = table[0].index(kind.name)
    said = {row[0]: row[at] for row in table[2:]}
    assert said == {one.method: "no" if one.refusal else "yes" for one in cells}


def test_the_page_names_every_method_and_kind():
    text = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = rows_of(text.splitlines())
    assert [part.strip() for part in rows[0].split("|")[2:-1]] == [kind.name for kind in KINDS]
    assert [row.split("|")[1].strip() for row in rows[2:]] == list(METHODS)


CELLS = [
    KindCell("rise", "ResNet"),
    KindCell("rise", "boxes", refusal="rise needs a thing_with [marks]."),
    KindCell("grad-cam", "ResNet", refusal="no"),
    KindCell("grad-cam", "boxes", refusal="rise needs a thing_with [marks]."),
]


def test_refusals_are_footnotes_each_once():
    assert lines_of(CELLS) == [
        "| method | ResNet | boxes |",
        "|---|---|---|",
        "| rise | yes | [1] |",
        "| grad-cam | [2] | [1] |",
        "",
        "1. rise needs a thing\\_with \\[marks\\].",
        "2. no",
    ]


def test_a_page_keeps_what_stands_around_the_table():
    once = page(f"# Models\n\n{BEGIN}{END}\nMore.\n", CELLS)
    assert once.startswith("# Models\n")
    assert once.endswith("\nMore.\n")
    assert page(once, CELLS) == once


def failing(error):
    def make(folder):
        raise AssertionError

    def explain(*given, **options):
        raise error

    return ModelKind("kind", "classes", "top1", make), explain


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (UsageError("no"), True),
        (RunError("no map"), True),
        (RunError("rise raised KeyError"), False),
        (KeyError("rise"), False),
    ],
)
def test_an_exception_on_its_way_is_a_fault_and_no_refusal(monkeypatch, error, refused):
    if "KeyError" in str(error):
        error.__cause__ = KeyError("rise")
    kind, explain = failing(error)
    monkeypatch.setattr(models_and_targets.xaicli, "explain", explain)
    classifier = type("Named", (), {"name": "net"})()
    found = models_and_targets.cell("rise", kind, classifier, Path("a.png"))
    assert bool(found.refusal) is refused
    assert bool(found.fault) is not refused
