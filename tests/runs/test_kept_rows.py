"""What a run remembers of each map until it ends."""

from __future__ import annotations

import dataclasses

import xaicli
from xaicli.runs.kept_rows import KeptRows


def test_rows_come_back_as_they_were():
    given = [{"image": "möwe\udcff.png", "p": 0.1 + 0.2, "map": None, "seed": 7}, {"image": "b", "p": float("inf")}]
    rows = KeptRows()
    for row in given:
        rows.append(row)
    assert list(rows) == given
    assert (rows[-1], rows[:1], len(rows)) == (given[-1], given[:1], 2)


def test_a_run_keeps_no_record_and_no_row_of_what_it_has_told(photo_folder, tmp_path):
    made = xaicli.explain(photo_folder, "tiny", "center", output=tmp_path / "out")
    assert all(value is None for written in made.made.written for value in (written.fresh, written.thumbnail))
    assert isinstance(made.found, KeptRows)
    assert [row["method"] for row in made.found] == [one.record.method for one in made]
    assert not any(dataclasses.is_dataclass(value) for row in made.found for value in row.values())
