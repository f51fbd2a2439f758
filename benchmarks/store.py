"""A store of a million rows: opening it and finding what is missing for 10,000 photos, the table of means, and adding a photo."""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.timing import seconds
from xaicli.results.merge import merge
from xaicli.results.store import Store
from xaicli.results.summary import summarise
from xaicli.results.tables import render
from xaicli.rows import Curve, Recipe, Row

PHOTOS, METHODS, METRICS = 10_000, 10, 10
MODEL = "f" * 16


def measure(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.db"
        adding = fill(path)
        size = path.stat().st_size / 2**20
        wanted = [(content(photo), 0) for photo in range(PHOTOS)]

        def find_missing() -> None:
            with Store.open(path) as store:
                assert not store.missing(wanted, recipes(), model=MODEL, seed=0).any()

        def table_of_means() -> None:
            with Store.open(path, write=False) as store:
                assert render(summarise(store), "table")

        def joined() -> None:
            merge([path], Path(folder) / "all.db", overwrite=True)

        opening = tuple(seconds(find_missing) for _ in range(rounds))
        means = tuple(seconds(table_of_means) for _ in range(rounds))
        merging = (seconds(joined),)
    pairs = METRICS * METHODS * (METHODS - 1) // 2
    rows = f"{PHOTOS * METHODS * METRICS:,} rows"
    return [
        Figure(f"opening a store of {rows} and finding what is missing for {PHOTOS:,} photos", "s", opening, 2.0),
        Figure(f"the table of means over {rows}, with intervals and {pairs} comparisons", "s", means, 5.0),
        Figure(f"merging a store of {rows}", "s", merging),
        Figure(f"adding one photo of {METHODS * METRICS} rows", "ms", tuple(adding)),
        Figure(f"a store of {rows} with curves", "MiB", (size,)),
    ]


def recipes() -> list[Recipe]:
    names = [(f"method-{method}", f"metric-{metric}") for method in range(METHODS) for metric in range(METRICS)]
    return [Recipe(method, metric, {"name": method}, {"name": metric}, "top1", "fp32", "higher") for method, metric in names]


def content(photo: int) -> str:
    return hashlib.sha256(str(photo).encode()).hexdigest()


def fill(path: Path) -> list[float]:
    """Write the store; milliseconds of every hundredth photo."""
    known = [(recipe, recipe.definition) for recipe in recipes()]
    made = [recipe for recipe, _ in known]
    generator = np.random.default_rng(0)
    curve = Curve(tuple(np.linspace(0, 1, 29).tolist()), tuple(generator.random(29).tolist()))
    readouts = {"log_odds": 0.125, "normalised": 0.25, "p0": 0.75, "p_baseline": 0.0625, "tied": 0.0}
    taken = []
    with Store.open(path) as store:
        for photo in range(PHOTOS):
            values = generator.random(len(known)).tolist()
            subject = content(photo)[:16]
            rows = [
                Row(
                    *(f"{photo}.jpg", content(photo), recipe.method, "281", recipe.metric, value, "ok"),
                    *(definition, subject, 0, MODEL),
                    readouts=readouts,
                    curve=curve,
                )
                for (recipe, definition), value in zip(known, values, strict=True)
            ]
            start = time.perf_counter()
            store.add(rows, made)
            if photo % 100 == 0:
                taken.append(1000 * (time.perf_counter() - start))
    return taken
