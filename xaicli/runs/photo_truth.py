"""Where the object of a photo is, for runs that look at its maps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from xaicli.images.shapes import Mask
from xaicli.images.truth import PhotoTruth, Truth, read_truth
from xaicli.network.classifier import Classifier
from xaicli.progress import Progress
from xaicli.runs.request import RunRequest
from xaicli.words import count


def truth_of(
    request: RunRequest, classifier: Classifier, place: str | Path, mapping: str | Path | None, progress: Progress
) -> Truth:
    """The ground truth; says how many photos have one."""
    read = read_truth(place, classifier.classes, classifier.count, mapping)
    named = read.count(source.path for source in request.photos.sources)
    progress.say(f"ground truth of {named} of {count(len(request.photos.sources), 'photo')}: {read.kind}")
    return read


def object_of(marks: PhotoTruth, target: str, label: int | None) -> Mask:
    """The marked object in the model's view: of the explained class, else of the photo's label, else all that is marked."""
    explained = re.match(r"\d+", target)
    for index in (None if explained is None else int(explained[0]), label):
        if index is not None and (mask := marks.mask(index)) is not None:
            return mask
    drawn = [shape.draw(marks.view, marks.size) for _, shape in marks.marks]
    whole: Mask = np.logical_or.reduce(drawn)
    return whole
