"""Blocks of photos: whatever their size, a worker makes of them the rows of a plain run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ray_shell import METRICS, NET, assert_same, photo

pytest.importorskip("ray")

from xaicli.errors import UsageError
from xaicli.images.source import Source
from xaicli.results.row_table import PhotoRows, Records, photos_in
from xaicli.results.store import Store
from xaicli.rows import Row
from xaicli.runs.cluster.blocks import Block, block_size, blocks_of, refuse_unsendable
from xaicli.runs.photo_scores import NewScores, keep, score_missing, score_photos
from xaicli.runs.photos import Failure
from xaicli.runs.score_request import ScoreRequest
from xaicli.runs.score_run import ScoreRun


def run_of(folder: Path, **words: object) -> ScoreRun:
    request = ScoreRequest(images=str(folder), method="grad-cam", metric=METRICS, keep_going=True, **words)
    return request.run(f"{NET}:make")


def plain(run: ScoreRun) -> dict[tuple[str, str, int], Row]:
    with Store.in_memory() as store:
        list(score_missing(run, store))
        return {row.key: row for row in store.rows(curves=True)}


def in_blocks(run: ScoreRun, size: int, lenders: int) -> tuple[dict[tuple[str, str, int], Row], list[PhotoRows]]:
    """The rows that workers would send, through the table in which they travel; and what became of each photo."""
    found = []
    with Store.in_memory() as store:
        todo = run.todo(store)
        for table in blocks_of(run, todo, run.missing(store, todo), size, lenders):
            block = Block.read(table)
            own = replace(
                run,
                sources=block.todo,
                all_sources=(),
                targets=block.targets(run.targets),
                hashes=block.contents,
                stretch=block.stretch,
            )
            records = Records()
            for result in score_photos(own, block.todo, lambda source, partner=None, gaps=block.gaps: gaps[source]):
                about = result.source.path, block.contents.get(result.source, ""), result.source.frame
                made = (
                    PhotoRows(*about, error=result.error)
                    if isinstance(result, Failure)
                    else PhotoRows(*about, rows=result.rows, maps=result.maps, alone=result.alone)
                )
                records.add(made, own.recipes)
            found += photos_in(records.table(), run.recipes)
        for one in found:
            keep(run, NewScores(Source(one.image), list(one.rows), list(one.maps)), store)
        return {row.key: row for row in store.rows(curves=True)}, found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(6):
        photo(tmp_path / "photos", number)
    return tmp_path / "photos"


@pytest.mark.parametrize("size", [1, 2, 5, 6, 40])
def test_blocks_of_any_size_give_the_rows_of_a_plain_run(photos: Path, size: int) -> None:
    run = run_of(photos)
    assert_same(in_blocks(run, size, lenders=2)[0], plain(run))


def test_a_photo_whose_next_one_is_broken_takes_the_map_of_the_one_after(photos: Path) -> None:
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:200])
    run = run_of(photos)
    rows, found = in_blocks(run, 2, lenders=2)
    assert_same(rows, plain(run))
    assert [one.image.rpartition("/")[2] for one in found if one.error is not None] == ["2.png"]


def test_a_photo_without_a_lender_in_its_block_says_so(photos: Path) -> None:
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:200])
    run = run_of(photos)
    _, found = in_blocks(run, 1, lenders=1)
    before = run.ring.order[run.ring.order.index(next(s for s in run.sources if s.name == "2.png")) - 1]
    assert [one.image for one in found if one.alone] == [before.path]


def test_the_targets_of_a_file_travel_with_their_photos(photos: Path, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(6)]
    table = tmp_path / "targets.csv"
    table.write_text("image,target\n" + "".join(f"{name},{at % 4}\n" for at, name in enumerate(names)))
    run = run_of(photos, target=f"@{table}")
    rows, _ = in_blocks(run, 2, lenders=1)
    assert_same(rows, plain(run))
    assert {row.target for row in rows.values()} == {"0", "1", "2", "3"}


def test_maps_travel_as_a_store_keeps_them(photos: Path) -> None:
    run = run_of(photos)
    with Store.in_memory() as sent, Store.in_memory() as kept:
        list(score_missing(run, kept))
        for result in score_photos(run, run.todo(sent), lambda source, partner=None: np.ones(len(run.recipes), dtype=bool)):
            assert isinstance(result, NewScores)
            records = Records()
            records.add(PhotoRows(result.source.path, run.contents[result.source], 0, result.rows, result.maps), run.recipes)
            for one in photos_in(records.table(), run.recipes):
                keep(run, NewScores(result.source, list(one.rows), list(one.maps)), sent)
        there, here = (sorted(one.maps(), key=lambda kept: kept.subject) for one in (sent, kept))
        assert len(there) == len(here) == 6
        for one, other in zip(there, here, strict=True):
            assert one.subject == other.subject
            assert one.box == other.box
            assert np.array_equal(one.values, other.values)


def test_a_short_run_has_several_blocks_for_each_actor() -> None:
    assert block_size(8, 2, None) == 1
    assert block_size(100_000, 4, None) == 32
    assert block_size(8, 2, 5) == 5


def test_photos_in_memory_are_refused(photos: Path) -> None:
    with pytest.raises(UsageError, match="in memory"):
        refuse_unsendable([Source.of(np.zeros((8, 8, 3), np.uint8))], run_of(photos).classifier)
