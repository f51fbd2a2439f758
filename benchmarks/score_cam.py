"""Score-CAM of a network's last stage against torch-cam's: time, and memory above the network's own in fresh processes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import torch
from torch import Tensor

from benchmarks import memory
from benchmarks.figures import Figure
from benchmarks.networks import classifier, photos, settled
from benchmarks.timing import ratios
from xaicli.methods.score_cam import ScoreCAM
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import CopyJob, run
from xaicli.passes.upsampling import unit_range
from xaicli.targets import DECISION, Targets

NETWORK, LAYER, CHANNELS = "resnet18", "layer4", 512
SHAPE = (3, 224, 224)
MEMORY, ALIKE = 50.0, 0.02


def measure(rounds: int) -> list[Figure]:
    words = f"Score-CAM of {CHANNELS} channels, {NETWORK},"
    bare = [peak(False) for _ in range(min(rounds, 3))]
    above = tuple(peak(True) - own for own in bare)
    return [*against_torchcam(words, rounds), Figure(f"{words} above the network's own peak", "MiB", above, MEMORY)]


def against_torchcam(words: str, rounds: int) -> list[Figure]:
    """Nothing where torch-cam is not installed."""
    if importlib.util.find_spec("torchcam") is None:
        return []
    network, inputs = settled(classifier(NETWORK)), photos(1)
    ratio, theirs = ratios(lambda: ours(network, inputs), lambda: by_torchcam(network, inputs), rounds)
    # torch-cam scales channels to 0..1 before they are upsampled, the paper and we after it.
    difference = (ours(network, inputs) - by_torchcam(network, inputs)).abs().max().item()
    return [
        Figure(f"{words} over torch-cam's", "", tuple(ratio), 1.0),
        Figure(f"{words} torch-cam", "s", tuple(theirs)),
        Figure(f"{words} largest difference of the maps, 0 to 1", "", (difference,), ALIKE),
    ]


def ours(network: Classifier, inputs: Tensor) -> Tensor:
    """The map (1, h, w), 0 to 1, as torch-cam gives it."""
    maps = ScoreCAM(layer=LAYER).attribute(network, inputs, Targets.same(DECISION, 1), torch.tensor([1]))
    return unit_range(maps.values[:, 0])


def by_torchcam(network: Classifier, inputs: Tensor) -> Tensor:
    from torchcam.methods import ScoreCAM as Theirs

    module = network.torch_module
    with torch.no_grad(), Theirs(module, LAYER) as extractor:
        logits = module(inputs)
        found: Tensor = extractor(int(logits.argmax()), logits)[0]
    return found


def peak(explains: bool) -> float:
    """Peak memory in MiB of a fresh process that explains a photo, or only passes two batches."""
    command = [sys.executable, "-m", "benchmarks.score_cam", str(int(explains))]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def work(explains: bool) -> float:
    network, inputs = classifier(NETWORK), photos(1)
    # The layer is looked up once for a network, forward and back: what that leaves behind is the network's own.
    assert network.feature_layer(LAYER)
    if explains:
        ours(network, inputs)
    else:
        job = CopyJob(
            32, write=lambda out, start, stop: out.copy_(inputs.expand_as(out)), receive=lambda logits, start, stop: None
        )
        run(network, [job], SHAPE, exact=True)
    return memory.peak()


if __name__ == "__main__":
    print(json.dumps(work(sys.argv[1] == "1")))
