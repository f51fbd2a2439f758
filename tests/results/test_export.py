"""What leaves a store for other programs is what is in it."""

from __future__ import annotations

import csv
import importlib.util
import io
import json

import pytest

from xaicli.errors import InputError, UsageError
from xaicli.results.export import export, export_to
from xaicli.results.reading import Selection
from xaicli.results.store import Store
from xaicli.rows import COLUMNS

ODD_NAMES = ["plain.jpg", 'comma, quote " and\nbreak.jpg', "=1+1.jpg", "@SUM(A1).jpg", "naïve 漢字.jpg", "<img src=x>.jpg"]


@pytest.fixture
def store(recipe_of, row_of):
    store = Store.in_memory()
    deletion, iou = recipe_of(), recipe_of(metric="iou", direction="higher")
    for number, name in enumerate(ODD_NAMES):
        rows = [
            row_of(deletion, name, None if number == 0 else number / 3, readouts={"p0": 0.1 + number, "tied": 0.25}),
            row_of(iou, name, 1 / 7, readouts={}),
        ]
        store.add(rows, [deletion, iou])
    return store


def test_csv_holds_the_columns_then_the_readouts_and_every_value_exactly(store, tmp_path):
    path = tmp_path / "rows.csv"
    assert export(store, path) == 12
    lines = list(csv.DictReader(io.StringIO(path.read_bytes().decode())))
    assert list(lines[0]) == [*COLUMNS, "p0", "tied"]
    assert {line["image"] for line in lines} == set(ODD_NAMES)
    for line, row in zip(lines, store.rows(), strict=True):
        assert line["value"] == ("" if row.value is None else repr(row.value))
        assert (line["p0"] != "") == ("p0" in row.readouts)
        assert (line["image"], line["status"], line["seed"]) == (row.image, row.status, "0")


def test_a_json_line_is_a_row(store, tmp_path):
    path = tmp_path / "rows.jsonl"
    assert export(store, path) == 12
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert lines == [row.record() for row in store.rows()]
    assert lines[0].keys() >= set(COLUMNS)
    assert [line["value"] for line in lines if line["image"] == "plain.jpg" and line["metric"] == "deletion"] == [None]


def test_the_partner_is_a_whole_number_in_every_format(recipe_of, row_of, tmp_path):
    recipe, store = recipe_of(), Store.in_memory()
    store.add([row_of(recipe, "a.jpg", 0.5, readouts={"p0": 1.0, "partner": float(0xAE2153C0A6C2)})], [recipe])
    for form, ending in (("csv", f",{0xAE2153C0A6C2}\n"), ("jsonl", f'"partner": {0xAE2153C0A6C2}}}\n')):
        export(store, tmp_path / f"rows.{form}")
        assert (tmp_path / f"rows.{form}").read_text().endswith(ending)
    parquet = pytest.importorskip("pyarrow.parquet")
    export(store, tmp_path / "rows.parquet")
    [partner] = parquet.read_table(tmp_path / "rows.parquet").to_pydict()["partner"]
    assert isinstance(partner, int)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_parquet_holds_the_same_rows(store, tmp_path, monkeypatch):
    import pyarrow.parquet

    monkeypatch.setattr("xaicli.results.export.ROWS_AT_ONCE", 5)
    path = tmp_path / "rows.parquet"
    assert export(store, path) == 12
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == [*COLUMNS, "p0", "tied"]
    assert [str(kind) for kind in table.schema.types] == [*["string"] * 4, "double", *["string"] * 3, "int64", "double", "double"]
    blank = dict.fromkeys(["p0", "tied"])
    assert table.to_pylist() == [blank | row.record() for row in store.rows()]


def test_parquet_without_pyarrow_says_what_to_install(store, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "xaicli\[parquet\]"'):
        export(store, tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_selection_exports_what_it_takes(store):
    file = io.BytesIO()
    assert export_to(store, file, "csv", Selection(metrics=("iou",))) == 6
    assert file.getvalue().decode().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_empty_store_exports_no_rows(form):
    file = io.BytesIO()
    assert export_to(Store.in_memory(), file, form) == 0
    assert file.getvalue().decode() == (",".join(COLUMNS) + "\n" if form == "csv" else "")


@pytest.mark.parametrize("name", ["rows", "rows.xlsx"])
def test_a_format_that_nobody_named_is_refused(store, tmp_path, name):
    with pytest.raises(UsageError, match="csv, jsonl, parquet"):
        export(store, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_one_format_is_not_filled_with_another(store, tmp_path):
    with pytest.raises(UsageError, match=r"rows\.csv is named csv, and the format is parquet; .* Give -o FILE\.parquet"):
        export(store, tmp_path / "rows.csv", "parquet")
    assert list(tmp_path.iterdir()) == []
    assert export(store, tmp_path / "rows.txt", "csv") > 0


def test_a_file_that_cannot_be_written_leaves_nothing_behind(store, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export(store, tmp_path / "taken" / "rows.csv")
