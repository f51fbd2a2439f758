"""Networks of sequences of frames, as `--model film.py:clips` names them: tiny, untrained, always the same."""

import torch
from torch import nn

import xaicli


class Brightest(nn.Module):
    """Reads clips (B, 3, F, H, W): logits grow with the brightness of the left and of the right half, over all frames."""

    def __init__(self) -> None:
        super().__init__()
        self.volume = nn.Conv3d(3, 2, (3, 3, 3), padding=1)
        with torch.no_grad():
            self.volume.weight.fill_(1 / 81)
            self.volume.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.volume(x).relu().mean(dim=(1, 2, 3))
        half = seen.shape[1] // 2
        return 5 * torch.stack([seen[:, :half].mean(dim=1), seen[:, half:].mean(dim=1)], dim=1)


def clips() -> object:
    return xaicli.classifier(Brightest(), resize=(32, 32), crop=None, mean=(0,), std=(1,), frames=6, classes=["left", "right"])


class Photos(nn.Module):
    """Reads photos: the brightness of each colour."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.kept.weight.copy_(4 * torch.eye(3)[:, :, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.kept(x).mean(dim=(2, 3))


def photos() -> object:
    view = {"resize": (32, 32), "crop": None, "mean": (0,), "std": (1,)}
    return xaicli.classifier(Photos(), classes=["red", "green", "blue"], **view)
