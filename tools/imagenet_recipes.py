"""The cost of training explainers for ImageNet's networks, and runs of a few hundred steps at real size.

    python -m tools.imagenet_recipes --data train/

counts the operations of a step of each training in docs/imagenet.md, on networks with random weights, trains T-TAME's head for
each of the three networks, keeps the figures, and writes the page's tables; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from docs.training_tables import RECIPES, write_tables
from tools.resumable_work import exit_code_of, say
from xaicli.files import write_atomic
from xaicli.images.view import View
from xaicli.models.checkpoint import ENDING, read_metadata
from xaicli.params import escape
from xaicli.training.data import read_listing
from xaicli.training.decoded import open_photos
from xaicli.training.loop import Step
from xaicli.training.plan import prepare
from xaicli.training.run import TrainRun
from xaicli.training.train_request import TrainRequest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "imagenet.md"
WORDS = {"resnet50": "ResNet-50", "vgg16": "VGG-16", "vit_b_16": "ViT-B/16"}
AUXILIARY = "resnet18"
COUNTED = 2
"""Photos of the step whose operations are counted."""
SETTLED = 64
"""Photos that set the batch norms of a network with random weights, without which all photos would be decided alike."""
SIDE = 224


@dataclass(frozen=True)
class ImageNetRecipe:
    """A training of the page: its method, without P-TAME's auxiliary network, and its network."""

    method: str
    network: str

    @property
    def trains_network(self) -> bool:
        return self.method.startswith("lfi-cam")

    @property
    def words(self) -> str:
        return WORDS[self.network] + (", stride 1" if self.trains_network else "")


ALL = (
    ImageNetRecipe("t-tame", "resnet50"),
    ImageNetRecipe("t-tame", "vgg16"),
    ImageNetRecipe("t-tame@baseline=zero", "vit_b_16"),
    ImageNetRecipe("p-tame", "resnet50"),
    ImageNetRecipe("p-tame", "vgg16"),
    ImageNetRecipe("p-tame", "vit_b_16"),
    ImageNetRecipe("l-cam", "resnet50"),
    ImageNetRecipe("l-cam@mode=fm", "resnet50"),
    ImageNetRecipe("l-cam", "vgg16"),
    ImageNetRecipe("l-cam@mode=fm", "vgg16"),
    ImageNetRecipe("lfi-cam@fin_relu=every", "resnet50"),
)
RUNS = ALL[:3]
"""T-TAME's head for each network."""


def random_weights(name: str, arguments: argparse.Namespace) -> Path:
    """A file of random weights of a network of torchvision, its batch norms set by photos."""
    path: Path = arguments.work / f"{name}.random.safetensors"
    if path.is_file():
        return path
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None)
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in network.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():
            # The head of torchvision's transformers begins with zeros, through which no gradient passes.
            nn.init.normal_(part.weight, std=0.02)
    if norms:
        for part in norms:
            part.momentum = None
        network.train()
        with torch.no_grad():
            network(settling_photos(arguments))
    save_file(network.state_dict(), path)
    return path


def settling_photos(arguments: argparse.Namespace) -> torch.Tensor:
    view = View(256, SIDE)
    listing, photos = open_photos(read_listing(arguments.data).sample(SETTLED, seed=1), view)
    colours = torch.from_numpy(photos.take(np.arange(len(listing)))).permute(0, 3, 1, 2).float() / 255
    return view.normalise(colours)


def stride_1(arguments: argparse.Namespace, classes: int) -> Path:
    """The page's code of the network for LFI-CAM, with as many classes as the data has."""
    code = PAGE.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    path: Path = arguments.work / "net.py"
    path.write_text(code.replace("num_classes=1000", f"num_classes={classes}"), "utf-8")
    return path


def prepared(one: ImageNetRecipe, arguments: argparse.Namespace, steps: int, batch: int, **given: Any) -> TrainRun:
    """A training of the page, shortened to so many steps of so many photos; given: what else differs from its schedule."""
    method, options = one.method, {"device": "cpu"}
    model = one.network
    if one.trains_network:
        model = f"{stride_1(arguments, len(read_listing(arguments.data).classes))}:resnet50_stride_1"
    else:
        options["weights"] = str(random_weights(one.network, arguments))
    if one.method == "p-tame":
        auxiliary = f"{AUXILIARY}@weights={random_weights(AUXILIARY, arguments)}"
        method = f"p-tame@auxiliary={escape(auxiliary)}"
    request = TrainRequest(
        method=method,
        data=arguments.data,
        model=model,
        output=arguments.work / f"{one.network}.{one.method.replace('@', '.')}.{steps}{ENDING}",
        overrides={"epochs": 1, "batch_size": batch, **given},
        model_options=options,
        limit=steps * batch,
        held=0,
        bf16=arguments.precision == "bf16",
        save_every=60.0,
    )
    return prepare(request, notice=say)


