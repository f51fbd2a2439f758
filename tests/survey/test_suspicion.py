"""The order in which photos deserve a look."""

from __future__ import annotations

from typing import Any

import pytest

from xaicli.survey.finding import PhotoFinding
from xaicli.survey.suspicion import confusions, order, suspicions, worst_errors


def photo(**known: Any) -> PhotoFinding:
    return PhotoFinding(
        **{"image": "a", "photo": "h", "frame": 0, "decision": "crane", "p": 0.9, "target": "crane", "status": "ok", **known}
    )


def test_suspicion_is_the_mean_rank_over_what_is_known() -> None:
    photos = [photo(disagreement=0.1, border=0.9), photo(disagreement=0.5, border=0.1), photo(disagreement=0.9)]
    # Of three: 1/6, 3/6, 5/6; of two at the border: 3/4, 1/4.
    assert suspicions(photos) == pytest.approx([(1 / 6 + 3 / 4) / 2, (1 / 2 + 1 / 4) / 2, 5 / 6])
    assert order(photos, "suspicion") == [2, 0, 1]
    assert order(photos, "border") == [0, 1, 2]


def test_a_photo_of_which_nothing_is_known_comes_last() -> None:
    assert suspicions([photo(), photo(border=0.2), photo(border=0.4)]).tolist() == [0.0, 0.25, 0.75]


def test_confusions_count_wrong_decisions_by_label() -> None:
    wrong = photo(label="tabby", right=False)
    photos = [wrong, photo(label="crane", right=True), wrong, photo(label="tabby", decision="desk", right=False)]
    assert confusions(photos) == [
        {"label": "tabby", "decision": "crane", "photos": 2, "of": 3},
        {"label": "tabby", "decision": "desk", "photos": 1, "of": 3},
    ]


def test_the_most_certain_error_is_the_worst() -> None:
    photos = [photo(right=False, p=0.4), photo(right=True, p=1.0), photo(right=False, p=0.8), photo(right=None)]
    assert worst_errors(photos) == [2, 0]
