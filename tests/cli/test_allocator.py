"""Freed memory stays with the process of the command, and with no other."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xaicli.cli import allocator

ASK = "from xaicli.cli.allocator import keep_freed_memory; print(keep_freed_memory())"

FAULTS = """
import resource, sys
from xaicli.cli.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(50):
    bytearray(20 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def run(code: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is tuned")
def test_what_is_freed_is_used_again_without_the_system():
    if run(ASK) == "False":
        pytest.skip("this system's C library cannot be tuned")
    given_back, kept = (int(run(FAULTS, how)) for how in ("given back", "kept"))
    assert kept < given_back


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is tuned")
def test_a_user_who_has_tuned_malloc_is_left_alone():
    assert run(ASK, MALLOC_ARENA_MAX="2") == "False"


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False


def test_a_c_library_without_it_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.os, "environ", {})
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert allocator.keep_freed_memory() is False
