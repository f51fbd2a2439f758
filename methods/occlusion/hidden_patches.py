"""Logits of photos from whose sequence the patches under one window are left out."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from xaicli.methods.occlusion.hidden_boxes import Receive
from xaicli.network.classifier import Classifier
from xaicli.passes.part_sequences import part_sequences


def pass_without_patches(classifier: Classifier, inputs: Tensor, hidden: Tensor, receive: Receive, what: str) -> Tensor:
    """For each window, run each photo (B, 3, H, W) without the patches that it hides, (windows, patches) bool; then with all.

    Returns the logits (B, C) of the photos with all patches, in the same precision. what: the method's label, for a refusal.
    """
    kept = torch.cat([~hidden, hidden.new_ones(1, hidden.shape[1])])
    clean = []
    for row in range(len(inputs)):
        with part_sequences(classifier, inputs[row : row + 1], what, exact=False) as sequences:
            found = inputs.new_empty(len(kept), sequences.logits.shape[1])
            sequences.run(kept, partial(found.index_copy_, 0))
        receive(row, 0, found[:-1])
        clean.append(found[-1:])
    return torch.cat(clean)
