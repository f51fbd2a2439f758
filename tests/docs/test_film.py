"""The page on sequences: its film and its network are what it says."""

from __future__ import annotations

import numpy as np

import xaicli
from docs.film import RED, film, make


def test_the_frame_in_which_the_ball_turns_red_counts_most() -> None:
    [made] = xaicli.explain(film(), make(), "winit", target="red appears")
    importance = made.values.ravel()
    assert int(importance.argmax()) == RED[0]
    assert importance.max() > 2 * np.sort(importance)[-2]
    assert made.record.decision.name == "red appears"
