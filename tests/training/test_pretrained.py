"""Training that begins with the weights of a network that xai train made."""

from __future__ import annotations

import pytest
import torch

from xaicli.methods.lfi.lfi_network import LFINetwork, branch_of
from xaicli.models.architecture import build
from xaicli.models.checkpoint import read_metadata
from xaicli.models.load import load_classifier
from xaicli.training.plan import prepare
from xaicli.training.train_request import TrainRequest

BRANCHED = "classifier@branch=true"
QUICK = {"epochs": 1, "batch_size": 8, "lr": 0.1}


@pytest.fixture
def finish(toy, tmp_path):
    """A function that trains on the toy data and returns the file."""

    def make(method, name, **changes):
        given = {
            "method": method,
            "data": str(toy / "train"),
            "val": str(toy / "val"),
            "model": "tiny@widths=6+8@blocks=1",
            "output": tmp_path / f"{name}.safetensors",
            "overrides": QUICK,
            "model_options": {"resize": 16, "crop": 16, "device": "cpu"},
        }
        run = prepare(TrainRequest(**{**given, **changes}))
        start = {key: tensor.clone() for key, tensor in run.task.modules["network"].state_dict().items()}
        list(run.events())
        return run.output, start

    return make


@pytest.mark.parametrize("method", ["classifier", BRANCHED, "lfi-cam"])
def test_a_network_with_a_branch_is_trained_on_and_loads_again(finish, method):
    first, _ = finish(BRANCHED, "first")
    trained = load_classifier(str(first)).torch_module.state_dict()
    second, start = finish(method, "second", model=str(first), pretrained=True)
    assert start.keys() == trained.keys()
    assert all(torch.equal(start[name], tensor) for name, tensor in trained.items())
    loaded = load_classifier(str(second)).torch_module
    assert isinstance(loaded, LFINetwork)
    assert read_metadata(second)["architecture"]["spec"] == "tiny@blocks=1@widths=6+8"


def test_a_branch_that_is_to_be_built_otherwise_is_a_new_one_in_the_old_ones_place(finish):
    first, _ = finish(BRANCHED, "first")
    second, start = finish("lfi-cam@temperature=0.5", "second", model=str(first), pretrained=True)
    before = load_classifier(str(first)).torch_module.state_dict()
    assert start.keys() == before.keys()
    assert torch.equal(start["network.head.weight"], before["network.head.weight"])
    assert not torch.equal(start["branch.fin.0.weight"], before["branch.fin.0.weight"])
    loaded = load_classifier(str(second)).torch_module
    assert branch_of(loaded).importance.temperature == 0.5
    assert sum(isinstance(part, LFINetwork) for part in loaded.modules()) == 1


def test_the_weights_named_beside_an_architecture_say_how_it_is_built(finish):
    first, _ = finish("classifier", "first")
    options = {"resize": 16, "crop": 16, "device": "cpu", "weights": str(first)}
    second, _ = finish("classifier", "second", model="tiny", pretrained=True, model_options=options)
    assert read_metadata(second)["architecture"]["spec"] == "tiny@blocks=1@widths=6+8"
    assert load_classifier(str(second)).classes == ("blue", "green", "red")


def test_weights_fit_a_network_of_other_strides():
    plain, fine = (build(f"tiny@widths=8+8+16@blocks=1{strides}", 3).module for strides in ("", "@strides=2+1+2+1"))
    fine.load_state_dict(plain.state_dict())
    inputs = torch.zeros(1, 3, 32, 32)
    assert [network.stages(network.stem(inputs)).shape[-1] for network in (plain, fine)] == [4, 8]
