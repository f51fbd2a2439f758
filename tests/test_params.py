"""The grammar, typed parameters and labels."""

from __future__ import annotations

import contextlib
import math
import pickle
import string
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xaicli.errors import InputError, UsageError, XaiError, did_you_mean
from xaicli.params import (
    Definition,
    Spec,
    describe_kind,
    escape,
    fold,
    param,
    parameters,
    parse_spec,
    parse_specs,
    split,
    unescape,
)
from xaicli.stamps import definition_stamp

TEXT = st.text(max_size=30)
NAME = st.text(string.ascii_letters + string.digits + "-+.: ", min_size=1, max_size=12).map(str.strip).filter(bool)
KEY = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8).filter(lambda key: fold(key) not in ("", "base"))


@dataclass(frozen=True, kw_only=True)
class Everything(Definition):
    """One parameter of every kind.

    The second paragraph is no summary.
    """

    count: int = param(4, "a whole number", ge=1, le=10**6)
    share: float = param(0.5, "a number", gt=0, lt=1)
    factor: float = param(1, "a number whose default is written without a point")
    kept: bool = param(True, "a switch")
    mode: Literal["soft", "hard-edge"] = param("soft", "a choice")
    layer: str = param("auto", "a text")
    limit: float | None = param(None, "a number or none")
    sigma: Literal["auto"] | float = param("auto", "a number or auto")
    note: str | None = param(None, "a text or none")
    window: float | tuple[float, ...] = param(1.0, "a number or several")
    sizes: tuple[int, ...] = param((7, 14), "a list", ge=1)
    shares: tuple[float, ...] = param((0.5,), "a list of numbers")
    layers: tuple[str, ...] = param(("auto",), "a list of texts")
    pair: tuple[float, float] = param((0.0, 1.0), "two numbers")

    name = "every-thing"


@dataclass(frozen=True, kw_only=True)
class Wrapper(Definition):
    """A definition that wraps another"""

    crop: int = param(124, "side", ge=1)
    zoom: int = param(1, "factor")
    base: Definition = param(Everything(), "what is wrapped")

    name = "wrapper"


FINITE = st.floats(allow_nan=False, allow_infinity=False)
EVERYTHING = st.builds(
    Everything,
    count=st.integers(1, 10**6),
    share=st.floats(0, 1, exclude_min=True, exclude_max=True),
    factor=FINITE | st.integers(-(10**18), 10**18),
    kept=st.booleans(),
    mode=st.sampled_from(["soft", "hard-edge"]),
    layer=TEXT,
    limit=st.none() | FINITE,
    sigma=st.just("auto") | FINITE,
    note=st.none() | TEXT,
    window=FINITE | st.lists(FINITE, min_size=1, max_size=3).map(tuple),
    sizes=st.lists(st.integers(1, 10**9), min_size=1, max_size=4).map(tuple),
    shares=st.lists(FINITE, min_size=1, max_size=4).map(tuple),
    layers=st.lists(TEXT.map(lambda text: text.replace("+", "")), min_size=1, max_size=3).map(tuple),
    pair=st.tuples(FINITE, FINITE),
)


def read(cls: type[Definition], label: str) -> Definition:
    """What the command line makes of a label."""
    spec = parse_spec(label)
    classes = {"every-thing": Everything, "wrapper": Wrapper}
    base = None if spec.base is None else read(classes[spec.base.name], spec_text(spec.base))
    return cls.from_text(dict(spec.params), base)


def spec_text(spec: Spec) -> str:
    own = "".join(f"@{key}={escape(value)}" for key, value in spec.params)
    return spec.name + own + (f"@base={spec_text(spec.base)}" if spec.base else "")


# The grammar


@given(TEXT)
def test_any_text_survives_escape_and_unescape(text):
    assert unescape(escape(text)) == text
    assert split(escape(text), ",") == [escape(text)]
    assert split(escape(text), "@") == [escape(text)]


