"""`xaicli.parity`: does an export, or another network of the same classes, look where the original looks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xaicli.errors import UsageError
from xaicli.files import require_writable
from xaicli.gate.check_page import write_page
from xaicli.gate.measure import PRECISION, ReadySuite, each_once
from xaicli.gate.parity import ParityOutcome, photos_to_run, run_original, run_pair
from xaicli.gate.parity_formats import photo_record, render_pair
from xaicli.gate.parity_verdicts import default_rules, judge_pair
from xaicli.gate.pictures import claim_pictures, draw_failures
from xaicli.gate.suite import BLACK_BOX, Suite
from xaicli.images.source import Source
from xaicli.method import Method
from xaicli.metric import Metric
from xaicli.models.load import says_nothing_of_photos
from xaicli.named_files import files_named
from xaicli.needs import of_sequences
from xaicli.network.classifier import Classifier
from xaicli.passes.engine import TORCH
from xaicli.progress import SILENT, Progress
from xaicli.registry import make_method
from xaicli.runs.find_photos import Photos, find_photos
from xaicli.runs.open_model import Model, open_model
from xaicli.runs.request import list_methods, list_metrics
from xaicli.runs.target_choice import choose_targets
from xaicli.scoring.explanation import Explainer
from xaicli.scoring.scoring import refuse_unfit
from xaicli.suitability import require_fit, unfit
from xaicli.tabular import Tabular
from xaicli.words import count

PAGE = "parity.html"
WITH_LAYERS = "grad-cam"


@dataclass(frozen=True, eq=False)
class Parity(Tabular):
    """Two networks compared, one record for each photo, the worst first.

    outcome: the verdicts, the maps and scores of both; page: the page of pairs, if one was written; failed: whether a rule
    failed, or under `strict` could not be decided.
    """

    outcome: ParityOutcome
    page: Path | None = None
    failed: bool = False

    columns = ("outcome", "image", "target")

    def records(self) -> list[dict[str, Any]]:
        return [photo_record(self.outcome.compared[at]) for at in self.outcome.ordered]

    def render(self, format: str = "table", *, width: int = 0) -> str:
        """The outcomes and all verdicts as table, json, markdown, junit or github."""
        pictures = "" if self.page is None else f"{self.page.parent}/"
        return render_pair(self.outcome, format, pictures=pictures, width=width).removesuffix("\n")


def parity(
    classifier: Model,
    other: Model,
    images: Photos,
    *,
    method: str | Method | Sequence[str | Method] | None = None,
    metric: str | Metric | Sequence[str | Metric] = "insertion",
    target: str | int = "top1",
    seed: int = 0,
    recursive: bool = False,
    limit: int | None = None,
    classes: str | Path | None = None,
    device: str = "auto",
    output: str | Path | None = None,
    strict: bool = False,
    progress: Progress = SILENT,
) -> Parity:
    """Compare another network with the original on the same photos: decisions, probabilities, maps, and what its maps score on
    the original.

    classifier, other: loaded, or specifications; a program without a view of its own (ONNX, OpenVINO, TensorFlow Lite, .pt2,
    TorchScript) is given the original's. images: as in `xaicli.explain`. method: by default `rise@n_masks=1000` and
    `occlusion`, with the same masks on both sides, and `grad-cam` where both have layers; metric: of the other's maps on the
    original. target: what is explained, decided by the original. output: a folder for the page `parity.html` and pictures of
    pairs; strict: fail also where a rule is inconclusive. Raises XaiError at the first photo that cannot be used.

        assert not xaicli.parity("resnet50", "onnx:net.onnx", "photos/").failed
    """
    words = locals()
    methods, metrics = list_methods(method), list_metrics(metric)
    photos = find_photos(images, recursive=recursive, limit=limit, exclude=output).sources
    folder = None if output is None else Path(output)
    if folder is not None:
        claim_pictures(folder, PAGE, [*files_named(words), *(source.file for source in photos)])
        require_writable(folder)
    options: dict[str, Any] = {"precision": PRECISION, "engine": TORCH, "device": device}
    options |= {"classes": classes} if classes else {}
    first = open_model(classifier, progress=progress, **options)
    second = like_original(open_model(other, progress=progress, **options), first, other)
    methods = methods or default_methods(first, second)
    ready = ready_for(first, photos, methods, metrics, target, seed)
    pair = replace(ready, classifier=second)
    require_both(pair, ready, methods, metrics)
    outcome = compare(ready, pair, progress)
    page = None if folder is None else draw_pairs(ready, outcome, folder, progress)
    return Parity(outcome, page, outcome.failed(strict=strict))


def like_original(other: Classifier, original: Classifier, named: Model) -> Classifier:
    """The other network, with the original's view and class names where its file says nothing of photos."""
    if not isinstance(named, str) or not says_nothing_of_photos(named):
        return other
    classes = other.classes or (original.classes if other.count == original.count else ())
    fits = (other.view.size, other.view.channels) == (original.view.size, original.view.channels)
    return replace(other, classes=classes, view=original.view if fits else other.view)


def default_methods(original: Classifier, other: Classifier) -> list[Method]:
    """Black-box methods, and Grad-CAM where both networks have layers."""
    layered = make_method(WITH_LAYERS)
    both = all(unfit(layered, network) is None for network in (original, other))
    return [*(make_method(name) for name in BLACK_BOX), *([layered] if both else [])]


def ready_for(
    original: Classifier,
    photos: Sequence[Source],
    methods: Sequence[Method],
    metrics: Sequence[Metric],
    target: str | int,
    seed: int,
) -> ReadySuite:
    """The original with photos, methods and rules, as the gate runs a suite."""
    if original.view.frames:
        raise of_sequences("xai parity", original.name)
    targets = choose_targets(target, original, photos)
    if targets.count != 1:
        raise UsageError(f"--target {target} of two networks", expected="one target per photo, such as top1")
    suite = Suite(path=Path("parity"), model=original.name, images=(), target=targets.text, seed=seed)
    ready = ReadySuite(suite, original, each_once(photos), tuple(methods), tuple(metrics), targets, ())
    return replace(ready, rules=default_rules(ready))


def require_both(other: ReadySuite, ready: ReadySuite, methods: Sequence[Method], metrics: Sequence[Metric]) -> None:
    """Raise XaiError, before any work, if a method cannot run on one of the networks or a metric cannot score its maps."""
    for one in methods:
        require_fit(one, ready.classifier)
        require_fit(one, other.classifier)
        explainer = Explainer.of(one, ready.classifier, ready.targets.text, PRECISION)
        refuse_unfit(metrics, replace(explainer, attribute=None), ready.classifier, truth=False)


def compare(ready: ReadySuite, other: ReadySuite, progress: Progress = SILENT) -> ParityOutcome:
    """Run both networks and judge."""
    start = time.monotonic()
    with progress.task("photos", photos_to_run(ready)) as step:
        original = run_original(ready, lambda done: step())
        pair = run_pair(original, other, lambda done: step())
    return replace(judge_pair(original.ready, other, pair, ready.rules), seconds=time.monotonic() - start)


def draw_pairs(ready: ReadySuite, outcome: ParityOutcome, folder: Path, progress: Progress) -> Path:
    """Draw the photos to look at, both maps beside each other, and write the page."""
    drawn = draw_failures(ready, outcome, folder)
    page = write_page(ready, outcome, drawn, folder, PAGE, always=True)
    assert page is not None
    progress.say(f"{count(len(drawn), 'pair')} of maps: {page}")
    return page
