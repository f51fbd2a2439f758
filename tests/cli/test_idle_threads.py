"""Threads of the command sleep while they wait, unless the user has chosen otherwise."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from xaicli.cli.idle_threads import SPINS

CODE = "from xaicli.cli.idle_threads import sleep_while_waiting; sleep_while_waiting(); import torch"


def spins(**environment: str) -> str:
    """What OpenMP says that it took, when torch loads it; skips where torch uses another one."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"OMP_DISPLAY_ENV": "VERBOSE", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if found is None:
        pytest.skip("torch does not use GNU's OpenMP here")
    return found[1]


def test_openmp_takes_the_choice_when_torch_loads_it():
    assert spins() == str(SPINS)


def test_a_user_who_has_chosen_is_left_alone():
    assert spins(GOMP_SPINCOUNT="77") == "77"
    assert spins(OMP_WAIT_POLICY="passive") == "0"
