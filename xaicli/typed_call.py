"""Numbers and paths that are given to public functions: each is checked against the annotations before anything is done.

In Python `True` is a whole number: `batch_size=True` would be a batch of one, and `frame=True` the second frame.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xaicli.errors import UsageError
from xaicli.kinds import alternatives, show

LEAST = {
    "actors": 1,
    "batch_size": 1,
    "block": 1,
    "channels": 1,
    "epochs": 1,
    "frame": 0,
    "hold_out": 0,
    "limit": 1,
    "most": 1,
    "per_class": 1,
    "seed": 0,
}
"""The smallest value of whole numbers by name, as on the command line."""


@functools.cache
def typed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which raises UsageError for a number that is a bool, of another type, or below `LEAST`, and for what is
    no path."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        kinds = checked_parameters(function)
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in kinds:
                refuse_unfit(function.__name__, name, kinds[name], value)
        return function(*args, **kwargs)

    return call


@functools.cache
def numeric_parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of parameters that may be numbers, by name."""
    return {name: kind for name, kind in typing.get_type_hints(function).items() if name != "return" and is_numeric(kind)}


@functools.cache
def checked_parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of parameters that may be numbers, and of those that are paths, by name."""
    paths = {name: kind for name, kind in typing.get_type_hints(function).items() if name != "return" and is_path(kind)}
    return numeric_parameters(function) | paths


def is_path(kind: Any) -> bool:
    """Whether the values of a kind are paths alone, as text too."""
    members = alternatives(kind)
    return Path in members and {*members} <= {Path, str, types.NoneType}


def is_numeric(kind: Any) -> bool:
    """Whether numbers are among the values of a kind, or among the items of its lists."""
    members = alternatives(kind)
    return any(member in (int, float) or any(map(is_numeric, items_of(member))) for member in members)


def items_of(kind: Any) -> tuple[Any, ...]:
    """The kinds of the items of a list."""
    return typing.get_args(kind) if typing.get_origin(kind) in (tuple, Sequence) else ()


def refuse_unfit(function: str, name: str, kind: Any, value: Any) -> None:
    least = LEAST.get(name)
    if fits(kind, value) and (least is None or value is None or value >= least):
        return
    found = f"{function}: {name}={show(value)} cannot be used"
    raise UsageError(found, expected=in_words(kind) + ("" if least is None else f" at least {least}"))


def fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a kind. A bool is no number; a kind that is not known here accepts any value but those two."""
    return any(fits_one(member, value) for member in alternatives(kind))


def fits_one(kind: Any, value: Any) -> bool:
    if kind in (int, float):
        wanted: Any = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    if items := [item for item in items_of(kind) if item is not ...]:
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return is_list and all(any(fits(item, one) for item in items) for one in value)
    if kind is Path:
        return isinstance(value, os.PathLike)
    if isinstance(kind, type):
        return isinstance(value, kind)
    return not isinstance(value, bool | numbers.Number)


def in_words(kind: Any) -> str:
    """A kind in words: "a whole number or None"."""
    names = {int: "a whole number", float: "a number", str: "text", bool: "True or False", Path: "a path", types.NoneType: "None"}
    words = [names.get(member, "a list of numbers" if items_of(member) else str(member)) for member in alternatives(kind)]
    return " or ".join(sorted(words, key=lambda word: word == "None"))
