"""Pictures of maps that grow step by step, such as a transformer's block by block: the strip, and the moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xaicli.attribution import load_array
from xaicli.errors import UsageError
from xaicli.files import write_atomic
from xaicli.images.colour import Scale
from xaicli.images.decode import decode
from xaicli.images.picture_file import write_png
from xaicli.images.steps import animation, stretched, strip
from xaicli.method import Method
from xaicli.runs.folder import FolderRun, Written
from xaicli.sign import Sign

STEPS = "steps"


@dataclass(frozen=True)
class StepPictures:
    """Which pictures of steps are wanted.

    strip: all steps side by side, `STEM.LABEL.steps.png`; animate: a moving picture, `STEM.LABEL.steps.gif` or `.webp`; each:
    every step stretched to all colours, as the authors of DAAM show it; else all steps share one scale.
    """

    strip: bool = False
    animate: str | None = None
    each: bool = False

    def check(self, methods: Sequence[Method]) -> None:
        """Raise UsageError, before any work, where no method has steps."""
        if (self.strip or self.animate) and not any(method.stepwise for method in methods):
            raise UsageError(
                f"{', '.join(method.label for method in methods)} has no steps to draw",
                expected="a method whose maps grow from block to block",
                hint="Add --method daam.",
            )

    def draw(self, run: FolderRun, done: Sequence[Written]) -> list[Path]:
        """Draw the steps of all finite maps that have them, those that were complete before too; returns the files."""
        if not (self.strip or self.animate):
            return []
        return [path for written in done if self.has_steps(written) for path in self.draw_one(run, written)]

    @staticmethod
    def has_steps(written: Written) -> bool:
        return STEPS in written.record.arrays and written.record.status != "non-finite"

    def draw_one(self, run: FolderRun, written: Written) -> list[Path]:
        photo = decode(
            written.source, frame=written.source.frame, background=run.settings.background, seconds=run.settings.decode_timeout
        ).image
        maps = load_array(written.path(f".{STEPS}.npy"))
        sign, scale = Sign(written.record.sign), None
        if self.each:
            maps, sign, scale = stretched(maps), Sign.NONNEGATIVE, Scale(0.0, 1.0)
        geometry = run.classifier.view.geometry(*photo.size)
        look: dict[str, Any] = {"scale": scale, "colormap": run.style.colormap, "alpha": run.style.alpha}
        written_files = []
        if self.strip:
            picture = strip(photo, maps.astype(np.float32), geometry, sign, **look)
            written_files.append(written.path(f".{STEPS}.png"))
            write_png(written_files[-1], picture)
        if self.animate:
            content = animation(photo, maps.astype(np.float32), geometry, sign, kind=self.animate, **look)
            written_files.append(written.path(f".{STEPS}.{self.animate}"))
            write_atomic(written_files[-1], lambda file: file.write(content))
        return written_files
