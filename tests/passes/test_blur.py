"""Gaussian blur: torchvision's, without torchvision."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.functional import gaussian_blur as torchvision_blur

from xaicli.passes.blur import gaussian_blur


@pytest.mark.parametrize("shape", [(3, 20, 24), (2, 3, 40, 40), (4, 1, 30, 31)])
@pytest.mark.parametrize(("width", "height"), [(5, 5), (11, 1), (1, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_blur_is_torchvisions_bit_for_bit(shape, width, height, dtype):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    assert torch.equal(gaussian_blur(values, width, height, 2.2), torchvision_blur(values, [width, height], [2.2, 2.2]))
