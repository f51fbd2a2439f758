"""Letterboxes: the whole photo in the model's view, its proportions kept, grey around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from xaicli.errors import UsageError
from xaicli.images.view import View

BARE = {"mean": (0, 0, 0), "std": (1, 1, 1)}


@pytest.mark.parametrize(("size", "seen"), [((40, 20), (8, 4)), ((20, 40), (4, 8)), ((40, 40), (8, 8)), ((1000, 1), (8, 1))])
def test_a_photo_is_fitted_whole_into_the_middle(size, seen):
    inputs = View((8, 8), None, letterbox=114, **BARE).prepare(Image.new("RGB", size, "white"))
    left, top = (8 - seen[0]) // 2, (8 - seen[1]) // 2
    expected = torch.full((3, 8, 8), 114 / 255)
    expected[:, top : top + seen[1], left : left + seen[0]] = 1
    torch.testing.assert_close(inputs, expected)


def test_places_in_the_view_come_back_to_the_photo():
    geometry = View((8, 8), None, letterbox=114).geometry(40, 20)
    assert geometry.to_source(0, 2) == (0, 0)
    assert geometry.to_source(8, 6) == (40, 20)
    assert geometry.sees_all


def test_around_a_mask_there_is_nothing_marked():
    mask = View((8, 8), None, letterbox=114).prepare_mask(np.ones((20, 40), dtype=bool))
    assert mask.any(axis=1).tolist() == [False] * 2 + [True] * 4 + [False] * 2


def test_the_record_of_a_view_names_a_letterbox_only_where_there_is_one():
    boxed, plain = View((8, 8), None, letterbox=114), View((8, 8), None)
    assert "letterbox" not in plain.as_dict()
    assert [View.from_dict(view.as_dict()) for view in (boxed, plain)] == [boxed, plain]
    assert boxed.describe() == "letterbox 8 x 8, bilinear"


def test_a_letterbox_without_an_exact_size_is_refused():
    with pytest.raises(UsageError, match="a letterbox with"):
        View(8, 8, letterbox=114)
