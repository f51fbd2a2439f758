"""What a run on Ray is made of: seconds a photo, the driver's cost of a row, the growth of store and Parquet files.

`python -m docs.scale` simulates clusters from these. Times are those of the processor, on one thread.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import torch

from benchmarks import ray_rate
from benchmarks.figures import Figure
from benchmarks.ray_photos import photos
from xaicli.images.source import Source
from xaicli.results.parquet_folder import ParquetFolder
from xaicli.results.row_table import PhotoRows, Records, photos_in
from xaicli.results.store import Store
from xaicli.rows import Curve, Recipe, Row, Run
from xaicli.runs.cluster.blocks import LARGEST_BLOCK, blocks_of
from xaicli.runs.photo_scores import score_photos
from xaicli.runs.photos import Failure
from xaicli.runs.score_request import ScoreRequest
from xaicli.runs.score_run import ScoreRun

METHODS = "grad-cam,grad-cam++,layer-cam,hirescam,score-cam,rise@n_masks=500,occlusion,integrated-gradients,saliency,lfi-cam"
"""Ten methods of all kinds and costs."""
PHOTOS = 5
BLOCKS = 6
MODEL = "f" * 16
COLUMNS = 22
"""Ten methods, each with its map of another photo, and the controls `random` and `center`; under two metrics."""


def measure(rounds: int) -> list[Figure]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = run_of(Path(folder))
        tasks = seconds_a_photo(run)
        writing, growth, told, files = driver(Path(folder))
        bytes_planned(run, 100)
        listed, planned = bytes_planned(run)
    return [
        Figure("one photo, ten methods, two metrics, all controls, on tiny", "s", tuple(tasks)),
        Figure("rows that the driver reads and writes a second", "rows/s", tuple(writing), least=5_000),
        Figure("the store, for each row with its curve", "B", (growth,)),
        Figure("photos a second of which the driver only hears", "photos/s", tuple(told)),
        Figure("Parquet files, for each row with its curve", "B", tuple(files)),
        Figure("the list of photos with their contents, for each photo, as every run has it", "B", (listed,)),
        Figure("the driver's memory for each photo beside that list", "B", (planned,)),
        *ray_rate.figures(max(1, rounds // 2)),
    ]


def run_of(folder: Path) -> ScoreRun:
    photos(folder, PHOTOS + 1)
    return ScoreRequest(images=str(folder), method=METHODS.split(",")).run("tiny")


def seconds_a_photo(run: ScoreRun) -> list[float]:
    """Of each photo but the first, which warms up."""
    everything = np.ones(len(run.recipes), dtype=bool)
    taken, last = [], time.process_time()
    with Store.in_memory() as nothing:
        todo = run.todo(nothing)
    for result in score_photos(run, todo, lambda source, partner=None: everything):
        if isinstance(result, Failure):
            raise result.error
        now = time.process_time()
        taken.append(now - last)
        last = now
    return taken[1:]


def driver(folder: Path) -> tuple[list[float], float, list[float], list[float]]:
    """Rows a second into the store, its bytes a row, photos a second with a sink, and bytes a row in its files."""
    made = recipes()
    run = Run("tiny", MODEL)
    writing, told, files = [], [], []
    path = folder / "scores.db"
    with Store.open(path) as store:
        for block in range(BLOCKS):
            photos = [scored(made, block * LARGEST_BLOCK + at) for at in range(LARGEST_BLOCK)]
            records, short = Records(), Records()
            for photo in photos:
                records.add(photo, made)
                short.add(PhotoRows(photo.image, photo.photo, 0, written=len(photo.rows)), ())
            table, outcome = records.table(), short.table()
            start = time.process_time()
            for photo in photos_in(table, made):
                store.add(photo.rows, made, run=run)
            writing.append(table.num_rows / (time.process_time() - start))
            start = time.process_time()
            told.append(len(list(photos_in(outcome, made))) / (time.process_time() - start))
            files.append(ParquetFolder(folder / "rows").write(table, made, run).stat().st_size / table.num_rows)
    return writing[1:], path.stat().st_size / (BLOCKS * LARGEST_BLOCK * len(made)), told[1:], files


def recipes() -> list[Recipe]:
    names = [(f"method-{method}", f"metric-{metric}") for method in range(COLUMNS) for metric in range(2)]
    return [Recipe(method, metric, {"name": method}, {"name": metric}, "top1", "fp32", "higher") for method, metric in names]


def scored(made: list[Recipe], number: int) -> PhotoRows:
    content = hashlib.sha256(str(number).encode()).hexdigest()
    generator = np.random.default_rng(number)
    x = tuple(np.linspace(0, 1, 29).tolist())
    rows = [
        Row(
            *(f"{number}.jpg", content, recipe.method, "281", recipe.metric, float(generator.random()), "ok"),
            *(recipe.definition, content[:16], 0, MODEL),
            readouts={"log_odds": 0.125, "normalised": 0.25, "p0": 0.75, "p_baseline": 0.0625, "tied": 0.0},
            curve=Curve(x, tuple(generator.random(29).astype(np.float32).tolist())),
        )
        for recipe in made
    ]
    return PhotoRows(f"{number}.jpg", content, 0, rows)


def bytes_planned(run: ScoreRun, count: int = 20_000) -> tuple[float, float]:
    """Memory for each photo of a job: of the list of photos with their contents, and of all else that the driver keeps once the
    blocks are sent."""
    tracemalloc.start()
    sources = [Source.of_file(Path(f"photos/{number:012}.jpg")) for number in range(count)]
    hashes = {source: hashlib.sha256(source.path.encode()).hexdigest() for source in sources}
    listed = tracemalloc.get_traced_memory()[0]
    job = ScoreRun(sources, run.classifier, run.methods, run.metrics, hashes=hashes)
    for _ in blocks_of(job, sources, np.ones((count, len(job.recipes)), dtype=bool), LARGEST_BLOCK):
        pass
    planned = tracemalloc.get_traced_memory()[0] - listed
    tracemalloc.stop()
    return listed / count, planned / count
