"""What a store holds is what was written, or the store is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from xaicli.errors import InputError
from xaicli.results import checksums, schema
from xaicli.results.connection import tell_of_older
from xaicli.results.merge import merge
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.rows import KeptMap, Recipe, Row, Run

MODEL = "f" * 16
PHOTOS = 70
"""More than a block of records holds."""
CHANGES = {
    "rows": "value = value + 1e-15",
    "photos": "frame = frame + 1",
    "paths": "path = path || 'x'",
    "models": "name = 'another'",
    "recipes": "highest = 0.5",
    "subjects": "target_name = 'another'",
    "runs": "content = replace(content, 'cpu', 'gpu')",
    "curves": "y = CAST(x'0000803f' || substr(y, 5) AS BLOB)",
    "grids": "x = CAST(x'0000803f' || substr(x, 5) AS BLOB)",
    "maps": "peak = peak * 2",
}


@pytest.fixture
def path(tmp_path: Path, recipe_of: Callable[..., Recipe], row_of: Callable[..., Row]) -> Path:
    """A store of 70 photos."""
    recipe = recipe_of()
    with Store.open(tmp_path / "scores.db") as store:
        for number in range(PHOTOS):
            row = row_of(recipe, f"{number}.jpg")
            kept = KeptMap(row.subject, recipe.method_definition, "grad-cam", 0, [[0.5, 1.0]])
            store.add([row], [recipe], maps=[kept], run=Run("m", MODEL))
    return tmp_path / "scores.db"


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for statement in statements:
            raw.execute(statement)


def everything(path: Path) -> object:
    with Store.open(path, write=False) as store:
        return list(store.rows(Selection(), curves=True)), len(list(store.maps())), store.runs(), store.models()


@pytest.mark.parametrize("number", [3, PHOTOS - 1])
@pytest.mark.parametrize("table", CHANGES)
def test_a_value_that_changed_is_not_read(table: str, number: int, path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        ids = [key for (key,) in raw.execute(f"SELECT rowid FROM {table}")]
    change(path, f"UPDATE {table} SET {CHANGES[table]} WHERE rowid = {ids[min(number, len(ids) - 1)]}")
    with pytest.raises(InputError, match=rf"damaged .*something in {table} \d+ to \d+ is not what was written"):
        everything(path)


@pytest.mark.parametrize("lost", ["id = 5", "id > 64", "id = 70"])
def test_rows_that_are_lost_are_noticed(lost: str, path: Path) -> None:
    change(path, f"DELETE FROM rows WHERE {lost}")
    with pytest.raises(InputError, match="damaged"):
        everything(path)


def test_a_row_that_nobody_wrote_is_noticed(path: Path) -> None:
    change(path, "INSERT INTO rows SELECT 1000, subject, recipe, 7, path, run, value, status, readouts FROM rows WHERE id = 1")
    with pytest.raises(InputError, match="71 records in rows, 70 of them with a checksum"):
        everything(path)


def test_writing_more_does_not_hide_damage(path: Path, recipe_of: Callable[..., Recipe], row_of: Callable[..., Row]) -> None:
    recipe = recipe_of()
    change(path, "UPDATE rows SET value = 0.75 WHERE id = 70")
    with Store.open(path) as store, pytest.raises(InputError, match="damaged"):
        store.add([row_of(recipe, "more.jpg")], [recipe])
    with pytest.raises(InputError, match="damaged"):
        everything(path)


def test_a_damaged_store_is_not_merged(path: Path, tmp_path: Path) -> None:
    change(path, "UPDATE rows SET value = 0.75 WHERE id = 3")
    with pytest.raises(InputError, match="damaged"):
        merge([path], tmp_path / "all.db")
    assert not (tmp_path / "all.db").exists()


def test_a_merged_store_is_whole(path: Path, tmp_path: Path) -> None:
    merge([path], tmp_path / "all.db")
    assert everything(tmp_path / "all.db") == everything(path)


def test_a_model_that_is_named_later_is_no_damage(
    tmp_path: Path, recipe_of: Callable[..., Recipe], row_of: Callable[..., Row]
) -> None:
    recipe, path = recipe_of(), tmp_path / "scores.db"
    with Store.open(path) as store:
        store.add([row_of(recipe, "a.jpg")], [recipe])
        store.add([row_of(recipe, "b.jpg")], [recipe], run=Run("m", MODEL))
    with Store.open(path, write=False) as store:
        assert store.models() == {MODEL: "m"}


def older(path: Path, version: int) -> None:
    """Turn a store into one of an older schema."""
    steps = ["DROP TABLE checksums"]
    if version < 3:
        steps += [f"ALTER TABLE maps DROP COLUMN {name}" for name in ("region_height", "region_width", "region")]
    if version < 2:
        steps += [f"ALTER TABLE recipes DROP COLUMN {name}" for name in ("kind", "lowest", "highest", "of_map_alone")]
    change(path, *steps, f"PRAGMA user_version = {version}")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_store_is_read_as_before_and_gets_checksums_from_the_next_writer(
    version: int,
    path: Path,
    recipe_of: Callable[..., Recipe],
    row_of: Callable[..., Row],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tell_of_older.cache_clear()
    expected = everything(path)
    older(path, version)
    before = path.read_bytes()
    assert everything(path) == expected
    assert everything(path) == expected
    assert path.read_bytes() == before
    assert [record.message.partition(":")[0] for record in caplog.records] == [f"{path} has no checksums"]
    recipe = recipe_of()
    with Store.open(path) as store:
        store.add([row_of(recipe, "0.jpg")], [recipe])
    assert everything(path) == expected
    with closing(sqlite3.connect(path)) as raw:
        assert schema.version(raw) == len(schema.STEPS)
    change(path, "UPDATE rows SET value = 0.75 WHERE id = 3")
    with pytest.raises(InputError, match="damaged"):
        everything(path)


def test_values_that_print_alike_have_checksums_of_their_own() -> None:
    """The last digit of a number, a number and its text, nothing and an empty text, bytes and text."""
    values = [0.1, 0.1 + 2**-56, 1, 1.0, "1", None, "", b"1", "None", float("inf")]
    assert len({checksums.checksum([(value,)]) for value in values}) == len(values)
