"""Networks whose code decides by their inputs, which one program or graph cannot hold."""

from torch import nn


class Deciding(nn.Module):
    """What it computes depends on the photo."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return self.network(inputs) * (2 if inputs.mean() > 0 else 1)


class OfTwo(nn.Module):
    """A network whose code counts the photos while it is traced."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return sum(self.network(inputs[row : row + 1]) for row in range(min(len(inputs), 2))) + self.network(inputs)
