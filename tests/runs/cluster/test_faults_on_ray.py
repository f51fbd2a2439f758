"""What may go wrong on a cluster: nodes that leave, memory that runs out, files and versions that only the driver has."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ray_shell import METRICS, NET, SETTINGS, RayShell, assert_same, photo

pytest.importorskip("ray")

import ray
from ray._common.utils import get_system_memory

from tools.killed_workers import actors_of
from xaicli.results import connection
from xaicli.runs.cluster import shipping
from xaicli.runs.cluster.score_driver import ScoreOnRay
from xaicli.runs.cluster.score_worker import ScoreJob

pytestmark = pytest.mark.ray
PATIENCE = 240.0
"""Seconds for what other processes do, on a machine that may be busy."""

WAITING = """
import os, time
from pathlib import Path
import torch, xaicli
from net import net

class Waiting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net()
        self.features, self.head = self.inner.features, self.inner.head

    def forward(self, x):
        if "RAY_RAYLET_PID" in os.environ and not Path({go!r}).exists():
            Path({here!r}, os.environ["RAY_RAYLET_PID"]).touch()
            end = time.monotonic() + {patience}
            while not Path({go!r}).exists() and time.monotonic() < end:
                time.sleep(0.05)
        return self.inner(x)

def make():
    return xaicli.classifier(Waiting(), resize=36, crop=32)
"""


def waiting() -> str:
    """A model whose workers tell, in the folder `here`, on which node they are, and wait until there is a file `go`."""
    Path("here").mkdir()
    Path("net.py").write_text(NET.read_text())
    words = {"go": str(Path("go").absolute()), "here": str(Path("here").absolute()), "patience": PATIENCE}
    Path("waiting.py").write_text(WAITING.format(**words))
    return "waiting.py:make"


def at_work() -> set[int]:
    """The nodes on which workers are at their first photo."""
    return {int(path.name) for path in Path("here").iterdir()}


def until(condition: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    assert found
    return found


def test_four_actors_one_of_whose_nodes_leaves_give_the_rows_of_a_plain_run(shell: RayShell, nodes: Any) -> None:
    for number in range(7, 12):
        photo(Path("photos"), number)
    model = waiting()
    more = [nodes.add_node(num_cpus=1, object_store_memory=80 << 20, include_dashboard=False) for _ in range(2)]
    process_of = {node.all_processes["raylet"][0].process.pid: node for node in nodes.worker_nodes}
    gone = []

    def leave() -> None:
        # All four are at work, at most one of them on the driver's node.
        until(lambda: len(at_work()) == 4)
        gone.append(next(process_of[pid] for pid in sorted(at_work()) if pid in process_of))
        nodes.remove_node(gone[0], allow_graceful=False)
        Path("go").touch()

    thread = threading.Thread(target=leave)
    thread.start()
    try:
        words = ("--ray", nodes.address, "--actors", "4", "--block", "1")
        assert shell.score("-o", "ray.db", *words, model=model) == 0, shell.err
        thread.join()
        assert len(gone) == 1
        assert "4 actors of 1 thread each" in shell.err
        assert shell.score("-o", "plain.db", model=model) == 0, shell.err
        assert_same(shell.stored("ray.db"), shell.stored("plain.db"))
    finally:
        Path("go").touch()
        for node in [node for node in nodes.worker_nodes if node in more][: len(nodes.worker_nodes) - 2]:
            nodes.remove_node(node)


def test_a_second_interrupt_ends_a_run_whose_workers_stand_still(shell: RayShell, cluster: str) -> None:
    model = waiting()
    line = [sys.executable, "-m", "xaicli.cli.main", "score", "photos", "--model", model, "--method", "grad-cam"]
    line += ["--metric", METRICS, "-o", "ray.db", "--ray", cluster, "--actors", "1", "--block", "1"]
    driver = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until(at_work)
        driver.send_signal(signal.SIGINT)
        time.sleep(0.2)
        driver.send_signal(signal.SIGINT)
        _, told = driver.communicate(timeout=PATIENCE / 2)
    finally:
        Path("go").touch()
        driver.kill()
    assert driver.returncode == 130, told
    assert "interrupted; what was finished is kept" in told
    assert "Traceback" not in told


def test_a_cluster_that_is_shut_down_ends_the_command_in_one_line_whether_ray_ends_it_or_it_ends_itself(shell: RayShell) -> None:
    from ray.cluster_utils import Cluster

    model = waiting()
    made = Cluster(initialize_head=True, head_node_args=SETTINGS | {"num_cpus": 2})
    try:
        line = [sys.executable, "-m", "xaicli.cli.start", "score", "photos", "--model", model, "--method", "grad-cam"]
        line += ["--metric", METRICS, "-o", "ray.db", "--ray", made.address, "--actors", "1", "--block", "1"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
            until(at_work)
            made.shutdown()
            results, told = driver.communicate(timeout=PATIENCE)
    finally:
        Path("go").touch()
        made.shutdown()
    assert (driver.returncode, results) == (5, ""), told
    [error] = [line for line in told.splitlines() if line.startswith("error: ")]
    assert "Ray" in error
    assert "the same command goes on from there" in error
    assert "Traceback" not in told


def test_a_ledger_whose_process_is_killed_costs_nothing(shell: RayShell, nodes: Any) -> None:
    model = waiting()

    def kill() -> None:
        until(at_work)
        [ledger] = actors_of(nodes, "Ledger")
        os.kill(ledger, signal.SIGKILL)
        until(lambda: ledger not in actors_of(nodes, "Ledger"))
        Path("go").touch()

    thread = threading.Thread(target=kill)
    thread.start()
    assert shell.score("-o", "ray.db", "--ray", nodes.address, "--actors", "1", "--block", "2", model=model) == 0, shell.err
    thread.join()
    assert Path("go").exists()
    assert shell.score("-o", "plain.db", model=model) == 0, shell.err
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))


GREEDY = """
import os, time
import torch, xaicli
from net import net

