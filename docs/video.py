"""The network of docs/frames.md, which sees red appear: `--model docs/video.py:make`."""

import torch
from torch import nn

import xaicli


class RedAppears(nn.Module):
    """Logits of clips (B, 3, F, H, W): nothing, and how much of a frame is red that was not red in the frame before."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Conv3d(3, 1, (2, 3, 3), padding=(0, 1, 1), bias=True)
        with torch.no_grad():
            redness = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 3, 3) / 9
            self.change.weight.copy_(torch.stack([-redness, redness], dim=1)[None])
            self.change.bias.fill_(-0.6)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        appeared = self.change(clips).relu().mean(dim=(1, 2, 3, 4))
        return torch.stack([torch.ones_like(appeared), 600 * appeared], dim=1)


def make() -> xaicli.Classifier:
    """The network with what it expects: clips of twelve frames."""
    view = {"resize": (96, 128), "crop": None, "mean": (0,), "std": (1,)}
    return xaicli.classifier(RedAppears(), frames=12, classes=["nothing", "red appears"], **view)
