import inspect

import pytest
import torch
from torch import nn

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.models import from_checkpoint
from xaicli.models.load import DEFAULT, SOURCES, load_classifier, source_of, weights_of
from xaicli.params import parse_spec

NET = """
from torch import nn
def build():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
"""


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "model.py").write_text(NET)
    return f"{tmp_path / 'model.py'}:build"


def test_the_default_is_a_model_that_can_be_named():
    assert inspect.signature(load_classifier).parameters["spec"].default == DEFAULT
    assert source_of(DEFAULT)[0] is (from_checkpoint.load_bundled if DEFAULT == "tiny" else SOURCES["torchvision"])


@pytest.mark.parametrize(
    ("name", "source", "rest"),
    [
        ("resnet50", "from_torchvision", "resnet50"),
        ("torchvision:resnet50", "from_torchvision", "resnet50"),
        ("Torch-Vision:resnet50", "from_torchvision", "resnet50"),
        ("timm:resnet50.a1_in1k", "from_timm", "resnet50.a1_in1k"),
        ("timm:hf-hub:owner/name", "from_timm", "hf-hub:owner/name"),
        ("hf:owner/name", "from_hf", "owner/name"),
        ("hf:./folder", "from_hf", "./folder"),
        ("onnx:net.onnx", "from_onnx", "net.onnx"),
        ("onnx:C:\\nets\\net.onnx", "from_onnx", "C:\\nets\\net.onnx"),
        ("net.onnx", "from_onnx", "net.onnx"),
        ("C:\\nets\\net.pt2", "from_export", "C:\\nets\\net.pt2"),
        ("a/net.pt2", "from_export", "a/net.pt2"),
        ("a/model.py:build", "from_file", "a/model.py:build"),
        ("C:\\nets\\model.py:build", "from_file", "C:\\nets\\model.py:build"),
        ("model.py", "from_file", "model.py"),
    ],
)
def test_a_specification_names_its_source(name, source, rest):
    load, left = source_of(name)
    assert (load.__module__, left) == (f"xaicli.models.{source}", rest)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("timm:", UsageError, '"timm:" names no model'),
        ("tim:resnet50", UsageError, 'no source of models "tim"; expected NAME, torchvision:NAME@WEIGHTS'),
        ("net.pth", InputError, r"there is no file net\.pth; expected"),
        ("net.safetensors", InputError, r"there is no file net\.safetensors; expected"),
    ],
)
def test_what_names_no_source_is_refused_with_what_to_type(name, kind, words):
    with pytest.raises(kind, match=words):
        source_of(name)


def test_weights_may_be_given_in_one_place_only():
    assert weights_of(parse_spec("resnet50"), None) is None
    assert str(weights_of(parse_spec("resnet50@weights=net.pth"), None)) == "net.pth"
    assert str(weights_of(parse_spec("resnet50"), "net.pth")) == "net.pth"
    with pytest.raises(UsageError, match="weights are given twice"):
        weights_of(parse_spec("resnet50@weights=a.pth"), "b.pth")


@pytest.mark.parametrize("spec", ["resnet50@crop=224", "resnet50@base=grad-cam"])
def test_other_qualifiers_are_refused(spec):
    with pytest.raises(UsageError, match=r'a model has no parameter "(crop|base)"'):
        weights_of(parse_spec(spec), None)


def test_options_replace_parts_of_the_view_and_change_the_fingerprint(spec):
    torch.manual_seed(1)
    first = load_classifier(spec)
    torch.manual_seed(1)
    second = load_classifier(spec, resize=40, crop=32, interpolation="bicubic", mean=[0.5] * 3, std=[0.25] * 3)
    assert (second.view.resize, second.view.crop, second.view.interpolation) == (40, 32, "bicubic")
    assert (second.view.mean, second.view.std) == ((0.5,) * 3, (0.25,) * 3)
    assert second.fingerprint != first.fingerprint
    torch.manual_seed(1)
    assert load_classifier(spec).fingerprint == first.fingerprint


def test_class_names_come_from_a_file(spec, tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    assert load_classifier(spec, classes=tmp_path / "classes.txt").classes == tuple("abcde")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"2 class names for the 5 outputs of model\.py:build"):
        load_classifier(spec, classes=tmp_path / "classes.txt")


def test_options_that_cannot_be_are_refused_before_any_model_is_built(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="there is no file"):
        load_classifier("resnet50", classes=tmp_path / "absent.txt", offline=True)
    with pytest.raises(UsageError, match='no device "gpu"; expected auto, cpu, cuda'):
        load_classifier("resnet50", device="gpu", offline=True)


def test_a_bad_view_is_refused_in_words(spec):
    with pytest.raises(UsageError, match='no interpolation "cubic"'):
        load_classifier(spec, interpolation="cubic")


def test_a_torchvision_that_does_not_fit_its_torch_is_one_line(spec, tmp_path):
    (tmp_path / "model.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    with pytest.raises(InputError, match=r"torchvision .* does not fit torch .*pip install --force-reinstall"):
        load_classifier(spec)


def test_a_model_loaded_in_inference_mode_takes_gradients_afterwards(spec):
    with torch.inference_mode():
        classifier = load_classifier(spec)
    inputs = torch.randn(1, 3, 8, 8, requires_grad=True)
    classifier(inputs).sum().backward()
    assert inputs.grad is not None


def test_a_path_is_a_specification(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*a@b,c\.onnx"):
        load_classifier(tmp_path / "a@b,c.onnx")


@pytest.mark.parametrize("function", ["load_classifier", "explain"])
def test_a_network_that_is_given_as_it_is_gets_the_line_that_wraps_it(function):
    words = ("sample:hopper",) if function == "explain" else ()
    with pytest.raises(UsageError, match=r"a Linear names no model.*xaicli\.classifier\(network, resize=…"):
        getattr(xaicli, function)(*words, nn.Linear(3, 2))
