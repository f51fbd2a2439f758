"""The picture of a photo on the decision boundary: `STEM.LABEL.counterfactual.png`."""

from __future__ import annotations

from pathlib import Path

import torch

from xaicli.attribution import Attribution
from xaicli.images.counterfactual import counterfactual_picture
from xaicli.images.picture_file import write_png
from xaicli.record import Record

COUNTERFACTUAL = "counterfactual"
"""The extra of a method that changes the photo until it is decided otherwise: (C, H, W), in colours 0..1 of the view."""


def has_counterfactual(attribution: Attribution) -> bool:
    return COUNTERFACTUAL in attribution.extras


def counterfactual_endings(attribution: Attribution) -> list[str]:
    """How the picture is called behind the stem of a map, if there is one."""
    return [f".{COUNTERFACTUAL}.png"] if has_counterfactual(attribution) else []


def draw_counterfactual(attribution: Attribution, stem: Path) -> None:
    """Draw the changed photo beside the photo as the network sees it; nothing for networks of more than three channels."""
    photo, view = attribution.picture, attribution.view
    if photo is None or not has_counterfactual(attribution) or view.channels > 3:
        return
    changed = torch.from_numpy(attribution.extras[COUNTERFACTUAL])
    if not bool(changed.isfinite().all()):
        return
    before, after = view.colours(view.prepare(photo)), view.colours(view.normalise(changed))
    lines = [attribution.record.method, summary(attribution.record)]
    write_png(stem.with_name(f"{stem.name}.{COUNTERFACTUAL}.png"), counterfactual_picture(before.numpy(), after.numpy(), lines))


def summary(record: Record) -> str:
    """Which two are as likely there, and how far that is."""
    number = record.extras.get("rival")
    known = {one.index: one.name for one in record.top}
    other = "" if number is None or number < 0 else f" as likely as {known.get(int(number), f'class {int(number)}')}"
    far = record.extras.get("distance")
    return f"{record.target_name}{other}" + ("" if far is None else f", at distance {far:.3g}")
