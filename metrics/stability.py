"""Stability: how a map changes when the photo changes in meaningless ways."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.images.view import View
from xaicli.metric import Direction, Metric, Needs, Scores, param
from xaicli.passes.upsampling import upsample
from xaicli.scoring.case import Case
from xaicli.scoring.similarity import spearman

Change = Literal["flip", "shift", "jpeg"]


@dataclass(frozen=True, kw_only=True)
class Stability(Metric):
    """Rank correlation with maps of the photo flipped, shifted, or saved as JPEG.

    `mean over changes of spearman(map, map of the changed photo, changed back)`, over what both show, -1 to 1, higher is
    better. The same target is explained under the same seed. A map that turns constant or is not finite counts as 0. Networks
    are not indifferent to such changes either: the read-out `decided` says how often the changed photo still went to the
    target.

    `xai score photos/ --method grad-cam --metric stability`
    """

    name = "stability"
    direction = Direction.HIGHER
    range = (-1.0, 1.0)
    needs = Needs.FORWARD
    needs_explain = True
    readouts = {
        "flip": "rank correlation under a left-right flip",
        "shift": "rank correlation under a shift",
        "jpeg": "rank correlation under JPEG compression",
        "decided": "share of the changed photos that the model still assigns to the target",
    }
    paper = "Alvarez-Melis, Jaakkola: On the robustness of interpretability methods, 2018, arXiv 1806.08049"

    changes: tuple[Change, ...] = param(("flip", "shift", "jpeg"), "what is done to the photo")
    shift: int = param(8, "pixels to the right and down; borders are repeated", ge=1, le=10_000)
    quality: int = param(75, "of the JPEG", ge=1, le=100)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.changes)) < len(self.changes):
            raise UsageError(f"{self.name}: changes names one of them twice", hint="Name each once.")

    def score(self, case: Case) -> Scores:
        if self.shift >= min(case.size):
            raise UsageError(f"{self.name}: shift={self.shift} leaves nothing of {case.size[1]} x {case.size[0]} pixels")
        part = "box" if case.classifier.boxes is not None else "region" if case.classifier.region is not None else ""
        if part and (moved := [change for change in self.changes if change != "jpeg"]):
            raise UsageError(
                f"{self.name}: {moved[0]} moves the photo, and the {part} that is explained stays where it is",
                hint="Give stability@changes=jpeg.",
            )
        photos = torch.stack([case.photo(item) for item in range(len(case))])
        found: dict[str, Tensor] = {}
        decided: list[Tensor] = []
        for change in self.changes:
            maps, logits = case.explain(inputs=self.changed(photos, change, case.classifier.view))
            found[change] = self.compared(case.upsampled, upsample(maps, case.size), change).nan_to_num(0.0)
            decided.append(case.decided(logits).cpu().double())
        readouts = {**found, "decided": torch.stack(decided).mean(dim=0)}
        return Scores(torch.stack(list(found.values())).mean(dim=0), readouts)

    def changed(self, photos: Tensor, change: Change, view: View) -> Tensor:
        """The photos (N, 3, H, W) after the change."""
        if change == "flip":
            return photos.flip(3)
        if change == "shift":
            return functional.pad(photos, (self.shift, 0, self.shift, 0), mode="replicate")[
                ..., : photos.shape[2], : photos.shape[3]
            ]
        pixels = (view.pixels(photos) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        saved = np.stack([self.compressed(photo) for photo in pixels])
        return view.normalise(torch.from_numpy(saved).permute(0, 3, 1, 2).float().div_(255).to(photos.device))

    def compressed(self, photo: np.ndarray) -> np.ndarray:
        """Bytes (H, W, C) after JPEG compression, as three colours or channel by channel."""
        if photo.shape[2] != 3:
            return np.stack([self.saved(photo[..., channel]) for channel in range(photo.shape[2])], axis=2)
        return self.saved(photo)

    def saved(self, pixels: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=self.quality)
        return np.array(Image.open(buffer, formats=["JPEG"]))

    def compared(self, before: Tensor, after: Tensor, change: Change) -> Tensor:
        """Rank correlation (N,) of maps (N, H, W) over what both show."""
        if change == "flip":
            return spearman(before, after.flip(2))
        if change == "shift":
            return spearman(before[:, : -self.shift, : -self.shift], after[:, self.shift :, self.shift :])
        return spearman(before, after)
