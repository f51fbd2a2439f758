"""A file that is no store, or cannot be one, is refused in one line that says what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sqlite3

import pytest

from xaicli import registry
from xaicli.errors import InputError
from xaicli.params import as_json
from xaicli.results import connection, schema
from xaicli.results.store import Store


def refusal(path, **how):
    with pytest.raises(InputError) as caught:
        Store.open(path, **how)
    line = str(caught.value)
    assert caught.value.exit_code == 3
    assert str(path) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("write", [True, False])
def test_a_file_that_is_no_database_is_refused_and_stays(tmp_path, write):
    path = tmp_path / "scores.db"
    path.write_bytes(b"image,method,value\n" * 100)
    assert "is not a store" in refusal(path, write=write)
    assert path.read_bytes() == b"image,method,value\n" * 100


@pytest.mark.parametrize("write", [True, False])
def test_a_database_of_another_application_is_refused_and_stays(tmp_path, write):
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = path.read_bytes()
    assert "another application" in refusal(path, write=write)
    assert path.read_bytes() == before


@pytest.mark.parametrize("write", [True, False])
def test_a_newer_schema_is_refused_in_words(tmp_path, write):
    path = tmp_path / "scores.db"
    Store.open(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {len(schema.STEPS) + 1}")
    raw.close()
    line = refusal(path, write=write)
    assert f"newer xaicli (schema {len(schema.STEPS) + 1})" in line
    assert "Upgrade xaicli" in line


def test_a_refused_name_is_another_o_only_where_it_is_written(tmp_path):
    words, foreign, newer = tmp_path / "a.json", tmp_path / "b.sqlite", tmp_path / "c.db"
    words.write_bytes(b"image,method,value\n" * 100)
    Store.open(newer).close()
    for path, statement in [(foreign, "CREATE TABLE t (a)"), (newer, f"PRAGMA user_version = {len(schema.STEPS) + 1}")]:
        with contextlib.closing(sqlite3.connect(path)) as raw:
            raw.execute(statement)
    for path in (words, foreign, newer):
        assert "another name with -o" in refusal(path, write=True)
        assert "another name with -o" not in refusal(path, write=False)


def test_a_folder_in_place_of_a_store_names_the_store_that_lies_in_it(tmp_path):
    assert f"Try -o {tmp_path / 'scores.db'}" in refusal(tmp_path, write=True)
    assert "xai score PHOTOS -o STORE.db writes one" in refusal(tmp_path, write=False)
    Store.open(tmp_path / "my.db").close()
    assert f"Name the store in it: {tmp_path / 'my.db'}" in refusal(tmp_path, write=False)


def test_an_older_schema_is_upgraded_when_written_and_only_read_when_read(tmp_path, monkeypatch, recipe_of, row_of):
    path = tmp_path / "scores.db"
    recipe = recipe_of()
    with Store.open(path) as store:
        store.add([row_of(recipe, "a.jpg")], [recipe])
    before = path.read_bytes()
    monkeypatch.setattr(schema, "STEPS", [*schema.STEPS, "ALTER TABLE rows ADD COLUMN seconds REAL;\n"])
    with Store.open(path, write=False) as store:
        assert [row.image for row in store.rows()] == ["a.jpg"]
        assert schema.version(store._connection) == len(schema.STEPS)
    assert path.read_bytes() == before
    with Store.open(path) as store:
        assert [row.image for row in store.rows()] == ["a.jpg"]
    with sqlite3.connect(path) as raw:
        assert schema.version(raw) == len(schema.STEPS)
        raw.execute("SELECT seconds FROM rows")
    raw.close()


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "scores.db"
    Store.open(path).close()
    known = len(schema.STEPS)
    monkeypatch.setattr(schema, "STEPS", [*schema.STEPS, "CREATE TABLE extra (id INTEGER);\nCREATE TABLE rows (id INTEGER);\n"])
    refusal(path)
    with sqlite3.connect(path) as raw:
        assert schema.version(raw) == known
        assert raw.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    raw.close()


def test_a_trigger_in_a_store_from_elsewhere_is_refused(tmp_path):
    path = tmp_path / "scores.db"
    Store.open(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TRIGGER sly AFTER INSERT ON rows BEGIN DELETE FROM rows; END")
    raw.close()
    assert '"sly", a trigger or view' in refusal(path)


def test_what_is_not_there_cannot_be_read(tmp_path):
    assert "is not there" in refusal(tmp_path / "absent.db", write=False)
    assert not (tmp_path / "absent.db").exists()
    (tmp_path / "empty.db").touch()
    assert "is empty" in refusal(tmp_path / "empty.db", write=False)


def test_an_empty_file_becomes_a_store_when_written(tmp_path):
    (tmp_path / "empty.db").touch()
    Store.open(tmp_path / "empty.db").close()
    Store.open(tmp_path / "empty.db", write=False).close()


def test_a_folder_or_a_place_in_no_folder_is_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be opened" in refusal(tmp_path / "absent" / "scores.db")


def test_names_with_odd_characters_are_names_of_files(tmp_path):
    path = tmp_path / "50 % of #1?mode=memory.db"
    Store.open(path).close()
    assert path.is_file()


def test_a_locked_store_says_that_another_process_has_it(tmp_path, monkeypatch, recipe_of, row_of):
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    path = tmp_path / "scores.db"
    recipe = recipe_of()
    with Store.open(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="stayed locked"):
            store.add([row_of(recipe, "a.jpg")], [recipe])
        other.execute("COMMIT")
        other.close()
        assert store.add([row_of(recipe, "a.jpg")], [recipe]) == 1


def test_a_full_disk_keeps_what_was_finished(tmp_path, recipe_of, row_of):
    recipe = recipe_of()
    rows = [row_of(recipe, f"{number}.jpg") for number in range(1000)]
    with Store.open(tmp_path / "scores.db") as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(InputError, match="the disk is full"):
            sum(store.add([row], [recipe]) for row in rows)
        assert {row.image for row in store.rows(curves=True)} == {row.image for row in rows[: len(list(store.rows()))]}
        assert 0 < len(list(store.rows())) < len(rows)


def test_a_read_only_store_says_so(tmp_path, recipe_of, row_of):
    Store.open(tmp_path / "scores.db").close()
    recipe = recipe_of()
    with Store.open(tmp_path / "scores.db", write=False) as store, pytest.raises(InputError, match="read-only"):
        store.add([row_of(recipe, "a.jpg")], [recipe])


def test_a_truncated_store_is_damaged_not_a_crash(tmp_path, recipe_of, row_of):
    path = tmp_path / "scores.db"
    recipe = recipe_of()
    with Store.open(path) as store:
        for number in range(200):
            store.add([row_of(recipe, f"{number}.jpg")], [recipe])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"damaged|not a store"), Store.open(path, write=False) as store:
        list(store.rows())


def test_a_store_is_in_wal_mode_except_on_a_network_file_system(tmp_path, monkeypatch):
    def journal(path):
        with Store.open(path) as store:
            return store._connection.execute("PRAGMA journal_mode").fetchone()[0]

    assert journal(tmp_path / "here.db") == "wal"
    monkeypatch.setattr(connection, "on_network", lambda path: True)
    assert journal(tmp_path / "there.db") == "delete"


def test_a_store_at_rest_is_one_file_and_stays_so_when_read(tmp_path, recipe_of, row_of):
    recipe = recipe_of()
    path = tmp_path / "scores.db"
    with Store.open(path) as store, Store.open(path) as second:
        store.add([row_of(recipe, "a.jpg")], [recipe])
        second.add([row_of(recipe, "b.jpg")], [recipe])
        with Store.open(path, write=False) as reader:
            assert len(list(reader.rows())) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.db"]
    before = path.read_bytes()
    with Store.open(path, write=False) as reader:
        assert len(list(reader.rows())) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.db"]
    assert path.read_bytes() == before


def test_the_nearest_mount_decides_whether_a_file_lies_on_the_network(tmp_path):
    mounts = tmp_path / "mounts"
    inner = tmp_path / "in ner"
    inner.mkdir()
    escaped = str(inner).replace(" ", "\\040")
    mounts.write_text(f"host:/x {tmp_path} nfs4 rw 0 0\n/dev/sda / ext4 rw 0 0\n/dev/sdb {escaped} ext4 rw 0 0\n")
    assert connection.on_network(tmp_path / "scores.db", mounts)
    assert not connection.on_network(inner / "scores.db", mounts)
    assert not connection.on_network(tmp_path.parent / "scores.db", mounts)
    assert not connection.on_network(tmp_path / "scores.db", tmp_path / "absent")


@pytest.fixture
def interrupted(tmp_path):
    """A store as a killed writer leaves it under a rollback journal: half written, the journal beside."""
    whole, left = tmp_path / "whole.db", tmp_path / "left.db"
    Store.open(whole).close()
    writer = sqlite3.connect(whole, isolation_level=None)
    for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA cache_size = 1", "BEGIN", "CREATE TABLE half (written TEXT)"):
        writer.execute(statement)
    writer.executemany("INSERT INTO half VALUES (?)", [("x" * 500,)] * 500)
    for ending in ("", "-journal"):
        shutil.copy(f"{whole}{ending}", f"{left}{ending}")
    writer.close()
    return left


def test_a_reader_takes_back_what_a_killed_writer_had_begun(interrupted):
    raw = sqlite3.connect(f"file:{interrupted}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        raw.execute("SELECT * FROM sqlite_master")
    raw.close()
    with Store.open(interrupted, write=False) as store:
        assert not list(store.rows())
    assert sorted(path.name for path in interrupted.parent.iterdir()) == ["left.db", "whole.db"]


def test_a_reader_who_may_not_take_it_back_is_told_who_can(interrupted, monkeypatch):
    def for_reading(name, how):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(connection, "reader", for_reading)
    line = refusal(interrupted, write=False)
    assert "left in the middle of a write" in line
    assert "owner" in line


SINCE = ("removal", "positive-share", "nss")
"""Metrics that are younger than that step: no store before it has rows of them."""


def test_a_store_before_kinds_learns_those_of_the_metrics_there_were(tmp_path, monkeypatch, recipe_of, row_of):
    """The second schema step says of each built-in metric what it says of itself, whatever the parameters that matter."""
    metrics = [
        *(registry.make_metric(name) for name in registry.METRICS.table if name not in SINCE),
        *map(registry.make_metric, ("road@order=morf", "aopc@output=logit")),
    ]
    path = tmp_path / "scores.db"
    with monkeypatch.context() as before:
        before.setattr(schema, "STEPS", schema.STEPS[:1])
        opened = connection.connect(path, write=True)
        for metric in metrics:
            recipe = dataclasses.replace(recipe_of(metric=metric.label), metric_content=as_json(metric))
            known = [recipe.definition, recipe.method_definition, recipe.method, recipe.metric, "{}"]
            known += [json.dumps(recipe.metric_content), "top1", "fp32", "lower", 0, "", "", "{}"]
            opened.execute(f"INSERT INTO recipes VALUES (NULL, {', '.join('?' * 13)})", known)
        connection.close(opened)
    with Store.open(path, write=False) as store:
        found = {recipe.metric: recipe for recipe in store.recipes()}
    for metric in metrics:
        assert found[metric.label].quantity == metric.quantity, metric.label
        assert found[metric.label].of_map_alone == metric.of_map_alone, metric.label
