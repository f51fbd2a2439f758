"""Content hashes and stamps."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xaicli.params import Definition, param
from xaicli.stamps import definition_stamp, sha256_file, stamp, subject_stamp

LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(LEAF, lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3))


@dataclass(frozen=True, kw_only=True)
class Sampled(Definition):
    """A definition with two parameters."""

    n: int = param(10, "samples", ge=1)
    layer: str = param("auto", "a layer")

    name = "sampled"


@dataclass(frozen=True, kw_only=True)
class Newer(Sampled):
    """The same, of which the numbers changed."""

    version = 2


def test_the_hash_of_a_file_is_the_sha256_of_its_bytes(tmp_path):
    file = tmp_path / "a.bin"
    for content in (b"", b"abc", bytes(range(256)) * 5000):
        file.write_bytes(content)
        assert sha256_file(file) == hashlib.sha256(content).hexdigest()


def test_a_stamp_is_16_hex_digits_of_the_canonical_json():
    text = '{"a":[1,"\\u00e9"],"b":null}'
    assert stamp({"b": None, "a": [1, "é"]}) == hashlib.sha256(text.encode()).hexdigest()[:16]


@given(JSON, JSON)
def test_two_contents_have_one_stamp_exactly_where_their_json_is_one(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (stamp(first) == stamp(second)) == same


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_number_that_is_not_finite_has_no_stamp(wrong):
    with pytest.raises(ValueError, match="JSON"):
        stamp({"value": wrong})


def test_the_definition_changes_with_name_version_parameters_target_rule_and_precision():
    stamps = {
        definition_stamp(Sampled(), "top1", "fp32"),
        definition_stamp(Newer(), "top1", "fp32"),
        definition_stamp(Sampled(n=11), "top1", "fp32"),
        definition_stamp(Sampled(layer="features.3"), "top1", "fp32"),
        definition_stamp(Sampled(), "281", "fp32"),
        definition_stamp(Sampled(), "top1", "auto"),
    }
    assert len(stamps) == 6


def test_a_default_that_is_spelled_out_does_not_change_the_definition():
    assert definition_stamp(Sampled(n=10), "top1", "fp32") == definition_stamp(Sampled(), "top1", "fp32")
    assert definition_stamp(replace(Sampled(n=3), n=10), "top1", "fp32") == definition_stamp(Sampled(), "top1", "fp32")


def test_the_subject_changes_with_photo_frame_model_and_target():
    base = {"photo": "ab" * 32, "frame": 0, "fingerprint": "f" * 16, "target": "281"}
    changes = {"photo": "cd" * 32, "frame": 1, "fingerprint": "e" * 16, "target": "281-3"}
    assert len({subject_stamp(**base), *(subject_stamp(**{**base, key: value}) for key, value in changes.items())}) == 5


def test_stamps_need_no_torch():
    code = "import sys, xaicli.stamps, xaicli.params; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
