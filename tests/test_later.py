"""Packages that only some runs need are imported when they are first used."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from xaicli.later import Later

RARE = ("scipy", "matplotlib.axes", "captum", "sympy", "onnx", "onnxruntime", "openvino", "torch.onnx._internal")
"""Packages that take long to import and are of no use to a run without scores."""


@pytest.mark.slow
def test_explaining_and_scoring_start_without_packages_that_few_runs_need():
    runs = "import sys, xaicli.runs.explain, xaicli.runs.score, xaicli.runs.compare"
    found = subprocess.run([sys.executable, "-c", f"{runs}; print(*sys.modules)"], check=True, capture_output=True, text=True)
    assert "xaicli.runs.explain" in found.stdout.split()
    assert not set(RARE) & set(found.stdout.split())


def test_a_later_package_is_the_package_itself():
    later = Later("scipy.ndimage")
    assert later.gaussian_filter is ndimage.gaussian_filter
    assert np.array_equal(later.label(np.eye(3))[0], ndimage.label(np.eye(3))[0])


def test_a_later_package_has_no_more_names_than_the_package():
    with pytest.raises(AttributeError, match="no attribute 'blurred_twice'"):
        Later("scipy.ndimage").blurred_twice  # noqa: B018
