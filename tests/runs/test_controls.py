"""Whose map the control `other` takes."""

from __future__ import annotations

import pytest

from xaicli.images.source import Source
from xaicli.runs.controls import Ring, with_partners


def ring(contents: str) -> Ring:
    return Ring({Source(f"{place}{content}.png"): content for place, content in enumerate(contents)})


def nexts(ring: Ring) -> dict[str, str]:
    """Content by content."""
    return {ring.contents[source]: ring.contents[next(ring.after(source))] for source in ring.contents}


def test_the_other_photo_is_the_next_by_content():
    assert nexts(ring("cab")) == {"a": "b", "b": "c", "c": "a"}


def test_it_does_not_depend_on_the_order():
    assert nexts(ring("dacb")) == nexts(ring("abcd"))


def test_after_it_come_all_the_others_round_the_ring():
    photos = ring("cabd")
    (source,) = (source for source, content in photos.contents.items() if content == "c")
    assert [photos.contents[other] for other in photos.after(source)] == ["d", "a", "b"]


def test_a_photo_that_is_there_twice_does_not_take_its_own_map():
    assert nexts(ring("aba")) == {"a": "b", "b": "a"}


@pytest.mark.parametrize("contents", ["", "a", "aa"])
def test_a_photo_alone_has_no_other(contents):
    photos = ring(contents)
    assert not [other for source in photos.contents for other in photos.after(source)]


@pytest.mark.parametrize(
    ("photos", "expected"),
    [
        ("abcd", "bcda"),
        ("aab", "bba"),
        ("abb", "baa"),
        ("abbc", "bcca"),
        ("aabb", "bbaa"),
        ("aa", [None, None]),
        ("a", [None]),
        ("", ""),
    ],
)
def test_photos_that_come_in_order_meet_the_same_partners(photos, expected):
    pairs = list(with_partners(photos, lambda content: content))
    assert [photo for photo, _ in pairs] == list(photos)
    assert [partner for _, partner in pairs] == list(expected)
    contents = {Source(f"{place}.png"): content for place, content in enumerate(photos)}
    assert [partner for _, partner in pairs] == [Ring(contents).partner(source) for source in contents]


def test_of_the_frames_of_a_file_the_first_lends_its_map():
    frames = {Source("a.gif", frame=2): "a", Source("a.gif", frame=1): "a", Source("b.png"): "b"}
    assert Ring(frames).order[0].frame == 1
