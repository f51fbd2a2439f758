"""The figure of mean curves: what stands in its panels."""

from __future__ import annotations

import pytest

from xaicli.errors import UsageError
from xaicli.results.curves_figure import curves_figure
from xaicli.results.report.curves import mean_curves
from xaicli.results.store import Store
from xaicli.results.summary import summarise
from xaicli.rows import Curve


@pytest.fixture
def store(recipe_of, row_of):
    """Three photos; insertion has curves, average-drop has none."""
    made = Store.in_memory()
    recipes = [recipe_of(name, "insertion", direction="higher", control=name == "random") for name in ("rise", "lime", "random")]
    plain = [recipe_of(name, "average-drop") for name in ("rise", "lime")]
    for at, image in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        curve = Curve((0.0, 0.5, 1.0), (0.1, 0.2 + 0.1 * at, 0.9))
        rows = [row_of(recipe, image, 0.2 + 0.1 * at, curve=curve) for recipe in recipes]
        made.add([*rows, *(row_of(recipe, image, 10.0 * at, curve=None) for recipe in plain)], [*recipes, *plain])
    return made


def test_a_panel_a_metric_with_curves_bands_and_n(store):
    figure = curves_figure(summarise(store), mean_curves(store), width_cm=12)
    panels = {axis.get_title(loc="left"): axis for axis in figure.axes}
    insertion = next(axis for title, axis in panels.items() if title.startswith("insertion"))
    assert any("(n = 3)" in title for title in panels)
    assert len(insertion.lines) == 3
    assert len(insertion.collections) == 3
    assert insertion.lines[0].get_ydata().tolist() == pytest.approx([0.1, 0.3, 0.9])
    assert figure.get_size_inches()[0] == pytest.approx(12 / 2.54)


def test_a_metric_without_curves_shows_its_means(store):
    figure = curves_figure(summarise(store), mean_curves(store))
    drop = next(axis for axis in figure.axes if axis.get_title(loc="left").startswith("average-drop"))
    assert [label.get_text() for label in drop.get_yticklabels()] == ["rise", "lime"]
    dots = [line.get_xdata()[0] for line in drop.lines if len(line.get_xdata()) == 1]
    assert dots == pytest.approx([10.0, 10.0])


def test_no_scores_are_no_figure():
    with pytest.raises(UsageError, match="a figure of no scores"):
        curves_figure([], [])
