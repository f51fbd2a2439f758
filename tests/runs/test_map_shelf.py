"""Maps that wait for the photo that borrows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaicli.images.source import Source
from xaicli.method import Maps
from xaicli.runs import map_shelf
from xaicli.runs.map_shelf import MapShelf
from xaicli.targets import TargetRule, Targets


def maps(number: int, side: int = 8) -> Maps:
    """Maps of random values, with the graph of their logits."""
    generator = torch.Generator().manual_seed(number)
    logits = torch.randn(1, 5, generator=generator, requires_grad=True) * 2
    return Maps(
        torch.randn(1, 1, side, side, generator=generator), Targets.same(TargetRule(index=number % 5), 1).resolve(logits), logits
    )


STEPS = st.lists(st.tuples(st.sampled_from(["put", "take", "drop"]), st.integers(0, 5)), max_size=40)


@settings(deadline=None, max_examples=30)
@given(STEPS, st.sampled_from([0, 3, 1000]))
def test_what_is_taken_is_what_was_put_or_nothing(steps: list[tuple[str, int]], pages: int) -> None:
    """Whatever finds room: with no room at all, with little, and with much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_shelf, "PAGE", 1024)
        patch.setattr(map_shelf, "DISK", pages * 1024)
        shelf, there = MapShelf(), dict[int, Maps]()
        for step, number in steps:
            source = Source(f"{number}.png")
            if step == "put" and number not in there:
                there[number] = maps(number)
                shelf.put(source, {"grad-cam": there[number]})
            elif step == "drop":
                shelf.drop(source)
                there.pop(number, None)
            elif step == "take":
                taken, put = shelf.take(source), there.pop(number, None)
                assert taken.keys() <= {"grad-cam"}
                assert put is not None or not taken
                assert bool(taken) or put is None or pages < 1000
                if taken and put is not None:
                    found = taken["grad-cam"]
                    assert torch.equal(found.values, put.values)
                    assert list(found.targets.rules(0)) == list(put.targets.rules(0))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A shelf has 256 KiB of memory, and no file of this process may grow beyond 64 KiB."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(map_shelf, "MEMORY", 256 << 10)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_loses_maps_and_raises_nothing(full_disk: None) -> None:
    shelf, kept, dropped = MapShelf(), 0, 0
    for number in range(40):
        shelf.put(Source(f"{number}.png"), {"rise": maps(number, side=100)})
        if number % 3 == 2:
            shelf.drop(Source(f"{number - 1}.png"))
            dropped += 1
    for number in range(40):
        taken = shelf.take(Source(f"{number}.png"))
        assert all(torch.equal(found.values, maps(number, side=100).values) for found in taken.values())
        kept += bool(taken)
    # Else the disk was not full. SQLite may lose all that it held.
    assert kept < 40 - dropped


def opened_without_a_name() -> int:
    """Files that this process has open and that no folder names."""
    return sum("(deleted)" in os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads Linux's list of open files")
def test_what_memory_does_not_hold_lies_in_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing is left behind, however the process ends."""
    before = opened_without_a_name()
    monkeypatch.setattr(map_shelf, "MEMORY", 1 << 16)
    shelf = MapShelf()
    for number in range(20):
        shelf.put(Source(f"{number}.png"), {"rise": maps(number, side=64)})
    assert opened_without_a_name() == before + 1
    for number in range(20):
        assert torch.equal(shelf.take(Source(f"{number}.png"))["rise"].values, maps(number, side=64).values)
