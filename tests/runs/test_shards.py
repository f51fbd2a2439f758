"""Shards of a run are even."""

from __future__ import annotations

import numpy as np
import pytest

from xaicli.images.source import Source
from xaicli.runs.shards import shard


@pytest.mark.parametrize(("photos", "parts"), [(6, 2), (6, 4), (7, 3), (5, 5), (2, 3)])
def test_the_sizes_of_shards_differ_by_one_photo_at_most(photos: int, parts: int) -> None:
    sources = [Source.of(np.full((2, 2, 3), number, dtype=np.uint8)) for number in range(photos)]
    found = [shard(sources, part, parts) for part in range(1, parts + 1)]
    assert sorted(map(id, (source for part in found for source in part))) == sorted(map(id, sources))
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1
