"""Every registered method and metric: whatever its parameters, its label reads back as an equal instance."""

from __future__ import annotations

import math
import typing
from types import NoneType
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xaicli.errors import UsageError
from xaicli.grammar import parse_spec
from xaicli.kinds import alternatives
from xaicli.params import Definition, Parameter, parameters
from xaicli.registry import METHODS, METRICS, entries, load, make
from xaicli.stamps import definition_stamp

EACH = pytest.mark.parametrize(
    ("kind", "entry"),
    [pytest.param(kind, entry, id=f"{kind.word}-{entry.name}") for kind in (METHODS, METRICS) for entry in entries(kind)],
)


def values_of(kind: Any, bounds: dict[str, float]) -> st.SearchStrategy[Any]:
    """Values of a kind within bounds."""
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    strategies = []
    for member in alternatives(kind):
        if typing.get_origin(member) is Literal:
            strategies.append(st.sampled_from(typing.get_args(member)))
        elif typing.get_origin(member) is tuple:
            strategies.append(lists_of(member, bounds))
        elif member is int:
            smallest = None if low is None else int(low) + ("gt" in bounds)
            strategies.append(st.integers(smallest, None if high is None else int(high) - ("lt" in bounds)))
        elif member is float:
            numbers = st.floats(low, high, exclude_min="gt" in bounds, exclude_max="lt" in bounds, allow_nan=False)
            strategies.append(numbers.filter(math.isfinite))
        else:
            strategies.append({bool: st.booleans(), NoneType: st.none(), str: st.text(max_size=8)}[member])
    return st.one_of(strategies)


def lists_of(kind: Any, bounds: dict[str, float]) -> st.SearchStrategy[tuple[Any, ...]]:
    first, *others = typing.get_args(kind)
    item = values_of(first, bounds).filter(lambda value: "+" not in str(value) or not isinstance(value, str))
    length = (1, 4) if others == [...] else (1 + len(others),) * 2
    return st.lists(item, min_size=length[0], max_size=length[1]).map(tuple)


def values(parameter: Parameter) -> st.SearchStrategy[Any]:
    if isinstance(parameter.default, Definition):
        return st.just(parameter.default)
    return values_of(parameter.kind, parameter.bounds)


@EACH
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_label_reads_back_as_an_equal_instance_with_the_same_stamp(kind, entry, data):
    cls = load(kind, entry)
    chosen = data.draw(st.fixed_dictionaries({}, optional={p.name: values(p) for p in parameters(cls)}))
    try:
        made = cls(**chosen)
    except UsageError:
        # Parameters may forbid each other.
        return
    again = make(kind, parse_spec(made.label))
    assert again == made
    assert hash(again) == hash(made)
    assert again.label == made.label
    assert definition_stamp(again, "top1", "fp32") == definition_stamp(made, "top1", "fp32")
