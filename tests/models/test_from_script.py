"""TorchScript programs: run where they are trusted, and never taken for weights; models of other runtimes are named."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.models.load import load_classifier
from xaicli.needs import Needs
from xaicli.registry import make_method
from xaicli.suitability import require_fit


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()


def saved(network: nn.Module, path: Path, *, frozen: bool = False) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.script(network)
        torch.jit.save(torch.jit.freeze(program) if frozen else program, str(path))
    return str(path)


@pytest.mark.parametrize("ending", [".pt", ".pth"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_program_is_loaded_and_gives_the_logits_of_its_network(network, tmp_path, ending, frozen):
    classifier = load_classifier(saved(network, tmp_path / f"net{ending}", frozen=frozen))
    inputs = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(classifier(inputs), network(inputs))
    assert bool(classifier.provides & Needs.GRADIENTS) is not frozen


def test_gradients_pass_a_program_and_methods_that_need_its_layers_refuse(network, tmp_path):
    classifier = load_classifier(saved(network, tmp_path / "net.pt"), resize=32, crop=32)
    plain = xaicli.classifier(network, resize=32, crop=32)
    method = "input-x-gradient"
    one, other = (xaicli.explain("sample:hopper", made, method)[0].values for made in (classifier, plain))
    torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other))
    with pytest.raises(UsageError, match="grad-cam needs") as caught:
        xaicli.explain("sample:hopper", classifier, "grad-cam")
    named = caught.value.hint.removeprefix("Methods whose needs it meets: ").removesuffix(".").split(", ")
    assert {"rise", "saliency"} < set(named)
    assert not {"guided-backprop", "deconvolution", "deeplift", "lrp"} & set(named)
    with pytest.raises(UsageError, match=r"lrp cannot explain net\.pt: TorchScript"):
        require_fit(make_method("lrp"), classifier)


def test_a_program_is_code_and_runs_only_where_it_is_trusted(network, tmp_path):
    with pytest.raises(UsageError, match=r"is a TorchScript program, which is code.*--trust"):
        load_classifier(saved(network, tmp_path / "net.pt"), trust=False)


def test_weights_are_no_program(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "net.pt")
    with pytest.raises(InputError, match=r"holds weights, not a network.*--weights"):
        load_classifier(str(tmp_path / "net.pt"))


@pytest.mark.parametrize(
    ("ending", "way"),
    [(".keras", "tf2onnx"), (".h5", "tf2onnx"), (".mlmodel", "FILE.py:FUNCTION")],
)
def test_models_of_other_runtimes_are_named_with_the_way_from_them(ending, way):
    with pytest.raises(UsageError, match=f"net{ending} is a .* which xai does not read.*{way}"):
        load_classifier(f"net{ending}")
