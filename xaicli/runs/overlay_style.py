"""How overlays are drawn; recorded beside a map, never stamped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from xaicli.attribution import Attribution
from xaicli.images.colour import Scale, palette
from xaicli.images.overlay import ALPHA
from xaicli.sign import Sign


@dataclass(frozen=True)
class OverlayStyle:
    """colormap: matplotlib's name, or None for the house's; alpha: the opacity, 0..1, of what stands out most; scale: the range
    of colours, None for each map's own."""

    colormap: str | None = None
    alpha: float = ALPHA
    scale: Scale | None = None

    def check(self) -> None:
        """Raise UsageError now, not after the first map, where the colour map is unknown."""
        if self.colormap is not None:
            palette(Sign.SIGNED, self.colormap)

    def draw(self, attribution: Attribution) -> Image.Image:
        """The overlay of one finite map."""
        return attribution.overlay(scale=self.scale, colormap=self.colormap, alpha=self.alpha)

    def as_dict(self) -> dict[str, Any]:
        scale = None if self.scale is None else [self.scale.low, self.scale.high]
        return {"colormap": self.colormap, "alpha": self.alpha, "scale": scale}