@given(st.lists(st.tuples(NAME, st.dictionaries(KEY, TEXT, max_size=3)), min_size=1, max_size=4))
def test_any_specifications_survive_being_written_and_read(things):
    text = ",".join(escape(name) + "".join(f"@{key}={escape(value)}" for key, value in given.items()) for name, given in things)
    assert parse_specs(text) == [Spec(name, tuple(given.items())) for name, given in things]


@given(st.text(alphabet="ab@,=\\+ ", max_size=20))
def test_no_text_crashes_the_parser(text):
    with contextlib.suppress(UsageError):
        assert all(spec.name for spec in parse_specs(text))


def test_a_comma_an_at_sign_and_a_backslash_take_a_backslash():
    assert parse_specs(r"a@path=x\,y\@z\\,b") == [Spec("a", (("path", "x,y@z\\"),)), Spec("b")]


def test_other_backslashes_stand_so_that_windows_paths_can_be_typed():
    assert parse_spec(r"C:\models\net.py:make").name == r"C:\models\net.py:make"


def test_a_value_may_hold_equals_signs():
    assert parse_spec("a@filter=x=y").params == (("filter", "x=y"),)


def test_all_that_follows_base_belongs_to_the_base():
    spec = parse_spec("ucag@crop=124@base=smooth@n=3@base=layer-cam@layer=features.18")
    inner = Spec("layer-cam", (("layer", "features.18"),))
    assert spec == Spec("ucag", (("crop", "124"),), Spec("smooth", (("n", "3"),), inner))


def test_base_is_a_parameter_name_like_any_other_and_its_case_does_not_count():
    assert parse_spec("ucag@Base=rise") == parse_spec("ucag@base=rise")


def test_one_qualifier_may_stand_without_a_value():
    assert parse_spec("torchvision:resnet50@IMAGENET1K_V2") == Spec("torchvision:resnet50", flag="IMAGENET1K_V2")


@pytest.mark.parametrize("text", ["", " ", ",", "a,", ",a", "a,,b", "@n=1", "a@", "a@x@y", "a@=3", "a@n=1@n=2", "a@base="])
def test_what_is_not_of_the_form_is_refused_in_words(text):
    with pytest.raises(UsageError) as caught:
        parse_specs(text)
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) > 10


def test_names_are_compared_without_case_dashes_and_underscores():
    assert fold("GradCAM++") == fold("grad-cam-pp") == fold("Grad_Cam_PP") == "gradcampp"


# Labels


def test_the_label_holds_what_differs_from_the_defaults_sorted_and_a_base_last():
    assert Everything().label == "every-thing"
    assert Everything(sizes=(3,), count=9, kept=False).label == "every-thing@count=9@kept=false@sizes=3"
    wrapped = Wrapper(zoom=2, crop=64, base=Everything(count=9, layer="a,b"))
    assert wrapped.label == r"wrapper@crop=64@zoom=2@base=every-thing@count=9@layer=a\,b"


@given(EVERYTHING)
def test_a_label_read_again_gives_an_equal_instance_with_the_same_label_and_stamp(made):
    again = read(Everything, made.label)
    assert again == made
    assert hash(again) == hash(made)
    assert again.label == made.label
    assert definition_stamp(again, "top1", "fp32") == definition_stamp(made, "top1", "fp32")


@given(EVERYTHING, st.integers(1, 500))
def test_the_label_of_a_wrapper_read_again_gives_an_equal_instance(base, crop):
    made = Wrapper(crop=crop, base=Wrapper(zoom=crop, base=base))
    assert read(Wrapper, made.label) == made


def test_the_label_does_not_depend_on_the_order_in_which_parameters_are_typed():
    assert read(Everything, "x@share=0.25@count=2").label == read(Everything, "x@count=2@share=0.25").label


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({"factor": 2}, {"factor": 2.0}),
        ({"factor": 0.0}, {"factor": -0.0}),
        ({"factor": np.float64(0.1)}, {"factor": 0.1}),
        ({"count": np.int64(7)}, {"count": 7}),
        ({"sizes": [1, 2]}, {"sizes": (1, 2)}),
        ({"layer": np.str_("a")}, {"layer": "a"}),
        ({"note": "None"}, {"note": None}),
        ({"window": (3,)}, {"window": 3}),
        ({"window": [3.0, 4]}, {"window": (3.0, 4.0)}),
    ],
)
def test_one_value_spelled_in_two_ways_has_one_label_and_one_stamp(one, same):
    first, second = Everything(**one), Everything(**same)
    assert first == second
    assert first.label == second.label
    assert definition_stamp(first, "top1", "fp32") == definition_stamp(second, "top1", "fp32")


