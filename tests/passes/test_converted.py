"""Converted networks: checked against the network itself, kept in the cache, made again where they are damaged or outdated."""

from __future__ import annotations

import copy
import gc
import logging
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.deciding_networks import Deciding, OfTwo
from xaicli.cache import cached_files, engines_folder
from xaicli.models import architecture
from xaicli.models.load import load_classifier
from xaicli.outputs import Outputs
from xaicli.passes import converted as module
from xaicli.passes.converted import MOST, converted
from xaicli.passes.runtimes import RUNTIMES


@pytest.fixture
def made(monkeypatch):
    """The programs that are made."""
    found = []

    def counting(*args):
        found.append(whole(*args))
        return found[-1]

    whole = module.onnx_program
    monkeypatch.setattr(module, "onnx_program", counting)
    return found


@pytest.fixture(params=RUNTIMES)
def passes_of(request):
    """A function that converts a classifier's network, with one of the runtimes."""

    def convert(classifier, inputs, *, warn=True):
        return converted(classifier, RUNTIMES[request.param], inputs, torch.float32, warn=warn)

    return convert


def as_in_a_new_process():
    module.MADE.clear()


def test_a_network_is_converted_once_and_found_in_the_cache_by_the_next_process(
    tiny_cnn, classifier_of, photo_batch, passes_of, made
):
    classifier = classifier_of(tiny_cnn)
    for _ in range(2):
        assert_close(passes_of(classifier, photo_batch)(photo_batch), tiny_cnn(photo_batch), rtol=0, atol=1e-5)
    as_in_a_new_process()
    assert_close(passes_of(classifier, photo_batch)(photo_batch), tiny_cnn(photo_batch), rtol=0, atol=1e-5)
    assert len(made) == 1
    assert [file.path.parent for file in cached_files()] == [engines_folder()]


def test_another_size_is_another_program(tiny_cnn, classifier_of, photo_batch, passes_of, made):
    classifier = classifier_of(tiny_cnn)
    for inputs in (photo_batch, photo_batch[..., :24]):
        assert_close(passes_of(classifier, inputs)(inputs), tiny_cnn(inputs), rtol=0, atol=1e-5)
    assert len(made) == 2


def cut_short(content):
    return content[: len(content) // 2]


def one_bit_flipped(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def emptied(content):
    return b""


@pytest.mark.parametrize("damage", [cut_short, one_bit_flipped, emptied])
def test_a_damaged_program_is_made_again(tiny_cnn, classifier_of, photo_batch, passes_of, made, damage):
    classifier = classifier_of(tiny_cnn)
    passes_of(classifier, photo_batch)
    [file] = engines_folder().iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    as_in_a_new_process()
    assert_close(passes_of(classifier, photo_batch)(photo_batch), tiny_cnn(photo_batch), rtol=0, atol=1e-5)
    assert len(made) == 2
    assert file.read_bytes() == whole


def test_a_program_of_another_network_in_its_place_is_made_again(tiny_cnn, classifier_of, photo_batch, passes_of, made):
    other = copy.deepcopy(tiny_cnn)
    with torch.no_grad():
        other.head.bias.add_(1)
    passes_of(classifier_of(other), photo_batch)
    [file] = engines_folder().iterdir()
    wrong = file.read_bytes()
    file.unlink()
    passes_of(classifier_of(tiny_cnn), photo_batch)
    [file] = engines_folder().iterdir()
    file.write_bytes(wrong)
    as_in_a_new_process()
    found = passes_of(classifier_of(tiny_cnn), photo_batch)
    assert_close(found(photo_batch), tiny_cnn(photo_batch), rtol=0, atol=1e-5)
    assert len(made) == 3


def test_a_changed_network_is_converted_again(tiny_cnn, classifier_of, photo_batch, passes_of):
    classifier = classifier_of(tiny_cnn)
    before = passes_of(classifier, photo_batch)(photo_batch)
    with torch.no_grad():
        tiny_cnn.features[3].weight.data.mul_(1.5)
    after = passes_of(classifier, photo_batch)(photo_batch)
    assert (after - before).abs().max() > 0.01
    assert_close(after, tiny_cnn(photo_batch), rtol=0, atol=1e-5)


def test_a_cache_that_cannot_be_written_stops_nothing(tiny_cnn, classifier_of, photo_batch, passes_of, monkeypatch, tmp_path):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "a file" / "cache"))
    assert_close(passes_of(classifier_of(tiny_cnn), photo_batch)(photo_batch), tiny_cnn(photo_batch), rtol=0, atol=1e-5)


def test_the_oldest_programs_make_room_for_new_ones(tiny_cnn, classifier_of, photo_batch, passes_of):
    engines_folder().mkdir(parents=True)
    for number in range(MOST + 3):
        (engines_folder() / f"{number}.program").touch()
    passes_of(classifier_of(tiny_cnn), photo_batch)
    assert len(list(engines_folder().iterdir())) == MOST


class InNumpy(nn.Module):
    """A network whose arithmetic torch does not see."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return torch.from_numpy(self.network(inputs).numpy() * 2)


class Sorting(nn.Module):
    """An operation that ONNX does not have."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return torch.linalg.svdvals(self.network(inputs)[:, :, None]) * self.network(inputs)


