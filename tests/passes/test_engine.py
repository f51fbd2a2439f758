"""Which engine runs passes, and that each gives the logits of the plain network."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from detectors import hand_made
from torch import nn
from torch.testing import assert_close

from xaicli.errors import InputError, UsageError
from xaicli.method import Method
from xaicli.methods.rise.rise import RISE
from xaicli.passes import engine, runtimes
from xaicli.passes.engine import ENGINES, WORTH_CONVERTING, checked_engine, engine_for
from xaicli.passes.folded_engine import folded_engine_for
from xaicli.passes.queue import CopyJob, clean_logits, run
from xaicli.targets import DECISION, Targets

CONVERTED = ("openvino", "onnxruntime")
SIDE = 64


def torchvision_network(name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None)


def timm_network(name: str, **settings: object) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, **settings)


def transformers_network() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return ViTForImageClassification(ViTConfig(**sizes, image_size=SIDE, patch_size=16, num_labels=7))


NETWORKS = {
    "mobilenet_v2": lambda: torchvision_network("mobilenet_v2"),
    "resnet18": lambda: torchvision_network("resnet18"),
    "shufflenet_v2_x0_5": lambda: torchvision_network("shufflenet_v2_x0_5"),
    "timm vit": lambda: timm_network("vit_tiny_patch16_224", img_size=SIDE, depth=3),
    "timm deit": lambda: timm_network("deit_tiny_distilled_patch16_224", img_size=SIDE, depth=2),
    "timm convnext": lambda: timm_network("convnext_atto", num_classes=9),
    "timm swin": lambda: timm_network("swin_tiny_patch4_window7_224", img_size=SIDE, window_size=2, depths=(1, 1, 1, 1)),
    "transformers vit": transformers_network,
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """An untrained network of a well-known kind, whose logits differ from photo to photo."""
    torch.manual_seed(4)
    return NETWORKS[request.param]().eval().requires_grad_(False)


@pytest.fixture
def photos():
    coarse = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    return nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def classes_of(network: nn.Module) -> int | None:
    """The classes of a network of transformers, which returns more than logits; None for the others, which are tried out."""
    return getattr(getattr(network, "config", None), "num_labels", None)


@pytest.mark.parametrize("name", CONVERTED)
def test_a_converted_network_gives_the_logits_of_the_network_itself(network, classifier_of, photos, name):
    classifier = dataclasses.replace(classifier_of(network, count=classes_of(network), size=(SIDE, SIDE)), engine=name)
    expected = classifier(photos)
    for count in (1, 2, 5):
        found = clean_logits(classifier, photos[:count])
        assert_close(found, expected[:count], rtol=0, atol=1e-5 * float(expected.max() - expected.min()))
    assert {used.split()[0] for used in classifier.engines_used} == {name}


@pytest.mark.parametrize("name", CONVERTED)
@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_maps_are_the_same_whichever_engine_runs(tiny_cnn, classifier_of, photo_batch, name, seeds):
    method, inputs = RISE(n_masks=200), photo_batch[: len(seeds)]

    def values(engine):
        classifier = dataclasses.replace(classifier_of(tiny_cnn), engine=engine)
        return explained(method, classifier, inputs, seeds)

    assert_close(values(name), values("torch"), rtol=0, atol=1e-5)
    assert torch.equal(values(name), values(name))


def explained(method: Method, classifier, inputs, seeds):
    return method.attribute(classifier, inputs, Targets.same(DECISION, len(inputs)), torch.tensor(seeds)).values


@pytest.mark.parametrize("passes", [0, WORTH_CONVERTING - 1, WORTH_CONVERTING])
@pytest.mark.parametrize("here", [(), ("openvino",), ("onnxruntime",), ("openvino", "onnxruntime")])
def test_by_itself_the_first_that_is_installed_runs_where_passes_pay_for_it(
    tiny_cnn, classifier_of, photo_batch, monkeypatch, passes, here
):
    monkeypatch.setattr(engine, "installed", lambda name: name in here)
    classifier = classifier_of(tiny_cnn)
    chosen = engine_for(classifier, photo_batch[:1], passes, exact=True)
    wanted = set(here[:1]) if passes == WORTH_CONVERTING else set()
    assert {used.split()[0] for used in classifier.engines_used} == wanted
    assert (chosen.module is None) == bool(wanted)
    assert_close(chosen(photo_batch), classifier(photo_batch), rtol=0, atol=1e-5)


def test_passes_of_the_whole_run_count(tiny_cnn, classifier_of, photo_batch):
    classifier = dataclasses.replace(classifier_of(tiny_cnn), expected_passes=WORTH_CONVERTING)
    assert engine_for(classifier, photo_batch[:1], 1, exact=True).module is None


@pytest.mark.parametrize("passes", [1, WORTH_CONVERTING])
def test_the_length_of_a_run_changes_no_engine_in_bf16_where_each_rounds_in_its_own_way(
    tiny_cnn, classifier_of, photo_batch, passes
):
    classifier = dataclasses.replace(classifier_of(tiny_cnn), masked_dtype=torch.bfloat16, expected_passes=passes)
    assert engine_for(classifier, photo_batch[:1], passes, exact=False) is classifier


@pytest.mark.parametrize("passes", [1, WORTH_CONVERTING])
def test_torch_is_torch(tiny_cnn, classifier_of, photo_batch, passes):
    classifier = dataclasses.replace(classifier_of(tiny_cnn), engine="torch")
    found = engine_for(classifier, photo_batch[:1], passes, exact=True)
    assert found.module is folded_engine_for(classifier, photo_batch[:1], passes, exact=True).module
    assert not classifier.engines_used


def test_in_bf16_an_engine_rounds_as_much_as_the_network_does(tiny_cnn, classifier_of, photo_batch):
    classifier = dataclasses.replace(classifier_of(tiny_cnn), engine="openvino", masked_dtype=torch.bfloat16)
    found = engine_for(classifier, photo_batch[:1], 1, exact=False)
    exact, own = classifier(photo_batch), classifier.masked(photo_batch)
    assert found.module is None
    assert (found.masked(photo_batch) - exact).abs().max() <= 3 * (own - exact).abs().max()


def test_an_engine_without_bf16_leaves_these_passes_to_torch(tiny_cnn, classifier_of, photo_batch):
    classifier = dataclasses.replace(classifier_of(tiny_cnn), engine="onnxruntime", masked_dtype=torch.bfloat16)
    assert engine_for(classifier, photo_batch[:1], 1, exact=False) is classifier
    assert engine_for(classifier, photo_batch[:1], 1, exact=True).module is None


@pytest.mark.parametrize("name", ["compile", *CONVERTED])
@pytest.mark.parametrize("what", ["a function", "one photo that depends on another", "a detector"])
def test_what_no_engine_can_replace_runs_as_it_is(tiny_cnn, classifier_of, photo_batch, name, what):
    if what == "a detector":
        classifier = dataclasses.replace(hand_made(), engine=name)
    elif what == "a function":
        classifier = classifier_of(tiny_cnn.forward, engine=name)
    else:
        classifier = classifier_of(tiny_cnn, engine=name, inconsistency="gives other outputs beside another photo")
    assert engine_for(classifier, photo_batch[:1], 1, exact=True) is classifier
    assert not classifier.engines_used


@pytest.mark.parametrize("passes", [1, 10**9])
def test_by_itself_no_network_is_compiled(tiny_cnn, classifier_of, photo_batch, monkeypatch, passes):
    monkeypatch.setattr(engine, "installed", lambda name: False)
    monkeypatch.setattr(engine, "compiled", lambda *args: pytest.fail("it was compiled"))
    classifier = classifier_of(tiny_cnn)
    assert engine_for(classifier, photo_batch[:1], passes, exact=True).module is not None


def test_the_queue_hands_the_engine_inputs_in_any_layout(tiny_cnn, classifier_of, photo_batch):
    classifier, pieces = classifier_of(tiny_cnn, engine="openvino"), []
    jobs = [
        CopyJob(5, lambda out, start, stop: out.copy_(photo_batch[start:stop]), lambda logits, *_: pieces.append(logits))
        for _ in range(3)
    ]
    run(classifier, jobs, (3, 32, 32), batch_size=4, exact=True)
    assert_close(torch.cat(pieces), tiny_cnn(photo_batch).repeat(3, 1), rtol=0, atol=1e-5)


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r'no engine "tensorrt"; expected auto, torch, compile, openvino, onnxruntime'):
        checked_engine("tensorrt")
    assert [checked_engine(name) for name in ENGINES] == list(ENGINES)


def test_an_engine_that_is_not_installed_is_refused_with_what_to_type(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(InputError, match=r'openvino is not installed\. Type: pip install "xaicli\[openvino\]"'):
        checked_engine("openvino")


def test_what_is_installed_is_found_without_an_import(monkeypatch):
    runtimes.installed.cache_clear()
    assert not runtimes.installed("no_such_runtime")
    assert runtimes.installed("openvino")
    runtimes.installed.cache_clear()
