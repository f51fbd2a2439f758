"""The grammar of specifications, a name with qualifiers, used everywhere on the command line.

`NAME@key=value@key=value`; a comma separates things; a list value is joined by `+`; a comma, an `@` or a backslash inside a value
takes a backslash. All that follows `@base=` belongs to the base.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from xaicli.errors import UsageError

ESCAPED = "\\,@"


@dataclass(frozen=True)
class Spec:
    """A name and its qualifiers as typed. `flag` holds the one qualifier without `=` (a model's weights)."""

    name: str
    params: tuple[tuple[str, str], ...] = ()
    base: Spec | None = None
    flag: str = ""


def fold(name: str) -> str:
    """The form in which names are compared: case, dashes and underscores are ignored, `++` is `pp`."""
    return name.lower().replace("++", "pp").replace("-", "").replace("_", "").strip()


def matches(pattern: str, name: str) -> bool:
    """Whether a name contains a pattern, or matches one with `*`, `?` or `[`; both are folded, and an empty pattern fits all."""
    wanted = fold(pattern)
    return fnmatch.fnmatchcase(fold(name), wanted if any(char in wanted for char in "*?[") else f"*{wanted}*")


def escape(value: str) -> str:
    """`value` as it is written in a specification."""
    return "".join("\\" + char if char in ESCAPED else char for char in value)


def unescape(text: str) -> str:
    """Drop the backslash before a comma, an `@` or a backslash; any other backslash stays (Windows paths)."""
    out, at = [], 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text) and text[at + 1] in ESCAPED:
            at += 1
        out.append(text[at])
        at += 1
    return "".join(out)


def split(text: str, separator: str) -> list[str]:
    """Split at separators without a backslash before them; escapes stay in the parts."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def names_in(text: str, option: str) -> list[str]:
    """The names in a comma-separated text, with their escapes; raises UsageError on an empty one, as in `,` or `a,`."""
    names = [part.strip() for part in split(text, ",")]
    if "" in names:
        raise UsageError(f'{option} "{text}" has an empty name', expected="NAME or NAME,NAME")
    return names


def parse_specs(text: str) -> list[Spec]:
    """All things named in a comma-separated text, in order; raises UsageError on an empty item."""
    return [parse_spec(item) for item in split(text, ",")]


def parse_spec(text: str) -> Spec:
    """Parse one `NAME@key=value...`; raises UsageError for any other form."""
    name, *rest = split(text, "@")
    name = unescape(name).strip()
    if not name:
        raise UsageError(f'"{text}" names nothing', expected="NAME or NAME@key=value", hint="See xai list methods.")
    params: list[tuple[str, str]] = []
    flag = ""
    for at, item in enumerate(rest):
        key, equals, value = item.partition("=")
        key = key.strip()
        if fold(key) == "base" and equals:
            return Spec(name, tuple(params), parse_spec("@".join([value, *rest[at + 1 :]])), flag)
        if not key or (flag and not equals):
            raise UsageError(f'"@{item}" in "{text}" is no parameter', expected="key=value", hint="Write NAME@key=value.")
        if not equals:
            flag = unescape(item)
        elif key in dict(params):
            raise UsageError(f'"{text}" gives {key} twice', hint="Keep one of them.")
        else:
            params.append((key, unescape(value)))
    return Spec(name, tuple(params), None, flag)
