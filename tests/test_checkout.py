"""A checkout that is used as it stands, beside whatever is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_a_checkout_finds_its_own_methods_and_imports_no_torch(tmp_path: Path) -> None:
    for room in ("xaicli", "methods", "metrics"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("bundled", "__pycache__"))
    code = (
        "import sys, xaicli; assert 'torch' not in sys.modules; "
        "import xaicli.methods.center, xaicli.metrics; print(xaicli.methods.center.__file__)"
    )
    # -S leaves out editable installs, which map the folders; packages are found by the path alone.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if "packages" in path)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert Path(done.stdout.strip()) == tmp_path / "methods" / "center.py"
