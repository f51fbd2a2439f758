"""Which row of the control `other` is read if several jobs left one for the same photo.

A row's partner is the next photo by content hash in its job, so a larger job, or a merge, may find a nearer one. The row of the
nearest partner is read: a new run over all these photos would have made that one. The others stay in the store and in exports.
"""

from __future__ import annotations

import sqlite3

from xaicli.results.connection import listed
from xaicli.rows import PARTNER, Recipe, steps_on_the_ring

NUMBER = f"CAST(json_extract(r.readouts, '$.{PARTNER}') AS INTEGER)"
"""SQL for a row's partner, NULL without one."""


def superseded(connection: sqlite3.Connection, known: dict[int, Recipe]) -> list[int]:
    """Rows of these recipes for which there is a row of a nearer partner."""
    columns = listed([key for key, recipe in known.items() if recipe.has_partner])
    of_one = "SELECT s.photo, s.model, s.target, r.recipe, r.seed, {what} FROM rows r JOIN subjects s ON s.id = r.subject"
    several = connection.execute(
        f"WITH several AS ({of_one.format(what='count(*)')} WHERE r.recipe IN ({columns}) GROUP BY 1, 2, 3, 4, 5 "
        "HAVING count(*) > 1) "
        f"SELECT s.photo, s.model, s.target, r.recipe, r.seed, r.id, h.content, {NUMBER} FROM several v "
        "JOIN subjects s ON s.photo = v.photo AND s.model = v.model AND s.target = v.target "
        "JOIN rows r ON r.subject = s.id AND r.recipe = v.recipe AND r.seed = v.seed "
        "JOIN photos h ON h.id = s.photo"
    )
    found: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for *key, row, content, partner in several:
        found.setdefault(tuple(key), []).append((steps_on_the_ring(content, partner or 0), row))
    return [row for rows in found.values() for _, row in sorted(rows)[1:]]
