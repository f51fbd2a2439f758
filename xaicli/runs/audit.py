"""`xaicli.audit`: which photos a classifier gets right for the wrong reason, or finds ambiguous."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xaicli.claims import claim
from xaicli.errors import UsageError, XaiError, did_you_mean
from xaicli.images.decode_limits import SECONDS
from xaicli.images.truth import Truth
from xaicli.method import Method
from xaicli.named_files import files_named
from xaicli.needs import of_sequences
from xaicli.packages import require
from xaicli.progress import SILENT, Progress
from xaicli.runs.audit_page import PAGE, write_audit_page
from xaicli.runs.audit_result import FILE, Audit, write_audit
from xaicli.runs.explain import dry
from xaicli.runs.find_photos import Photos
from xaicli.runs.map_stream import MappedPhoto, cheap_methods, folder_run, mapped_photos
from xaicli.runs.open_model import Model
from xaicli.runs.output import Complete
from xaicli.runs.photo_labels import PhotoLabels, photo_labels
from xaicli.runs.photo_truth import object_of, truth_of
from xaicli.runs.request import RunRequest
from xaicli.survey.class_groups import clusters_of
from xaicli.survey.finding import PhotoFinding, finding_of
from xaicli.survey.suspicion import ORDERS
from xaicli.words import count

METHODS = ("grad-cam", "layer-cam", "input-x-gradient")
"""One forward and one backward pass each: at a layer, cell by cell, and at the pixels."""
FEWEST = 3
MOST = 20


def audit(
    images: Photos,
    classifier: Model = None,
    method: str | Method | Sequence[str | Method] | None = None,
    *,
    target: str | int = "top1",
    seed: int = 0,
    truth: str | Path | None = None,
    truth_classes: str | Path | None = None,
    labels: str | Path | None = None,
    clusters: bool = True,
    by: str = "suspicion",
    most: int = MOST,
    recursive: bool = False,
    null: bool = False,
    limit: int | None = None,
    frame: int = 0,
    background: str | tuple[int, int, int] = "white",
    decode_timeout: float = SECONDS,
    output: str | Path | None = None,
    overwrite: bool = False,
    keep_going: bool = False,
    dry_run: bool = False,
    batch_size: int | None = None,
    precision: str = "auto",
    command: str = "",
    progress: Progress = SILENT,
) -> Audit:
    """Audit a classifier on photos: rank those that deserve a look, and group the maps of each class (SpRAy).

    images, classifier, target: as in `xaicli.explain`; method: the first one's maps are grouped and measured, and all are
    compared with each other, by default grad-cam, layer-cam and input-x-gradient. truth, truth_classes: marked objects, as in
    `xaicli.score`; labels: a CSV with the columns image and label, by default the names of the folders where these are classes;
    clusters: whether maps are grouped, for which scikit-learn is needed; by: what photos are ordered by, "suspicion" or one
    measure; most: how many photos the printed table shows.

    output: a folder that keeps the maps as `xai explain` does, so that running again makes only what is missing, and the results
    in audit.json and audit.html; None: nothing is written. Raises UsageError for fewer than three photos, and XaiError at the
    first photo that cannot be used, unless `keep_going`.

        print(xaicli.audit("photos/", "resnet50", output="xai-out"))
    """
    request, inputs = RunRequest.of(locals()), files_named(locals())
    request.check()
    check(request, by, clusters=clusters, marked=truth is not None)
    inputs += [source.file for source in request.photos.sources if source.file is not None]
    folder = None if output is None else Path(output)
    if folder is not None:
        for name in (FILE, PAGE):
            claim(folder / name, inputs, overwrite=overwrite)
    model = request.open(classifier, progress)
    if model.view.frames:
        raise of_sequences("xai audit", model.name)
    methods = cheap_methods(request, model, METHODS, progress)
    run = folder_run(request, methods, model, inputs, overwrite=overwrite)
    known = photo_labels(run.sources, model, labels, progress)
    marked = None if truth is None else truth_of(request, model, truth, truth_classes, progress)
    if dry_run:
        return Audit.planned(dry(run, run.find() if folder else Complete(), progress).records())
    errors: list[XaiError] = list(request.photos.errors)
    findings = [found(photo, known, marked) for photo in mapped_photos(run, errors, progress, on_disk=folder is not None)]
    if errors and not keep_going:
        raise errors[0]
    if len(findings) < FEWEST:
        raise too_few(len(findings))
    groups = clusters_of(findings, seed) if clusters else []
    result = Audit(tuple(findings), tuple(groups), methods[0].label, by, most, tuple(errors))
    if folder is not None:
        write_audit(result, folder / FILE, run)
        write_audit_page(result, folder / PAGE, run.classifier.name)
        progress.say(f"page {folder / PAGE}; maps in {folder}/, results in {folder / FILE}")
    return result


def check(request: RunRequest, by: str, *, clusters: bool, marked: bool) -> None:
    """Raise XaiError for errors that can be seen before a model is loaded."""
    if len(request.photos.sources) < FEWEST:
        raise too_few(len(request.photos.sources))
    if by not in ORDERS:
        raise UsageError(f'photos cannot be ordered by "{by}"', expected=", ".join(ORDERS), hint=did_you_mean(by, ORDERS))
    if by == "outside" and not marked:
        raise UsageError("photos cannot be ordered by outside: no object is marked", hint="Name the ground truth: --truth DIR.")
    if clusters:
        require("sklearn", "audit")


def too_few(number: int) -> UsageError:
    return UsageError(
        f"an audit of {count(number, 'photo')}",
        expected=f"at least {FEWEST}, which it compares with each other",
        hint="Name a folder of photos, or look at one photo alone: xai explain PHOTO.",
    )


def found(photo: MappedPhoto, labels: PhotoLabels, truth: Truth | None) -> PhotoFinding:
    """What is found in one photo."""
    first = photo.maps[0]
    record = first.record
    label = labels.index(photo.source)
    marks = None if truth is None else truth.of(photo.source.path, record.size, first.view)
    decided = None if record.decision is None else record.decision.index
    right = None if None in (label, decided) else decided == label
    if right is None and marks is not None and decided is not None:
        classes = [one for one, _ in marks.marks]
        # Marks of any class do not say which class is right.
        right = None if None in classes else any(decided in one for one in classes if one)
    mask = None if marks is None else object_of(marks, record.target, label)
    return finding_of(photo.maps, labels.name(photo.source), right, mask, photo.stems)
