"""A small Ray cluster on loopback."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_shell import SETTINGS, RayShell, photo

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    # Else workers yield to whatever runs beside the tests.
    "RAY_worker_niceness": "0",
}


@pytest.fixture(scope="session")
def nodes() -> Iterator[Any]:
    """A cluster of three nodes with a processor each, two of which hold workers."""
    os.environ |= QUIET
    from ray.cluster_utils import Cluster

    # Sockets lie below it, whose names may not be long.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        made = Cluster(initialize_head=True, head_node_args=SETTINGS)
        try:
            for _ in range(2):
                made.add_node(**SETTINGS)
            yield made
        finally:
            made.shutdown()


@pytest.fixture(scope="session")
def cluster(nodes: Any) -> str:
    """Its address."""
    return str(nodes.address)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayShell:
    monkeypatch.chdir(tmp_path)
    for number in range(7):
        photo(tmp_path / "photos", number)
    return RayShell(capsys)
