"""Compiled networks: one graph for batches of any length, checked against the network itself; torch runs what cannot be compiled.

Most tests compile by a backend that runs the graph as it is.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import logging
import shutil
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import xaicli
from tests.deciding_networks import Deciding, OfTwo
from xaicli.methods.occlusion.occlusion import Occlusion
from xaicli.methods.rise.rise import RISE
from xaicli.passes import compiled as module
from xaicli.passes.compiled import SHOWN, Compiled, compiled, length
from xaicli.passes.converted import MADE
from xaicli.passes.engine import engine_for
from xaicli.passes.queue import CopyJob, run
from xaicli.results.store import Store
from xaicli.targets import DECISION, Targets

METHODS = {"rise": RISE(n_masks=64), "occlusion": Occlusion(window=8, stride=8)}


@pytest.fixture
def made(monkeypatch):
    """The shapes of the inputs of each graph that is compiled, by a backend that runs it as it is."""
    found = []

    def backend(graph, inputs):
        values = [node.meta["example_value"] for node in graph.graph.nodes if node.op == "placeholder"]
        found.append([tuple(one.shape) for one in values if isinstance(one, Tensor) and one.dim() == 4])
        return graph.forward

    monkeypatch.setattr(module, "BACKEND", backend)
    return found


@pytest.fixture
def compiling(classifier_of):
    """A function that makes a classifier whose passes are to be compiled."""
    return lambda network, **settings: classifier_of(network, engine="compile", **settings)


def values(classifier, photo, name):
    return METHODS[name].attribute(classifier, photo, Targets.same(DECISION, 1), torch.tensor([1])).values


def of_torch(classifier):
    return dataclasses.replace(classifier, engine="torch")


def line_in(caplog):
    [record] = [record for record in caplog.records if record.name == "xaicli"]
    assert "\n" not in record.message
    return record.message


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("graphs", [False, True])
def test_maps_are_those_of_torch(tiny_cnn, compiling, photo_batch, made, monkeypatch, name, graphs):
    monkeypatch.setattr(module, "has_graphs", lambda device: graphs)
    classifier = compiling(tiny_cnn)
    found = values(classifier, photo_batch[:1], name)
    assert_close(found, values(of_torch(classifier), photo_batch[:1], name), rtol=0, atol=1e-5)
    assert torch.equal(found, values(classifier, photo_batch[:1], name))
    assert {used.split()[0] for used in classifier.engines_used} == {SHOWN}


@pytest.mark.slow
@pytest.mark.parametrize("graphs", [False, True])
def test_what_torchs_own_compiler_makes_gives_the_maps_of_torch(
    tiny_cnn, compiling, photo_batch, monkeypatch, tmp_path, caplog, graphs
):
    # On a processor it leaves CUDA graphs out.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module, "has_graphs", lambda device: graphs)
    classifier = compiling(tiny_cnn)
    found = values(classifier, photo_batch[:1], "rise")
    assert_close(found, values(of_torch(classifier), photo_batch[:1], "rise"), rtol=0, atol=1e-5)
    if shutil.which("g++"):
        assert classifier.engines_used
    else:
        assert "runs in torch, not in torch.compile: No working C++ compiler" in line_in(caplog)


def test_without_a_compiler_torch_runs_and_one_line_says_so(tiny_cnn, compiling, photo_batch, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    import torch._inductor.config as settings

    monkeypatch.setattr(settings.cpp, "cxx", (None, "no-such-compiler"))
    # Else a graph that another run compiled would be found.
    monkeypatch.setattr(settings, "force_disable_caches", True)
    classifier = compiling(tiny_cnn)
    with caplog.at_level(logging.WARNING, "xaicli"):
        found = values(classifier, photo_batch[:1], "rise")
    assert "runs in torch, not in torch.compile: No working C++ compiler found" in line_in(caplog)
    assert torch.equal(found, values(of_torch(classifier), photo_batch[:1], "rise"))
    assert not classifier.engines_used


@pytest.mark.parametrize("graphs", [False, True])
def test_one_graph_runs_batches_of_any_length(tiny_cnn, compiling, photo_batch, made, monkeypatch, graphs):
    monkeypatch.setattr(module, "has_graphs", lambda device: graphs)
    classifier, copies = compiling(tiny_cnn), photo_batch.repeat(3, 1, 1, 1)
    for batch_size in (1, 3, 8):
        pieces = []
        job = CopyJob(15, lambda out, start, stop: out.copy_(copies[start:stop]), lambda logits, *_: pieces.append(logits))  # noqa: B023
        run(classifier, [job], (3, 32, 32), batch_size=batch_size, exact=True)
        assert_close(torch.cat(pieces), tiny_cnn(copies), rtol=0, atol=1e-5)
    assert len(made) == 1


def test_of_cuda_graphs_there_is_one_for_each_power_of_two():
    assert [length(count, graphs=True) for count in (1, 2, 3, 4, 5, 64, 65)] == [2, 2, 4, 4, 8, 64, 128]
    assert [length(count, graphs=False) for count in (1, 2, 3, 65)] == [2, 2, 3, 65]


def test_outputs_stay_when_the_next_pass_writes_to_the_same_place(photo_batch):
    place, lengths = torch.zeros(8, 1), []

    def replayed(inputs):
        lengths.append(len(inputs))
        place[: len(inputs)] = inputs.mean(dim=(1, 2, 3))[:, None]
        return place[: len(inputs)]

    passes = Compiled(replayed, torch.float32, True, torch.contiguous_format, "network", "")
    first, second = passes(photo_batch[:3]), passes(photo_batch[:1] + 1)
    assert_close(first, photo_batch[:3].mean(dim=(1, 2, 3))[:, None])
    assert_close(second, photo_batch[:1].mean(dim=(1, 2, 3))[:, None] + 1)
    assert lengths == [4, 2]


def test_what_was_compiled_before_changes_no_graph(compiling, photo_batch, made):
    sizes = [32, 24, *[32] * 10]
    for size in sizes:
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        classifier = compiling(network, count=4)
        engine_for(classifier, photo_batch[:1, :, :size, :size], 1, exact=True)
        assert classifier.engines_used
    for size, shapes in zip(sizes, made, strict=True):
        [batches] = [shape for shape in shapes if shape[1:] == (3, size, size)]
        assert not isinstance(batches[0], int)
        assert all(isinstance(side, int) for side in batches[1:])


class Hooked(nn.Module):
    """A network that alters a layer by a hook of one pass, which torch's compiler cannot read."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        scale = inputs.mean(dim=(1, 2, 3), keepdim=True)
        hook = self.network.features.register_forward_hook(lambda module, args, output: output * (1 + scale))
        try:
            return self.network(inputs)
        finally:
            hook.remove()


