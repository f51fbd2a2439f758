"""The picture of a map of each channel: `STEM.LABEL.channels.png`, all on one scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xaicli.attribution import Attribution
from xaicli.images.picture_file import write_png
from xaicli.images.steps import strip
from xaicli.network.channels import CHANNEL_MAPS
from xaicli.runs.overlay_style import OverlayStyle


def has_channels(attribution: Attribution) -> bool:
    return CHANNEL_MAPS in attribution.extras


def channel_endings(attribution: Attribution) -> list[str]:
    """How the picture is called behind the stem of a map, if there is one."""
    return [f".{CHANNEL_MAPS}.png"] if has_channels(attribution) else []


def draw_channels(attribution: Attribution, stem: Path, style: OverlayStyle) -> None:
    """Draw the maps of all channels side by side on their photo; nothing if there are none or they are not finite."""
    photo = attribution.picture
    if photo is None or not has_channels(attribution) or attribution.status == "non-finite":
        return
    maps = attribution.extras[CHANNEL_MAPS].astype(np.float32)
    picture = strip(
        photo,
        maps,
        attribution.view.geometry(*photo.size),
        attribution.sign,
        labels=[f"channel {number}" for number in range(1, len(maps) + 1)],
        colormap=style.colormap,
        alpha=style.alpha,
    )
    write_png(stem.with_name(f"{stem.name}.{CHANNEL_MAPS}.png"), picture)
