"""How overlays are drawn; recorded beside a map, never stamped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from xaicli.attribution import Attribution
from xaicli.images.colour import Scale, palette
from xaicli.images.overlay import ALPHA, HEAT, refuse_unknown
from xaicli.sign import Sign


@dataclass(frozen=True)
class OverlayStyle:
    """colormap: matplotlib's name, or None for the house's; alpha: the opacity, 0..1, of the strongest value; scale: the range of
    colours, None for each map's own; look: one of `LOOKS`; bands: those of the photo that are drawn, () for the usual ones."""

    colormap: str | None = None
    alpha: float = ALPHA
    scale: Scale | None = None
    look: str = HEAT
    bands: tuple[int, ...] = ()

    def check(self) -> None:
        """Raise UsageError for an unknown colour map or look, before any map is made."""
        refuse_unknown(self.look)
        if self.colormap is not None:
            palette(Sign.SIGNED, self.colormap)

    def draw(self, attribution: Attribution, *, in_place: bool = False) -> Image.Image:
        """The overlay of one finite map; in_place: draw on the attribution's picture itself."""
        return attribution.overlay(scale=self.scale, colormap=self.colormap, alpha=self.alpha, look=self.look, in_place=in_place)

    def as_dict(self) -> dict[str, Any]:
        scale = None if self.scale is None else [self.scale.low, self.scale.high]
        look = {} if self.look == HEAT else {"look": self.look}
        bands = {"bands": list(self.bands)} if self.bands else {}
        return {"colormap": self.colormap, "alpha": self.alpha, "scale": scale, **look, **bands}
