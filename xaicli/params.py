"""Parameters of methods and metrics, and the grammar that names a thing with its parameters.

One grammar everywhere: `NAME@key=value@key=value`; a comma separates things; a list value is joined by `+`; a comma, an `@` or a
backslash inside a value takes a backslash. All that follows `@base=` belongs to the base. See `docs/specifications.md`.

A method or metric is a frozen dataclass derived from `Definition`; each field made with `param(...)` is a parameter: typed, bounded
and documented where it stands.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, Union

from xaicli.errors import UsageError, did_you_mean

ESCAPED = "\\,@"


@dataclass(frozen=True)
class Spec:
    """A name and its qualifiers as typed. `flag` holds the one qualifier that has no `=` (a model's weights)."""

    name: str
    params: tuple[tuple[str, str], ...] = ()
    base: Spec | None = None
    flag: str = ""


def fold(name: str) -> str:
    """The form under which names are compared: case, dashes and underscores do not count, `++` is `pp`."""
    return name.lower().replace("++", "pp").replace("-", "").replace("_", "").strip()


def escape(value: str) -> str:
    """`value` as it stands in a specification."""
    return "".join("\\" + char if char in ESCAPED else char for char in value)


def parse_specs(text: str) -> list[Spec]:
    """All things named in a comma-separated text, in order; raises UsageError on an empty item."""
    return [parse_spec(item) for item in split(text, ",")]


def parse_spec(text: str) -> Spec:
    """One `NAME@key=value...`; raises UsageError where it is not of that form."""
    name, *rest = split(text, "@")
    name = unescape(name).strip()
    if not name:
        raise UsageError(f'"{text}" names nothing', expected="NAME or NAME@key=value", hint="See xai list methods.")
    params: list[tuple[str, str]] = []
    flag = ""
    for at, item in enumerate(rest):
        key, equals, value = item.partition("=")
        key = key.strip()
        if key == "base" and equals:
            return Spec(name, tuple(params), parse_spec("@".join([value, *rest[at + 1 :]])), flag)
        if not equals:
            if flag or not key:
                raise UsageError(f'"{item}" in "{text}" is no parameter', expected="key=value", hint="Write NAME@key=value.")
            flag = unescape(item)
            continue
        if key in dict(params):
            raise UsageError(f'"{text}" gives {key} twice', hint="Keep one of them.")
        params.append((key, unescape(value)))
    return Spec(name, tuple(params), None, flag)


def split(text: str, separator: str) -> list[str]:
    """Split at separators that no backslash protects; escapes stay in the parts."""
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


def unescape(text: str) -> str:
    """Drop the backslash before a comma, an `@` or a backslash; any other backslash stands (Windows paths)."""
    out, at = [], 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text) and text[at + 1] in ESCAPED:
            at += 1
        out.append(text[at])
        at += 1
    return "".join(out)


