"""Which photos belong to a shard of a job."""

from __future__ import annotations

from collections.abc import Sequence

from xaicli.images.source import Source, content_hash


def shard(sources: Sequence[Source], part: int, parts: int) -> list[Source]:
    """The photos of shard `part`, from 1 to `parts`.

    They are chosen by content: the same on every machine and in any order. The sizes of shards differ by at most one photo.
    Neighbours by content stay together, since the control `other` needs their maps. Photos that cannot be read belong to the
    first shard, so that they are reported once.
    """
    contents = [content_hash(source) or "" for source in sources]
    places = {content: place for place, content in enumerate(sorted(set(contents)))}
    return [
        source for source, content in zip(sources, contents, strict=True) if places[content] * parts // len(places) == part - 1
    ]
