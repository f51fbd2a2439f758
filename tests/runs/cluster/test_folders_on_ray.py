"""What workers write themselves: maps of `xai explain --ray`, Parquet files of `--sink`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ray_shell import METRICS, NET, RayShell, assert_same

pytest.importorskip("ray")

pytestmark = pytest.mark.ray


def test_workers_write_the_maps_of_a_plain_run(shell: RayShell, cluster: str) -> None:
    Path("photos/3.png").write_bytes(Path("photos/3.png").read_bytes()[:200])
    line = ("explain", "photos", "--model", f"{NET}:make", "--method", "grad-cam,rise@n_masks=8", "--keep-going")
    assert shell(*line, "-o", "plain") == 4
    table = shell.out.replace("plain/", "ray/")
    assert shell(*line, "-o", "ray", "--ray", cluster, "--actors", "2", "--block", "2") == 4, shell.err
    assert sorted(shell.out.split()) == sorted(table.split())
    written = {path.name: path for path in Path("ray").iterdir()}
    assert written.keys() == {path.name for path in Path("plain").iterdir()}
    for name, path in written.items():
        if name.endswith(".npy"):
            assert np.allclose(np.load(path), np.load(Path("plain") / name), atol=1e-5)
    # The records are those of a plain run, which finds nothing to do.
    assert shell(*line, "-o", "ray") == 4
    assert "12 of 12 maps complete before" in shell.err


def test_workers_write_rows_that_merge_into_the_store_of_a_plain_run(shell: RayShell, cluster: str) -> None:
    words = ("--sink", "parquet:rows", "--ray", cluster, "--actors", "2", "--block", "3")
    assert shell.score(*words) == 0, shell.err
    table = shell.out
    files = sorted(Path("rows").iterdir())
    assert len(files) == 3
    assert shell.score("-o", "plain.db") == 0
    assert table == shell.out
    assert shell("merge", "rows", "-o", "all.db") == 0
    assert_same(shell.stored("all.db"), shell.stored("plain.db"))
    files[0].unlink()
    assert shell.score(*words) == 0, shell.err
    assert_same(shell.stored("rows"), shell.stored("plain.db"))


def test_what_needs_a_folder_or_one_process_is_refused(shell: RayShell, cluster: str) -> None:
    line = ("explain", "photos", "--model", f"{NET}:make", "--sheet", "--ray", cluster)
    assert shell(*line) == 2
    assert "--sheet with --ray" in shell.error
    Path("maps").mkdir()
    for number in range(7):
        np.save(f"maps/{number}.npy", np.random.default_rng(number).random((4, 4)))
    assert shell("score", "photos", "--model", f"{NET}:make", "--maps", "maps", "--metric", METRICS, "--ray", cluster) == 2
    assert "--maps with --ray" in shell.error
