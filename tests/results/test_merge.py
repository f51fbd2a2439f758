"""Shards merged are the run that was never split."""

from __future__ import annotations

import dataclasses

import pytest

from xaicli.errors import InputError, UsageError
from xaicli.results import schema
from xaicli.results.merge import merge
from xaicli.results.store import Store
from xaicli.rows import KeptMap, Run

IMAGES = [f"{number}.jpg" for number in range(9)]


@pytest.fixture
def write(tmp_path, recipe_of, row_of):
    """Write a store of some images: `write("a.db", IMAGES[:3])`; `value` may change an image's value."""
    recipes = [recipe_of("rise"), recipe_of("grad-cam"), recipe_of("random", control=True)]

    def make(name, images, value=None, seed=0, curves=True):
        path = tmp_path / name
        with Store.open(path, curves=curves) as store:
            for image in images:
                rows = [
                    row_of(recipe, image, 0.1 + at if value is None else value, seed=seed) for at, recipe in enumerate(recipes)
                ]
                maps = [KeptMap(rows[0].subject, recipes[0].method_definition, "rise", seed, [[0.5, 1.0]])]
                store.add(rows, recipes, maps=maps, run=Run("tiny", "f" * 16, command=f"xai score -o {name}"))
        return path

    return make


def contents(path):
    with Store.open(path, write=False) as store:
        maps = [dataclasses.replace(kept, values=kept.values.tolist()) for kept in store.maps()]
        return list(store.rows(curves=True)), sorted(maps, key=lambda kept: kept.subject), store.models()


def test_shards_merged_are_the_whole(write, tmp_path):
    shards = [write(f"{number}.db", IMAGES[number::3]) for number in range(3)]
    assert merge(shards, tmp_path / "all.db") == 27
    assert contents(tmp_path / "all.db") == contents(write("whole.db", IMAGES))
    with Store.open(tmp_path / "all.db", write=False) as store:
        assert [run.command for run in store.runs()] == [f"xai score -o {number}.db" for number in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.db", "1.db", "2.db", "all.db", "whole.db"]


def test_the_order_of_the_shards_does_not_matter(write, tmp_path):
    shards = [write(f"{number}.db", IMAGES[number::3]) for number in range(3)]
    merge(shards, tmp_path / "forwards.db")
    merge(shards[::-1], tmp_path / "backwards.db")
    assert contents(tmp_path / "forwards.db") == contents(tmp_path / "backwards.db")


def test_a_row_that_two_stores_hold_is_kept_once(write, tmp_path):
    first, second = write("a.db", IMAGES[:6]), write("b.db", IMAGES[3:])
    assert merge([first, second, first], tmp_path / "all.db") == 27


def test_different_seeds_are_different_rows(write, tmp_path):
    assert merge([write("a.db", IMAGES), write("b.db", IMAGES, value=0.9, seed=1)], tmp_path / "all.db") == 54


def test_two_values_for_one_key_are_refused_by_name(write, tmp_path):
    paths = [write("a.db", IMAGES, value=0.25), write("b.db", IMAGES[4:6], value=0.5)]
    with pytest.raises(InputError, match=r"b\.db disagrees .* on 6 rows") as caught:
        merge(paths, tmp_path / "all.db")
    assert "deletion of grad-cam on 4.jpg is 0.25 and 0.5" in str(caught.value)
    assert "and 3 more" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "b.db"]


def test_a_value_and_none_for_one_key_are_refused(write, tmp_path, recipe_of, row_of):
    recipe = recipe_of("rise")
    with Store.open(tmp_path / "b.db") as store:
        store.add([row_of(recipe, "0.jpg", None)], [recipe])
    with pytest.raises(InputError, match=r"is 0\.1 and constant"):
        merge([write("a.db", IMAGES), tmp_path / "b.db"], tmp_path / "all.db")


def test_values_that_differ_by_rounding_are_one(write, tmp_path):
    assert merge([write("a.db", IMAGES, value=0.25), write("b.db", IMAGES, value=0.25 + 1e-7)], tmp_path / "all.db") == 27
    assert {row.value for row in contents(tmp_path / "all.db")[0]} == {0.25}


def test_a_curve_that_only_one_store_kept_is_kept(write, tmp_path):
    merge([write("a.db", IMAGES, curves=False), write("b.db", IMAGES)], tmp_path / "all.db")
    assert all(row.curve is not None for row in contents(tmp_path / "all.db")[0])


def test_an_older_store_is_merged_and_stays_as_it_is(write, tmp_path, monkeypatch):
    first = write("a.db", IMAGES[:5])
    before = first.read_bytes()
    monkeypatch.setattr(schema, "STEPS", [*schema.STEPS, "ALTER TABLE maps ADD COLUMN note TEXT;\n"])
    assert merge([first, write("b.db", IMAGES[5:])], tmp_path / "all.db") == 27
    assert first.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "all.db", "b.db"]


def test_an_existing_store_is_replaced_only_when_told(write, tmp_path):
    first, second = write("a.db", IMAGES), write("b.db", IMAGES[:1])
    with pytest.raises(UsageError, match="Write another and name this one among the stores"):
        merge([first], second)
    with pytest.raises(UsageError, match="Add --overwrite; its rows are kept"):
        merge([first, second], second)
    assert merge([first, second], second, overwrite=True) == 27
    assert len(contents(second)[0]) == 27


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_as_the_output_is_refused_with_a_name_to_type(write, tmp_path, overwrite):
    first, folder = write("a.db", IMAGES), tmp_path / "all"
    folder.mkdir()
    with pytest.raises(InputError, match=r"is a folder; expected the name of a store's file\. Try -o .*all.scores\.db\.$"):
        merge([first], folder, overwrite=overwrite)
    assert not list(folder.iterdir())


def test_a_store_that_is_being_written_is_not_replaced(write, tmp_path):
    first, busy = write("a.db", IMAGES), write("b.db", IMAGES)
    with Store.open(busy), pytest.raises(InputError, match="in use"):
        merge([first], busy, overwrite=True)


def test_what_is_no_store_is_refused_and_nothing_written(write, tmp_path):
    (tmp_path / "notes.txt").write_text("no store, and long enough to be read as one" * 10)
    with pytest.raises(InputError, match="not a store"):
        merge([write("a.db", IMAGES), tmp_path / "notes.txt"], tmp_path / "all.db")
    with pytest.raises(InputError, match="is not there"):
        merge([tmp_path / "absent.db"], tmp_path / "all.db")
    with pytest.raises(UsageError, match="no store to merge"):
        merge([], tmp_path / "all.db")
    assert not (tmp_path / "all.db").exists()
