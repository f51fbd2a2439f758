"""Verdicts in every form; others' text is never taken for markup."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from xaicli.gate.formats import FORMATS, render
from xaicli.gate.outcome import Outcome
from xaicli.gate.photo_result import PhotoResult
from xaicli.gate.verdict import Verdict

NASTY = "a|b<img src=x>![x](http://y)\x1b[31m\n::error::`c`%\ufffe&.png"


def outcome(*verdicts: Verdict) -> Outcome:
    now = tuple(PhotoResult(name, "0", 0, "1", 1, 0.5, {"grad-cam": np.zeros((2, 2), np.float32)}) for name in ("a.png", NASTY))
    return Outcome(verdicts, None, now, ())  # type: ignore[arg-type]


def failure(**further: object) -> Verdict:
    about = {"state": "fail", "what": "map similarity", "text": "0.71 [0.66, 0.75]"}
    about |= {"method": "grad-cam", "metric": "map-similarity", "value": 0.71, "low": 0.66, "high": 0.75}
    where = {"worst": ("a.png 0.12", f"{NASTY} 0.20"), "places": (0, 1)}
    return Verdict(**{**about, **where, **further})  # type: ignore[arg-type]


OK = Verdict("ok", "insertion", "-0.003 [-0.012, +0.006]", method="grad-cam", metric="insertion")
OPEN = Verdict("inconclusive", "deletion", "8 photos cannot tell", method="grad-cam", metric="deletion")
NOTE = Verdict("note", "decisions", "changed on 5 of 64 photos")
ALL = outcome(OK, NOTE, OPEN, failure(), failure(level="warn", what="p0"))


def test_text_shows_failures_first_with_worst_photos_and_ends_in_a_count():
    lines = render(ALL, "table", pictures=".xai/check/").splitlines()
    assert lines[0] == "FAIL  grad-cam  map similarity  0.71 [0.66, 0.75]"
    assert lines[1].startswith("      worst: a.png 0.12, a|b<img")
    assert lines[1].endswith("pictures in .xai/check/")
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["FAIL", "warn", "?", "ok", "note", "1"]
    assert lines[-1] == "1 of 4 rules failed, 1 warned, 1 inconclusive"


def test_text_that_is_wider_than_the_terminal_goes_on_in_the_next_line():
    text = "the mean is 0.71 [0.66, 0.75] and the floor 0.93, so the maps moved further than by chance"
    long = failure(text=text, worst=("a.png 0.12", "b.png 0.20"))
    wide, narrow = (render(outcome(long, OK), "table", pictures=".xai/check/", width=width) for width in (0, 60))
    assert max(map(len, wide.splitlines())) > 60 >= max(map(len, narrow.splitlines()))
    assert sorted(wide.split()) == sorted(narrow.split())
    assert narrow.splitlines()[1].split() == ["0.75]", "and", "the", "floor", "0.93,", "so"]
    assert [line.split()[0] for line in narrow.splitlines() if not line.startswith(" ")] == ["FAIL", "ok", "1"]


def test_text_says_when_all_holds():
    assert render(outcome(OK, NOTE), "table").splitlines()[-1] == "the one rule holds"


def test_json_holds_every_verdict_and_whether_it_failed():
    content = json.loads(render(ALL, "json"))
    assert content["failed"] is True
    assert content["photos"] == 2
    assert [verdict["state"] for verdict in content["verdicts"]] == ["ok", "note", "inconclusive", "fail", "fail"]
    assert content["verdicts"][3]["worst"] == ["a.png", NASTY]
    assert content["verdicts"][3]["worst_values"] == [0.12, 0.2]
    assert content["verdicts"][3]["low"] == 0.66
    assert [verdict["level"] for verdict in content["verdicts"]] == ["error", "note", "error", "error", "warn"]
    assert json.loads(render(outcome(OK, OPEN), "json"))["failed"] is False


def test_junit_is_xml_with_a_case_a_rule():
    suite = ElementTree.fromstring(render(ALL, "junit"))
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped")} == {"tests": "4", "failures": "1", "skipped": "1"}
    cases = {case.get("name"): case for case in suite}
    timed = ElementTree.fromstring(render(dataclasses.replace(ALL, seconds=6.0), "junit"))
    assert (timed.get("time"), {case.get("time") for case in timed}) == ("6.000", {"1.500"})
    assert set(cases) == {"insertion", "deletion", "map similarity", "p0"}
    assert cases["insertion"].get("classname") == "grad-cam"
    assert [child.tag for child in cases["map similarity"]] == ["failure"]
    assert "a.png 0.12" in (cases["map similarity"][0].text or "")
    assert [child.tag for child in cases["deletion"]] == ["skipped"]
    assert [child.tag for child in cases["p0"]] == ["system-out"]
    assert len(cases["insertion"]) == 0


def test_github_has_one_command_a_line():
    lines = render(ALL, "github").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::warning", "::notice", "1"]
    assert lines[0].startswith("::error title=xai check%3A grad-cam map similarity::0.71 [0.66, 0.75]. Worst: a.png 0.12, ")
    assert "%25" in lines[0]
    assert all(line.count("::") == 2 or "a|b" in line for line in lines[:-1])


def test_markdown_is_one_table_whose_cells_hold_plain_text():
    lines = render(ALL, "markdown").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 5
    for row in rows:
        assert row.replace("\\|", "").count("|") == 5
    assert "<img" not in render(ALL, "markdown").replace("\\<img", "")
    assert "![x](" not in render(ALL, "markdown")


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "json"])
def test_no_control_character_reaches_the_reader(form):
    text = render(outcome(failure(text=f"x {NASTY}", method=f"m{NASTY}"), NOTE), form, pictures=NASTY)
    assert "\x1b" not in text
    assert len(text.splitlines()) == len(render(outcome(failure(text="x"), NOTE), form, pictures="p").splitlines())


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_ends_in_a_line_break_and_takes_an_empty_outcome(form):
    assert render(outcome(), form).endswith("\n")
    assert render(ALL, form).endswith("\n")


def test_warnings_and_notes_do_not_close_the_gate_and_under_strict_what_is_open_does():
    assert ALL.failed()
    assert not outcome(OK, NOTE, OPEN, failure(level="warn")).failed()
    assert outcome(OK, OPEN).failed(strict=True)
    assert not outcome(OK, Verdict("inconclusive", "x", "y", level="warn"), NOTE).failed(strict=True)
