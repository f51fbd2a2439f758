"""A small Ray cluster on loopback."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_shell import RayShell, photo

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a cluster of three nodes with a processor each, two of which hold workers."""
    os.environ |= QUIET
    from ray.cluster_utils import Cluster

    # Sockets lie below it, whose names may not be long.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        settings = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=settings)
        try:
            for _ in range(2):
                made.add_node(**settings)
            yield made.address
        finally:
            made.shutdown()


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayShell:
    monkeypatch.chdir(tmp_path)
    for number in range(7):
        photo(tmp_path / "photos", number)
    return RayShell(capsys)
