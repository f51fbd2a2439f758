"""The model card: the bundled networks, how they were trained, how well they do, and what their explanations are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import card_scores, default_methods, recorded_figures, searched_heads
from tools.card_scores import CardScores, shown
from xaicli.files import write_atomic
from xaicli.images.view import View
from xaicli.models.checkpoint import BUNDLED, ENDING, read_metadata
from xaicli.models.load import load_classifier
from xaicli.results.tables import render
from xaicli.training.curve import HELD, draw_curve
from xaicli.training.data import Listing

HEADS = ("t-tame", "p-tame")
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
learned ([what that is](lfi-cam.md)). Each file's own record holds its figures too (`xai list checkpoints --format json`).
What heads for networks with real weights are worth after minutes of training: [trained heads](trained-heads.md).
"""


def write_card(path: Path, listing: Listing, explained: Mapping[str, Sequence[str]], photos: int, work: Path) -> None:
    """Measure the bundled networks on held-out photos, write the page with the pictures of their training, write the figures into
    the networks' and explainers' own files, and choose the methods that explain them by default.

    explained: by network the methods that are trained for it; photos: how many are scored; work: a folder for the scores, from
    which a run that was stopped goes on.
    """
    work.mkdir(parents=True, exist_ok=True)
    parts = [INTRODUCTION, *filter(None, [searched_heads.section(searched_heads.read_rows())])]
    results = path.parent / "results" / default_methods.SCORES.name
    for name, methods in explained.items():
        classifier = load_classifier(name)
        scores = card_scores.measure(classifier, methods, listing, photos, work)
        recorded_figures.record(name, scores, HEADS)
        default_methods.store(results / f"{name}.jsonl", scores.candidates)
        parts.append(section(name, scores, draw_training(name, path.parent / "pictures")))
    default_methods.write(results)
    content = "\n".join(parts).encode()
    write_atomic(path, lambda file: file.write(content))


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


def section(name: str, scores: CardScores, picture: str) -> str:
    """The part of the page that is about one network and what explains it."""
    metadata = read_metadata(BUNDLED / f"{name}{ENDING}")
    explainers = [explainer(file) for file in sorted(BUNDLED.glob(f"{name}.*{ENDING}"))]
    view = View.from_dict(metadata["view"])
    lines = [
        f"## {name}",
        "",
        f"- network: `{metadata['architecture']['spec']}`, {metadata['count']} classes, {size(BUNDLED / f'{name}{ENDING}')}",
        f"- view: {view.describe()}",
        f"- top-1 accuracy {shown(scores.first)}, top-5 {shown(scores.five)}, on {scores.first.n:,} held-out photos",
        f"- {recipe(metadata)}",
        f"- photos varied: {listed(metadata['augmentation'])}",
        f"- data fingerprint `{metadata['data']['fingerprint']}`, made with {listed(metadata['versions'])}",
        *explainers,
        "",
        f"![training of {name}]({picture})",
        "",
        render([scores.group], "markdown"),
        searched_heads.verdicts(scores.group, HEADS),
        default_methods.section(scores.candidates),
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
