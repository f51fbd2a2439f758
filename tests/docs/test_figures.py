"""The pages that are made of stored results say what these results say."""

import inspect
import json
from collections import Counter

import pytest

from docs import figures, stored_rows
from xaicli import registry


def test_the_methods_page_is_what_the_stored_results_make_of_it():
    assert (figures.HERE / "methods.md").read_text("utf-8") == figures.methods_page(figures.results())


def test_the_scores_page_shows_what_intervals_cover_as_it_was_simulated():
    page = (figures.HERE / "scores.md").read_text("utf-8")
    assert page == figures.scores_page(page, figures.SIMULATED)


def test_every_simulated_interval_met_its_goal():
    stored = json.loads(figures.SIMULATED.read_text("utf-8"))["figures"]
    assert {figure["what"].rpartition(", ")[2].split()[0] for figure in stored} == {"5", "10", "20", "50", "100", "400"}
    for figure in stored:
        assert figure["limit"] is None or figure["median"] <= figure["limit"], figure
        assert figure["least"] is None or figure["median"] >= figure["least"], figure


def test_a_method_that_does_not_beat_random_maps_says_so():
    for label, listed in figures.results().items():
        method = registry.load(registry.METHODS, registry.find(registry.METHODS, label.split("@")[0]))
        # Of a dozen photos an interval is wide; that says nothing about the method.
        if any(figures.brief(result).startswith("*") for result in listed if result.mean.n >= figures.MANY):
            assert "random map" in (inspect.getdoc(method) or ""), label


def test_scores_are_taken_together_by_photo(tmp_path):
    rows = [
        {"image": "a", "method": "m", "metric": "insertion", "value": 0.75},
        {"image": "a", "method": "m", "metric": "deletion", "value": 0.5},
        {"image": "b", "method": "m", "metric": "insertion", "value": 0.75},
        {"image": "b", "method": "m", "metric": "deletion", "value": None},
    ]
    path = tmp_path / "net.jsonl"
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    stored_rows.add(path, tmp_path / "rows.jsonl")
    assert figures.read(path) == {"m": {"a": {"difference": 0.25}}}
    assert figures.fitted_in(path) == set()


def test_new_rows_join_those_that_are_stored(tmp_path):
    path, new = tmp_path / "net.jsonl", tmp_path / "rows.jsonl"

    def add(*rows):
        made = [
            {"image": image, "method": method, "metric": "deletion", "value": value, **further}
            for image, method, value, further in rows
        ]
        new.write_text("\n".join(map(json.dumps, made)))
        stored_rows.add(path, new)

    add(("a", "m", 0.5, {}), ("b", "m", 0.25, {}))
    add(("b", "m", 0.75, {}), ("c", "m", 1 / 3, {}), ("a", "n", 0.125, {"fitted": 1.0}))
    columns = stored_rows.read(path)
    assert columns["m", "deletion"].values == {"a": 0.5, "b": 0.75, "c": 0.333333}
    assert columns["n", "deletion"].values == {"a": 0.125}
    assert (columns["m", "deletion"].fitted, columns["n", "deletion"].fitted) == (False, True)


def test_the_overview_says_of_how_many_photos_a_mean_is_where_others_have_more():
    assert figures.counted("+0.40", 12, most=100) == "+0.40 (12)"
    assert figures.counted("+0.40", 100, most=100) == "+0.40"


@pytest.mark.parametrize(("title", "link"), [("rise", "rise"), ("grad-cam++", "grad-cam-1")])
def test_headings_are_linked_as_they_are_anchored(title, link):
    assert figures.anchor(title, Counter({"grad-cam": 1})) == link
