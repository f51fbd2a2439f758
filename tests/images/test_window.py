"""Windows: what is typed, what is black and white of a photo, and that nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xaicli.errors import InputError, UsageError
from xaicli.images.window import Window, scaled

WORDS = ("declared", "percentile", "full")
finite = st.floats(-1e12, 1e12, allow_nan=False)


@given(finite, finite)
def test_a_window_reads_back_as_it_is_written(one, other):
    low, high = sorted((one, other))
    if low == high:
        with pytest.raises(UsageError):
            Window.parse(f"{low!r}:{high!r}")
        return
    window = Window.parse(f"{low!r}:{high!r}")
    assert window.limits == (low, high)
    assert Window.parse(window.text) == window


@given(st.text(max_size=30).filter(lambda text: ":" not in text and text.strip().lower() not in WORDS))
def test_any_other_text_is_refused_in_words(text):
    with pytest.raises(UsageError, match="expected LOW:HIGH, percentile, full or declared"):
        Window.parse(text)


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":1", "1:2:3", "nan:1", "0:inf", "0:1e999", "a:b", "1,2", "0x1:2", "1:1", "-1e308:1e308e"]
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(UsageError):
        Window.parse(text)


def test_a_window_the_wrong_way_round_is_turned_in_the_hint():
    with pytest.raises(UsageError, match="Write 40:400"):
        Window.parse("400:40")


def test_a_window_of_one_value_is_refused_without_a_hint_that_is_none():
    with pytest.raises(UsageError) as caught:
        Window.parse("100:100")
    assert caught.value.line() == "a window of the one value 100; expected LOW below HIGH, such as the range of your photos"


def test_one_window_has_one_text_however_it_is_spelled():
    assert Window.parse(" 40.0:4e2 ").text == Window.parse("40:400").text == "40:400"


VALUES = np.arange(101, dtype=np.int32)


@pytest.mark.parametrize(
    ("window", "limits"), [("declared", (0, 4095)), ("full", (0, 65535)), ("percentile", (1, 99)), ("-5:10", (-5, 10))]
)
def test_each_window_says_what_is_black_and_white(window, limits):
    assert Window.parse(window).range_of(VALUES, (0, 4095), (0, 65535)) == limits


def test_the_full_range_of_numbers_without_one_is_their_own():
    assert Window.parse("full").range_of(VALUES, None, None) == (0, 100)


def test_where_nothing_is_declared_the_line_says_what_to_type():
    with pytest.raises(InputError, match=r"values from 0 to 100.*--window 0:100"):
        Window().range_of(VALUES, None, None)


def test_values_beyond_a_window_are_cut_off_and_one_value_is_grey():
    assert scaled(np.array([-9.0, 0, 5, 10, 99]), (0, 10)).tolist() == [0, 0, 0.5, 1, 1]
    assert scaled(np.full(3, 7), (7, 7)).tolist() == [0.5] * 3