def test_parameters_as_given_are_plain_json_types_and_auto_stays_auto():
    given = Wrapper(base=Everything(sizes=(3, 4))).parameters_as_given()
    assert given["base"]["parameters"]["sizes"] == [3, 4]
    assert given["base"]["parameters"]["sigma"] == "auto"
    assert (given["base"]["name"], given["base"]["version"]) == ("every-thing", 1)


def test_the_summary_is_the_first_line_without_its_full_stop():
    assert Everything.summary() == "One parameter of every kind"
    assert Wrapper.summary() == "A definition that wraps another"


# Typed conversion


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("count", "8_000", 8000),
        ("share", ".25", 0.25),
        ("share", "1e-3", 0.001),
        ("kept", "No", False),
        ("kept", "on", True),
        ("mode", "HardEdge", "hard-edge"),
        ("layer", "features.18", "features.18"),
        ("layer", "", ""),
        ("limit", "none", None),
        ("limit", "3", 3.0),
        ("sigma", "AUTO", "auto"),
        ("sigma", "2", 2.0),
        ("note", "none", None),
        ("note", "nothing", "nothing"),
        ("sizes", "3+4+5", (3, 4, 5)),
        ("layers", "a.1+b.2", ("a.1", "b.2")),
        ("pair", "0.5+2", (0.5, 2.0)),
    ],
)
def test_text_becomes_a_value_of_the_parameters_kind(key, text, value):
    made = getattr(Everything.from_text({key: text}), key)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("count", "many"),
        ("count", "1.5"),
        ("count", "1e3"),
        ("count", ""),
        ("count", "_"),
        ("count", "0"),
        ("count", "1000001"),
        ("count", "9" * 5000),
        ("share", "nan"),
        ("share", "0"),
        ("share", "1"),
        ("share", "inf"),
        ("factor", "1e999"),
        ("kept", "maybe"),
        ("kept", "2"),
        ("mode", "medium"),
        ("limit", "nothing"),
        ("sigma", "wide"),
        ("sizes", ""),
        ("sizes", "1++2"),
        ("sizes", "1+0"),
        ("sizes", "1,2"),
        ("pair", "1"),
        ("pair", "1+2+3"),
    ],
)
def test_ill_typed_and_unbounded_text_is_refused_with_kind_default_and_next_step(key, text):
    with pytest.raises(UsageError) as caught:
        Everything.from_text({key: text})
    line = str(caught.value)
    assert f"{key}=" in line
    assert "expected" in line
    assert "default" in line
    assert "xai describe every-thing" in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", 1.0),
        ("count", True),
        ("count", "4"),
        ("count", None),
        ("share", "0.5"),
        ("share", math.nan),
        ("share", True),
        ("factor", math.inf),
        ("factor", 10**400),
        ("kept", 1),
        ("kept", "true"),
        ("mode", "medium"),
        ("mode", None),
        ("layer", 3),
        ("layer", None),
        ("sizes", ()),
        ("sizes", 7),
        ("sizes", "7"),
        ("sizes", (1, 2.5)),
        ("layers", ("a+b",)),
        ("pair", (1.0,)),
        ("mode", np.zeros(3)),
        ("count", np.zeros(3)),
    ],
)
def test_ill_typed_and_unbounded_values_are_refused_in_python_too(key, value):
    with pytest.raises(UsageError, match=key):
        Everything(**{key: value})


def test_a_wrapped_thing_must_be_a_definition():
    with pytest.raises(UsageError, match="base"):
        Wrapper(base="every-thing")
    with pytest.raises(UsageError, match="base"):
        Wrapper.from_text({"base": "every-thing"})


