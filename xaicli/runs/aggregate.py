"""`xaicli.aggregate`: the maps of a data set as statements on the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xaicli.claims import claim
from xaicli.errors import UsageError, XaiError
from xaicli.images.decode_limits import SECONDS
from xaicli.images.marks import REGION
from xaicli.images.truth import Truth
from xaicli.method import Method
from xaicli.named_files import files_named
from xaicli.needs import of_sequences
from xaicli.progress import SILENT, Progress
from xaicli.runs.aggregate_result import ALL, FILE, PAGE, Aggregate, picture_name, write_aggregate
from xaicli.runs.explain import dry
from xaicli.runs.find_photos import Photos
from xaicli.runs.map_stream import MappedPhoto, folder_run, mapped_photos
from xaicli.runs.open_model import Model
from xaicli.runs.output import Complete
from xaicli.runs.photo_truth import object_of, truth_of
from xaicli.runs.request import RunRequest
from xaicli.survey.aggregates import MapAggregate
from xaicli.survey.finding import class_of
from xaicli.words import count

GRID = 16
LARGEST_GRID = 64


def aggregate(
    images: Photos,
    classifier: Model = None,
    method: str | Method | Sequence[str | Method] | None = None,
    *,
    target: str | int = "top1",
    seed: int = 0,
    truth: str | Path | None = None,
    truth_classes: str | Path | None = None,
    normalize: bool = False,
    grid: int = GRID,
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
) -> Aggregate:
    """Sum up the maps of a data set, for all photos and for each class: mean and spread, position against the control `center`,
    locality, alignment to the object, shares of channels.

    images, classifier, method, target: as in `xaicli.explain`; truth, truth_classes: marked objects, to which maps are aligned
    (of a region of a class map the region is taken); normalize: divide each map by its mean magnitude first, so that photos of
    large values do not count for more; grid: cells per side of the mean maps. Photos are taken one by one, in constant memory.

    output: a folder that keeps the maps as `xai explain` does, so that running again makes only what is missing, with a page, a
    picture per method and all numbers; None: nothing is written. Raises XaiError at the first photo that cannot be used, unless
    `keep_going`.

        print(xaicli.aggregate("photos/", "resnet50", "grad-cam", output="xai-out"))
    """
    request, inputs = RunRequest.of(locals()), files_named(locals())
    request.check()
    if not 2 <= grid <= LARGEST_GRID:
        raise UsageError(f"a grid of {grid} cells per side", expected=f"2 to {LARGEST_GRID}")
    inputs += [source.file for source in request.photos.sources if source.file is not None]
    folder = None if output is None else Path(output)
    model = request.open(classifier, progress)
    if model.view.frames:
        raise of_sequences("xai aggregate", model.name)
    methods = request.methods_for(model, progress)
    if folder is not None:
        for name in (FILE, PAGE, *(picture_name(one.label) for one in methods)):
            claim(folder / name, inputs, overwrite=overwrite)
    run = folder_run(request, methods, model, inputs, overwrite=overwrite)
    marked = None if truth is None else truth_of(request, model, truth, truth_classes, progress)
    if dry_run:
        return Aggregate(plan=dry(run, run.find() if folder else Complete(), progress).records())
    errors: list[XaiError] = list(request.photos.errors)
    groups: dict[tuple[str, str], MapAggregate] = {
        (one.label, ALL): MapAggregate(one.label, ALL, grid, normalize) for one in methods
    }
    for photo in mapped_photos(run, errors, progress, on_disk=folder is not None):
        add(photo, marked, groups)
    if errors and not keep_going:
        raise errors[0]
    result = Aggregate(groups, model.name, normalize, tuple(errors))
    if folder is not None:
        write_aggregate(result, folder)
        progress.say(f"page {folder / PAGE}; {count(len(methods), 'picture')} and numbers beside it, maps in {folder}/")
    return result


def add(photo: MappedPhoto, truth: Truth | None, groups: dict[tuple[str, str], MapAggregate]) -> None:
    """Add a photo's maps to those of all photos and of its class."""
    for attribution in photo.maps:
        record = attribution.record
        marks = None if truth is None else truth.of(photo.source.path, record.size, attribution.view)
        mask = None if marks is None else object_of(marks, record.target, None)
        region = attribution.extras.get(REGION)
        anchor = None if region is None else region.astype(np.bool_)
        everything = groups[record.method, ALL]
        key = (record.method, class_of(record))
        own = groups.setdefault(key, MapAggregate(*key, everything.side, everything.normalize))
        for each in (everything, own):
            each.add(attribution, mask, anchor)
