"""Edges of photos by a trained network: holistically-nested edge detection, HED (Xie and Tu, ICCV 2015).

Its weights have a licence of their own and do not ship with the package: the user names a file of them.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaicli.errors import InputError
from xaicli.models.weights import State, read_weights
from xaicli.network.modes import eval_mode
from xaicli.untrusted import file_state, status_of

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of each stage: VGG-16 without its classifier."""
MEANS = (104.00699, 116.66877, 122.67892)
"""Of blue, green and red, 0 to 255, as the published weights expect them."""
NUMBERS = {"One": 1, "Two": 2, "Thr": 3, "Fou": 4, "Fiv": 5}

CONVOLUTION = re.compile(r"conv(\d)_(\d)\.(weight|bias)")
SIDE = re.compile(r"score[-_]dsn(\d)(?:-up)?\.(weight|bias)")
FUSION = re.compile(r"(?:new-score-weighting|score[-_]final|score[-_]fuse|fuse|(?:net|module)Combine\.0)\.(weight|bias)")
IN_A_STAGE = re.compile(r"(?:net|module)Vgg(One|Two|Thr|Fou|Fiv)\.(\d+)\.(weight|bias)")
OF_A_STAGE = re.compile(r"(?:net|module)Score(One|Two|Thr|Fou|Fiv)\.(weight|bias)")


class HED(nn.Module):
    """VGG-16 up to its fifth stage; each stage gives one map of edges, enlarged to the photo; `fused` is their weighted sum.

    photos (B, 3, H, W), red first, 0 to 1; edges (B, H, W), 0 to 1.
    """

    def __init__(self) -> None:
        super().__init__()
        before = [3, *(channels[-1] for channels in STAGES)]
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(given, made, 3, padding=1) for given, made in zip((first, *channels), channels, strict=False))
            for first, channels in zip(before, STAGES, strict=False)
        )
        self.sides = nn.ModuleList(nn.Conv2d(channels[-1], 1, 1) for channels in STAGES)
        self.fused = nn.Conv2d(len(STAGES), 1, 1)

    def forward(self, photos: Tensor) -> Tensor:
        features = 255 * photos.flip(1) - photos.new_tensor(MEANS)[:, None, None]
        maps = []
        for number, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            if number:
                # Rounded up, as in Caffe, so that a last row or column is not lost.
                features = functional.max_pool2d(features, 2, ceil_mode=True)
            for convolution in stage:  # type: ignore[attr-defined]
                features = convolution(features).relu()
            maps.append(functional.interpolate(side(features), photos.shape[2:], mode="bilinear", align_corners=False))
        edges: Tensor = self.fused(torch.cat(maps, dim=1)).sigmoid()
        return edges[:, 0]


def hed_edges(file: str, photos: Tensor) -> Tensor:
    """Edges (B, H, W), 0 to 1, of photos (B, 3, H, W) in 0..1 by the HED whose weights a file holds."""
    network = read_hed(file).to(photos.device)
    with torch.no_grad(), eval_mode(network):
        return network(photos)


def read_hed(file: str) -> HED:
    """The network of a file of weights; raises InputError where it holds none of HED. It is read again only when it changes."""
    path = Path(file).expanduser()
    return read_once(path, file_state(status_of(path, "a file of HED's weights")))


@functools.lru_cache(maxsize=1)
def read_once(path: Path, state: tuple[int, ...]) -> HED:
    named = {plain: tensor for name, tensor in read_weights(path).items() if (plain := own_name(name))}
    # Building draws initial weights; the caller's random state stays as it was.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        network = HED()
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    fused_without_bias = {"fused.bias": torch.zeros(1)}
    given: State = {**fused_without_bias, **named}  # type: ignore[assignment]
    wrong = next((name for name, shape in wanted.items() if name not in given or given[name].shape != shape), None)
    if wrong is not None:
        found = tuple(given[wrong].shape) if wrong in given else "missing"
        raise InputError(
            f"{path.name} does not fit HED: {wrong} is {found}",
            expected=f"{tuple(wanted[wrong])}, under the names of the published weights (conv1_1, score_dsn1, … or netVggOne, …)",
            hint="Leave hed out: Sobel's edges need no weights.",
        )
    network.load_state_dict({name: given[name] for name in wanted})
    return network.eval().requires_grad_(False)


def own_name(name: str) -> str | None:
    """What the module above calls a tensor of one of the published files: Caffe's names, or those of the port to torch."""
    if match := CONVOLUTION.fullmatch(name):
        return f"stages.{int(match[1]) - 1}.{int(match[2]) - 1}.{match[3]}"
    if match := IN_A_STAGE.fullmatch(name):
        stage, at = NUMBERS[match[1]], int(match[2])
        # Behind the first stage a pooling layer comes first, and each convolution is followed by a ReLU.
        return f"stages.{stage - 1}.{at // 2 if stage == 1 else (at - 1) // 2}.{match[3]}"
    if match := SIDE.fullmatch(name):
        return f"sides.{int(match[1]) - 1}.{match[2]}"
    if match := OF_A_STAGE.fullmatch(name):
        return f"sides.{NUMBERS[match[1]] - 1}.{match[2]}"
    match = FUSION.fullmatch(name)
    return f"fused.{match[1]}" if match else None
