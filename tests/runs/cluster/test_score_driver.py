"""The driver goes on with new actors where Ray has lost all of a run's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_shell import METRICS, NET, RayShell

pytest.importorskip("ray")

from xaicli.errors import RunError
from xaicli.progress import SILENT
from xaicli.results.row_table import PhotoRows
from xaicli.results.store import Store
from xaicli.runs.cluster.address import Pool
from xaicli.runs.cluster.score_driver import ScoreOnRay
from xaicli.runs.cluster.stream import ActorsLost, gave_up
from xaicli.runs.photos import Failure
from xaicli.runs.score_request import ScoreRequest


class Losing(ScoreOnRay):
    """Scores in this process; the actors of the first rounds are lost after `before` photos."""

    rounds = 0
    before, times = 2, 2

    def stream(self, folder: Any) -> Any:
        return self

    def round(self, stream: Any, todo: Any, store: Any, lenders: int) -> Iterator[PhotoRows]:
        type(self).rounds += 1
        gaps = self.run.missing(store, todo)
        for at, result in enumerate(self.run.measure(todo, lambda source, partner=None: gaps[todo.index(source)])):
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
        list(driver.run.run(plain))
        assert {row.key for row in store.rows()} == {row.key for row in plain.rows()}
    assert driver.rounds == 3
    assert sum(isinstance(result, Failure) for result in results) == 1
    assert len(results) == 7


def test_actors_that_are_lost_before_they_did_anything_are_replaced(shell: RayShell) -> None:
    with Store.in_memory() as store:
        assert len(list(losing(before=0).results(store))) == 7


def test_actors_that_did_nothing_are_not_replaced_without_end(shell: RayShell) -> None:
    driver = losing(before=0, times=9)
    with Store.in_memory() as store, pytest.raises(ActorsLost):
        list(driver.results(store))
    assert driver.rounds == 3


def test_only_lost_actors_are_a_reason_to_go_on() -> None:
    assert isinstance(gave_up(RuntimeError("ray.exceptions.ActorDiedError: The actor died unexpectedly.")), ActorsLost)
    assert type(gave_up(RuntimeError("ValueError: no such column"))) is RunError
