"""The kinds of values of parameters: parsing from text, plain form, writing as text, names in words.

A kind is an annotation: int, float, bool, str, a Literal, `tuple[KIND, ...]`, a union of these, or None.
"""

from __future__ import annotations

import math
import numbers
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union

from xaicli.grammar import escape, fold, unescape
from xaicli.words import type_of

TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
SIMPLE = (str, int, float, tuple, type(None))
LONGEST_SHOWN = 80


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union, literals and None first, text last; any other kind is its own only alternative."""
    if typing.get_origin(kind) not in (Union, types.UnionType):
        return (kind,)

    def rank(member: Any) -> int:
        return 0 if member is type(None) or typing.get_origin(member) is Literal else 2 if member is str else 1

    return tuple(sorted(typing.get_args(kind), key=rank))


def describe_kind(kind: Any) -> str:
    """A kind in words: "int", "number", "a | b", "list of int", "2 x int", "int and number"."""
    words = []
    for member in alternatives(kind):
        origin = typing.get_origin(member)
        if member is type(None):
            words.append("none")
        elif origin is Literal:
            words.append(" | ".join(str(choice) for choice in typing.get_args(member)))
        elif origin is tuple:
            words.append(f"{describe_items(*typing.get_args(member))}, joined by +")
        else:
            words.append({float: "number", str: "text", bool: "true | false"}.get(member, member.__name__.lower()))
    return " | ".join(words)


def describe_items(first: Any, *others: Any) -> str:
    if others == (...,):
        return f"list of {describe_kind(first)}"
    if all(other == first for other in others):
        return f"{1 + len(others)} x {describe_kind(first)}"
    return " and ".join(map(describe_kind, (first, *others)))


def from_text(kind: Any, text: str) -> Any:
    """Parse `text`; for a union, the first alternative that fits. ValueError if none does."""
    members = alternatives(kind)
    if len(members) > 1:
        return first_fitting(from_text, members, text)
    origin = typing.get_origin(kind)
    if origin is Literal:
        return choice_from_text(typing.get_args(kind), text)
    if origin is tuple:
        parts = text.split("+")
        return tuple(from_text(member, part) for member, part in zip(item_kinds(kind, parts), parts, strict=True))
    if kind is type(None) and text.lower() == "none":
        return None
    if kind is bool and text.lower() in TRUTH:
        return TRUTH[text.lower()]
    if kind is int:
        return int(text.replace("_", ""))
    if kind is float:
        return finite(text)
    if kind is str:
        return text
    raise ValueError(text)


def plain(kind: Any, value: Any) -> Any:
    """`value` in its plain form: a whole number becomes a float if the kind is float, NumPy's scalars become Python's, lists
    become tuples. ValueError if it is not of the kind."""
    members = alternatives(kind)
    if len(members) > 1:
        settled = first_fitting(plain, members, value)
        # A value means the same in Python as on the command line: "none" is None if that is allowed, and a list of one number is
        # that number if a single one is allowed.
        return from_text(kind, unescape(write(settled))) if isinstance(settled, SIMPLE) else settled
    origin = typing.get_origin(kind)
    if origin is Literal:
        value = str(value) if isinstance(value, str) else value
        return one([choice for choice in typing.get_args(kind) if type(choice) is type(value) and choice == value], value)
    if origin is tuple:
        return plain_items(kind, value)
    if kind is type(None):
        return one([None] if value is None else [], value)
    if kind in (int, float) and isinstance(value, bool):
        raise ValueError(value)
    if kind is float and isinstance(value, numbers.Real):
        return finite(value)
    if kind is int and isinstance(value, numbers.Integral):
        return int(value)
    if kind is str and isinstance(value, str):
        return str(value)
    return one([value] if kind not in (int, float, str) and isinstance(value, kind) else [], value)


def plain_items(kind: Any, value: Any) -> tuple[Any, ...]:
    """A list value in plain form; a text in it must not contain `+`, which could not be written."""
    if not isinstance(value, tuple | list):
        raise ValueError(value)
    items = tuple(plain(member, item) for member, item in zip(item_kinds(kind, value), value, strict=True))
    if any(isinstance(item, str) and "+" in item for item in items):
        raise ValueError(value)
    return items


def item_kinds(kind: Any, items: tuple[Any, ...] | list[Any]) -> list[Any]:
    """The kinds of the items of a list; ValueError for an empty list or a wrong length."""
    first, *others = typing.get_args(kind)
    kinds = [first] * len(items) if others == [...] else [first, *others]
    if not items or len(kinds) != len(items):
        raise ValueError(items)
    return kinds


def first_fitting(convert: Callable[[Any, Any], Any], members: tuple[Any, ...], value: Any) -> Any:
    for member in members:
        try:
            return convert(member, value)
        except ValueError:
            continue
    raise ValueError(value)


def choice_from_text(choices: tuple[Any, ...], text: str) -> Any:
    """The choice with that spelling, or with that spelling except for case, dashes and underscores."""
    exact = [choice for choice in choices if str(choice) == text]
    return one(exact or [choice for choice in choices if fold(str(choice)) == fold(text)], text)


def one(found: list[Any], value: Any) -> Any:
    if not found:
        raise ValueError(value)
    return found[0]


def finite(value: Any) -> float:
    """A finite float, never minus zero; ValueError otherwise."""
    try:
        number = float(value) + 0.0
    except OverflowError as error:
        raise ValueError(value) from error
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def inside(value: Any, bounds: dict[str, float]) -> bool:
    """Whether a number, or each number of a list, lies within bounds (`ge`, `gt`, `le`, `lt`); True for other values."""
    if isinstance(value, tuple):
        return all(inside(item, bounds) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return (
        value >= bounds.get("ge", -math.inf)
        and value <= bounds.get("le", math.inf)
        and ("gt" not in bounds or value > bounds["gt"])
        and ("lt" not in bounds or value < bounds["lt"])
    )


def write(value: Any) -> str:
    """A plain value as it is written in a specification."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value).replace("e+", "e")
    if isinstance(value, tuple):
        return "+".join(write(item) for item in value)
    return escape(str(value))


def show(value: Any) -> str:
    """A value as it is shown in an error, shortened."""
    try:
        text = str(value)
    except ValueError:
        # Python refuses to print whole numbers of thousands of digits.
        text = f"{type_of(value)} too long to print"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
