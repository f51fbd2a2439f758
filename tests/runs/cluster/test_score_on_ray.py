"""`xai score --ray`: the rows of a plain run, whatever happens to workers and driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray_shell import METRICS, NET, RayShell, assert_same, photo

pytest.importorskip("ray")

from xaicli.errors import InputError
from xaicli.results.store import Store

pytestmark = pytest.mark.ray
PATIENCE = 240.0
"""Seconds for what another process does, on a machine that may be busy."""


def broken(folder: Path) -> None:
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:200])


def test_the_rows_are_those_of_a_plain_run_and_a_second_run_adds_what_is_missing(shell: RayShell, cluster: str) -> None:
    broken(Path("photos"))
    words = ("--keep-going", "--ray", cluster, "--actors", "2", "--block", "2")
    assert shell.score("-o", "plain.db", "--keep-going") == 4, shell.err
    table, failed = shell.out, [line for line in shell.err.splitlines() if "3.png" in line]
    assert shell.score("-o", "ray.db", *words) == 4, shell.err
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))
    assert shell.out == table
    assert [line for line in shell.err.splitlines() if "3.png" in line] == failed
    assert "2 actors of 1 thread each" in shell.err
    os.remove("photos/3.png")
    photo(Path("photos"), 9)
    assert shell.score("-o", "plain.db", "--format", "jsonl") == 0, shell.err
    added = sorted(shell.out.splitlines())
    assert shell.score("-o", "ray.db", "--format", "jsonl", *words) == 0, shell.err
    assert len(shell.out.splitlines()) == len(added)
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))
    assert shell.score("-o", "ray.db", *words) == 0, shell.err
    assert "0 rows of 0 photos" in shell.err


KILLER = """
import os, signal
from pathlib import Path
import torch, xaicli
from net import net

class Killer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net()
        self.features, self.head = self.inner.features, self.inner.head

    def forward(self, x):
        bright = x[:, :, :4, :4].mean(dim=(1, 2, 3))
        if len(x) == 1 and bool((bright > 1.8).any()) and {condition}:
            {mark}
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner(x)

def make():
    return xaicli.classifier(Killer(), resize=36, crop=32)
"""


def killer(condition: str = "True", mark: str = "pass") -> str:
    """A model that ends its process at the white photo; the file of the network lies beside it."""
    Path("net.py").write_text(NET.read_text())
    Path("killer.py").write_text(KILLER.format(condition=condition, mark=mark))
    from PIL import Image

    Image.new("RGB", (40, 40), "white").save("photos/white.png")
    return "killer.py:make"


def test_a_photo_that_ends_its_worker_each_time_is_set_aside_and_named(shell: RayShell, cluster: str) -> None:
    model = killer()
    assert (
        shell.score(
            "-o", "ray.db", "--keep-going", "--ray", cluster, "--actors", "1", "--block", "9", "--no-controls", model=model
        )
        == 4
    )
    assert "photos/white.png ended its worker 3 times" in shell.err
    # Ray prints of workers that ended on stdout, which belongs to results.
    assert "Ray" not in shell.out
    assert "raylet" not in shell.out
    os.remove("photos/white.png")
    assert shell.score("-o", "plain.db", "--no-controls", model=model) == 0, shell.err
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))


def test_a_worker_that_is_killed_loses_nothing(shell: RayShell, cluster: str) -> None:
    gone = Path("gone").absolute()
    model = killer(f"not Path({str(gone)!r}).exists()", f"Path({str(gone)!r}).touch()")
    assert shell.score("-o", "ray.db", "--ray", cluster, "--actors", "2", "--block", "3", model=model) == 0, shell.err
    assert gone.exists()
    assert shell.score("-o", "plain.db", model=model) == 0, shell.err
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))


def test_a_driver_that_is_interrupted_or_killed_goes_on_where_it_stopped(shell: RayShell, cluster: str) -> None:
    line = [sys.executable, "-m", "xaicli.cli.main", "score", "photos", "--model", f"{NET}:make", "--method", "grad-cam"]
    line += ["--metric", METRICS, "-o", "ray.db", "--ray", cluster, "--actors", "1", "--block", "1"]
    for number, expected in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        before = rows_in("ray.db")
        driver = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + PATIENCE
        while rows_in("ray.db") == before and driver.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        driver.send_signal(number)
        _, told = driver.communicate(timeout=PATIENCE)
        assert driver.returncode in (expected, 0), told
        assert rows_in("ray.db") > before, told
    assert shell.score("-o", "ray.db") == 0, shell.err
    assert shell.score("-o", "plain.db") == 0, shell.err
    assert_same(shell.stored("ray.db"), shell.stored("plain.db"))


def rows_in(path: str) -> int:
    if not Path(path).exists():
        return 0
    try:
        with Store.open(path, write=False) as store:
            return sum(1 for _ in store.rows())
    except InputError:
        # It is being made.
        return 0
