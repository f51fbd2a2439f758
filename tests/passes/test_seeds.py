"""Seeds and streams: they depend on what is computed, and on nothing else."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from xaicli.passes.seeds import digest, photo_seed, stream

PHOTO = "ab" * 32


def test_a_seed_fits_a_signed_64_bit_integer():
    seeds = [photo_seed(run, PHOTO, 0, "rise") for run in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == 200
    assert torch.tensor(seeds, dtype=torch.int64).tolist() == seeds
    assert max(seeds) > 2**61


def test_run_photo_frame_and_name_each_change_the_seed():
    others = [photo_seed(1, PHOTO, 0, "rise"), photo_seed(0, "cd" * 32, 0, "rise")]
    others += [photo_seed(0, PHOTO, 1, "rise"), photo_seed(0, PHOTO, 0, "random")]
    assert len({photo_seed(0, PHOTO, 0, "rise"), *others}) == 5


@given(st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_two_lists_of_parts_have_one_digest_only_where_they_are_equal(first, second):
    assert (digest(*first) == digest(*second)) == (first == second)


def test_parts_do_not_run_into_each_other():
    assert digest("a", "b") != digest("ab") != digest("a\x1fb") != digest("", "ab")
    assert digest(1, 23) != digest(12, 3)


def test_a_stream_starts_anew_each_time_it_is_asked_for():
    assert stream(5, "masks", 2).random(8).tolist() == stream(5, "masks", 2).random(8).tolist()


def test_streams_of_other_seeds_purposes_and_chunks_are_others():
    draws = [stream(*key).random(4).tolist() for key in [(5, "masks", 0), (6, "masks", 0), (5, "shifts", 0), (5, "masks", 1)]]
    assert len({tuple(draw) for draw in draws}) == 4


def test_streams_are_uncorrelated():
    keys = [(seed, purpose, chunk) for seed in (0, 1) for purpose in "ab" for chunk in (0, 1)]
    rows = np.stack([stream(*key).standard_normal(4096) for key in keys])
    off_diagonal = np.corrcoef(rows) - np.eye(len(rows))
    # The standard error of a correlation of 4096 independent draws is 1 / 64.
    assert np.abs(off_diagonal).max() < 5 / 64


def test_a_seed_may_be_an_element_of_a_tensor_or_an_array():
    expected = stream(7, "x", 1).random()
    assert stream(torch.tensor([7])[0], "x", torch.tensor(1)).random() == expected
    assert stream(np.int64(7), "x", np.int64(1)).random() == expected


def test_drawing_leaves_the_global_generators_alone():
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = states()
    stream(1, "x").random(100)
    assert states() == before


def test_seeds_and_streams_are_the_same_in_another_process():
    code = f"from xaicli.passes.seeds import *; print(photo_seed(3, {PHOTO!r}, 0, 'rise'), stream(9, 'm', 4).random())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.split() == [str(photo_seed(3, PHOTO, 0, "rise")), str(stream(9, "m", 4).random())]
