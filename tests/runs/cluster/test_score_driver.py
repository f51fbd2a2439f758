"""The driver goes on with new actors where Ray has lost all of a run's."""

from __future__ import annotations

import gc
import hashlib
import queue
import socket
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as arrow
import pytest
from ray_shell import METRICS, NET, RayShell

pytest.importorskip("ray")

from xaicli.errors import RunError
from xaicli.images.source import Source
from xaicli.progress import SILENT
from xaicli.results.row_table import PhotoRows, Records
from xaicli.results.store import Store
from xaicli.rows import Row
from xaicli.runs.cluster import stream
from xaicli.runs.cluster.address import Pool
from xaicli.runs.cluster.blocks import Block
from xaicli.runs.cluster.ledger import RunningLedger
from xaicli.runs.cluster.lost_actors import ActorsLost
from xaicli.runs.cluster.score_driver import ScoreOnRay
from xaicli.runs.cluster.stream import Stream
from xaicli.runs.photo_scores import score_missing, score_photos
from xaicli.runs.photos import Failure
from xaicli.runs.score_request import ScoreRequest


class Losing(ScoreOnRay):
    """Scores in this process; the actors of the first rounds are lost after `before` photos."""

    rounds = 0
    before, times = 2, 2

    def stream(self, folder: Any) -> Any:
        return self

    def round(self, stream: Any, store: Any, lenders: int, todo: Any) -> Iterator[PhotoRows]:
        type(self).rounds += 1
        gaps = self.run.missing(store, todo)
        for at, result in enumerate(score_photos(self.run, todo, lambda source, partner=None: gaps[todo.index(source)])):
            if at == self.before and self.rounds <= self.times:
                raise ActorsLost("Ray gave up")
            about = result.source.path, self.run.contents.get(result.source, ""), 0
            if isinstance(result, Failure):
                yield PhotoRows(*about, error=result.error)
            else:
                yield PhotoRows(*about, rows=result.rows, maps=result.maps)


def losing(before: int, times: int = 2) -> Losing:
    run = ScoreRequest(images="photos", method="grad-cam", metric=METRICS, keep_going=True).run(f"{NET}:make")
    made = type("Made", (Losing,), {"before": before, "times": times})
    return made(run, f"{NET}:make", "top1", Pool(1, 1, 1), SILENT)  # type: ignore[no-any-return]


def test_what_lost_actors_left_is_done_by_new_ones_and_nothing_twice(shell: RayShell) -> None:
    Path("photos/3.png").write_bytes(Path("photos/3.png").read_bytes()[:200])
    driver = losing(before=2)
    with Store.in_memory() as store, Store.in_memory() as plain:
        results = list(driver.results(store))
        list(score_missing(driver.run, plain))
        assert {row.key for row in store.rows()} == {row.key for row in plain.rows()}
    assert driver.rounds == 3
    assert sum(isinstance(result, Failure) for result in results) == 1
    assert len(results) == 7


def test_actors_that_are_lost_before_they_did_anything_are_replaced(shell: RayShell) -> None:
    with Store.in_memory() as store:
        assert len(list(losing(before=0).results(store))) == 7


class Scripted(ScoreOnRay):
    """Makes rows up, in place of workers."""

    def stream(self, folder: Any) -> Any:
        return self

    def tables(self, blocks: Iterator[arrow.Table]) -> Iterator[arrow.Table]:
        for block in blocks:
            records = Records()
            for source in (read := Block.read(block)).todo:
                content = read.contents[source]
                about = {"target": "1", "value": 0.5, "status": "ok", "seed": 0, "model": self.run.classifier.fingerprint}
                rows = [
                    Row(
                        source.path, content, method=one.method, metric=one.metric, definition=one.definition,
                        subject=content[:16], **about,
                    )
                    for one in self.run.recipes
                ]  # fmt: skip
                records.add(PhotoRows(source.path, content, 0, rows), self.run.recipes)
            yield records.table()


def test_the_drivers_memory_does_not_grow_while_a_run_goes_on(shell: RayShell, tmp_path: Path) -> None:
    made = ScoreRequest(images="photos", method="grad-cam", metric=METRICS, controls="other").run(f"{NET}:make")
    sources = [Source.of_file(Path(f"photos/{number}.png")) for number in range(450)]
    hashes = {source: hashlib.sha256(source.path.encode()).hexdigest() for source in sources}
    run = replace(made, sources=sources, all_sources=(), hashes=hashes)
    driver = Scripted(run, f"{NET}:make", "top1", Pool(1, 1, 1), SILENT, block=20)
    held = {}
    with Store.open(tmp_path / "rows.db") as store:
        tracemalloc.start()
        for done, _ in enumerate(driver.results(store), start=1):
            if done in (150, 450):
                gc.collect()
                held[done] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(list(store.rows())) == 450 * len(run.recipes)
    assert held[450] - held[150] < 20 * 300


def test_blocks_are_taken_in_parts_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PART", 3)
    monkeypatch.setattr(stream, "PART_AN_ACTOR", 2)
    taken: list[int] = []

    class Echo(Stream):
        def of_part(self, blocks: Any) -> Iterator[Any]:
            yield from blocks

    def blocks() -> Iterator[int]:
        for block in range(10):
            taken.append(block)
            yield block

    made = Echo(Pool(2, 1, 1), object, RunningLedger(None, None), print).tables(blocks())  # type: ignore[arg-type]
    assert [next(made) for _ in range(4)] == [0, 1, 2, 3]
    assert len(taken) == 4
    assert list(made) == [4, 5, 6, 7, 8, 9]


def test_a_cluster_that_does_not_answer_in_time_is_gone_only_after_several_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(place: object, timeout: float) -> None:
        raise TimeoutError

    monkeypatch.setattr(stream.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:6379"))
    monkeypatch.setattr(stream.socket, "create_connection", silent)
    missed = 0
    for look in range(1, stream.MISSED):
        missed = stream.reached(missed)
        assert missed == look
    with pytest.raises(RunError, match=r"the Ray cluster at 127\.0\.0\.1:6379 is gone"):
        stream.reached(missed)


def test_a_cluster_that_is_shut_down_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr(stream.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address=place))
    monkeypatch.setattr(stream, "TICK", 0.01)
    with pytest.raises(RunError, match=f"the Ray cluster at {place} is gone"):
        list(Stream(Pool(1, 1, 1), object, RunningLedger(None, None), print).watched(queue.Queue()))
