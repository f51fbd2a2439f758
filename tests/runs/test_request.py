import dataclasses
import inspect

import numpy as np
import pytest
import torch
from PIL import Image

import xaicli
from xaicli.methods.lfi.lfi_network import with_branch
from xaicli.runs.request import RunRequest, default_method
from xaicli.runs.score_request import ScoreRequest


def test_a_network_is_explained_by_grad_cam_and_a_black_box_by_rise(tiny_cnn, classifier_of):
    assert default_method(classifier_of(tiny_cnn)) == "grad-cam"
    assert default_method(classifier_of(with_branch(tiny_cnn, (32, 32)))) == "grad-cam"
    assert default_method(classifier_of(lambda inputs: inputs.mean(dim=(2, 3)))) == "rise"


def test_python_takes_the_same_default(tiny_cnn, classifier_of):
    torch.manual_seed(0)
    photo = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    classifier = classifier_of(with_branch(tiny_cnn, (32, 32)).eval())
    assert xaicli.explain(photo, classifier)[0].record.method == "grad-cam"


@pytest.mark.parametrize(("verb", "request_type"), [(xaicli.explain, RunRequest), (xaicli.score, ScoreRequest)])
def test_every_word_of_a_request_is_a_parameter_of_its_verb_with_the_same_default(verb, request_type):
    parameters = inspect.signature(verb).parameters
    for field in dataclasses.fields(request_type):
        assert parameters[field.name].default is inspect.Parameter.empty or parameters[field.name].default == field.default


def test_a_comparison_does_not_take_its_own_sheet_for_a_photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save("photo.png")
    words = {"recursive": True, "metric": "sparseness", "controls": False, "output": "sheets"}
    for _ in range(2):
        table = xaicli.compare(".", "tiny", "grad-cam", **words)
        assert [row["image"] for row in table.rows] == ["photo.png"]
