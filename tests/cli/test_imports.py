"""What a command needs is imported without the garbage collector."""

from __future__ import annotations

import gc

import pytest

from xaicli.cli.imports import no_collection


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_rests_inside_and_is_as_it_was_afterwards(was_on):
    before = gc.isenabled()
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ImportError, match="False"):
            failing_import()
        assert gc.isenabled() == was_on
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()


def failing_import():
    with no_collection():
        raise ImportError(str(gc.isenabled()))
