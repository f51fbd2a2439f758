"""Public functions check the numbers that they are given, before anything else: True is no whole number."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import xaicli
from xaicli.errors import UsageError
from xaicli.typed_call import LEAST, checked_parameters, is_path, numeric_parameters, typed

PUBLIC = {name: found for name in xaicli.PLACES if isinstance(found := getattr(xaicli, name), FunctionType)}
NUMBERS = [(name, parameter) for name, function in PUBLIC.items() for parameter in numeric_parameters(inspect.unwrap(function))]


def required(function: Any) -> dict[str, Any]:
    """Something for each parameter without a default; it is never looked at."""
    paths = {name for name, kind in checked_parameters(inspect.unwrap(function)).items() if is_path(kind)}
    return {
        name: "x" if name in paths else None
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }


def test_public_functions_have_numbers() -> None:
    assert {
        ("explain", "batch_size"),
        ("score", "seed"),
        ("compare", "limit"),
        ("train", "epochs"),
        ("classifier", "resize"),
    } <= {*NUMBERS}


@pytest.mark.parametrize(("name", "parameter"), NUMBERS)
def test_a_bool_is_no_number(name: str, parameter: str) -> None:
    function = PUBLIC[name]
    with pytest.raises(UsageError, match=rf"{name}: {parameter}=True cannot be used; expected .*number"):
        function(**{**required(function), parameter: True})


@pytest.mark.parametrize(("name", "parameter"), [pair for pair in NUMBERS if pair[1] in LEAST])
def test_a_number_below_the_least_is_refused_as_on_the_command_line(name: str, parameter: str) -> None:
    function, below = PUBLIC[name], LEAST[parameter] - 1
    with pytest.raises(UsageError, match=rf"{parameter}={below} cannot be used; expected .* at least {LEAST[parameter]}"):
        function(**{**required(function), parameter: below})


def take(count: int | None = None, share: float = 0.5, sides: int | tuple[int, int] = 1, target: str | int = "top1") -> str:
    return f"{count} {share} {sides} {target}"


@pytest.mark.parametrize(
    "given", [{"count": np.int64(3)}, {"share": 1}, {"share": np.float32(0.5)}, {"sides": [3, 4]}, {"target": 3}, {"target": "3"}]
)
def test_other_numbers_are_handed_on_as_they_are(given: dict[str, Any]) -> None:
    assert typed(take)(**given) == take(**given)


@pytest.mark.parametrize("given", [{"count": 2.5}, {"count": "3"}, {"share": "0.5"}, {"sides": (3, True)}, {"sides": 2.0}])
def test_other_types_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        typed(take)(**given)


PATHS = [
    (name, parameter)
    for name, function in PUBLIC.items()
    for parameter, kind in checked_parameters(inspect.unwrap(function)).items()
    if is_path(kind)
]


@pytest.mark.parametrize(("name", "parameter"), PATHS)
def test_a_list_is_no_path(name: str, parameter: str) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: {parameter}=.* cannot be used; expected (text or a path|a path or text)"):
        PUBLIC[name](**{**required(PUBLIC[name]), parameter: ["a"]})


def test_public_functions_have_paths() -> None:
    assert {("load_classifier", "weights"), ("load_classifier", "classes"), ("explain", "output")} <= {*PATHS}
