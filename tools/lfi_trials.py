"""Would another recipe make LFI-CAM's branch say more? Short trainings, from the bundled network's weights where they fit, each
scored against the plain mean of the channels and Grad-CAM.

    python -m tools.lfi_trials --data train/ --val val/ --classes classes.csv

trains and scores what is missing, trial by trial, keeps the figures, and writes docs/lfi-cam.md; a run that was stopped goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tools.bundled_models import trained
from tools.card_scores import truth_beside
from tools.lfi_branch import ALTERED, Passed, passed
from tools.lfi_page import write_page
from tools.resumable_work import exit_code_of, say
from tools.trial_scores import compared, kept, score, share
from xaicli.files import write_atomic
from xaicli.methods.lfi.lfi_network import branch_of
from xaicli.models.checkpoint import BUNDLED, ENDING, read_checkpoint, write_checkpoint
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.results import stats
from xaicli.training.data import Listing, read_listing
from xaicli.training.train_request import TrainRequest

FIGURES = Path("docs/results/lfi_trials.json")
START = "tiny"
"""The bundled network whose weights, without its branch, every trial starts from."""
METHODS = ("lfi-cam", "lfi-cam@weights=equal", "grad-cam")
RIVALS = ("lfi-cam@weights=equal", "grad-cam", "center")
METRICS = ("insertion@steps=14", "average-drop@area=50@mask=binary")
WITH_TRUTH = "energy-pointing-game"
BRANCH_WAYS = ("as learned", "all equal", "of the next photo")
CIFAR = "tiny@widths=16+32+64@blocks=3@strides=2+1+2+2"
"""The authors' residual network for CIFAR, of depth 20; its first convolution halves photos of 64 x 64 to CIFAR's 32 x 32."""
SCHEDULE: Mapping[str, Any] = {"epochs": 3, "batch_size": 128, "lr": 0.1, "weight_decay": 1e-4, "shape": "step", "ema": 0.0}


@dataclass(frozen=True)
class ShortTraining:
    """name: in files and tables; what: in words; training: parameters of `xai train lfi-cam`; network: of the architecture;
    from_scratch: epochs of a network that the bundled weights do not fit, and which begins with initial ones; 0 for the others.
    """

    name: str
    what: str
    training: Mapping[str, str] = field(default_factory=dict)
    network: str = START
    from_scratch: int = 0

    @property
    def schedule(self) -> dict[str, Any]:
        return {**SCHEDULE, "epochs": self.from_scratch or SCHEDULE["epochs"]}


TRIALS = (
    ShortTraining("published", "the published recipe"),
    ShortTraining("temperature-0.1", "temperature 0.1", {"temperature": "0.1"}),
    ShortTraining("fin-lr-10", "learning rate of the branch x 10", {"fin_lr": "10"}),
    ShortTraining("fin-every", "a ReLU after every convolution of the branch", {"fin_relu": "every"}),
    ShortTraining("temperature-0.3", "temperature 0.3", {"temperature": "0.3"}),
    ShortTraining("stride-removed", "a last map of 16 x 16: the last stage without its stride", {}, "tiny@strides=2+1+2+1"),
    ShortTraining("fin-lr-10-temperature-0.1", "both: temperature 0.1, branch x 10", {"temperature": "0.1", "fin_lr": "10"}),
    ShortTraining("cifar-resnet-20", "the authors' CIFAR network: ResNet-20, 64 channels of 8 x 8", {}, CIFAR, from_scratch=15),
)


def start_file(network: str, work: Path) -> Path:
    """The bundled network's weights, without its branch, as a network of that architecture."""
    bundled = read_checkpoint(BUNDLED / f"{START}{ENDING}")
    path = work / f"start.{network.replace('@', '.')}{ENDING}"
    if not path.is_file():
        about = {key: value for key, value in bundled.metadata.items() if key not in ("branch", "run", "schema", "tensors")}
        about["architecture"] = {**about["architecture"], "spec": network}
        inside = "network.network."
        tensors = {name.replace(inside, "network.", 1): part for name, part in bundled.tensors.items() if name.startswith(inside)}
        write_checkpoint(path, tensors, about)
    return path


