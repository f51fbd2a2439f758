"""Where Ray loses all actors of a pool, new ones do what is left; where several pools in turn did nothing, the run ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

pytest.importorskip("ray")

from xaicli.errors import InputError, RunError
from xaicli.images.source import Source
from xaicli.runs.cluster.lost_actors import ActorsLost, gave_up, with_new_actors

PHOTOS = [Source(f"{number}.png") for number in range(4)]


class Pools:
    """Pools of actors, each of which is lost after so many photos as `script` says; after the script, they are not lost."""

    def __init__(self, *script: int) -> None:
        self.script = list(script)
        self.begun = 0
        self.done: list[Source] = []

    def at_work(self, todo: Sequence[Source]) -> Iterator[Source]:
        self.begun += 1
        most = self.script.pop(0) if self.script else len(todo)
        for source in todo[:most]:
            self.done.append(source)
            yield source
        if most < len(todo):
            raise ActorsLost("Ray gave up")

    def left(self) -> list[Source]:
        return [source for source in PHOTOS if source not in self.done]

    def run(self) -> list[Source]:
        return list(with_new_actors(PHOTOS, self.at_work, self.left))


def test_what_was_done_before_actors_were_lost_is_not_done_again() -> None:
    pools = Pools(1, 2)
    assert pools.run() == PHOTOS
    assert pools.begun == 3


def test_two_pools_that_did_nothing_are_replaced_and_a_third_ends_the_run() -> None:
    assert Pools(0, 0).run() == PHOTOS
    pools = Pools(0, 0, 0)
    with pytest.raises(ActorsLost):
        pools.run()
    assert pools.begun == 3


def test_a_pool_that_did_something_starts_the_count_anew() -> None:
    pools = Pools(0, 0, 1, 0, 0, 1)
    assert pools.run() == PHOTOS
    assert pools.begun == 7


def test_actors_lost_after_the_last_photo_are_not_replaced() -> None:
    pools = Pools()

    def at_work(todo: Sequence[Source]) -> Iterator[Source]:
        yield from pools.at_work(todo)
        raise ActorsLost("Ray gave up")

    assert list(with_new_actors(PHOTOS, at_work, pools.left)) == PHOTOS
    assert pools.begun == 1


def test_another_end_of_a_job_is_raised_at_once() -> None:
    def at_work(todo: Sequence[Source]) -> Iterator[Source]:
        yield todo[0]
        raise RunError("Ray gave up")

    with pytest.raises(RunError, match="Ray gave up"):
        list(with_new_actors(PHOTOS, at_work, lambda: PHOTOS))


def test_only_lost_actors_are_a_reason_to_go_on() -> None:
    assert isinstance(gave_up(RuntimeError("ray.exceptions.ActorDiedError: The actor died unexpectedly.")), ActorsLost)
    assert type(gave_up(RuntimeError("ValueError: no such column"))) is RunError


def test_workers_without_a_package_are_told_apart() -> None:
    error = gave_up(RuntimeError("ray.exceptions.RaySystemError: System error: No module named 'xaicli'\nTraceback: ..."))
    assert isinstance(error, InputError)
    assert error.found == "the Python of the cluster's workers has no module xaicli"