@pytest.mark.parametrize("graphs", [False, True])
def test_a_network_that_the_compiler_cannot_read_is_compiled_from_its_operations(
    tiny_cnn, compiling, photo_batch, made, monkeypatch, graphs
):
    monkeypatch.setattr(module, "has_graphs", lambda device: graphs)
    network = Hooked(tiny_cnn)
    classifier = compiling(network)
    found = values(classifier, photo_batch[:1], "rise")
    assert_close(found, values(of_torch(classifier), photo_batch[:1], "rise"), rtol=0, atol=1e-5)
    assert classifier.engines_used
    passes = compiled(classifier, photo_batch[:1], torch.float32)
    for copies in (photo_batch, photo_batch.repeat(3, 1, 1, 1), photo_batch[:1]):
        assert_close(passes(copies), network(copies), rtol=0, atol=1e-5)
    # On a processor torch convolves 16 photos and more in another way.
    assert len(made) <= 2


@pytest.mark.parametrize("exact", [True, False])
def test_the_bundled_network_with_a_branch_is_compiled_in_float32_and_in_bf16(made, exact):
    classifier = xaicli.load_classifier("tiny", engine="compile").with_masked_dtype(torch.bfloat16)
    photos = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    passes = engine_for(classifier, photos[:1], 1, exact=exact)
    assert classifier.engines_used
    plain = classifier(photos)
    rounding = (classifier.masked(photos) - plain).abs().max()
    assert (passes.masked(photos) - plain).abs().max() <= (1e-4 if exact else 3 * rounding)
    assert exact or rounding > 1e-4


