"""The pages that are made of stored results say what these results say."""

import inspect
import json
from collections import Counter

import pytest

from docs import figures
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
        if any(figures.brief(result).startswith("*") for result in listed):
            assert "random map" in (inspect.getdoc(method) or ""), label


def test_scores_are_taken_together_by_photo(tmp_path):
    rows = [
        {"image": "a", "method": "m", "metric": "insertion", "value": 0.75},
        {"image": "a", "method": "m", "metric": "deletion", "value": 0.5},
        {"image": "b", "method": "m", "metric": "insertion", "value": 0.75},
        {"image": "b", "method": "m", "metric": "deletion", "value": None},
    ]
    path = tmp_path / "net.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert figures.read(path) == {"m": {"a": {"difference": 0.25}}}


@pytest.mark.parametrize(("title", "link"), [("rise", "rise"), ("grad-cam++", "grad-cam-1")])
def test_headings_are_linked_as_they_are_anchored(title, link):
    assert figures.anchor(title, Counter({"grad-cam": 1})) == link
