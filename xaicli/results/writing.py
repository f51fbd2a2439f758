"""Writing rows and the records that they refer to: each recipe, photo, model, subject, run and curve grid once."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.results import checksums
from xaicli.rows import KeptMap, Recipe, Row, Run
from xaicli.writable_text import json_text

LARGEST_SIDE = 56
"""Maximum side of a map stored for a report. Maps are coarse, so a few KiB per photo are enough."""
LARGEST_REGION = 112
"""Cells a side of a region kept for a report, a bit each."""
LARGEST_SEED = 2**63 - 1
OF_A_PHOTO = ("photos", "paths", "subjects")
"""Tables whose records no other photo refers to."""
IDS_IN_MEMORY = 10_000
"""Ids of one table that are remembered."""


class Writer:
    """Writes inside the caller's transaction. Call `forget` after a rollback, since remembered ids may belong to records that are
    gone."""

    def __init__(self, connection: sqlite3.Connection, *, curves: bool) -> None:
        self.connection = connection
        self.keeps_curves = curves
        self.ids: dict[str, dict[tuple[Any, ...], int]] = {}

    def forget(self) -> None:
        self.ids.clear()

    def forget_photo(self) -> None:
        """Forget what only the rows of one photo refer to, so that memory does not grow with the photos."""
        for table in OF_A_PHOTO:
            self.ids.pop(table, None)

    def id_of(self, table: str, /, **unique: Any) -> int | None:
        """The id of the record of `table` with these values, remembered after the first query."""
        known = self.ids.setdefault(table, {})
        key = tuple(unique.values())
        if key not in known:
            where = " AND ".join(f"{name} = ?" for name in unique)
            found = self.connection.execute(f"SELECT id FROM {table} WHERE {where}", key).fetchone()
            if found is None:
                return None
            if len(known) >= IDS_IN_MEMORY:
                known.clear()
            known[key] = int(found[0])
        return known[key]

    def keep(self, table: str, unique: dict[str, Any], further: dict[str, Any] | None = None) -> int:
        """The id of a record, which is written if it is new."""
        known = self.id_of(table, **unique)
        if known is not None:
            return known
        values = {**unique, **(further or {})}
        marks = ", ".join("?" * len(values))
        self.connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        written = self.id_of(table, **unique)
        assert written is not None
        return written

    def recipe(self, recipe: Recipe) -> int:
        known = self.id_of("recipes", definition=recipe.definition)
        if known is not None:
            return known
        further = dataclasses.asdict(recipe) | {
            "method_definition": recipe.method_definition,
            "method_content": compact(recipe.method_content),
            "metric_content": compact(recipe.metric_content),
            "ratios": compact(recipe.ratios),
        }
        return self.keep("recipes", {"definition": recipe.definition}, further)

    def run(self, run: Run) -> int:
        model = {"fingerprint": run.fingerprint}
        self.keep("models", model, {"name": run.model})
        named = self.connection.execute(
            "UPDATE models SET name = ? WHERE fingerprint = ? AND name = ''", (run.model, run.fingerprint)
        )
        if named.rowcount:
            checksums.write_all(self.connection, ["models"])
        return self.keep("runs", {"content": compact(dataclasses.asdict(run))})

    def row(self, row: Row, run: int | None) -> bool:
        recipe = self.id_of("recipes", definition=row.definition)
        if recipe is None:
            raise ValueError(f"a row of {row.method} and {row.metric} whose recipe is not given")
        if not 0 <= row.seed <= LARGEST_SEED:
            raise ValueError(f"seed {row.seed} is not in 0 to 2**63 - 1")
        photo = self.keep("photos", {"content": row.photo, "frame": row.frame})
        path = self.keep("paths", {"photo": photo, "path": row.image})
        model = self.keep("models", {"fingerprint": row.model}, {"name": ""})
        about = {"photo": photo, "model": model, "target": row.target, "target_name": row.target_name}
        subject = self.keep("subjects", {"subject": row.subject}, about)
        written = self.connection.execute(
            "INSERT INTO rows (subject, recipe, seed, path, run, value, status, readouts) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (subject, recipe, row.seed, path, run, row.value, row.status, compact(row.readouts) if row.readouts else None),
        )
        if written.rowcount and row.curve is not None and self.keeps_curves:
            grid = self.keep("grids", {"x": floats(row.curve.x)})
            self.connection.execute("INSERT INTO curves VALUES (?, ?, ?)", (written.lastrowid, grid, floats(row.curve.y)))
        return bool(written.rowcount)

    def map(self, kept: KeptMap) -> None:
        subject = self.id_of("subjects", subject=kept.subject)
        if subject is None:
            raise ValueError(f"a map of {kept.method} whose subject has no row")
        values = np.asarray(kept.values, dtype=np.float32)
        if values.ndim != 2 or not values.size or not np.isfinite(values).all():
            return
        values = reduced(values)
        # Scaled to at most 1, so that float16 does not overflow or underflow.
        peak = max(float(np.abs(values).max(initial=0.0)), float(np.finfo(np.float32).tiny))
        record = {
            "subject": subject,
            "method_definition": kept.method_definition,
            "seed": kept.seed,
            "method": kept.method,
            "height": values.shape[0],
            "width": values.shape[1],
            "map": (values / peak).astype("<f2").tobytes(),
            "peak": peak,
            **dict(zip(("x0", "y0", "x1", "y1"), kept.box, strict=True)),
            "signed": kept.signed,
            **packed(kept.region),
        }
        marks = ", ".join("?" * len(record))
        insert = f"INSERT INTO maps ({', '.join(record)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
        self.connection.execute(insert, tuple(record.values()))


def reduced(values: NDArray[np.float32], most: int = LARGEST_SIDE) -> NDArray[np.float32]:
    """A map reduced to at most `most` values per side by means. It is only for drawing; scores use the whole map."""
    height, width = (min(side, most) for side in values.shape)
    if (height, width) == values.shape:
        return values
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))


def packed(region: Any) -> dict[str, Any]:
    """A region's columns; a region that is too small to be seen at the size kept stays one cell at least."""
    if region is None:
        return {}
    shares = reduced(np.asarray(region, dtype=np.float32), LARGEST_REGION)
    kept = shares >= min(0.5, float(shares.max(initial=0.0)))
    return {"region_height": kept.shape[0], "region_width": kept.shape[1], "region": np.packbits(kept).tobytes()}


def compact(content: Any) -> str:
    """Canonical JSON: sorted keys, no spaces."""
    return json_text(content, None, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)


def floats(values: Sequence[float]) -> bytes:
    return np.asarray(values, dtype="<f4").tobytes()
