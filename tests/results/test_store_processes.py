"""Killed and concurrent writers: nothing finished is lost, nothing stands twice."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from xaicli.results import connection
from xaicli.results.store import Store

WRITER = """
import hashlib, sys
from xaicli.results import connection
from xaicli.results.store import Store
from xaicli.rows import Curve, Recipe, Row

path, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
recipes = [Recipe("rise", f"metric-{k}", {"name": "rise"}, {"name": f"metric-{k}"}, "top1", "fp32") for k in range(20)]
curve = Curve(tuple(i / 28 for i in range(29)), (0.5,) * 29)
with Store.open(path) as store:
    print("open", flush=True)
    for photo in range(first, last):
        content = hashlib.sha256(str(photo).encode()).hexdigest()
        if not store.missing([(content, 0)], recipes, model="f", seed=0).any():
            continue
        rows = [
            Row(f"{photo}.jpg", content, "rise", "1", r.metric, k / 9, "ok", r.definition, content[:16], 0, "f", curve=curve)
            for k, r in enumerate(recipes)
        ]
        store.add(rows, recipes)
        print(photo, flush=True)
"""
ROWS_A_PHOTO = 20


def writer(path: Path, first: int, last: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first), str(last)], stdout=subprocess.PIPE, text=True)


def rows_by_photo(path: Path) -> Counter[str]:
    with Store.open(path, write=False) as store:
        return Counter(row.image for row in store.rows(curves=True))


@pytest.mark.slow
def test_killed_at_twenty_moments_it_loses_at_most_the_photo_in_work_and_resumes_to_the_same_rows(tmp_path):
    path, photos = tmp_path / "scores.db", 4000
    moments = random.Random(17)
    finished: set[str] = set()
    for _ in range(20):
        process = writer(path, 0, photos)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.12))
        process.send_signal(signal.SIGKILL)
        # What was printed was committed before; the last line may be cut.
        finished |= {line.strip() for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
        there = rows_by_photo(path)
        assert set(there.values()) <= {ROWS_A_PHOTO}
        assert finished <= {image.removesuffix(".jpg") for image in there}
    assert writer(path, 0, len(finished) + 5).wait() == 0
    undisturbed = tmp_path / "undisturbed.db"
    assert writer(undisturbed, 0, len(finished) + 5).wait() == 0
    with Store.open(path, write=False) as killed, Store.open(undisturbed, write=False) as calm:
        known = {row.key: row for row in killed.rows(curves=True)}
        assert all(known[row.key] == row for row in calm.rows(curves=True))
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


def test_two_processes_writing_at_once_lose_and_duplicate_nothing(tmp_path):
    path = tmp_path / "scores.db"
    processes = [writer(path, 0, 120), writer(path, 60, 180)]
    written = [process.communicate(timeout=120)[0].split()[1:] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert rows_by_photo(path) == Counter({f"{photo}.jpg": ROWS_A_PHOTO for photo in range(180)})
    assert {int(photo) for photos in written for photo in photos} == set(range(180))


def test_two_that_close_at_the_same_moment_leave_one_file(tmp_path, monkeypatch):
    """Each sees the other's connection, so that neither can clear up when it closes; then one of them looks once more."""
    path = tmp_path / "s.db"
    first, second = (Store.open(path) for _ in range(2))
    waited = []

    def close_the_other(seconds):
        waited.append(seconds)
        if len(waited) == 1:
            # As if it had looked at the same moment, and closed meanwhile.
            second._connection.close()
            for ending in ("-wal", "-shm"):
                path.with_name(f"{path.name}{ending}").touch()

    monkeypatch.setattr(connection.time, "sleep", close_the_other)
    first.close()
    assert waited
    assert [file.name for file in tmp_path.iterdir()] == ["s.db"]
