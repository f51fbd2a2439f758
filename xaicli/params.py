"""Parameters of methods and metrics: typed, bounded and documented where they are defined.

A method or metric is a frozen dataclass derived from `Definition`; each field made with `param(...)` is a parameter. `grammar.py`
says how parameters are typed on a command line, `kinds.py` which values they may have.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

from xaicli import kinds
from xaicli.errors import UsageError, did_you_mean
from xaicli.grammar import Spec, escape, fold, parse_spec, parse_specs, split, unescape
from xaicli.kinds import describe_kind

__all__ = [
    "Definition",
    "Parameter",
    "Spec",
    "as_json",
    "describe_kind",
    "escape",
    "fold",
    "format_value",
    "param",
    "parameters",
    "parse_spec",
    "parse_specs",
    "split",
    "unescape",
]


METADATA: tuple[tuple[str, Any], ...] = (("help", ""), ("bounds", {}), ("later", False))


def param(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    later: bool = False,
) -> Any:
    """A parameter of a method or metric: its default, one line of help, its bounds (`ge` at least, `gt` above, ...).

    later: the parameter was added to an existing definition, and its default is the earlier behaviour. At its default it is not
    part of the stamp, so that older results stay valid.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    known = {key: value for key, value in bounds.items() if value is not None}
    metadata = {"help": help, "bounds": known, "later": later}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameter:
    """A parameter's description, for help, checks and labels."""

    name: str
    kind: Any
    default: Any
    help: str
    bounds: dict[str, float]
    later: bool = False

    @property
    def kind_text(self) -> str:
        return describe_kind(self.kind)

    @property
    def range_text(self) -> str:
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        return ", ".join(f"{words[key]} {format_value(value)}" for key, value in self.bounds.items())


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A named definition with parameters: the common base of `Method` and `Metric`.

    Instances compare and hash by their parameters. `label` is the specification in canonical form: the name, then the parameters
    that differ from their defaults, sorted, a base last.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    file_hash: ClassVar[str] = ""
    """SHA-256 of the user's file that was named (`FILE.py:NAME`); empty for what is installed, which has a version."""
    typed: ClassVar[str] = ""
    """`FILE.py:NAME`, as a user named the file; empty for what is installed, which is found by its name."""
    aliases: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check each parameter and keep its plain form, so that one value has one label and one stamp, however it was spelled."""
        for parameter in parameters(type(self)):
            object.__setattr__(self, parameter.name, settle(type(self), parameter, getattr(self, parameter.name)))

    @classmethod
    def describing(cls) -> str:
        """The command that describes it."""
        return f"xai describe {cls.typed or cls.name}"

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
        """All parameters by name in plain JSON types; `auto` stays `auto`. The definition stamp covers them.

        A parameter that was added later is included only if it is not at its default.
        """
        given = [(p, getattr(self, p.name)) for p in parameters(type(self))]
        return {p.name: as_json(value) for p, value in given if not (p.later and value == p.default)}

    @classmethod
    def from_text(cls, texts: dict[str, str], base: Definition | None = None) -> Self:
        """Make an instance from parameters as typed on a command line; refuses unknown and ill-typed ones."""
        known = {p.name: p for p in parameters(cls)}
        values: dict[str, Any] = {} if base is None else {"base": base}
        for key, text in texts.items():
            name = next((known_name for known_name in known if fold(known_name) == fold(key)), None)
            if name is None:
                hint = did_you_mean(key, known) or (f"It has {', '.join(known)}." if known else "It has none.")
                raise UsageError(f'{cls.name} has no parameter "{key}"', hint=f"{hint} ({cls.describing()})")
            if name in values:
                raise UsageError(f"{cls.name} is given {name} twice", hint="Keep one of them.")
            values[name] = from_text(cls, known[name], text)
        return cls(**values)


def parameters(cls: type[Definition]) -> tuple[Parameter, ...]:
    """The parameters of a definition, in the order in which they are written."""
    return read_parameters(cast("Hashable", cls))


@functools.cache
def read_parameters(cls: Any) -> tuple[Parameter, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(
        Parameter(f.name, hints[f.name], f.default, **{key: f.metadata.get(key, unsaid) for key, unsaid in METADATA})
        for f in dataclasses.fields(cls)
    )


def from_text(owner: type[Definition], parameter: Parameter, text: str) -> Any:
    """Parse a parameter's value; raises UsageError."""
    try:
        return kinds.from_text(parameter.kind, text)
    except ValueError as error:
        raise wrong(owner, parameter, text) from error


def settle(owner: type[Definition], parameter: Parameter, value: Any) -> Any:
    """`value` in plain form; raises UsageError unless it is of the parameter's kind and within its bounds."""
    try:
        settled = kinds.plain(parameter.kind, value)
    except ValueError as error:
        raise wrong(owner, parameter, value) from error
    if not kinds.inside(settled, parameter.bounds):
        raise wrong(owner, parameter, value)
    return settled


def wrong(owner: type[Definition], parameter: Parameter, value: Any) -> UsageError:
    limits = f" {parameter.range_text}" if parameter.bounds else ""
    return UsageError(
        f"{owner.name}: {parameter.name}={kinds.show(value)} cannot be used",
        expected=f"{parameter.kind_text}{limits} (default {format_value(parameter.default)})",
        hint=f"See {owner.describing()}.",
    )


def format_value(value: Any) -> str:
    """A parameter's value as it is written in a specification."""
    return value.label if isinstance(value, Definition) else kinds.write(value)


def as_json(value: Any) -> Any:
    """A value, or a definition with its parameters, in plain JSON types."""
    if isinstance(value, Definition):
        content = {"name": value.name, "version": value.version, "parameters": value.parameters_as_given()}
        return content | {"file": value.file_hash} if value.file_hash else content
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    return value
