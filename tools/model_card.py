"""The model card: the bundled networks, how they were trained, how well they do, and what their explanations are worth."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tools import searched_heads
from xaicli.files import write_atomic
from xaicli.images.truth import Truth, read_truth
from xaicli.images.view import View
from xaicli.metric import Quantity, ValueKind
from xaicli.models.checkpoint import BUNDLED, ENDING, read_metadata
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.registry import make_method, make_metrics
from xaicli.results import stats
from xaicli.results.intervals import Estimate
from xaicli.results.store import Store
from xaicli.results.tables import render
from xaicli.runs.score_request import expecting
from xaicli.runs.score_run import ScoreRun
from xaicli.stamps import stamp
from xaicli.suitability import unfit
from xaicli.training.batches import held_out
from xaicli.training.curve import HELD, draw_curve
from xaicli.training.data import Listing
from xaicli.training.decoded import open_photos
from xaicli.training.held_out_scores import HeldOutScores

RIVALS = ("grad-cam", "rise@n_masks=1000", "attention-rollout", "daam")
METRICS = ("insertion", "deletion", "average-drop@area=50@mask=binary", "increase-in-confidence@area=50@mask=binary")
WITH_TRUTH = "energy-pointing-game"
COSTLY, PART = 200, 5
"""A method of more forward passes a photo than this is scored on one photo of five."""
HEADS = ("t-tame", "p-tame")
BATCH = 128
HITS = Quantity(ValueKind.BINARY, 0.0, 1.0)
BOXES = "boxes.csv"
INTRODUCTION = """# The bundled models

Two compact networks ship with the package, so that every method runs offline, on photos of everyday things: `--model tiny`, a
residual network with LFI-CAM's branch, and `--model tiny-vit`, a vision transformer with a [class] token. Beside each lie the
heads of T-TAME and P-TAME. Photos are seen at 64 x 64 pixels. For fine detail and a thousand classes take a larger network
(`--model resnet50`).

They were trained by `xai train` on Tiny ImageNet (200 classes; Stanford CS231N, photos of ImageNet), whose photos may be used for
non-commercial research and education; the photos belong to their photographers, and none is part of the package. One command
trains all of it again and writes this page (`make bundled-models DATA=FOLDER CLASSES=FILE`, or):

    python -m tools.bundled_models --data train/ --val val/ --classes classes.csv --card docs/models.md

Explanations are scored on held-out photos that took no part in training, for the class that the network decided on. `random` and
`center` know nothing of the photo, and `other` is the same method's map of another photo: a method that does not beat them
explains nothing. `lfi-cam@weights=equal` is the plain mean over channels: what LFI-CAM is worth beyond it, its branch has
learned.
What heads for networks with real weights are worth after minutes of training: [trained heads](trained-heads.md).
"""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Which photos are decided rightly: first, and among the first five."""

    first: Estimate
    five: Estimate


def write_card(path: Path, listing: Listing, explained: Mapping[str, Sequence[str]], photos: int, work: Path) -> None:
    """Measure the bundled networks on held-out photos and write the page, with the pictures of their training.

    explained: by network the methods that are trained for it; photos: how many are scored; work: a folder for the scores, from
    which a run that was stopped goes on.
    """
    work.mkdir(parents=True, exist_ok=True)
    parts = [INTRODUCTION, *filter(None, [searched_heads.section(searched_heads.read_rows())])]
    for name, methods in explained.items():
        classifier = load_classifier(name)
        truth = truth_beside(listing, classifier)
        with Store.open(work / f"{name}.{version_of(name)}.db") as store:
            for report in comparisons(classifier, methods, listing.sample(photos, seed=0), truth, store):
                for _ in report.rows():
                    pass
            groups = report.groups
            table = "\n".join([render(groups, "markdown"), *(searched_heads.verdicts(group, HEADS) for group in groups)])
        picture = draw_training(name, path.parent / "pictures")
        parts.append(section(name, accuracy(classifier, listing), table, picture))
    content = "\n".join(parts).encode()
    write_atomic(path, lambda file: file.write(content))