def counted(one: ImageNetRecipe, arguments: argparse.Namespace) -> dict[str, Any]:
    """The operations of one step, and the published schedule."""
    run = prepared(one, arguments, 1, COUNTED)
    # A snapshot of an earlier try would leave no step to count.
    run.training.snapshot.unlink(missing_ok=True)
    usual = run.task.schedule
    with FlopCounterMode(display=False) as counter:
        for _ in run.training.run():
            pass
    run.training.snapshot.unlink(missing_ok=True)
    flop = counter.get_total_flops() / COUNTED
    say(f"{one.method}, {one.network}: {flop / 1e9:.1f} GFLOP a photo")
    return {"method": one.method, "network": one.words, "epochs": usual.epochs, "batch": usual.batch_size, "flop": flop}


def ordinary() -> float:
    """The operations by which ResNet-50 itself is trained, a photo."""
    network = torchvision.models.resnet50(weights=None).train()
    with FlopCounterMode(display=False) as counter:
        logits = network(torch.zeros(COUNTED, 3, SIDE, SIDE))
        functional.cross_entropy(logits, torch.zeros(COUNTED, dtype=torch.int64)).backward()
    return counter.get_total_flops() / COUNTED


def run_at_real_size(one: ImageNetRecipe, arguments: argparse.Namespace) -> dict[str, Any]:
    """A few hundred steps of a training: the losses on the way, and the rate, in photos a second."""
    run = prepared(one, arguments, arguments.steps, arguments.batch, lr=arguments.lr)
    if run.complete:
        # Stopped before the figures were kept: the losses on the way are lost.
        run.output.unlink()
        run = prepared(one, arguments, arguments.steps, arguments.batch, lr=arguments.lr)
    timed: list[float] = []
    before = time.monotonic()
    for event in run.events():
        if isinstance(event, Step):
            timed.append(time.monotonic() - before)
            before = time.monotonic()
            if event.done % 10 == 0:
                say(f"{one.method}, {one.network}: step {event.done} of {event.total}: loss {event.terms['loss']:.3f}")
    about = read_metadata(run.output)
    return {
        "method": one.method,
        "model": one.network,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "lr": about["schedule"]["lr"],
        "precision": about["precision"],
        "rate": arguments.batch / float(np.median(timed)),
        "trace": run.training.trace,
    }


def stored() -> dict[str, Any]:
    return dict(json.loads(RECIPES.read_text(encoding="utf-8"))) if RECIPES.is_file() else {}


def keep(figures: Mapping[str, Any]) -> None:
    content = json.dumps({**stored(), **figures}, indent=1).encode()
    write_atomic(RECIPES, lambda file: file.write(content + b"\n"))


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.imagenet_recipes", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="photos, one folder a class")
    parser.add_argument("--work", type=Path, default=Path("imagenet-recipes"), metavar="DIR", help="weights, snapshots, the head")
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="steps of each run at real size, 0 for none")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="photos of each of them")
    parser.add_argument("--lr", type=float, default=1e-2, metavar="X", help="largest learning rate of the runs")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    arguments = arguments_of(words)
    arguments.work.mkdir(parents=True, exist_ok=True)

    def work() -> None:
        if "ordinary" not in stored():
            keep({"ordinary": ordinary()})
        known = {(one["method"], one["network"]): one for one in stored().get("recipes", [])}
        found = []
        for one in ALL:
            found.append(known.get((one.method, one.words)) or counted(one, arguments))
            keep({"recipes": found})
        ran = {(one["method"], one["model"]): one for one in stored().get("runs", [])}
        for one in RUNS if arguments.steps else ():
            ran[one.method, one.network] = ran.get((one.method, one.network)) or run_at_real_size(one, arguments)
            keep({"runs": list(ran.values())})
        write_tables()

    fused = torch.backends.mha.get_fastpath_enabled()
    # The fused attention of torch's own transformer would not be counted.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return exit_code_of(work)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


if __name__ == "__main__":
    sys.exit(main())
