"""The table of means, the comparisons in it, and the sentences under it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from xaicli.errors import UsageError
from xaicli.results import stats
from xaicli.results.reading import Selection
from xaicli.results.sentences import sentences, tie
from xaicli.results.store import Store
from xaicli.results.summary import Group, summarise
from xaicli.results.tables import render

RATIO = {"normalised": [["value", "p_baseline"], ["p0", "p_baseline"]]}


@pytest.fixture
def group_of(recipe_of, row_of):
    """The summary of one metric: `group_of({"grad-cam": values, "center": values}, controls=("center",))`."""

    def make(methods: dict[str, list[float]], controls: tuple[str, ...] = (), **about: object) -> Group:
        given = {"direction": "higher", **about}
        recipes = {name: recipe_of(name, "insertion", control=name in controls, **given) for name in methods}
        store = Store.in_memory()
        for number, values in enumerate(zip(*methods.values(), strict=True)):
            rows = [row_of(recipes[name], f"{number}.jpg", value) for name, value in zip(methods, values, strict=True)]
            store.add(rows, recipes.values())
        (group,) = summarise(store)
        return group

    return make


def noisy(centre: float, photos: int = 40, seed: int = 0, spread: float = 0.1) -> list[float]:
    values = np.random.default_rng(seed).normal(0.0, spread, photos)
    return [float(value) for value in values - values.mean() + centre]


def test_a_cell_is_the_mean_over_photos_with_its_interval(group_of):
    values = noisy(0.5)
    group = group_of({"rise": values})
    assert group.cells["rise", "insertion"].estimate == stats.mean(values)
    assert group.photos == 40


def test_the_targets_and_seeds_of_a_photo_count_as_one_photo(recipe_of, row_of):
    recipe = recipe_of()
    store = Store.in_memory()
    store.add([row_of(recipe, "a.jpg", 0.2, target="1"), row_of(recipe, "a.jpg", 0.4, target="2")], [recipe])
    store.add([row_of(recipe, "b.jpg", 0.6), row_of(recipe, "b.jpg", 0.8, seed=1)], [recipe])
    (group,) = summarise(store)
    estimate, expected = group.cells["grad-cam", "deletion"].estimate, stats.mean([0.3, 0.7])
    assert (estimate.n, estimate.of) == (2, 2)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_what_differs_in_model_rule_or_precision_is_never_averaged(recipe_of, row_of):
    recipes = [recipe_of(), recipe_of(target_rule="281"), recipe_of(precision="auto")]
    store = Store.in_memory()
    for image in ("a.jpg", "b.jpg"):
        store.add([row_of(recipe, image) for recipe in recipes], recipes)
        store.add([row_of(recipes[0], image, model="another")], recipes)
    groups = summarise(store)
    assert len(groups) == 4
    assert len({(group.fingerprint, group.target_rule, group.precision) for group in groups}) == 4
    assert render(groups, "table").count("the mean and its 95 % interval") == 4


def test_two_versions_of_one_label_are_two_lines(recipe_of, row_of):
    first = recipe_of()
    second = dataclasses.replace(first, method_content={"name": "grad-cam", "version": 2, "parameters": {}})
    store = Store.in_memory()
    for image in ("a.jpg", "b.jpg"):
        store.add([row_of(first, image, 0.1), row_of(second, image, 0.3)], [first, second])
    (group,) = summarise(store)
    assert set(group.methods) == {"grad-cam (1 of 2)", "grad-cam (2 of 2)"}


def test_a_photo_without_a_value_is_counted_and_explained(group_of):
    group = group_of({"rise": [*noisy(0.5, 30), None, None], "lime": noisy(0.5, 32, 1)})
    cell = group.cells["rise", "insertion"]
    assert (cell.estimate.n, cell.estimate.of, cell.statuses) == (30, 32, {"constant": 2})
    assert "rise has no insertion for 2 of 32 photos: map is constant, no score." in sentences(group)
    assert "(30 of 32)" in render([group], "table")


def test_a_photo_that_was_not_scored_yet_is_counted_too(recipe_of, row_of):
    first, second = recipe_of("rise"), recipe_of("lime")
    store = Store.in_memory()
    for image in ("a.jpg", "b.jpg", "c.jpg"):
        rows = [row_of(first, image, 0.2), row_of(second, image, 0.3)]
        store.add(rows[: 1 if image == "c.jpg" else 2], [first, second])
    (group,) = summarise(store)
    assert "lime has no deletion for 1 of 3 photos: not scored." in sentences(group)


def test_differences_are_paired_and_the_better_comes_first(group_of):
    base = np.asarray(noisy(0.5, spread=0.3))
    gain = np.asarray(noisy(0.02, seed=1, spread=0.01))
    for direction, order in (("higher", ("b", "a")), ("lower", ("a", "b"))):
        (comparison,) = group_of({"a": base.tolist(), "b": (base + gain).tolist()}, direction=direction).comparisons
        assert (comparison.first, comparison.second) == order
        assert abs(comparison.difference.value) == pytest.approx(0.02)
        # Unpaired, a spread of 0.3 would hide a difference of 0.02 in 40 photos.
        assert comparison.significant


def test_comparisons_are_corrected_within_one_question(group_of):
    """Six pairs of methods are one question; how one method stands to its two controls is another, one a method."""
    methods = {name: noisy(0.5 + 0.01 * at, seed=at) for at, name in enumerate("abcd")}
    controls = {"center": noisy(0.49, seed=7), "random": noisy(0.48, seed=8)}
    group = group_of(methods | controls, controls=tuple(controls))
    pairs = [comparison for comparison in group.comparisons if not comparison.control]
    assert len(pairs) == 6
    questions = [pairs, *([c for c in group.comparisons if c.control and c.first == name] for name in methods)]
    for comparisons in questions:
        adjusted = stats.holm([comparison.difference.p for comparison in comparisons])
        assert [comparison.p for comparison in comparisons] == pytest.approx(adjusted)
        assert {comparison.among for comparison in comparisons} == {len(comparisons)}


def test_a_metric_without_a_direction_is_not_compared(group_of):
    group = group_of({"a": noisy(0.1), "b": noisy(0.9, seed=1)}, direction="neither")
    assert group.comparisons == ()
    assert sentences(group) == []


def test_photos_that_did_not_tell_are_never_said_to_be_enough(group_of):
    """The number is that of one test; corrected for three, four photos may fail where one test alone would need no more."""
    group = group_of({"rise": noisy(0.5, 4), "t-tame": noisy(0.5, 4, 1)})
    comparison = dataclasses.replace(group.comparisons[0], needed=3.0, difference=stats.change([0.1, -0.1, 0.2, -0.1]))
    assert tie(comparison).endswith("; about 5 needed.")


def test_neighbours_that_cannot_be_told_apart_are_named_with_the_photos_it_would_take(group_of):
    base = np.asarray(noisy(0.5, 100))
    noise = np.asarray(noisy(0.01, 100, 1, 0.12))
    group = group_of({"rise": base.tolist(), "t-tame": (base + noise).tolist()})
    (sentence,) = sentences(group)
    assert sentence.startswith("t-tame and rise cannot be told apart on insertion with 100 photos (difference 0.01 [-0.0")
    assert f"; paired t, p = {stats.change(noise).p:.2f});" in sentence
    spread = noise.std(ddof=1)
    expected = (2.8016 * spread / 0.01) ** 2
    needed = int(sentence.split("about ")[1].split(" needed")[0].replace(",", ""))
    assert needed == pytest.approx(expected, rel=0.12)


def test_methods_that_are_told_apart_have_no_sentence(group_of):
    assert sentences(group_of({"a": noisy(0.2), "b": noisy(0.8, seed=1)})) == []


def test_a_method_is_better_or_worse_than_a_control_or_neither_is_shown(group_of):
    level, worse, better = noisy(0.5, seed=1), noisy(0.2, seed=2), noisy(0.9, seed=3)
    group = group_of({"level": level, "worse": worse, "better": better, "center": noisy(0.5)}, controls=("center",))
    said = sentences(group)
    states = {comparison.first: comparison.state for comparison in group.comparisons if comparison.control}
    assert states == {"level": "not shown", "worse": "worse", "better": "better"}
    p = next(c.difference.p for c in group.comparisons if c.control and c.first == "level")
    expected = "level is not shown to beat center on insertion (difference "
    assert any(sentence.startswith(expected) and f"paired t, p = {p:.2f})" in sentence for sentence in said)
    assert "worse is worse than center on insertion (difference -0.30 [-0.34, -0.26]; paired t, p < 0.0001)." in said
    assert not any("better" in sentence for sentence in said)
    upside_down = group_of({"level": level, "better": worse, "center": noisy(0.5)}, controls=("center",), direction="lower")
    assert [sentence.split(" (")[0] for sentence in sentences(upside_down) if "beat" in sentence] == [
        "level is not shown to beat center on insertion"
    ]


def test_what_a_correction_hides_is_said_with_the_p_value_before_it(group_of):
    """0.07 better over 12 photos at t = 2.4: p = 0.035, and not below 0.05 beside another control."""
    own, noise = np.asarray(noisy(0.5, 12)), np.asarray(noisy(0.0, 12, 1))
    noise *= 0.07 / 2.4 * np.sqrt(12) / noise.std(ddof=1)
    controls = {"center": (own - 0.07 - noise).tolist(), "random": (own - 0.001 - noise).tolist()}
    group = group_of({"rise": own.tolist()} | controls, controls=tuple(controls))
    (comparison,) = (c for c in group.comparisons if c.second == "center")
    assert comparison.difference.p < 0.05 < comparison.p
    assert comparison.state == "not shown"
    (said,) = (sentence for sentence in sentences(group) if "center" in sentence)
    assert f"paired t, after correcting for 2 comparisons; unadjusted p = {comparison.difference.p:.1g}" in said


def test_sparseness_is_not_compared_with_that_of_another_photos_map(group_of):
    methods = {"rise": noisy(0.5, seed=1), "center": noisy(0.4), "other@base=rise": noisy(0.5)}
    controls = ("center", "other@base=rise")
    assert [c.second for c in group_of(methods, controls, of_map_alone=True).comparisons] == ["center"]
    assert {c.second for c in group_of(methods, controls).comparisons} == set(controls)


def test_binary_scores_are_compared_by_mcnemar_and_shown_with_the_exact_interval(group_of):
    hits = {"rise": [1.0] * 12 + [0.0] * 8, "center": [1.0] * 4 + [0.0] * 16}
    group = group_of(hits, controls=("center",), kind="binary", lowest=0.0, highest=1.0)
    (comparison,) = group.comparisons
    assert comparison.difference.test == "exact McNemar"
    assert comparison.p == pytest.approx(2 * 0.5**8)
    text = render([group], "table")
    assert "0.60 [0.36, 0.81]" in text
    assert "exact binomial (Clopper-Pearson)" in text


def test_equal_scores_have_no_interval_and_are_not_tested(group_of):
    group = group_of({"rise": [0.25] * 5, "lime": [0.25] * 5, "center": [0.5] * 5}, controls=("center",))
    assert [c.p for c in group.comparisons] == [None] * 3
    assert render([group], "table").count("0.250 (all equal)") == 2
    said = sentences(group)
    assert any(" score the same on insertion, on each of 5 photos: nothing to test." in sentence for sentence in said)
    assert "rise and center differ by the same -0.250 on insertion, on each of 5 photos: nothing to test." in said


def test_skewed_scores_show_their_median_beside_the_mean(group_of):
    values = np.random.default_rng(0).lognormal(size=20)
    group = group_of({"rise": values.tolist()}, kind="skewed", lowest=0.0)
    median = stats.median(values)
    text = render([group], "table")
    assert f"median {median.value:.2f} [{median.low:.2f}, {median.high:.2f}]" in text
    assert json.loads(render([group], "json"))["groups"][0]["cells"][0]["median"]["low"] == median.low
    said = sentences(group)
    assert "~ insertion: scores are skewed; with fewer than 50 photos the interval is optimistic." in said


def test_an_optimistic_interval_is_marked_and_explained(group_of):
    group = group_of({"rise": noisy(0.5, 9)})
    assert "]~" in render([group], "table")
    assert "~ With fewer than 10 photos the intervals of insertion are optimistic where scores are skewed." in sentences(group)
    assert json.loads(render([group], "json"))["groups"][0]["cells"][0]["optimistic"]
    assert "]~" not in render([group_of({"rise": noisy(0.5, 10)})], "table")


def test_the_interval_stays_inside_the_range_of_the_metric(group_of):
    group = group_of({"rise": [0.1, 0.9]}, lowest=0.0, highest=1.0)
    estimate = group.cells["rise", "insertion"].estimate
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_json_has_the_test_both_p_values_and_the_state(group_of):
    methods = {"rise": noisy(0.9, seed=1), "center": noisy(0.5), "random": noisy(0.5, seed=2)}
    group = group_of(methods, controls=("center", "random"))
    for found, comparison in zip(json.loads(render([group], "json"))["groups"][0]["comparisons"], group.comparisons, strict=True):
        assert found["test"] == "paired t"
        assert (found["p"], found["p_holm"], found["among"]) == (comparison.difference.p, comparison.p, 2)
        assert found["state"] == "better"


def test_the_map_of_another_photo_controls_its_own_method_alone(group_of):
    methods = {"rise": noisy(0.5, seed=1), "lime": noisy(0.9, seed=2), "other@base=rise": noisy(0.5)}
    group = group_of(methods, controls=("other@base=rise",))
    assert [(c.first, c.second) for c in group.comparisons if c.control] == [("rise", "other@base=rise")]
    assert any(
        said.startswith("rise is not shown to beat its own map of another photo on insertion (") for said in sentences(group)
    )


def test_methods_that_do_not_beat_their_maps_of_other_photos_share_a_sentence(group_of):
    controls = {"other@base=rise": noisy(0.5), "other@base=lime": noisy(0.7, seed=4)}
    methods = {"rise": noisy(0.5, seed=1), "lime": noisy(0.7, seed=2)}
    said = sentences(group_of(methods | controls, controls=tuple(controls)))
    assert any(
        one.startswith("lime and rise are not shown to beat their own maps of other photos on insertion (") for one in said
    )


def test_controls_stand_last_and_methods_by_rank(group_of):
    means = {"b": 0.5, "random": 0.9, "a": 0.7, "c": 0.3}
    methods = {name: noisy(centre, seed=at) for at, (name, centre) in enumerate(means.items())}
    group = group_of(methods, controls=("random",))
    assert (group.methods, group.controls) == (("a", "b", "c"), ("random",))
    lines = render([group], "table").splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["a", "b", "c", "random"]


def test_many_pairs_are_counted_and_not_all_told(group_of):
    group = group_of({f"m{at}": noisy(0.5, seed=at) for at in range(20)})
    said = sentences(group)
    assert len(said) == 13
    assert said[-1].startswith("7 more pairs cannot be told apart")


def test_no_mean_is_shown_without_an_interval(group_of):
    group = group_of({"rise": [0.25, None, None], "lime": [0.1, 0.2, 0.3]})
    text = render([group], "table")
    assert "0.25" not in text
    assert "– (1 of 3)" in text
    assert json.loads(render([group], "json"))["groups"][0]["cells"][0]["mean"] is None


def test_the_value_of_a_single_photo_is_shown_as_what_it_is(group_of):
    group = group_of({"rise": [0.25], "lime": [0.5]})
    text = render([group], "table")
    assert "0.250" in text
    assert "One photo has no interval and compares nothing" in text
    assert "[" not in text


def test_the_table_says_direction_photos_and_passes(group_of):
    text = render([group_of({"rise": noisy(0.5)})], "table")
    assert "insertion ↑" in text.splitlines()[0]
    assert text.splitlines()[1].split()[-1] == "1+1"
    assert "passes per photo" in text.splitlines()[0]
    assert "40 photos; the mean and its 95 % interval (Student's t, corrected for skewness)." in text


def test_a_narrow_terminal_gets_the_metrics_in_blocks(recipe_of, row_of):
    recipes = [recipe_of(metric=f"metric-{number}") for number in range(6)]
    store = Store.in_memory()
    for number in range(25):
        store.add([row_of(recipe, f"{number}.jpg", 0.01 * number) for recipe in recipes], recipes)
    text = render(summarise(store), "table", width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert [f"metric-{number} ↓" in text for number in range(6)] == [True] * 6


def test_csv_and_json_hold_the_same_figures(group_of):
    group = group_of({"rise": noisy(0.5), "center": noisy(0.4, seed=1)}, controls=("center",))
    lines = list(csv.DictReader(io.StringIO(render([group], "csv"))))
    cells = json.loads(render([group], "json"))["groups"][0]["cells"]
    assert len(lines) == len(cells) == 2
    for line, cell in zip(lines, cells, strict=True):
        assert (line["method"], float(line["mean"]), float(line["low"]), int(line["n"])) == (
            cell["method"],
            cell["mean"],
            cell["low"],
            cell["n"],
        )
        assert bool(int(line["control"])) == cell["control"]


def test_markdown_shows_odd_labels_as_they_are(group_of):
    label = "cam|<img src=x onerror=alert(1)>@n_masks=8"
    text = render([group_of({label: noisy(0.5)})], "markdown")
    assert "cam\\|\\<img src=x onerror=alert(1)\\>@n\\_masks=8" in text
    assert text.splitlines()[1] == "| --- | ---: |"


def test_a_label_cannot_command_the_terminal(group_of):
    text = render([group_of({"cam\x1b[2J\x07\nb": noisy(0.5)})], "table")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "cam?[2J??b" in text


def test_the_mean_of_a_normalised_area_is_a_ratio_of_means(recipe_of, row_of):
    recipe = recipe_of(ratios=RATIO)
    store = Store.in_memory()
    value, full, bare = np.array([0.2, 0.3, 0.5, 0.4]), np.array([0.9, 0.5, 0.8, 0.6]), np.array([0.1, 0.2, 0.1, 0.3])
    for number in range(4):
        readouts = {"p0": float(full[number]), "p_baseline": float(bare[number]), "normalised": 99.0}
        store.add([row_of(recipe, f"{number}.jpg", float(value[number]), readouts=readouts)], [recipe])
    (group,) = summarise(store, readouts=True)
    readouts = group.cells["grad-cam", "deletion"].readouts
    assert readouts["normalised"].value == pytest.approx((value - bare).sum() / (full - bare).sum())
    assert readouts["p0"] == stats.mean(full)


def test_a_selection_summarises_what_it_takes(recipe_of, row_of):
    recipes = [recipe_of("a"), recipe_of("random", control=True)]
    store = Store.in_memory()
    for image in ("1.jpg", "2.jpg"):
        store.add([row_of(recipe, image) for recipe in recipes], recipes)
    (group,) = summarise(store, Selection(controls=False))
    assert (group.methods, group.controls) == (("a",), ())


def test_a_table_speaks_of_the_photos_that_are_asked_for(recipe_of, row_of):
    recipe = recipe_of(kind="binary", lowest=0.0, highest=1.0)
    store = Store.in_memory()
    for number in range(15):
        store.add([row_of(recipe, f"{number}.jpg", float(number < 4))], [recipe])
    asked = frozenset((row.photo, row.frame) for row in store.rows() if row.image in ("0.jpg", "1.jpg", "9.jpg"))
    (group,) = summarise(store, Selection(photos=asked), readouts=True)
    assert group.photos == 3
    assert group.cells["grad-cam", "deletion"].estimate.value == pytest.approx(2 / 3)
    assert group.cells["grad-cam", "deletion"].readouts["p0"].n == 3
    assert {row.image for row in store.rows(Selection(photos=asked))} == {"0.jpg", "1.jpg", "9.jpg"}
    assert summarise(store, Selection(photos=frozenset())) == []


def test_an_empty_store_has_no_groups():
    assert summarise(Store.in_memory()) == []
    assert render([], "table") == ""
    assert json.loads(render([], "json"))["groups"] == []


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match="table, markdown, latex, json, csv"):
        render([], "xml")
