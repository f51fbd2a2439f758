from __future__ import annotations

import torch

from xaicli.given_tensors import copies_of, written


def test_not_a_number_is_no_change_unless_it_is_new() -> None:
    given = {"photo": torch.tensor([1.0, torch.nan])}
    copies = copies_of(given)
    assert written(given, copies) == []
    given["photo"].data[0] = torch.nan
    assert written(given, copies) == ["photo"]


def test_a_write_to_a_tensor_of_inference_mode_is_seen() -> None:
    with torch.inference_mode():
        given = {"photo": torch.ones(2), "seeds": torch.ones(2)}
    copies = copies_of(given)
    given["photo"].numpy()[0] = 2
    assert written(given, copies) == ["photo"]
