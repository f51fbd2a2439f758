"""File names that every system takes, and stems that tell photos apart."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xaicli.images.names import safe_label, safe_stem, stems
from xaicli.images.source import Source


def stems_of(*paths):
    sources = [Source(path) for path in paths]
    named = stems(sources)
    assert list(named) == sources
    return [named[source] for source in sources]


def test_photos_of_different_names_are_called_by_their_names():
    assert stems_of("a/cat.jpg", "b/dog.png", "x.y.jpg") == ["cat", "dog", "x.y"]


def test_photos_of_one_name_keep_their_folders():
    assert stems_of("a/cat.jpg", "b/cat.png", "dog.jpg") == ["a/cat", "b/cat", "dog"]


def test_photos_of_one_folder_and_name_keep_their_endings():
    assert stems_of("a/cat.jpg", "a/cat.png") == ["cat.jpg", "cat.png"]


def test_folders_and_endings_are_kept_where_both_differ():
    assert stems_of("a/cat.jpg", "a/cat.png", "b/cat.jpg") == ["a/cat.jpg", "a/cat.png", "b/cat"]


def test_no_more_folders_are_kept_than_needed():
    assert stems_of("/top/a/x/cat.jpg", "/top/b/x/cat.jpg") == ["a/x/cat", "b/x/cat"]
    assert stems_of("/top/a/x/cat.jpg", "/top/a/y/cat.jpg") == ["x/cat", "y/cat"]


def test_a_path_through_the_parent_folder_names_the_folder_meant():
    assert stems_of("a/../b/cat.jpg", "a/cat.jpg") == ["b/cat", "a/cat"]


def test_the_sample_is_called_hopper():
    assert list(stems([Source("sample:hopper", "sample:hopper")]).values()) == ["hopper"]


def test_names_that_differ_only_in_case_or_unicode_form_are_told_apart():
    first, second = stems_of("Cat.jpg", "cat.jpg")
    assert first.casefold() != second.casefold()
    composed, decomposed = stems_of("\u00e9.jpg", "e\u0301.jpg")
    assert unicodedata.normalize("NFC", composed) != unicodedata.normalize("NFC", decomposed)


def test_a_stem_that_looks_like_another_with_its_ending_is_told_apart():
    assert len(set(stems_of("cat.jpg", "cat.png", "cat.jpg.gif"))) == 3


def test_a_label_that_is_safe_stays_as_it_is():
    assert safe_label("rise@n_masks=8000@seed=-1.5+2") == "rise@n_masks=8000@seed=-1.5+2"


@pytest.mark.parametrize("label", ["lime@on=a b", "x@layer=Conv/BN", "x@v=ü", "x" * 200, "x@v=a\\,b", "a:b", "a\nb"])
def test_a_label_that_is_changed_or_shortened_says_so_with_six_digits(label):
    name = safe_label(label)
    assert re.fullmatch(r"[A-Za-z0-9.=_+@-]{1,80}", name)
    assert re.search(r"-[0-9a-f]{6}$", name)
    assert name != safe_label(label + "x")


def test_two_labels_that_would_look_alike_have_different_names():
    assert safe_label("a@layer=b/c") != safe_label("a@layer=b c")
    assert safe_label("x" * 100 + "a") != safe_label("x" * 100 + "b")


RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


@given(st.text(min_size=1, max_size=300))
@example("con")
@example("NUL.txt")
@example("aux .x")
@example("...")
@example("a" * 300)
@example("é" * 150)
@example("trailing. ")
@example("\u202egpj.exe")
def test_any_name_becomes_one_that_every_system_takes(name):
    safe = safe_stem(name)
    assert safe
    assert len(safe.encode()) <= 120
    assert not set(safe) & set('<>:"/\\|?*')
    assert all(char.isprintable() for char in safe)
    assert safe[-1] not in ". "
    assert safe.partition(".")[0].rstrip().lower() not in RESERVED


@given(st.lists(st.from_regex(r"([abAB]/){0,2}[abAB:?]{1,2}\.(jpg|png)", fullmatch=True), min_size=1, max_size=12, unique=True))
def test_stems_are_all_different_where_case_does_not_count(paths):
    named = stems_of(*paths)
    assert len({stem.casefold() for stem in named}) == len(paths)


@given(st.permutations(["a/cat.jpg", "a/cat.png", "b/cat.jpg", "dog.jpg", "Dog.jpg"]))
def test_stems_do_not_depend_on_the_order(paths):
    assert dict(zip(paths, stems_of(*paths), strict=True)) == dict(zip(sorted(paths), stems_of(*sorted(paths)), strict=True))


def test_photos_in_memory_have_stems_too():
    assert list(stems([Source.of(np.zeros((2, 2)), name="photo 0")]).values()) == ["photo 0"]
