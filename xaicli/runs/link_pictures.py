"""Pictures of pairs of segments: `STEM.LABEL.links.png`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xaicli.attribution import Attribution
from xaicli.errors import UsageError
from xaicli.images.links import links_picture
from xaicli.images.picture_file import write_png
from xaicli.method import Method
from xaicli.record import Record
from xaicli.runs.overlay_style import OverlayStyle
from xaicli.segment_pairs import SegmentPair
from xaicli.words import count

LINKS = "links"


@dataclass(frozen=True)
class LinkPictures:
    """Whether pairs are drawn as links over their photo."""

    wanted: bool = False

    @property
    def endings(self) -> list[str]:
        """How the file is called, behind the stem of a map."""
        return [f".{LINKS}.png"] * self.wanted

    def check(self, methods: Sequence[Method]) -> None:
        """Raise UsageError, before any work, if no method lists pairs."""
        if self.wanted and not any(method.pairwise for method in methods):
            raise UsageError(
                f"{', '.join(method.label for method in methods)} has no pairs to draw as links",
                expected="a method that lists pairs of segments",
                hint="Use lime@interactions=top, or kernel-shap@interactions=adjacent.",
            )

    def draw(self, attribution: Attribution, stem: Path, style: OverlayStyle) -> None:
        """Draw the pairs of a map's record, with its photo, beside its files; do nothing if it lists none."""
        record, photo = attribution.record, attribution.picture
        if not self.wanted or not record.pairs or photo is None:
            return
        pairs = [SegmentPair.from_dict(pair) for pair in record.pairs]
        lines = [record.method, summary(record)]
        picture = links_picture(photo, pairs, attribution.geometry_on(photo), lines, colormap=style.colormap)
        write_png(stem.with_name(f"{stem.name}.{LINKS}.png"), picture)


def summary(record: Record) -> str:
    """How many pairs there are, and what they add on copies that the fit did not see."""
    found = f"{count(len(record.pairs), 'pair')} of segments"
    told, gain = (record.extras.get(name) for name in ("r2_held_out", "r2_gain"))
    return found if told is None or gain is None else f"{found}; held-out R2 {told - gain:.2f} without them, {told:.2f} with them"