class Uncopied(nn.Module):
    """A network that cannot be copied."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return self.network(inputs)

    def __deepcopy__(self, memo):
        raise TypeError("no copies")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Deciding, "Data-dependent branching"),
        (OfTwo, "its outputs differ by"),
        (Uncopied, "Uncopied cannot be copied"),
    ],
)
def test_torch_runs_what_cannot_be_compiled_faithfully_and_one_line_says_why(
    tiny_cnn, compiling, photo_batch, made, caplog, kind, reason
):
    classifier = compiling(kind(tiny_cnn))
    with caplog.at_level(logging.WARNING, "xaicli"):
        found = [values(classifier, photo_batch[:1], "rise") for _ in range(2)]
    assert line_in(caplog).startswith(f"{kind.__name__} runs in torch, not in torch.compile: {reason}")
    assert torch.equal(found[0], values(of_torch(classifier), photo_batch[:1], "rise"))
    assert torch.equal(found[0], found[1])
    assert not classifier.engines_used


@pytest.mark.parametrize("way", ["wrong", "raises"])
def test_a_compiler_that_fails_or_gives_other_outputs_is_not_used(tiny_cnn, compiling, photo_batch, monkeypatch, caplog, way):
    def backend(graph, inputs):
        if way == "raises":
            raise ValueError("no such kernel\nmore of it")
        return lambda *given: [out + 0.01 for out in graph(*given)]

    monkeypatch.setattr(module, "BACKEND", backend)
    with caplog.at_level(logging.WARNING, "xaicli"):
        assert compiled(compiling(tiny_cnn), photo_batch[:1], torch.float32) is None
    reason = "its outputs differ by 0.01, more than" if way == "wrong" else "no such kernel"
    assert f"runs in torch, not in torch.compile: {reason}" in line_in(caplog)
    assert "more of it" not in caplog.text


def test_a_network_that_writes_into_its_input_gets_its_own(tiny_cnn, compiling, photo_batch, made):
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = tiny_cnn

        def forward(self, inputs):
            return self.network(inputs.mul_(0.5))

    passes = compiled(compiling(Writing(), copies_input=True), photo_batch[:1], torch.float32)
    before = photo_batch.clone()
    assert_close(passes(photo_batch), tiny_cnn(before * 0.5), rtol=0, atol=1e-5)
    assert torch.equal(photo_batch, before)


def test_bf16_rounds_as_much_as_the_network_does_and_exact_passes_stay_exact(tiny_cnn, compiling, photo_batch, made):
    classifier = compiling(tiny_cnn, masked_dtype=torch.bfloat16)
    half = engine_for(classifier, photo_batch[:1], 1, exact=False).masked(photo_batch)
    exact, own = tiny_cnn(photo_batch), classifier.masked(photo_batch)
    assert 0 < (half - exact).abs().max() <= 3 * (own - exact).abs().max()
    assert_close(engine_for(classifier, photo_batch[:1], 1, exact=True)(photo_batch), exact, rtol=0, atol=1e-5)


def test_a_network_is_compiled_once_and_again_after_a_change(tiny_cnn, compiling, photo_batch, made):
    classifier = compiling(tiny_cnn)
    before = [compiled(classifier, photo_batch[:1], torch.float32)(photo_batch) for _ in range(2)]
    assert torch.equal(*before)
    assert len(made) == 1
    with torch.no_grad():
        tiny_cnn.features[3].weight.data.mul_(1.5)
    after = compiled(classifier, photo_batch[:1], torch.float32)(photo_batch)
    assert (after - before[0]).abs().max() > 0.01
    assert_close(after, tiny_cnn(photo_batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("folds", [True, False])
def test_what_is_compiled_is_gone_with_its_network(tiny_cnn, compiling, photo_batch, made, folds):
    network = copy.deepcopy(tiny_cnn) if folds else nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    compiled(compiling(network), photo_batch[:1], torch.float32)
    alive = weakref.ref(network)
    assert network in MADE
    del network
    gc.collect()
    assert alive() is None


def test_records_and_stores_name_the_engine(tiny_cnn, made, photo_folder, tmp_path):
    classifier = dataclasses.replace(xaicli.classifier(tiny_cnn, resize=(32, 32), crop=None), engine="compile")
    [rise] = xaicli.explain(photo_folder / "a.jpg", classifier, "rise@n_masks=8")
    assert rise.record.engine == f"{SHOWN} {rise.record.versions['torch']}"
    [grad_cam] = xaicli.explain(photo_folder / "a.jpg", classifier, "grad-cam")
    assert grad_cam.record.engine == ""
    xaicli.score(photo_folder / "a.jpg", classifier, "grad-cam", controls=False, output=tmp_path / "scores.db")
    with Store.open(tmp_path / "scores.db") as store:
        [scored] = store.runs()
    assert scored.versions[SHOWN] == rise.record.versions["torch"]
