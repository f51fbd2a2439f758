"""Pictures of maps that grow step by step, such as block by block in a transformer: a strip, and a moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xaicli.attribution import Attribution
from xaicli.errors import UsageError
from xaicli.files import write_atomic
from xaicli.images.colour import Scale
from xaicli.images.film import Film
from xaicli.images.picture_file import write_png
from xaicli.images.steps import animation, stretched, strip
from xaicli.method import Method
from xaicli.runs.overlay_style import OverlayStyle
from xaicli.sign import Sign

STEPS = "steps"
SCAN_PATH = "scanpath"
"""The extra of a method that looks at one place after another: (steps, 2), row and column in fractions of the input."""


@dataclass(frozen=True)
class StepPictures:
    """Which pictures of steps are wanted.

    strip: all steps side by side, `STEM.LABEL.steps.png`; animate: a moving picture, `STEM.LABEL.steps.gif` or `.webp`; each:
    every step uses all colours, as the authors of DAAM show it; otherwise all steps share one scale.
    """

    strip: bool = False
    animate: str | None = None
    each: bool = False

    @property
    def wanted(self) -> bool:
        return self.strip or self.animate is not None

    @property
    def endings(self) -> list[str]:
        """How the files are called, behind the stem of a map."""
        return [f".{STEPS}.{kind}" for kind in (["png"] * self.strip + [self.animate or ""]) if kind]

    def check(self, methods: Sequence[Method], *, of_frames: bool = False) -> None:
        """Raise UsageError, before any work, if no method has steps; of a sequence the frames are the steps."""
        if self.wanted and not of_frames and not any(method.stepwise for method in methods):
            raise UsageError(
                f"{', '.join(method.label for method in methods)} has no steps to draw",
                expected="a method whose maps grow step by step",
                hint="Add --method daam, or --method fovex.",
            )

    def draw(self, attribution: Attribution, stem: Path, style: OverlayStyle) -> None:
        """Draw the steps of a map, with its photo, beside its files; do nothing if it has no steps or is not finite."""
        if attribution.view.frames:
            self.draw_frames(attribution, stem, style)
            return
        steps, photo = attribution.steps, attribution.picture
        if not self.wanted or steps is None or photo is None or attribution.status == "non-finite":
            return
        sign, scale = attribution.sign, None
        if self.each:
            steps, sign, scale = stretched(steps), Sign.NONNEGATIVE, Scale(0.0, 1.0)
        geometry = attribution.geometry_on(photo)
        path, marks = attribution.extras.get(SCAN_PATH), attribution.marks
        look: dict[str, Any] = {"scale": scale, "colormap": style.colormap, "alpha": style.alpha, "path": path, "marks": marks}
        if self.strip:
            picture = strip(photo, steps.astype(np.float32), geometry, sign, **look)
            write_png(stem.with_name(f"{stem.name}.{STEPS}.png"), picture)
        if self.animate:
            content = animation(photo, steps.astype(np.float32), geometry, sign, kind=self.animate, **look)
            write_atomic(stem.with_name(f"{stem.name}.{STEPS}.{self.animate}"), lambda file: file.write(content))

    def draw_frames(self, attribution: Attribution, stem: Path, style: OverlayStyle) -> None:
        """Draw the frames of a sequence with their importance below; do nothing if the map is not finite."""
        photo, view = attribution.picture, attribution.view
        if not self.wanted or photo is None or attribution.status == "non-finite":
            return
        numbers = [attribution.record.frame + view.frame_step * at for at in range(view.frames)]
        film = Film(
            photo, attribution.values, attribution.geometry_on(photo), attribution.sign, numbers, look=self.look_of(style)
        )
        if self.strip:
            write_png(stem.with_name(f"{stem.name}.{STEPS}.png"), film.strip())
        if self.animate:
            content = film.animation(self.animate)
            write_atomic(stem.with_name(f"{stem.name}.{STEPS}.{self.animate}"), lambda file: file.write(content))

    @staticmethod
    def look_of(style: OverlayStyle) -> dict[str, Any]:
        return {"colormap": style.colormap, "alpha": style.alpha, "look": style.look}
