"""A user's own model file, as `--model net.py:make` names it: tiny, untrained, always the same."""

import torch
from torch import nn

import xaicli


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


def net() -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    model = Net()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def other() -> object:
    """Another network of the same classes."""
    model = net()
    with torch.no_grad():
        model.features[0].weight.copy_(model.features[0].weight.flip(2))
        model.head.weight.copy_(model.head.weight.roll(1, 0))
    return xaicli.classifier(model, resize=36, crop=32, classes=["tabby, tabby cat", "crane", "crane", "four-poster"])


def make() -> object:
    return xaicli.classifier(net(), resize=36, crop=32, classes=["tabby, tabby cat", "crane", "crane", "four-poster"])


class Broken(nn.Module):
    """Gives what a network should not give, after the probe of loading."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.inner = kind, net()

    def forward(self, x: torch.Tensor) -> object:
        logits = self.inner(x)
        if self.kind == "tuple":
            return logits, logits
        if self.kind == "softmax":
            return logits.softmax(dim=1)
        # Bright photos alone give NaN.
        return torch.where(x.mean(dim=(1, 2, 3), keepdim=True)[:, :, 0, 0] > 1.5, torch.nan, logits)


def gives_tuple() -> object:
    return xaicli.classifier(Broken("tuple"), resize=36, crop=32)


def gives_softmax() -> object:
    return xaicli.classifier(Broken("softmax"), resize=36, crop=32)


def gives_nan() -> object:
    return xaicli.classifier(Broken("nan"), resize=36, crop=32)


def raises() -> object:
    raise ValueError("no such table")
