"""Verdicts as text, JSON, Markdown, JUnit XML, or annotations of a GitHub workflow.

Names of photos and texts of a baseline come from others: they are escaped, so that none acts as markup or as a terminal command.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from xaicli.gate.outcome import Outcome
from xaicli.gate.verdict import Verdict
from xaicli.terminal import printable, wrapped
from xaicli.text_table import aligned_rows, in_markdown
from xaicli.words import count
from xaicli.writable_text import json_text

FORMATS = ("table", "markdown", "json", "junit", "github")
WORDS = {"ok": "ok", "fail": "FAIL", "inconclusive": "?", "note": "note"}
ORDER = ("FAIL", "warn", "?", "ok", "note")
INDENT = "      "


def render(outcome: Outcome, form: str, *, pictures: str = "", width: int = 0) -> str:
    """All verdicts in one of FORMATS, ending in a line break.

    pictures: the folder of before-and-after pictures, if any; width: of the table in terminal columns, 0 for no limit.
    """
    verdicts = in_order(outcome)
    if form == "json":
        return to_json(outcome, pictures)
    if form == "markdown":
        return to_markdown(verdicts)
    if form == "junit":
        return to_junit(verdicts, outcome)
    if form == "github":
        return to_github(verdicts, outcome)
    return to_text(verdicts, pictures, width)


def in_order(outcome: Outcome) -> list[Verdict]:
    """The verdicts, failures first."""
    return sorted(outcome.verdicts, key=lambda verdict: ORDER.index(word(verdict)))


def word(verdict: Verdict) -> str:
    return "warn" if verdict.warns else WORDS[verdict.state]


def worst_of(verdict: Verdict) -> str:
    return ", ".join(map(printable, verdict.worst)) if verdict.state == "fail" else ""


def to_text(verdicts: Sequence[Verdict], pictures: str, width: int = 0) -> str:
    rows = [[word(verdict), *map(printable, (verdict.method, verdict.what, verdict.text))] for verdict in verdicts]
    lines = []
    for verdict, row in zip(verdicts, aligned_rows(rows, width=width), strict=True):
        lines += row
        if worst := worst_of(verdict):
            where = f"   pictures in {printable(pictures)}" if pictures and verdict.method else ""
            said = f"worst: {worst}{where}"
            lines += [f"{INDENT}{line}" for line in (wrapped(said, width - len(INDENT)) if width else [said])]
    lines.append(conclusion(verdicts))
    return "\n".join(lines) + "\n"


def conclusion(verdicts: Sequence[Verdict]) -> str:
    rules = [verdict for verdict in verdicts if verdict.state != "note"]
    failed = sum(verdict.failed for verdict in rules)
    warned = sum(verdict.warns for verdict in rules)
    undecided = sum(verdict.state == "inconclusive" for verdict in rules)
    if not (failed or warned or undecided):
        return f"all {len(rules)} rules hold" if len(rules) != 1 else "the one rule holds"
    rest = f", {warned} warned" * bool(warned) + f", {undecided} inconclusive" * bool(undecided)
    return f"{failed} of {count(len(rules), 'rule')} failed{rest}"


def record_of(verdict: Verdict, outcome: Outcome) -> dict[str, Any]:
    """A verdict as a plain record."""
    return {
        "state": verdict.state,
        "level": "note" if verdict.state == "note" else verdict.level,
        "rule": verdict.what,
        "method": verdict.method,
        "metric": verdict.metric,
        "value": verdict.value,
        "low": verdict.low,
        "high": verdict.high,
        "test": verdict.test,
        "p": verdict.p,
        "text": verdict.text,
        "worst": [outcome.now[at].image for at in verdict.places],
        "worst_values": [
            value_behind(shown, outcome.now[at].image) for shown, at in zip(verdict.worst, verdict.places, strict=True)
        ],
    }


def value_behind(shown: str, image: str) -> float | str | None:
    """The number, or what else is said, behind a photo that a verdict names; None if nothing is."""
    text = shown.removeprefix(image).strip()
    try:
        return float(text) if math.isfinite(float(text)) else text
    except ValueError:
        return text or None


def to_json(outcome: Outcome, pictures: str) -> str:
    rows = [record_of(verdict, outcome) for verdict in outcome.verdicts]
    content = {"failed": outcome.failed(), "photos": len(outcome.now), "verdicts": rows, "pictures": pictures}
    return json_text(content, allow_nan=False) + "\n"


def to_markdown(verdicts: Sequence[Verdict]) -> str:
    lines = ["| | method | rule | finding |", "|---|---|---|---|"]
    for verdict in verdicts:
        worst = worst_of(verdict)
        cells = (word(verdict), verdict.method, verdict.what, verdict.text + (f". Worst: {worst}" if worst else ""))
        lines.append(f"| {' | '.join(map(in_cell, cells))} |")
    return "\n".join([*lines, "", conclusion(verdicts)]) + "\n"


def in_cell(text: str) -> str:
    """Text escaped for Markdown, so that it makes no link, picture or mention."""
    return "".join("\\" + char if char in "[]!@~" else char for char in in_markdown(text))


def to_junit(verdicts: Sequence[Verdict], outcome: Outcome) -> str:
    rules = [verdict for verdict in verdicts if verdict.state != "note"]
    counts = {"failures": sum(verdict.failed for verdict in rules), "errors": 0}
    counts["skipped"] = sum(verdict.state == "inconclusive" for verdict in rules)
    suite = Element(
        "testsuite", {"name": outcome.sides.verb, "tests": str(len(rules)), **{name: str(n) for name, n in counts.items()}}
    )
    # One run of the model serves all rules.
    suite.set("time", f"{outcome.seconds:.3f}")
    for verdict in rules:
        worst = worst_of(verdict)
        text, message = plain(verdict.text + (f". Worst: {worst}" if worst else "")), plain(verdict.text)
        case = SubElement(suite, "testcase", classname=plain(verdict.method or "model"), name=plain(verdict.what))
        case.set("time", f"{outcome.seconds / len(rules):.3f}")
        if verdict.failed:
            SubElement(case, "failure", message=message).text = text
        elif verdict.state == "inconclusive":
            SubElement(case, "skipped", message=f"inconclusive: {message}")
        elif verdict.warns:
            SubElement(case, "system-out").text = f"warning: {text}"
    indent(suite, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suite, "unicode")}\n'


def plain(text: str) -> str:
    """Text without the characters that XML forbids: control characters, lone surrogates and two noncharacters."""
    return "".join(char if char not in "\ufffe\uffff" else "?" for char in printable(text))


def to_github(verdicts: Sequence[Verdict], outcome: Outcome) -> str:
    """Workflow commands: errors for failures, warnings for warnings and inconclusive rules, notices for notes."""
    kinds = {"fail": "error", "inconclusive": "warning", "note": "notice"}
    lines = []
    for verdict in verdicts:
        if verdict.state == "ok":
            continue
        kind = "warning" if verdict.warns else kinds[verdict.state]
        worst = worst_of(verdict)
        title = " ".join(part for part in (f"{outcome.sides.verb}:", verdict.method, verdict.what) if part)
        text = printable(verdict.text) + (f". Worst: {worst}" if worst else "")
        lines.append(f"::{kind} title={command_property(printable(title))}::{command_data(text)}")
    return "\n".join([*lines, conclusion(verdicts)]) + "\n"


def command_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    return command_data(text).replace(":", "%3A").replace(",", "%2C")