class Greedy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net()
        self.features, self.head = self.inner.features, self.inner.head

    def forward(self, x):
        if "RAY_RAYLET_PID" in os.environ and bool((x[:, :, :4, :4].mean(dim=(1, 2, 3)) > 1.8).any()):
            taken = []
            while len(taken) < {most}:
                taken.append(b"1" * (256 << 20))
                time.sleep(0.02)
        return self.inner(x)

def make():
    return xaicli.classifier(Greedy(), resize=36, crop=32)
"""
SPARE = 4 << 30
"""Bytes that may be taken before Ray's monitor ends a worker: more than others on the machine take meanwhile, since it counts
theirs too."""


@pytest.fixture
def watched_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster whose monitor ends a worker where memory runs short, which is soon."""
    from ray._private.utils import get_used_memory
    from ray.cluster_utils import Cluster

    used, all_bytes = get_used_memory(), get_system_memory()
    if all_bytes - used < 2 * SPARE:
        pytest.skip("too little memory is free")
    share = (used + SPARE) / all_bytes
    settings = {"usage_threshold": share, "monitor_refresh_ms": 50}
    for name, value in settings.items():
        monkeypatch.setenv(f"RAY_memory_{name}", str(value))
    # Only as many workers as must be.
    monkeypatch.setenv("RAY_max_kill_memory_buffer_bytes", "0")
    made = Cluster(initialize_head=True, head_node_args=SETTINGS | {"num_cpus": 2})
    yield str(made.address)
    made.shutdown()


def test_a_photo_that_takes_too_much_memory_is_set_aside_where_rays_monitor_ends_its_worker(
    shell: RayShell, watched_memory: str
) -> None:
    from PIL import Image

    Path("net.py").write_text(NET.read_text())
    Path("greedy.py").write_text(GREEDY.format(most=get_system_memory() >> 28))
    Image.new("RGB", (40, 40), "white").save("photos/white.png")
    words = ("--no-controls", "--keep-going", "--actors", "1", "--block", "9")
    assert shell.score("-o", "ray.db", "--ray", watched_memory, *words, model="greedy.py:make") == 4, shell.err
    assert "photos/white.png ended its worker 3 times" in shell.err
    os.remove("photos/white.png")
    assert shell.score("-o", "plain.db", "--no-controls", model="greedy.py:make") == 0, shell.err
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))


