"""Verdicts as text, JSON, Markdown, JUnit XML, or annotations of a GitHub workflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from xaicli.gate.check import Outcome
from xaicli.gate.verdicts import Verdict
from xaicli.terminal import printable

FORMATS = ("text", "json", "md", "junit", "github")
WORDS = {"ok": "ok", "fail": "FAIL", "inconclusive": "?", "note": "note"}


def render(outcome: Outcome, form: str, *, pictures: str = "") -> str:
    """All verdicts in one of FORMATS, ending in a line break. pictures: the folder of before-and-after pictures, if any."""
    verdicts = outcome.verdicts
    if form == "json":
        return to_json(outcome, pictures)
    if form == "md":
        return to_markdown(verdicts)
    if form == "junit":
        return to_junit(verdicts)
    if form == "github":
        return to_github(verdicts)
    return to_text(verdicts, pictures)


def word(verdict: Verdict) -> str:
    return "warn" if verdict.state == "fail" and verdict.level == "warn" else WORDS[verdict.state]


def to_text(verdicts: Sequence[Verdict], pictures: str) -> str:
    ordered = sorted(verdicts, key=lambda verdict: ("fail", "inconclusive", "ok", "note").index(verdict.state))
    methods = max((len(verdict.method) for verdict in ordered), default=0)
    names = max((len(verdict.what) for verdict in ordered), default=0)
    lines = []
    for verdict in ordered:
        lines.append(f"{word(verdict):5} {verdict.method:{methods}}  {verdict.what:{names}}  {verdict.text}".rstrip())
        if verdict.worst and verdict.state == "fail":
            where = f"   pictures in {pictures}" if pictures and verdict.method else ""
            lines.append(f"      worst: {', '.join(map(printable, verdict.worst))}{where}")
    lines.append(conclusion(verdicts))
    return "\n".join(lines) + "\n"


def conclusion(verdicts: Sequence[Verdict]) -> str:
    rules = [verdict for verdict in verdicts if verdict.state != "note"]
    failed = sum(verdict.failed for verdict in rules)
    open_ones = sum(verdict.state == "inconclusive" for verdict in rules)
    rest = f", {open_ones} inconclusive" if open_ones else ""
    return f"{failed} of {len(rules)} rules failed{rest}" if failed or open_ones else f"all {len(rules)} rules hold"


def to_json(outcome: Outcome, pictures: str) -> str:
    rows = [
        {
            "state": verdict.state,
            "level": verdict.level,
            "method": verdict.method,
            "metric": verdict.metric,
            "value": verdict.value,
            "low": verdict.low,
            "high": verdict.high,
            "text": verdict.text,
            "worst": list(verdict.worst),
        }
        for verdict in outcome.verdicts
    ]
    content = {"failed": outcome.failed(), "photos": len(outcome.now), "verdicts": rows, "pictures": pictures}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def to_markdown(verdicts: Sequence[Verdict]) -> str:
    def cell(text: str) -> str:
        return escape(text).replace("|", "\\|").replace("\n", " ")

    lines = ["| | method | rule | finding |", "|---|---|---|---|"]
    for verdict in verdicts:
        worst = f" Worst: {', '.join(verdict.worst)}." if verdict.worst and verdict.state == "fail" else ""
        lines.append(f"| {word(verdict)} | {cell(verdict.method)} | {cell(verdict.what)} | {cell(verdict.text + worst)} |")
    return "\n".join([*lines, "", conclusion(verdicts)]) + "\n"


def to_junit(verdicts: Sequence[Verdict]) -> str:
    rules = [verdict for verdict in verdicts if verdict.state != "note"]
    failed = sum(verdict.failed for verdict in rules)
    skipped = sum(verdict.state == "inconclusive" for verdict in rules)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="xai check" tests="{len(rules)}" failures="{failed}" skipped="{skipped}">',
    ]
    for verdict in rules:
        lines.append(f" <testcase classname={quoteattr(plain(verdict.method or 'model'))} name={quoteattr(plain(verdict.what))}>")
        if verdict.failed:
            worst = f" Worst: {', '.join(verdict.worst)}" if verdict.worst else ""
            lines.append(f"  <failure message={quoteattr(plain(verdict.text))}>{escape(plain(verdict.text + worst))}</failure>")
        elif verdict.state == "inconclusive":
            lines.append(f"  <skipped message={quoteattr(plain('inconclusive: ' + verdict.text))}/>")
        lines.append(" </testcase>")
    return "\n".join([*lines, "</testsuite>"]) + "\n"


def plain(text: str) -> str:
    """Text without what XML forbids."""
    return "".join(char if char in "\t\n" or ord(char) >= 32 else "?" for char in text)


def to_github(verdicts: Sequence[Verdict]) -> str:
    """Workflow commands: errors for failures, warnings for warnings and what is inconclusive, notices for notes."""
    kinds = {"fail": "error", "inconclusive": "warning", "note": "notice"}
    lines = []
    for verdict in verdicts:
        if verdict.state == "ok":
            continue
        kind = "warning" if verdict.state == "fail" and verdict.level == "warn" else kinds[verdict.state]
        worst = f" Worst: {', '.join(verdict.worst)}." if verdict.worst else ""
        title = f"xai check: {verdict.method} {verdict.what}".replace("  ", " ")
        lines.append(f"::{kind} title={command_property(title)}::{command_data(verdict.text + worst)}")
    return "\n".join([*lines, conclusion(verdicts)]) + "\n"


def command_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    return command_data(text).replace(":", "%3A").replace(",", "%2C")
