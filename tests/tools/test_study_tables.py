"""The study's part of docs/lfi-cam.md, made from the rows of a study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tools import lfi_page
from tools.study_tables import studied
from xaicli.task import Schedule
from xaicli.training.study_arms import BRANCH, NONE, PLAIN, arms_of, pairs, settings_of
from xaicli.training.study_result import StudiedNetwork, Study, overlaps_of

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = 40
SCHEDULE = Schedule(epochs=1, batch_size=8, lr=0.1)


def study_of(right):
    """A study's rows as its file holds them; right: of a kind of network, the share of photos it decides rightly."""
    trained = []
    for arm in arms_of(3, SCHEDULE):
        photos = np.arange(PHOTOS) if arm.kind == BRANCH else np.arange(PHOTOS)[::-1]
        trained.append(StudiedNetwork(arm, (photos < PHOTOS * right[arm.kind]).astype(float), 0.9, 1000))
    maps = np.random.default_rng(0).random((3, 6, 8, 8))
    stable = tuple(
        overlaps_of("lfi-cam", f"{one.setting} | {other.setting}", maps[0], maps[0] if other.overrides.get("lr") else maps[1])
        for one, other in pairs(settings_of(SCHEDULE))
    )
    made = Study(tuple(trained), stable, {"model": "tiny", "trained on": 20_000, "epochs": 5})
    return json.loads(json.dumps({"about": made.about, "rows": made.records()}))


def text_of(study):
    return " ".join(" ".join(studied(study)).split())


def test_without_a_study_there_is_no_part():
    assert studied(None) == []


@pytest.mark.parametrize(
    ("branch", "said"), [(0.9, "is higher than"), (0.1, "is lower than"), (0.5, "is not shown to differ from top-1")]
)
def test_a_sentence_says_what_the_branch_does_to_accuracy(branch, said):
    written = text_of(study_of({BRANCH: branch, NONE: 0.5, PLAIN: 0.5}))
    assert f"Top-1 with the branch {said} without it (difference {100 * branch - 50:.2f} [" in written
    assert f"Top-1 with the branch {said} with a plain head of as many weights (difference" in written


def test_tables_hold_accuracies_and_overlaps_of_all_pairs_of_settings():
    study = study_of({BRANCH: 0.5, NONE: 0.25, PLAIN: 0.5})
    written = text_of(study)
    assert "| without it | 25.0 [" in written
    assert "trained on 20,000" in written
    assert "xai study lfi-cam --data train/ --val val/ --epochs 5 -o study/" in written
    assert "maps of a photo overlap by" in written
    rows = [line for line in "\n".join(studied(study)).splitlines() if line.startswith("| lfi-cam |")]
    assert len(rows) == 3
    assert rows[0].startswith("| lfi-cam | as published, lr 0.05 | 1.000 | 0.")


def test_the_page_holds_the_study():
    study = study_of({BRANCH: 0.5, NONE: 0.25, PLAIN: 0.5})
    page = lfi_page.page(json.loads((ROOT / lfi_page.BRANCH).read_text()), [], study)
    assert all(part in page for part in studied(study))