def param(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """A parameter of a method or metric: default, one line of help, bounds (`ge` at least, `gt` above, `le` at most, `lt` below)."""
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    metadata = {"help": help, "bounds": {key: value for key, value in bounds.items() if value is not None}}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameter:
    """What is known of one parameter: for help, checks and labels."""

    name: str
    kind: Any
    default: Any
    help: str
    bounds: dict[str, float]

    @property
    def kind_text(self) -> str:
        return describe_kind(self.kind)

    @property
    def range_text(self) -> str:
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        return ", ".join(f"{words[key]} {value:g}" for key, value in self.bounds.items())


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A named thing with parameters: the common ground of `Method` and `Metric`.

    Instances compare and hash by their parameters. `label` is the specification in canonical form: the name, then the parameters
    that differ from their defaults, sorted, a base last.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    aliases: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for parameter in parameters(type(self)):
            check(self.name, parameter, getattr(self, parameter.name))

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring, without its full stop."""
        return (cls.__doc__ or "").strip().partition("\n")[0].strip().rstrip(".")

    @property
    def label(self) -> str:
        own = [(p.name, getattr(self, p.name)) for p in parameters(type(self)) if getattr(self, p.name) != p.default]
        plain = sorted((key, format_value(value)) for key, value in own if not isinstance(value, Definition))
        bases = [(key, value.label) for key, value in own if isinstance(value, Definition)]
        return "".join([self.name, *(f"@{key}={value}" for key, value in [*plain, *bases])])

    def parameters_as_given(self) -> dict[str, Any]:
        """All parameters by name in plain JSON types; `auto` stays `auto`. This is what the definition stamp covers."""
        return {p.name: as_json(getattr(self, p.name)) for p in parameters(type(self))}

    @classmethod
    def from_text(cls, given: dict[str, str], base: Definition | None = None) -> Self:
        """An instance from parameters as typed on a command line; refuses unknown and ill-typed ones."""
        known = {p.name: p for p in parameters(cls)}
        values: dict[str, Any] = {} if base is None else {"base": base}
        for key, text in given.items():
            name = next((known_name for known_name in known if fold(known_name) == fold(key)), None)
            if name is None:
                hint = did_you_mean(key, known) or (f"It has {', '.join(known)}." if known else "It has none.")
                raise UsageError(f'{cls.name} has no parameter "{key}"', hint=f"{hint} (xai describe {cls.name})")
            values[name] = from_text(cls.name, known[name], text)
        return cls(**values)


def parameters(cls: type[Definition]) -> tuple[Parameter, ...]:
    """The parameters of a definition, in the order they are written."""
    kinds = typing.get_type_hints(cls)
    return tuple(
        Parameter(f.name, kinds[f.name], f.default, f.metadata.get("help", ""), f.metadata.get("bounds", {}))
        for f in dataclasses.fields(cls)
    )


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The kinds a union is made of, literals and None first, text last; one kind is its own only alternative."""
    if typing.get_origin(kind) not in (Union, types.UnionType):
        return (kind,)

    def rank(member: Any) -> int:
        return 0 if member is type(None) or typing.get_origin(member) is Literal else 2 if member is str else 1

    return tuple(sorted(typing.get_args(kind), key=rank))


def describe_kind(kind: Any) -> str:
    """A kind in words: "int", "number", "a | b", "list of int"."""
    words = []
    for member in alternatives(kind):
        origin = typing.get_origin(member)
        if member is type(None):
            words.append("none")
        elif origin is Literal:
            words.append(" | ".join(str(choice) for choice in typing.get_args(member)))
        elif origin is tuple:
            words.append(f"list of {describe_kind(typing.get_args(member)[0])}, joined by +")
        else:
            words.append({float: "number", str: "text", bool: "true | false"}.get(member, member.__name__.lower()))
    return " | ".join(words)


def from_text(owner: str, parameter: Parameter, text: str) -> Any:
    """The value that `text` stands for, of the parameter's kind; raises UsageError."""
    for member in alternatives(parameter.kind):
        try:
            return convert(member, text)
        except ValueError:
            continue
    raise wrong(owner, parameter, text)


def convert(kind: Any, text: str) -> Any:
    """`text` as one simple kind; ValueError where it is not."""
    origin = typing.get_origin(kind)
    if kind is type(None):
        if text.lower() == "none":
            return None
        raise ValueError(text)
    if origin is Literal:
        for choice in typing.get_args(kind):
            if fold(str(choice)) == fold(text):
                return choice
        raise ValueError(text)
    if origin is tuple:
        return tuple(convert(typing.get_args(kind)[0], part) for part in text.split("+"))
    if kind is bool:
        if text.lower() in ("true", "yes", "on", "1"):
            return True
        if text.lower() in ("false", "no", "off", "0"):
            return False
        raise ValueError(text)
    if kind is int:
        return int(text.replace("_", ""))
    if kind is float:
        return finite(float(text))
    if kind is str:
        return text
    raise ValueError(text)


def finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return value


def check(owner: str, parameter: Parameter, value: Any) -> None:
    """Raise UsageError unless `value` is of the parameter's kind and within its bounds."""
    if not any(fits(member, value) for member in alternatives(parameter.kind)):
        raise wrong(owner, parameter, value)
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        bounds = parameter.bounds
        inside = (
            number >= bounds.get("ge", -math.inf)
            and number <= bounds.get("le", math.inf)
            and ("gt" not in bounds or number > bounds["gt"])
            and ("lt" not in bounds or number < bounds["lt"])
        )
        if not inside:
            raise wrong(owner, parameter, value)


def fits(kind: Any, value: Any) -> bool:
    origin = typing.get_origin(kind)
    if kind is type(None):
        return value is None
    if origin is Literal:
        return value in typing.get_args(kind) and not isinstance(value, bool)
    if origin is tuple:
        return isinstance(value, tuple) and bool(value) and all(fits(typing.get_args(kind)[0], item) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def wrong(owner: str, parameter: Parameter, value: Any) -> UsageError:
    limits = f" {parameter.range_text}" if parameter.bounds else ""
    return UsageError(
        f"{owner}: {parameter.name}={value} cannot be used",
        expected=f"{parameter.kind_text}{limits} (default {format_value(parameter.default)})",
        hint=f"See xai describe {owner}.",
    )


def format_value(value: Any) -> str:
    """A parameter's value as it stands in a specification."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, tuple):
        return "+".join(format_value(item) for item in value)
    if isinstance(value, Definition):
        return value.label
    return escape(str(value))


def as_json(value: Any) -> Any:
    if isinstance(value, Definition):
        return {"name": value.name, "version": value.version, "parameters": value.parameters_as_given()}
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    return value
