"""Heads of T-TAME, P-TAME and L-CAM for MobileNetV2 and DeiT-Ti with real weights: what a short training on enlarged photos of
Tiny ImageNet is worth there. They do not ship.

    python -m tools.classic_heads --assets DIR --data train/ --val val/

trains and scores what is missing, network by network, keeps the figures, and writes docs/trained-heads.md; a run that was stopped
goes on where it was. DIR holds weights/ and tiny-imagenet/classes.csv.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.bundled_models import trained
from tools.heads_page import DROP, FIGURES, GRAD_CAM, INSERTION, write_page
from tools.resumable_work import exit_code_of, say
from tools.trial_scores import Values, kept, score, share
from xaicli.files import write_atomic
from xaicli.models.checkpoint import ENDING, read_metadata
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.params import escape
from xaicli.results import stats
from xaicli.training.batches import held_out
from xaicli.training.data import Listing, read_listing
from xaicli.training.decoded import open_photos
from xaicli.training.train_request import TrainRequest

SCHEDULE: Mapping[str, Any] = {"epochs": 2, "batch_size": 32}
"""Of all heads. Their rates are first guesses, higher than the published ones, since there are only hundreds of steps."""


@dataclass(frozen=True)
class TrainedHead:
    """A head to train: `xai train METHOD`, up to which learning rate."""

    method: str
    lr: float

    @property
    def name(self) -> str:
        return self.method.partition("@")[0]


@dataclass(frozen=True)
class Classic:
    """A network with real weights: its specification, its file in weights/, its heads, and methods that need none."""

    spec: str
    words: str
    heads: tuple[TrainedHead, ...]
    rivals: tuple[str, ...] = (GRAD_CAM,)

    @property
    def stem(self) -> str:
        return self.spec.partition(":")[2]


T_TAME, P_TAME, L_CAM = TrainedHead("t-tame", 1e-2), TrainedHead("p-tame@auxiliary=tiny", 3e-3), TrainedHead("l-cam", 1e-2)
NETWORKS = (
    Classic("torchvision:mobilenet_v2", "MobileNetV2", (T_TAME, P_TAME, L_CAM)),
    Classic("timm:deit_tiny_patch16_224", "DeiT-Ti", (T_TAME, P_TAME), (GRAD_CAM, "gae")),
)


def options_of(network: Classic, arguments: argparse.Namespace) -> dict[str, Any]:
    return {"device": "cpu", "weights": str(arguments.assets / "weights" / f"{network.stem}.safetensors")}


def head_file(network: Classic, head: TrainedHead, arguments: argparse.Namespace) -> Path:
    """The head's file, trained unless it is complete."""
    request = TrainRequest(
        method=head.method,
        data=arguments.data,
        model=network.spec,
        output=arguments.work / f"{network.stem}.{head.name}{ENDING}",
        overrides={**SCHEDULE, "lr": head.lr, **({} if arguments.epochs is None else {"epochs": arguments.epochs})},
        model_options=options_of(network, arguments),
        limit=arguments.limit,
        held=0,
        bf16=arguments.precision == "bf16",
        save_every=60.0,
    )
    return trained(request)


def measure(network: Classic, arguments: argparse.Namespace, held: Listing) -> dict[str, Any]:
    """All figures of a network, as JSON holds them."""
    files = {head: head_file(network, head, arguments) for head in network.heads}
    classifier = load_classifier(network.spec, **options_of(network, arguments))
    labels = {f"{head.name}@checkpoint={escape(str(file))}": head.name for head, file in files.items()}
    photos = held.sample(arguments.photos, seed=0)
    methods = [*labels, *network.rivals]
    found = score(arguments.work / f"{network.stem}.db", classifier, methods, (INSERTION, DROP), photos)
    # A head's file is named after its method here, so the label with the file's name says no more than the method.
    values = {metric: {name.partition("@")[0]: column for name, column in own.items()} for metric, own in found.items()}
    return {
        "network": network.words,
        "scored": len(photos),
        "accuracy": share(right(classifier, photos, arguments.assets)),
        "heads": {head.name: recorded(file) for head, file in files.items()},
        "scores": compared(values, [head.name for head in network.heads]),
    }


def compared(values: Values, heads: Sequence[str]) -> dict[str, Any]:
    """By metric and method: the mean; of a head also what it is more than each method that needs no training, paired."""
    result: dict[str, Any] = {}
    for metric, columns in values.items():
        rivals = [name for name in columns if name not in heads]
        result[metric] = {
            name: {
                "mean": kept(stats.mean(column)),
                **({f"minus {other}": kept(stats.difference(column, columns[other])) for other in rivals if name in heads}),
            }
            for name, column in columns.items()
        }
    return result


def recorded(file: Path) -> dict[str, Any]:
    """How a head was trained, as its file says."""
    about = read_metadata(file)
    schedule = about["schedule"]
    return {
        "photos": about["data"]["photos"],
        "epochs": schedule["epochs"],
        "batch": schedule["batch_size"],
        "lr": schedule["lr"],
        "optimizer": schedule["optimizer"],
        "precision": about["precision"],
        "loss": [about["history"][0]["loss"], about["history"][-1]["loss"]],
    }


def right(classifier: Classifier, photos: Listing, assets: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Which photos the network decides rightly, among all its classes."""
    index = dict(indices(assets))
    _, decoded = open_photos(photos, classifier.view)
    wanted = np.array([index[Path(name).parts[0]] for name in photos.names])
    found = []
    with torch.inference_mode():
        for batch in held_out(decoded, wanted, len(photos), classifier.view, 32, classifier.device):
            assert batch.labels is not None
            found.append((classifier(batch.inputs).argmax(dim=1) == batch.labels).double().numpy())
    return np.concatenate(found)


def indices(assets: Path) -> Iterator[tuple[str, int]]:
    """(folder of a class, its index in ImageNet)."""
    with open(assets / "tiny-imagenet" / "classes.csv", newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            yield row["wnid"], int(row["imagenet1k_index"])


def keep(figures: Mapping[str, Any]) -> None:
    """Keep a network's figures beside those of the other, in the order of NETWORKS."""
    known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else []
    by_name = {entry["network"]: entry for entry in known} | {figures["network"]: figures}
    content = json.dumps([by_name[one.words] for one in NETWORKS if one.words in by_name], indent=1).encode()
    write_atomic(FIGURES, lambda file: file.write(content + b"\n"))


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.classic_heads", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--assets", required=True, type=Path, metavar="DIR", help="weights/ and tiny-imagenet/classes.csv")
    parser.add_argument("--data", required=True, metavar="DIR", help="training photos")
    parser.add_argument("--val", required=True, metavar="DIR", help="held-out photos, one folder a class, named by its wnid")
    parser.add_argument("--work", type=Path, default=Path("classic-heads"), metavar="DIR", help="snapshots, heads, scores")
    parser.add_argument("--only", default="", metavar="NAMES", help="mobilenet_v2 or deit_tiny_patch16_224 alone")
    parser.add_argument("--limit", type=int, default=2000, metavar="N", help="photos to train on")
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--photos", type=int, default=500, metavar="N", help="held-out photos that maps are scored on")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    arguments = arguments_of(words)
    arguments.work.mkdir(parents=True, exist_ok=True)
    wanted = [name.strip() for name in arguments.only.split(",") if name.strip()]
    held = read_listing(arguments.val)

    def work() -> None:
        for network in NETWORKS:
            if not wanted or network.stem in wanted:
                keep(measure(network, arguments, held))
                say(f"{network.words}: scored")
        write_page()

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
