"""Logits out of what networks return: tensors, tuples, dicts, NumPy arrays, half precision."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import torch

from xaicli.errors import RunError, UsageError
from xaicli.network.raw_output import read_outputs

LOGITS = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
Pair = collections.namedtuple("Pair", ["hidden", "logits"])


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        LOGITS.half(),
        LOGITS.numpy(),
        {"logits": LOGITS, "aux": LOGITS + 1},
        Pair(LOGITS + 1, LOGITS),
        (LOGITS, LOGITS[:, :, None]),
        [LOGITS[:, :, None], LOGITS],
        (LOGITS, None),
    ],
)
def test_logits_are_found_by_a_stated_rule(output):
    read = read_outputs(output, 2, "net")
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, LOGITS)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ((LOGITS, LOGITS), r"2 outputs that could be logits.*--output-name NAME, of 0 \(2, 3\), 1 \(2, 3\)"),
        ({"a": LOGITS, "b": LOGITS}, "2 outputs that could be logits.*of a"),
    ],
)
def test_of_several_that_fit_the_command_line_has_to_name_one(output, words):
    with pytest.raises(UsageError, match=words):
        read_outputs(output, 2, "net")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ((LOGITS[:, :, None],), "no output of shape"),
        ("text", "is a str"),
        (LOGITS[:, :, None, None], "shape"),
        (LOGITS.to(torch.complex64), "complex64"),
    ],
)
def test_an_entry_that_happens_to_fit_is_never_taken(output, words):
    with pytest.raises(RunError, match=words):
        read_outputs(output, 2, "net")


def test_an_output_is_taken_by_name_or_place():
    torch.testing.assert_close(read_outputs({"a": LOGITS + 1, "b": LOGITS}, 2, "net", "b"), LOGITS)
    torch.testing.assert_close(read_outputs((LOGITS + 1, LOGITS), 2, "net", "1"), LOGITS)
    torch.testing.assert_close(read_outputs(Pair(LOGITS, LOGITS + 1), 2, "net", "hidden"), LOGITS)


@pytest.mark.parametrize(
    ("output", "wanted", "words"),
    [
        ({"a": LOGITS, "b": LOGITS}, "c", r'no output "c"; expected a \(2, 3\), b'),
        (LOGITS, "logits", 'no output "logits". It returned one tensor: leave --output-name out'),
        ({"logits": LOGITS, "loss": 3.0}, "loss", "output loss of net is a float"),
        ({"logits": LOGITS, "features": LOGITS[:, :, None]}, "features", r"shape \(2, 3, 1\)"),
    ],
)
def test_a_name_that_is_no_outputs_is_an_error_of_the_one_who_gave_it(output, wanted, words):
    with pytest.raises(UsageError, match=words):
        read_outputs(output, 2, "net", wanted)


def test_one_number_a_photo_is_one_output():
    assert read_outputs(np.zeros(2), 2, "net").shape == (2, 1)