class OfOneLength(nn.Module):
    """A network with a token for each photo, whose number the tracer takes for a constant."""

    def __init__(self, network):
        super().__init__()
        self.network, self.token = network, nn.Parameter(torch.ones(1, 1))

    def forward(self, inputs):
        tokens = torch.cat([self.token.expand(len(inputs), 1), self.network(inputs)], dim=1)
        return tokens[:, 1:] * tokens[:, :1]


@pytest.mark.parametrize("kind", [Deciding, InNumpy, OfTwo, OfOneLength, Sorting])
def test_a_network_that_cannot_be_converted_faithfully_is_not_and_one_line_says_why(
    tiny_cnn, classifier_of, photo_batch, passes_of, caplog, capfd, kind
):
    classifier = classifier_of(kind(tiny_cnn))
    with caplog.at_level(logging.WARNING, "xaicli"):
        assert passes_of(classifier, photo_batch) is None
        assert passes_of(classifier, photo_batch) is None
    [record] = caplog.records
    assert record.message.startswith(f"{kind.__name__} runs in torch, not in ")
    assert "\n" not in record.message
    assert not cached_files()
    # Nothing but our own line, which another test may have sent there.
    assert [line for line in capfd.readouterr().err.splitlines() if not line.startswith("warning: ")] == []


@pytest.mark.parametrize("name", architecture.OURS)
def test_the_bundled_networks_are_converted(passes_of, name):
    classifier = load_classifier(name, device="cpu")
    photos = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert_close(passes_of(classifier, photos[:1])(photos), classifier(photos), rtol=0, atol=1e-4)


def test_an_engine_that_gives_other_outputs_is_not_used(tiny_cnn, classifier_of, photo_batch, passes_of, monkeypatch, caplog):
    wrong = copy.deepcopy(tiny_cnn)
    with torch.no_grad():
        wrong.head.bias[0] += 0.01
    program = module.onnx_program
    monkeypatch.setattr(module, "onnx_program", lambda classifier, *size: program(classifier_of(wrong), *size))
    assert passes_of(classifier_of(tiny_cnn), photo_batch) is None
    assert "its outputs differ by 0.01, more than" in caplog.text


def test_a_single_output_is_compared_by_its_size_where_a_plain_photo_and_its_mirror_images_give_one_number(
    tiny_cnn, classifier_of, photo_batch, passes_of
):
    network = nn.Sequential(tiny_cnn, nn.Linear(tiny_cnn.head.out_features, 1))
    classifier = classifier_of(network, count=1, outputs=Outputs.VALUES)
    run = passes_of(classifier, torch.zeros_like(photo_batch))
    assert run is not None
    with torch.no_grad():
        assert_close(run(photo_batch), network(photo_batch), rtol=0, atol=1e-5)


def test_a_network_whose_outputs_are_not_finite_is_not_converted(tiny_cnn, classifier_of, photo_batch, passes_of):
    with torch.no_grad():
        tiny_cnn.features[0].weight[0, 0, 0, 0] = torch.nan
    assert passes_of(classifier_of(tiny_cnn), photo_batch) is None


def test_nobody_is_told_where_nobody_asked(tiny_cnn, classifier_of, photo_batch, passes_of, caplog):
    with caplog.at_level(logging.WARNING, "xaicli"):
        assert passes_of(classifier_of(Deciding(tiny_cnn)), photo_batch, warn=False) is None
    assert not caplog.records


def test_a_conversion_is_gone_with_its_network(tiny_cnn, classifier_of, photo_batch, passes_of):
    network = copy.deepcopy(tiny_cnn)
    passes_of(classifier_of(network), photo_batch)
    alive = weakref.ref(network)
    del network
    gc.collect()
    assert alive() is None


def test_the_network_is_left_as_it_was(tiny_cnn, classifier_of, photo_batch, passes_of):
    tiny_cnn.features[1].train()
    before = {name: tensor.clone() for name, tensor in tiny_cnn.state_dict().items()}
    modes = [part.training for part in tiny_cnn.modules()]
    passes_of(classifier_of(tiny_cnn), photo_batch)
    assert [part.training for part in tiny_cnn.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_cnn.state_dict().items())
    assert not any(part._forward_hooks for part in tiny_cnn.modules())


SIGNAL_AFTER = """
import gc, signal
import torch
from torch import nn
import xaicli
from xaicli.passes.converted import MADE, converted
from xaicli.passes.runtimes import RUNTIMES

def passes(size):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    inputs = torch.rand(2, 3, size, size)
    passes = converted(xaicli.classifier(network), RUNTIMES["{runtime}"], inputs, torch.float32, warn=True)
    passes(inputs)
    return passes

first, second = passes(16), passes(24)
MADE.clear()
del first
gc.collect()
del second
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_signal_after_two_freed_programs_is_an_ordinary_one(runtime):
    # A core of OpenVINO for each program left a freed stack for signals behind.
    script = SIGNAL_AFTER.format(runtime=runtime)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "interrupted\n"), ended.stderr
