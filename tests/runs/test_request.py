import dataclasses
import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import xaicli
from xaicli.errors import UsageError
from xaicli.methods.lfi.lfi_network import with_branch
from xaicli.runs.default_method import default_method
from xaicli.runs.request import RunRequest
from xaicli.runs.score_request import ScoreRequest


def test_a_network_is_explained_by_grad_cam_and_a_black_box_by_rise(tiny_cnn, classifier_of):
    assert default_method(classifier_of(tiny_cnn)).name == "grad-cam"
    assert default_method(classifier_of(with_branch(tiny_cnn, (32, 32)))).name == "grad-cam"
    assert default_method(classifier_of(lambda inputs: inputs.mean(dim=(2, 3)))).name == "rise"


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


@pytest.mark.parametrize("verb", [xaicli.explain, xaicli.score, xaicli.compare])
@pytest.mark.parametrize("what", ["method", "metric"])
def test_an_empty_list_is_refused_in_words(verb, what):
    words = {"method": "center", "metric": "sparseness", what: []}
    with pytest.raises(UsageError, match=f"no {what}s are named; expected --{what} A,B"):
        verb("sample:hopper", "tiny", **words)


def test_none_is_the_default_of_methods_and_metrics(tiny_cnn, classifier_of):
    photo = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    table = xaicli.score(photo, classifier_of(tiny_cnn), None, metric=None, controls=False)
    assert {(row["method"], row["metric"]) for row in table.rows} == {("grad-cam", "deletion"), ("grad-cam", "insertion")}


def test_a_comparison_does_not_take_its_own_sheet_for_a_photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save("photo.png")
    words = {"recursive": True, "metric": "sparseness", "controls": False, "output": "sheets"}
    for _ in range(2):
        table = xaicli.compare(".", "tiny", "grad-cam", **words)
        assert [row["image"] for row in table.rows] == ["photo.png"]


class Noting(nn.Module):
    """A network that notes how many inputs each pass had."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.inputs = inner, []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.inputs.append(len(inputs))
        return self.inner(inputs)

    @property
    def of_several(self) -> list[int]:
        """Passes of more than one input, without those of five noise pictures by which a feature layer's grid is proved."""
        return [count for count in self.inputs if count not in (1, 5)]


@pytest.mark.parametrize(
    "method", ["grad-cam", "rise@n_masks=12", "occlusion@window=16@stride=16", "score-cam", "integrated-gradients@n_steps=4"]
)
def test_a_batch_size_of_one_is_one_input_a_pass_and_changes_nothing_else(tiny_cnn, classifier_of, method):
    photos = [np.random.default_rng(at).integers(0, 256, (32, 32, 3), dtype=np.uint8) for at in range(3)]
    network = Noting(tiny_cnn)
    classifier = classifier_of(network)
    alone = xaicli.explain(photos, classifier, method, batch_size=1, precision="fp32")
    assert network.of_several == []
    for one, other in zip(alone, xaicli.explain(photos, classifier, method, batch_size=8, precision="fp32"), strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-5)
        assert (one.record.definition, one.record.subject) == (other.record.definition, other.record.subject)


def test_a_batch_size_of_one_is_one_input_a_pass_when_scoring_too(tiny_cnn, classifier_of):
    photo = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    network = Noting(tiny_cnn)
    words = {"metric": "deletion@steps=8", "controls": False}
    alone = xaicli.score(photo, classifier_of(network), "grad-cam", batch_size=1, **words).rows
    assert network.of_several == []
    together = xaicli.score(photo, classifier_of(network), "grad-cam", batch_size=8, **words).rows
    assert [row["value"] for row in alone] == pytest.approx([row["value"] for row in together], abs=1e-5)
