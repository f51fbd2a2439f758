"""The store keeps rows once, whatever happens to the processes that write it."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import tracemalloc

import numpy as np
import pytest

from xaicli.errors import InputError
from xaicli.results import checksums
from xaicli.results.reading import Selection
from xaicli.results.report.page import write_report
from xaicli.results.store import Store
from xaicli.results.summary import summarise
from xaicli.results.tables import render
from xaicli.rows import KeptMap, Row, Run

MODEL = "f" * 16


def test_a_row_comes_back_as_it_was_kept(tmp_path, recipe_of, row_of):
    recipe = recipe_of()
    row = row_of(recipe, "photos/a.jpg", 0.1234567890123456, target_name="tabby", frame=3)
    with Store.open(tmp_path / "scores.db") as store:
        assert store.add([row], [recipe]) == 1
    with Store.open(tmp_path / "scores.db", write=False) as store:
        assert list(store.rows(curves=True)) == [row]
        assert list(store.rows()) == [dataclasses.replace(row, curve=None)]
        assert store.recipes() == [recipe]


def test_a_row_without_a_value_keeps_its_status(recipe_of, row_of):
    recipe = recipe_of()
    row = row_of(recipe, "a.jpg", None, curve=None, readouts={})
    store = Store.in_memory()
    store.add([row], [recipe])
    assert list(store.rows(curves=True)) == [row]


def test_a_key_that_is_there_stays_as_it_is(recipe_of, row_of):
    recipe = recipe_of()
    first = row_of(recipe, "a.jpg", 0.5)
    store = Store.in_memory()
    assert store.add([first], [recipe]) == 1
    assert store.add([dataclasses.replace(first, value=0.6, image="elsewhere/a.jpg")], [recipe]) == 0
    assert [row.value for row in store.rows()] == [0.5]
    assert store.photos()[0].paths == ("a.jpg", "elsewhere/a.jpg")


def test_another_seed_definition_or_subject_is_another_row(recipe_of, row_of):
    recipe, other = recipe_of(), recipe_of(precision="auto")
    store = Store.in_memory()
    rows = [row_of(recipe, "a.jpg"), row_of(recipe, "a.jpg", seed=1), row_of(other, "a.jpg"), row_of(recipe, "a.jpg", target="3")]
    assert store.add(rows, [recipe, other]) == 4


def test_no_curves_means_no_curves(tmp_path, recipe_of, row_of):
    recipe = recipe_of()
    with Store.open(tmp_path / "scores.db", curves=False) as store:
        store.add([row_of(recipe, "a.jpg")], [recipe])
        assert next(store.rows(curves=True)).curve is None


def test_rows_come_in_one_order_whoever_wrote_them_first(recipe_of, row_of):
    first, second = recipe_of("a-cam"), recipe_of("b-cam")
    rows = [row_of(recipe, image) for image in ("1.jpg", "2.jpg") for recipe in (first, second)]
    forwards, backwards = Store.in_memory(), Store.in_memory()
    for row in rows:
        forwards.add([row], [first, second])
    for row in reversed(rows):
        backwards.add([row], [second, first])
    assert list(forwards.rows(curves=True)) == list(backwards.rows(curves=True)) == rows


def test_a_selection_takes_what_it_names(recipe_of, row_of):
    recipes = [recipe_of("a-cam"), recipe_of("b-cam", "insertion"), recipe_of("center", control=True)]
    store = Store.in_memory()
    store.add([row_of(recipe, "1.jpg") for recipe in recipes], recipes)
    assert [row.method for row in store.rows(Selection(methods=("a-cam",)))] == ["a-cam"]
    assert [row.method for row in store.rows(Selection(metrics=("insertion",)))] == ["b-cam"]
    assert [row.method for row in store.rows(Selection(controls=False))] == ["a-cam", "b-cam"]
    assert list(store.rows(Selection(methods=("absent",)))) == []


def test_what_is_missing_is_what_no_row_is_there_for(recipe_of, row_of):
    recipes = [recipe_of(metric=metric) for metric in ("deletion", "insertion")]
    rows = {image: [row_of(recipe, image) for recipe in recipes] for image in ("1.jpg", "2.jpg", "3.jpg")}
    photos = [(rows[image][0].photo, 0) for image in ("3.jpg", "1.jpg", "2.jpg", "1.jpg")]
    store = Store.in_memory()
    assert store.missing(photos, recipes, model=MODEL, seed=0).all()
    store.add(rows["1.jpg"], recipes)
    store.add(rows["2.jpg"][:1], recipes)
    expected = [[True, True], [False, False], [False, True], [False, False]]
    np.testing.assert_array_equal(store.missing(photos, recipes, model=MODEL, seed=0), expected)
    np.testing.assert_array_equal(store.missing(photos, recipes[::-1], model=MODEL, seed=0), np.fliplr(expected))
    assert store.missing(photos, recipes, model=MODEL, seed=1).all()
    assert store.missing(photos, recipes, model="another", seed=0).all()
    assert store.missing([(photos[1][0], 1)], recipes, model=MODEL, seed=0).all()
    assert store.missing([], recipes, model=MODEL, seed=0).shape == (0, 2)
    assert store.missing(photos, [], model=MODEL, seed=0).shape == (4, 0)


def test_a_target_known_beforehand_must_be_the_one_that_is_there(recipe_of, row_of):
    recipe = recipe_of()
    row = row_of(recipe, "1.jpg", target="281")
    store = Store.in_memory()
    store.add([row], [recipe])
    wanted = {"model": MODEL, "seed": 0}
    assert not store.missing([(row.photo, 0)], [recipe], targets=["281"], **wanted).any()
    assert not store.missing([(row.photo, 0)], [recipe], targets=[None], **wanted).any()
    assert store.missing([(row.photo, 0)], [recipe], targets=["3"], **wanted).all()
    both = store.missing([(row.photo, 0)] * 3, [recipe], targets=["3", None, "281"], **wanted)
    np.testing.assert_array_equal(both[:, 0], [True, False, False])


def test_a_photo_is_kept_whole_or_not_at_all(recipe_of, row_of):
    recipe, unknown = recipe_of(), recipe_of("b-cam")
    store = Store.in_memory()
    with pytest.raises(ValueError, match="recipe is not given"):
        store.add([row_of(recipe, "a.jpg"), row_of(unknown, "a.jpg")], [recipe])
    assert list(store.rows()) == []
    assert store.recipes() == []
    assert store.add([row_of(recipe, "a.jpg")], [recipe]) == 1


def test_the_circumstances_of_a_run_are_kept_beside_its_rows(recipe_of, row_of):
    recipe = recipe_of()
    run = Run("resnet50", MODEL, "cpu", 32, {"grad-cam": "layer4"}, {"torch": "2.6"}, "xai score photos/ --method grad-cam")
    store = Store.in_memory()
    store.add([row_of(recipe, "a.jpg")], [recipe], run=run)
    store.add([row_of(recipe, "b.jpg")], [recipe], run=run)
    assert store.runs() == [run]
    assert store.models() == {MODEL: "resnet50"}


def test_a_map_comes_back_to_a_thousandth_of_its_largest_value(recipe_of, row_of):
    recipe = recipe_of()
    row = row_of(recipe, "a.jpg")
    values = np.random.default_rng(0).standard_normal((7, 9)).astype(np.float32) * 1e9
    kept = KeptMap(row.subject, recipe.method_definition, recipe.method, 0, values, (0.1, 0.0, 0.9, 1.0), signed=True)
    store = Store.in_memory()
    store.add([row], [recipe], maps=[kept])
    store.add([row], [recipe], maps=[kept])
    (back,) = store.maps()
    np.testing.assert_allclose(back.values, values, atol=1e-3 * np.abs(values).max())
    assert dataclasses.replace(back, values=None) == dataclasses.replace(kept, values=None)


def test_a_fine_map_is_kept_as_the_means_of_its_parts(recipe_of, row_of):
    recipe = recipe_of()
    row = row_of(recipe, "a.jpg")
    values = np.random.default_rng(0).random((224, 112)).astype(np.float32)
    store = Store.in_memory()
    store.add([row], [recipe], maps=[KeptMap(row.subject, recipe.method_definition, recipe.method, 0, values)])
    (back,) = store.maps()
    np.testing.assert_allclose(back.values, values.reshape(56, 4, 56, 2).mean(axis=(1, 3)), atol=1e-3)


def test_the_region_that_a_target_is_of_comes_back_a_small_one_too(recipe_of, row_of):
    recipe = recipe_of()
    row = row_of(recipe, "a.jpg")
    region = np.random.default_rng(0).random((11, 13)) > 0.5
    point = np.zeros((448, 224), dtype=bool)
    point[9, 3] = True
    for seed, given, cells in ((0, region, region), (1, point, point.reshape(112, 4, 112, 2).any(axis=(1, 3)))):
        store = Store.in_memory()
        kept = KeptMap(row.subject, recipe.method_definition, recipe.method, seed, np.ones((7, 7)), region=given)
        store.add([row], [recipe], maps=[kept])
        (back,) = store.maps()
        np.testing.assert_array_equal(back.region, cells)


def test_a_map_that_is_not_finite_is_not_kept(recipe_of, row_of):
    recipe = recipe_of()
    row = row_of(recipe, "a.jpg")
    store = Store.in_memory()
    store.add([row], [recipe], maps=[KeptMap(row.subject, recipe.method_definition, recipe.method, 0, [[np.nan]])])
    assert list(store.maps()) == []


def test_scores_are_the_rows_as_arrays(recipe_of, row_of):
    recipes = [recipe_of(metric="deletion"), recipe_of(metric="insertion")]
    store = Store.in_memory()
    values = {("a.jpg", "deletion"): 0.25, ("a.jpg", "insertion"): None, ("b.jpg", "deletion"): 0.5, ("b.jpg", "insertion"): 0.75}
    for image in ("b.jpg", "a.jpg"):
        store.add([row_of(recipe, image, values[image, recipe.metric]) for recipe in recipes], recipes)
    scores = store.scores()
    for at, value in enumerate(scores.value):
        image = scores.photos[scores.photo[at]].paths[0]
        expected = values[image, scores.recipes[scores.recipe[at]].metric]
        assert scores.statuses[scores.status[at]] == ("constant" if expected is None else "ok")
        assert np.isnan(value) if expected is None else value == expected
    assert len(scores.value) == 4
    assert scores.models == [(MODEL, "")]


def test_a_damaged_row_is_an_input_error_not_a_crash(tmp_path, recipe_of, row_of):
    path = tmp_path / "scores.db"
    recipe = recipe_of()

    def all_rows(store: Store) -> list[Row]:
        return list(store.rows(curves=True))

    damages = {
        "UPDATE rows SET readouts = '{broken'": all_rows,
        "UPDATE rows SET value = 'text'": all_rows,
        "UPDATE curves SET y = x'0011223344'": all_rows,
        "UPDATE recipes SET metric_content = '[1'": Store.recipes,
        "UPDATE runs SET content = '{\"nonsense\": 1}'": Store.runs,
        "UPDATE subjects SET photo = 99": Store.scores,
        "UPDATE recipes SET direction = 'sideways'": Store.recipes,
        "UPDATE recipes SET ratios = '{\"normalised\": [1]}'": Store.recipes,
        "UPDATE paths SET path = x'00ff'": Store.photos,
        "UPDATE models SET name = x'00ff'": Store.models,
        "UPDATE subjects SET target = x'00ff'": all_rows,
        "UPDATE rows SET status = x'07', value = NULL": Store.scores,
        "DROP TABLE curves": all_rows,
    }
    for damage, read in damages.items():
        path.unlink(missing_ok=True)
        with Store.open(path) as store:
            store.add([row_of(recipe, "a.jpg")], [recipe], run=Run("m", MODEL))
        with sqlite3.connect(path) as raw:
            raw.execute("PRAGMA foreign_keys = OFF")
            raw.execute(damage)
            if "UPDATE" in damage:
                # By somebody who knows of checksums.
                checksums.write_all(raw)
        raw.close()
        with Store.open(path, write=False) as store, pytest.raises(InputError, match="damaged"):
            read(store)


def test_bytes_changed_anywhere_in_a_store_never_crash_its_readers(tmp_path, recipe_of, row_of):
    recipes = [recipe_of(), recipe_of(metric="insertion", ratios={"normalised": [["value", "p0"], ["p0", "value"]]})]
    path, broken = tmp_path / "scores.db", tmp_path / "broken.db"
    with Store.open(path) as store:
        for number in range(30):
            rows = [row_of(recipe, f"{number}.jpg") for recipe in recipes]
            maps = [KeptMap(rows[0].subject, recipes[0].method_definition, "grad-cam", 0, [[0.5, 1.0]])]
            store.add(rows, recipes, maps=maps, run=Run("m", MODEL))
    content = path.read_bytes()
    generator = np.random.default_rng(11)
    for _ in range(150):
        changed = bytearray(content)
        for at in generator.integers(100, len(content), size=int(generator.integers(1, 40))):
            changed[at] = int(generator.integers(256))
        broken.write_bytes(changed)
        with contextlib.suppress(InputError), Store.open(broken, write=False) as store:
            list(store.maps())
            store.runs()
            render(summarise(store, readouts=True), "table")
            write_report(store, tmp_path / "report.html")


def test_memory_does_not_grow_with_the_photos_that_are_written(tmp_path, recipe_of, row_of):
    recipe, held = recipe_of(), {}
    with Store.open(tmp_path / "scores.db") as store:
        tracemalloc.start()
        for photo in range(1, 601):
            store.add([row_of(recipe, f"{photo}.jpg")], [recipe])
            if photo in (200, 600):
                held[photo] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert held[600] - held[200] < 20 * 400
