"""BEE over the bare passes that it counts: the metric's copies through the whole network, the path's points through its head."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.networks import classifier, photos, settled
from benchmarks.timing import ratios
from xaicli.judge import judge_of
from xaicli.methods.bee.bee import BEE
from xaicli.network.classifier import Classifier
from xaicli.passes.device import threads
from xaicli.passes.memory import batch_size_for
from xaicli.targets import DECISION, Targets

NETWORK, PULLS = "resnet18", 4
LIMIT = 1.1


def measure(rounds: int) -> list[Figure]:
    network, inputs = settled(classifier(NETWORK)), photos(1)
    method, targets, seeds = BEE(n_pulls=PULLS), Targets.same(DECISION, 1), torch.tensor([1])
    bare = BarePasses(network, method, inputs)
    clock = time.process_time if inputs.device.type == "cpu" else time.perf_counter
    with threads(1):
        ratio, taken = ratios(lambda: method.attribute(network, inputs, targets, seeds), bare, rounds, clock)
    words = f"BEE of {PULLS} pulls on insertion, {NETWORK},"
    return [
        Figure(f"{words} over the bare passes", "", tuple(ratio), LIMIT),
        Figure(f"{words} the bare passes", "s", tuple(taken)),
    ]


class BarePasses:
    """The passes alone, in full batches of the size that a plain loop would take: nothing is drawn, masked or ranked."""

    def __init__(self, network: Classifier, method: BEE, inputs: Tensor) -> None:
        module = network.torch_module
        self.head = torch.nn.Sequential(module.get_submodule("avgpool"), torch.nn.Flatten(), module.get_submodule("fc"))
        self.network, self.inputs, self.pulls = network, inputs, method.n_pulls
        size = (inputs.shape[2], inputs.shape[3])
        self.copies = round(method.n_pulls * judge_of(method.metric).passes(size))
        self.points = torch.rand(method.steps, *self.grid_of(network), device=inputs.device)
        self.batch = inputs.repeat(batch_size_for(inputs.device, *size), 1, 1, 1)

    def grid_of(self, network: Classifier) -> tuple[int, ...]:
        """The shape of the features that the head takes."""
        layer = network.feature_layer("layer4")
        return layer.channels, *layer.layout.grid

    def __call__(self) -> None:
        with torch.inference_mode():
            self.network(self.inputs)
            for start in range(0, self.copies, len(self.batch)):
                self.network(self.batch[: min(len(self.batch), self.copies - start)])
        for _ in range(self.pulls):
            points = self.points.clone().requires_grad_()
            torch.autograd.grad(self.head(points)[:, 0].sum(), points)
