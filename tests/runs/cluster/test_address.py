"""Reaching a cluster: one line if there is none, if it does not answer, or if its versions are others."""

from __future__ import annotations

import importlib.util
import socket

import pytest
from ray_shell import RayShell

pytest.importorskip("ray")

from xaicli.errors import InputError
from xaicli.runs.cluster import address
from xaicli.runs.cluster.address import Pool, in_words, local_pool, pool_of, reason_of


def test_without_the_extra_it_says_what_to_install(shell: RayShell, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else there(name, *more))
    assert shell.score("--ray", "local") == 3
    assert shell.error == 'error: ray is not installed. Type: pip install "xaicli[ray]"'


def test_an_address_where_nobody_listens_is_one_line(shell: RayShell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert shell.score("--ray", f"127.0.0.1:{port}") == 3
    assert f"no Ray cluster answers at 127.0.0.1:{port} (connection refused)" in shell.error
    assert "--ray local" in shell.error


def test_an_address_that_listens_and_says_nothing_is_one_line(shell: RayShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        where = f"127.0.0.1:{mute.getsockname()[1]}"
        assert shell.score("--ray", where) == 3
    assert f"no Ray cluster answers at {where} (it says nothing)" in shell.error


def test_a_cluster_that_asks_for_a_token_is_told_from_one_that_is_not_there() -> None:
    """Ray raises a ConnectionError for both; behind the one stands its AuthenticationError."""
    from ray.exceptions import AuthenticationError

    gone, refused = (ConnectionError("Failed to connect to Ray cluster at 127.0.0.1:6379") for _ in range(2))
    refused.__cause__ = AuthenticationError("unauthenticated")
    with pytest.raises(InputError) as asked, in_words("127.0.0.1:6379"):
        raise refused
    assert asked.value.line() == (
        "the Ray cluster at 127.0.0.1:6379 asks for its token. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what "
        "`ray get-auth-token` shows on the cluster's first machine."
    )
    with pytest.raises(InputError, match=r"no Ray cluster runs at 127\.0\.0\.1:6379"), in_words("127.0.0.1:6379"):
        raise gone


def test_what_is_no_address_is_a_usage_error(shell: RayShell) -> None:
    assert shell.score("--ray", "somewhere") == 2
    assert "expected auto, local or HOST:PORT" in shell.error


def test_numbers_of_a_cluster_need_one(shell: RayShell) -> None:
    assert shell.score("--actors", "2") == 2
    assert "--actors without --ray" in shell.error


def test_versions_that_differ_are_told_apart_in_one_line() -> None:
    text = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.51.0\n    Python: 3.12.3\n"
        "This process on node 127.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    expected = "the cluster runs Ray 2.51.0 on Python 3.12.3, this is Ray 2.60.0 on Python 3.11.7"
    assert reason_of(RuntimeError(text)) == expected


@pytest.mark.parametrize(
    ("nodes", "actors", "pool"),
    [
        ([{"CPU": 1.0}], None, Pool(1, 1, 1)),
        ([{"CPU": 8.0}], None, Pool(7, 1, 1)),
        ([{"CPU": 8.0}], 2, Pool(2, 3, 3)),
        ([{"CPU": 8.0}, {"CPU": 8.0}], 2, Pool(2, 7, 7)),
        ([{"CPU": 4.0}] * 3, 2, Pool(2, 4, 4)),
        ([{"CPU": 4.0}] * 3, None, Pool(11, 1, 1)),
        ([{"CPU": 8.0, "GPU": 4.0}], None, Pool(4, 1, 1, 1)),
    ],
)
def test_one_processor_is_left_to_the_driver(nodes: list[dict[str, float]], actors: int | None, pool: Pool) -> None:
    assert pool_of(nodes, actors, "auto") == pool


def test_a_gpu_is_left_alone_when_the_processor_was_asked_for() -> None:
    assert pool_of([{"CPU": 8.0, "GPU": 4.0}], None, "cpu") == Pool(7, 1, 1)


def test_actors_of_this_machine_share_its_threads() -> None:
    assert local_pool(10_000).threads == 1
    assert local_pool(1).threads >= 1


def test_a_cluster_without_processors_is_refused() -> None:
    with pytest.raises(InputError, match="no processors"):
        pool_of([{"GPU": 0.0}], None, "auto")
