"""The page on sequences: its film and its network are what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import xaicli
from docs.film import COUNT, RED, film
from docs.video import make

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_frame_in_which_the_ball_turns_red_counts_most() -> None:
    [made] = xaicli.explain(film(), make(), "winit", target="red appears")
    importance = made.values.ravel()
    assert int(importance.argmax()) == RED[0]
    assert importance.max() > 2 * np.sort(importance)[-2]
    assert made.record.decision.name == "red appears"


def test_the_page_shows_all_of_the_file_that_it_names() -> None:
    code = (DOCS / "video.py").read_text("utf-8").partition("\n\n")[2]
    assert f"```python\n{code}```" in (DOCS / "frames.md").read_text("utf-8")
    assert make().view.frames == COUNT