EATER = """
import torch, xaicli
from net import net

class Eater(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net()
        self.features, self.head = self.inner.features, self.inner.head

    def forward(self, x):
        if bool((x[:, :, :4, :4].mean(dim=(1, 2, 3)) > 1.8).any()):
            bytearray(1 << 60)
        return self.inner(x)

def make():
    return xaicli.classifier(Eater(), resize=36, crop=32)
"""


def test_an_actor_out_of_memory_names_the_photo_as_a_plain_run_does(shell: RayShell, cluster: str) -> None:
    from PIL import Image

    Path("net.py").write_text(NET.read_text())
    Path("eater.py").write_text(EATER)
    Image.new("RGB", (40, 40), "white").save("photos/white.png")
    words = ("--keep-going", "--no-controls")
    assert shell.score("-o", "plain.db", *words, model="eater.py:make") == 4, shell.err
    told = [line for line in shell.err.splitlines() if "white.png" in line]
    assert len(told) == 1
    assert "memory" in told[0]
    assert shell.score("-o", "ray.db", "--ray", cluster, "--block", "3", *words, model="eater.py:make") == 4, shell.err
    assert [line for line in shell.err.splitlines() if "white.png" in line] == told
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))


@pytest.fixture
def only_here(monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose file the workers do not find: it is gone once the driver has said what they are given."""
    Path("own.py").write_text(NET.read_text())
    made = ScoreOnRay.job

    def job(self: ScoreOnRay, folder: Any) -> ScoreJob:
        found = made(self, folder)
        os.remove("own.py")
        return found

    monkeypatch.setattr(ScoreOnRay, "job", job)
    return "own.py:make"


def test_a_model_file_that_only_the_driver_has_is_shipped(shell: RayShell, cluster: str, only_here: str) -> None:
    assert shell.score("-o", "ray.db", "--ray", cluster, model=only_here) == 0, shell.err
    assert shell.score("-o", "plain.db") == 0, shell.err
    there, here = shell.stored("ray.db"), shell.stored("plain.db")
    assert {key[0] for key in there} == {key[0] for key in here}
    assert sorted(row.value for row in there.values()) == pytest.approx(sorted(row.value for row in here.values()), abs=1e-5)


def test_a_model_file_too_large_to_be_sent_is_refused_in_words(
    shell: RayShell, cluster: str, only_here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "LARGEST_FILE", 10)
    assert shell.score("-o", "ray.db", "--ray", cluster, model=only_here) == 3
    assert f"own.py is not on {os.uname().nodename}, and too large to be sent" in shell.error
    assert not Path("ray.db").exists()


def test_a_cluster_of_another_version_is_one_line(shell: RayShell, cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, python = ray.__version__, ".".join(map(str, sys.version_info[:3]))
    monkeypatch.setattr(ray, "__version__", "9.9.9")
    assert shell.score("-o", "ray.db", "--ray", cluster) == 3
    assert f"the cluster runs Ray {here} on Python {python}, this is Ray 9.9.9 on Python {python}" in shell.error
    assert not Path("ray.db").exists()


def test_two_drivers_on_one_store_leave_the_rows_of_a_plain_run(shell: RayShell, cluster: str) -> None:
    words = ["-o", "ray.db", "--ray", cluster, "--actors", "1", "--block", "1"]
    line = [sys.executable, "-m", "xaicli.cli.main", "score", "photos", "--model", f"{NET}:make", "--method", "grad-cam"]
    other = subprocess.Popen([*line, "--metric", METRICS, *words], stderr=subprocess.PIPE, text=True)
    assert shell.score(*words) == 0, shell.err
    _, told = other.communicate(timeout=PATIENCE)
    assert other.returncode == 0, told
    assert shell.score("-o", "plain.db") == 0, shell.err
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))


def test_a_store_that_another_driver_keeps_locked_is_one_line(
    shell: RayShell, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("-o", "ray.db", "--ray", cluster, "--actors", "1")
    assert shell.score("-o", "ray.db", "--limit", "2") == 0, shell.err
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.2)
    with closing(sqlite3.connect("ray.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert shell.score(*words) == 3
        assert "ray.db stayed locked for 0.2 s" in shell.error
    assert shell.score(*words) == 0, shell.err
    assert shell.score("-o", "plain.db") == 0, shell.err
    assert {key[:2] for key in shell.stored("plain.db")} <= {key[:2] for key in shell.stored("ray.db")}