def request_of(trial: ShortTraining, arguments: argparse.Namespace) -> TrainRequest:
    return TrainRequest(
        method="lfi-cam",
        data=arguments.data,
        model=trial.network if trial.from_scratch else str(start_file(trial.network, arguments.work)),
        output=arguments.work / f"{trial.name}{ENDING}",
        parameters=dict(trial.training),
        overrides={**trial.schedule, **arguments.overrides},
        model_options={"device": "cpu", "classes": arguments.classes},
        limit=arguments.limit,
        held=0,
        bf16=arguments.precision == "bf16",
        pretrained=not trial.from_scratch,
        save_every=60.0,
    )


def measure(trial: ShortTraining, file: Path, arguments: argparse.Namespace, held: Listing) -> dict[str, Any]:
    """All figures of a trial, as JSON holds them."""
    classifier = load_classifier(str(file), device="cpu")
    truth = truth_beside(held, classifier)
    metrics = METRICS if truth is None else (*METRICS, WITH_TRUTH)
    photos = held.sample(arguments.photos, seed=0)
    values = score(arguments.work / f"{trial.name}.db", classifier, METHODS, metrics, photos, truth)
    return {
        "name": trial.name,
        "what": trial.what,
        "network": trial.network,
        "parameters": dict(trial.training),
        "schedule": {**trial.schedule, **arguments.overrides},
        "from_scratch": bool(trial.from_scratch),
        "trained_on": arguments.limit,
        "scored": len(photos),
        **branch_figures(classifier, held.sample(arguments.accuracy_photos, seed=1)),
        "scores": compared(values, METHODS[0], RIVALS),
    }


def branch_figures(classifier: Classifier, listing: Listing) -> dict[str, Any]:
    """Accuracy, entropy of the weights, and what the loss loses with other weights."""
    branch = branch_of(classifier.torch_module)
    assert branch is not None
    ways: dict[str, Passed] = {way: passed(classifier, branch, listing, ALTERED[way]) for way in BRANCH_WAYS}
    own = ways["as learned"]
    entropy = -(own.weights.clamp_min(1e-30).log() * own.weights).sum(dim=1)
    return {
        "photos": len(listing),
        "accuracy": share(own.right),
        "entropy": kept(stats.mean(entropy.numpy())),
        "most": float(np.log(own.weights.shape[1])),
        "over_photos": float(own.weights.std(dim=0).mean() / own.weights.mean()),
        "loss_minus_own": {way: kept(stats.difference(ways[way].loss, own.loss)) for way in BRANCH_WAYS[1:]},
    }


def overrides_of(arguments: argparse.Namespace) -> dict[str, Any]:
    return {} if arguments.epochs is None else {"epochs": arguments.epochs}


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.lfi_trials", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="training photos, one folder a class")
    parser.add_argument("--val", required=True, metavar="DIR", help="held-out photos, likewise; boxes.csv beside them")
    parser.add_argument("--classes", metavar="FILE", help="names of the classes (default: of the folders)")
    parser.add_argument("--work", type=Path, default=Path("lfi-trials"), metavar="DIR", help="snapshots, networks, scores")
    parser.add_argument("--only", default="", metavar="NAMES", help="some of the trials, by name")
    parser.add_argument("--limit", type=int, default=10_000, metavar="N", help="photos to train on")
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--photos", type=int, default=500, metavar="N", help="held-out photos that maps are scored on")
    parser.add_argument("--accuracy-photos", type=int, default=2000, metavar="N", help="held-out photos to decide")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    return parser.parse_args(words)


def known() -> list[dict[str, Any]]:
    """The figures that are kept already."""
    return list(json.loads(FIGURES.read_text(encoding="utf-8"))) if FIGURES.is_file() else []


def keep(figures: Mapping[str, Any]) -> None:
    """Keep one trial's figures beside the others, in the order of TRIALS."""
    order = [trial.name for trial in TRIALS]
    by_name = {entry["name"]: entry for entry in known()} | {figures["name"]: figures}
    rows = [by_name[name] for name in order if name in by_name]
    content = json.dumps(rows, indent=1).encode()
    write_atomic(FIGURES, lambda file: file.write(content))


def main(words: Sequence[str] | None = None) -> int:
    arguments = arguments_of(words)
    arguments.overrides = overrides_of(arguments)
    arguments.work.mkdir(parents=True, exist_ok=True)
    wanted = [name.strip() for name in arguments.only.split(",") if name.strip()]
    held = read_listing(arguments.val)

    def work() -> None:
        for trial in TRIALS:
            if wanted and trial.name not in wanted:
                continue
            keep(measure(trial, trained(request_of(trial, arguments)), arguments, held))
            say(f"{trial.name}: scored")
        write_page()

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
