"""Every method on a detector: it gives maps of the box, or refuses in one line of its own; every metric reads such maps."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from detectors import look_alike
from PIL import Image

import xaicli
from xaicli import builtin
from xaicli.errors import InputError, UsageError

RUN = {"grad-cam", "grad-cam++", "xgrad-cam", "layer-cam", "hirescam", "eigen-cam", "score-cam", "ablation-cam", "feature-cam"}
RUN |= {"rise", "d-rise", "odam", "random", "center", "saliency", "input-x-gradient", "integrated-gradients", "smoothgrad"}
RUN |= {"gradient-shap", "occlusion", "feature-ablation", "shapley-sampling", "lime", "kernel-shap"}
FEW = {"deletion": "steps=4", "insertion": "steps=4", "infidelity": "draws=4", "max-sensitivity": "draws=2"}
FEW |= {"randomization": "stages=2", "seed-variance": "draws=2", "aopc": "region=16@regions=4", "stability": "changes=jpeg"}


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(40, 220, (12, 16, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("street") / "street.png"
    Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC).save(path)
    return path


def test_a_box_is_explained_or_refused_in_words(method, photo):
    made: list[xaicli.Attribution] = []
    with contextlib.suppress(UsageError, InputError):
        made = list(xaicli.explain(photo, look_alike(), method, target="dog@box=3"))
    assert made or method.name not in RUN
    for one in made:
        assert (one.record.target, one.record.box["label"]) == ("box:3", "dog")
        assert one.record.status in ("ok", "constant")


@pytest.mark.parametrize("name", builtin.METRICS)
def test_a_metric_reads_maps_of_a_box(name, photo):
    label = f"{name}@{FEW[name]}" if name in FEW else name
    [row] = xaicli.score(photo, look_alike(), "grad-cam", metric=label, target="dog@box=3", controls=False).records()
    assert (row["target"], row["status"]) == ("box:3", "ok")


def test_what_moves_the_photo_is_refused_since_the_box_stays(photo):
    with pytest.raises(UsageError, match="flip moves the photo"):
        xaicli.score(photo, look_alike(), "grad-cam", metric="stability", target="box:0", controls=False)
