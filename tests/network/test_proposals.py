"""Proposals as decode functions return them, and which of them count as boxes."""

from __future__ import annotations

import pytest
import torch

from xaicli.errors import RunError
from xaicli.network.proposals import Decoding, Proposals, as_proposals

BOXES = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0], [6.0, 6.0, 8.0, 8.0]])
SCORES = torch.tensor([[0.9, 0.0], [0.8, 0.1], [0.0, 0.3]])


def test_a_batch_a_dict_a_list_of_photos_and_a_single_photo_are_read():
    batch = as_proposals((BOXES[None].repeat(2, 1, 1), SCORES[None].repeat(2, 1, 1)), 2, "decode")
    named = as_proposals({"boxes": batch.boxes, "scores": batch.scores, "labels": None}, 2, "decode")
    listed = as_proposals([(BOXES, SCORES), (BOXES, SCORES)], 2, "decode")
    for read in (batch, named, listed):
        assert (read.boxes.shape, read.scores.shape, read.objectness) == ((2, 3, 4), (2, 3, 2), None)
    assert as_proposals((BOXES, SCORES, SCORES[:, 0]), 1, "decode").objectness.shape == (1, 3)


def test_photos_with_fewer_boxes_are_filled_with_boxes_of_no_size_and_no_score():
    read = as_proposals([(BOXES, SCORES), (BOXES[:1], SCORES[:1])], 2, "decode")
    assert read.boxes.shape == (2, 3, 4)
    assert not read.boxes[1, 1:].any()
    assert not read.scores[1, 1:].any()
    nothing = as_proposals((BOXES[:0], SCORES[:0]), 1, "decode")
    assert not len(Decoding(decode=lambda output: output).found(nothing))


@pytest.mark.parametrize(
    "wrong",
    [
        (BOXES, SCORES),
        (BOXES[None].repeat(2, 1, 1), SCORES[None, :2].repeat(2, 1, 1)),
        (SCORES[None].repeat(2, 1, 1), BOXES[None].repeat(2, 1, 1)),
        BOXES,
        {"boxes": BOXES},
        [(BOXES, SCORES)],
        "boxes",
        None,
    ],
)
def test_other_forms_are_refused_in_words(wrong):
    with pytest.raises(RunError, match="decode returned") as caught:
        as_proposals(wrong, 2, "decode")
    assert "(photos, N, 4)" in caught.value.expected


def test_boxes_come_the_most_certain_first_and_of_two_that_overlap_the_better_is_kept():
    decoding = Decoding(decode=lambda output: output)
    proposals = Proposals(BOXES[None, [2, 1, 0]], SCORES[None, [2, 1, 0]])
    assert decoding.found(proposals).tolist() == [2, 0]
    assert Decoding(decode=lambda output: output, overlap=None).found(proposals).tolist() == [2, 1, 0]
    assert Decoding(decode=lambda output: output, floor=0.85).found(proposals).tolist() == [2]