def test_parameter_names_are_looked_up_ignoring_case_dashes_and_underscores():
    assert Wrapper.from_text({"C-Rop": "5"}).crop == 5


def test_one_parameter_in_two_spellings_is_refused():
    with pytest.raises(UsageError, match="twice"):
        Wrapper.from_text({"crop": "5", "CROP": "6"})


def test_an_unknown_parameter_gets_the_nearest_name():
    with pytest.raises(UsageError) as caught:
        Everything.from_text({"cuont": "5"})
    assert str(caught.value) == 'every-thing has no parameter "cuont". Did you mean count? (xai describe every-thing)'


def test_an_unknown_parameter_with_no_near_name_gets_the_list():
    with pytest.raises(UsageError, match="It has crop, zoom, base"):
        Wrapper.from_text({"quxquux": "5"})


def test_parameters_say_their_kind_and_range_in_words():
    told = {parameter.name: (parameter.kind_text, parameter.range_text) for parameter in parameters(Everything)}
    assert told["count"] == ("int", "at least 1, at most 1000000")
    assert told["share"] == ("number", "above 0, below 1")
    assert told["kept"] == ("true | false", "")
    assert told["mode"] == ("soft | hard-edge", "")
    assert told["limit"] == ("none | number", "")
    assert told["sigma"] == ("auto | number", "")
    assert told["sizes"] == ("list of int, joined by +", "at least 1")
    assert told["pair"] == ("2 x number, joined by +", "")
    assert describe_kind(tuple[int, float] | None) == "none | int and number, joined by +"
    assert describe_kind(Definition) == "definition"


@given(st.dictionaries(st.sampled_from([p.name for p in parameters(Everything)]), TEXT, max_size=3))
def test_any_text_for_any_parameter_is_taken_or_refused(given):
    with contextlib.suppress(UsageError):
        assert Everything.from_text(given).label.startswith("every-thing")


@given(TEXT, TEXT, TEXT)
def test_an_error_is_one_line(found, expected, hint):
    line = str(XaiError(found, expected=expected, hint=hint))
    assert all(char.isprintable() for char in line)


def test_an_error_says_what_was_found_what_was_expected_and_what_to_type():
    assert str(UsageError("5 is odd.", expected="an even one", hint="Add 1.")) == "5 is odd; expected an even one. Add 1."
    assert str(UsageError("5 is odd.", hint="Add 1.")) == "5 is odd. Add 1."
    assert str(UsageError("is 5 odd?", hint="Yes.")) == "is 5 odd? Yes."


def test_control_characters_of_a_file_name_do_not_reach_the_terminal():
    assert str(XaiError("no file \x1b[2Ja\nb\udcff.jpg")) == r"no file \x1b[2Ja b\xff.jpg"


def test_an_error_can_be_sent_between_processes():
    error = pickle.loads(pickle.dumps(InputError("a", expected="b", hint="c")))
    assert (error.found, error.expected, error.hint, str(error), error.exit_code) == ("a", "b", "c", "a; expected b. c", 3)


def test_the_nearest_name_is_offered_only_where_one_is_near():
    assert did_you_mean("gradcma", ["rise", "grad-cam"]) == "Did you mean grad-cam?"
    assert did_you_mean("INSERTON", ["insertion"]) == "Did you mean insertion?"
    assert did_you_mean("quux", ["rise", "grad-cam"]) == ""
    assert did_you_mean("rise", []) == ""


def test_a_parameter_that_came_later_is_in_the_stamp_only_where_it_is_not_at_its_default():
    @dataclass(frozen=True, kw_only=True)
    class Before(Definition):
        count: int = param(4, "a number")
        name = "thing"

    @dataclass(frozen=True, kw_only=True)
    class After(Before):
        switch: bool = param(False, "a switch", later=True)

    stamps = [definition_stamp(made, "top1", "fp32") for made in (Before(), After(), After(switch=True))]
    assert stamps[0] == stamps[1] != stamps[2]
    assert After(switch=True).label == "thing@switch=true"
