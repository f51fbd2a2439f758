"""Logits of photos with one box hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from xaicli.methods.occlusion.crop_plan import Box
from xaicli.methods.occlusion.local_passes import LocalPasses, local_passes
from xaicli.network.classifier import Classifier
from xaicli.passes.folded_engine import folded_engine_for
from xaicli.passes.memory import chunk_for, in_chunks
from xaicli.passes.queue import CopyJob, run

Receive = Callable[[int, int, Tensor], object]
"""receive(row, start, logits) receives logits (n, C), float32, of the copies of photo `row` with boxes from `start` on."""


def pass_with_hidden_boxes(
    classifier: Classifier, inputs: Tensor, hidden: Tensor, boxes: Sequence[Box], receive: Receive
) -> Tensor:
    """For each box, run each photo with the box replaced by `hidden`, both (B, 3, H, W); then run it as it is.

    Returns the logits (B, C) of the photos as they are, in the same precision, `masked_dtype`, and by the same kernels, so
    that a box that changes nothing has exactly these. Early layers run on crops around the boxes where the network allows it;
    logits are those of the network itself to 1e-5 in float32.
    """
    expected = len(inputs) * (len(boxes) + 1)
    shape = (inputs.shape[1], inputs.shape[2], inputs.shape[3])
    with local_passes(folded_engine_for(classifier, inputs[:1], expected, exact=False), shape, boxes) as passes:
        if passes is not None:
            return batches_of_local_passes(classifier, passes, inputs, hidden, receive)
    clean: list[Tensor] = []
    jobs = (job_of(row, inputs, hidden, boxes, receive, clean.append) for row in range(len(inputs)))
    run(classifier, jobs, shape, passes=expected, exact=False)
    return torch.cat(clean)


def batches_of_local_passes(
    classifier: Classifier, passes: LocalPasses, inputs: Tensor, hidden: Tensor, receive: Receive
) -> Tensor:
    """Photo after photo; the batch size is halved where memory runs out. Returns the logits of the photos as they are."""
    chunk = chunk_for(classifier, (inputs.shape[2], inputs.shape[3]))
    clean = []
    for row in range(len(inputs)):
        clean.append(passes.begin(inputs[row], hidden[row]).clone())
        for start, logits in in_chunks(passes.logits, len(passes.boxes), chunk):
            # Copies made outside inference mode are the receiver's to keep.
            receive(row, start, logits.clone())
    return torch.cat(clean)


def job_of(
    row: int, inputs: Tensor, hidden: Tensor, boxes: Sequence[Box], receive: Receive, receive_clean: Callable[[Tensor], object]
) -> CopyJob:
    """The same copies whole, for the masked-forward queue; the last is the photo as it is."""

    def write(out: Tensor, start: int, stop: int) -> None:
        out.copy_(inputs[row].expand_as(out))
        for copy, (top, bottom, left, right) in zip(out, boxes[start:stop], strict=False):
            copy[:, top:bottom, left:right] = hidden[row, :, top:bottom, left:right]

    def hand_over(logits: Tensor, start: int, stop: int) -> None:
        copies = logits[: len(boxes) - start]
        if len(copies):
            receive(row, start, copies)
        if stop > len(boxes):
            receive_clean(logits[-1:])

    return CopyJob(len(boxes) + 1, write, hand_over)