def comparisons(
    classifier: Classifier, methods: Sequence[str], photos: Listing, truth: Truth | None, store: Store
) -> Iterator[HeldOutScores]:
    """Scores of what was trained for a network beside what needs no training; of costly methods on a part of the photos."""
    rivals = [rival for rival in map(make_method, RIVALS) if not unfit(rival, classifier)]
    metrics = make_metrics(METRICS if truth is None else [*METRICS, WITH_TRUTH])
    every = [*map(make_method, methods), *rivals]
    costly = [method for method in every if method.cost(classifier).forward > COSTLY]
    some = photos.sources[: max(1, len(photos.sources) // PART)]
    for chosen, sources in (([method for method in every if method not in costly], photos.sources), (costly, some)):
        if chosen:
            run = ScoreRun(sources, expecting(classifier, metrics, len(sources), len(chosen)), chosen, metrics, truth=truth)
            run.check()
            yield HeldOutScores(run, store)


def version_of(name: str) -> str:
    """Changes with the files of a network and of its explainers, so that scores of earlier files are not taken for theirs."""
    return stamp([sha256(file.read_bytes()).hexdigest() for file in sorted(BUNDLED.glob(f"{name}.*"))])


def accuracy(classifier: Classifier, listing: Listing) -> Accuracy:
    """Of all held-out photos, in float32, as the network ships."""
    assert listing.labels is not None
    _, photos = open_photos(listing, classifier.view)
    ranks: list[NDArray[np.int64]] = []
    with torch.inference_mode():
        for batch in held_out(photos, listing.labels, len(listing), classifier.view, BATCH, classifier.device):
            assert batch.labels is not None
            logits = classifier(batch.inputs)
            own = logits.gather(1, batch.labels[:, None])
            ranks.append((logits > own).sum(dim=1).cpu().numpy())
    rank = np.concatenate(ranks)
    return Accuracy(stats.mean((rank == 0).astype(float), HITS), stats.mean((rank < 5).astype(float), HITS))


def truth_beside(listing: Listing, classifier: Classifier) -> Truth | None:
    """The boxes of held-out photos, of a boxes.csv with columns path, x0, y0, x1, y1 (both ends included) above their folders."""
    file = listing.sources[0].file
    place = None if file is None else next((parent / BOXES for parent in file.parents[:3] if (parent / BOXES).is_file()), None)
    if place is None:
        return None
    with open(place, newline="", encoding="utf-8") as table:
        rows = [[row["path"], row["x0"], row["y0"], int(row["x1"]) + 1, int(row["y1"]) + 1] for row in csv.DictReader(table)]
    with TemporaryDirectory() as folder:
        made = Path(folder) / BOXES
        with open(made, "w", newline="", encoding="utf-8") as table:
            csv.writer(table).writerows([["file", "x0", "y0", "x1", "y1"], *rows])
        return read_truth(made, classifier.classes, classifier.count)


def draw_training(name: str, folder: Path) -> str:
    """The picture of a network's training, epoch by epoch, from the record in its file; its place as the page names it."""
    rows = read_metadata(BUNDLED / f"{name}{ENDING}")["history"]
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{name}.curve.png"
    trace = [
        {term: value for term, value in row.items() if not term.startswith(HELD)} | {"epoch": epoch}
        for epoch, row in enumerate(rows, 1)
    ]
    draw_curve(picture, trace, rows, f"{name}: training")
    return f"{folder.name}/{picture.name}"


def section(name: str, reached: Accuracy, table: str, picture: str) -> str:
    """The part of the page that is about one network and what explains it."""
    metadata = read_metadata(BUNDLED / f"{name}{ENDING}")
    explainers = [explainer(file) for file in sorted(BUNDLED.glob(f"{name}.*{ENDING}"))]
    view = View.from_dict(metadata["view"])
    lines = [
        f"## {name}",
        "",
        f"- network: `{metadata['architecture']['spec']}`, {metadata['count']} classes, {size(BUNDLED / f'{name}{ENDING}')}",
        f"- view: {view.describe()}",
        f"- top-1 accuracy {shown(reached.first)}, top-5 {shown(reached.five)}, on {reached.first.n:,} held-out photos",
        f"- {recipe(metadata)}",
        f"- photos varied: {listed(metadata['augmentation'])}",
        f"- data fingerprint `{metadata['data']['fingerprint']}`, made with {listed(metadata['versions'])}",
        *explainers,
        "",
        f"![training of {name}]({picture})",
        "",
        table,
    ]
    return "\n".join(lines)


def explainer(file: Path) -> str:
    """A line on a trained explainer."""
    metadata = read_metadata(file)
    kept = metadata["history"][-1][f"{HELD}kept"]
    return f"- {metadata['method']}, {size(file)}: {recipe(metadata)}; {100 * kept:.0f} % of masked held-out photos decided alike"


def recipe(metadata: Mapping[str, Any]) -> str:
    """How something was trained, in a line."""
    data, schedule = metadata["data"], metadata["schedule"]
    epochs = f"{schedule['epochs']} epoch{'s' if schedule['epochs'] > 1 else ''}"
    return (
        f"trained on {data['photos']:,} photos, {epochs}, {words(schedule)}, seed {metadata['seed']}, {metadata['precision']}; "
        f"{listed(metadata['parameters'])}"
    )


def size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f} MB in float16"


def words(schedule: Mapping[str, Any]) -> str:
    """A schedule in a few words."""
    return (
        f"{schedule['optimizer']}, batch {schedule['batch_size']}, {schedule['shape']} up to lr {schedule['lr']:g}, "
        f"weight decay {schedule['weight_decay']:g}, mean of weights {schedule['ema']:g}"
    )


def listed(entries: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in entries.items())


def shown(estimate: Estimate) -> str:
    """A share in percent with its interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "unknown"
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
