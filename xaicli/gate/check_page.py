"""The page of a check: its verdicts, and the maps before and after of each photo that a failing rule names."""

from __future__ import annotations

import base64
import importlib.resources
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from xaicli.claims import claim, is_own
from xaicli.files import write_atomic
from xaicli.gate.formats import conclusion, in_order, word
from xaicli.gate.map_similarity import similarity
from xaicli.gate.measure import ReadySuite
from xaicli.gate.outcome import Outcome
from xaicli.gate.photo_result import PhotoResult
from xaicli.gate.pictures import in_words
from xaicli.outputs import Outputs
from xaicli.results.report.page import page_of

NAME = "check.html"
NUMBER = {
    Outputs.VALUES: "value",
    Outputs.REGION: "mean probability over the region",
    Outputs.BOXES: "similarity of the best box",
}
"""What the number of a target is called, where it is no probability of the photo."""


@dataclass(frozen=True)
class ChangedPhoto:
    """One photo and one method: decisions and probabilities of the target before and after, and how similar the maps are."""

    image: str
    method: str
    target: str
    decisions: tuple[str, str]
    probabilities: tuple[float, float]
    spearman: float
    overlap: float
    picture: str

    @property
    def decided_otherwise(self) -> bool:
        return self.decisions[0] != self.decisions[1]

    @property
    def described(self) -> str:
        """A description of the picture for people who cannot see it."""
        return f"{self.image}: the photo, the map of {self.method} before and after, and their difference"


def write_page(
    ready: ReadySuite, outcome: Outcome, pictures: Sequence[Path], folder: Path, name: str = NAME, *, always: bool = False
) -> Path | None:
    """Write `check.html` beside the pictures, in the order of `to_look_at`, also if a rule that names no photo failed or could
    not be decided; if all rules passed, remove the page of an earlier check, or write it too where it is wanted `always`.

    Raises InputError if it cannot be written, UsageError if another program's file is in its place.
    """
    path = folder / name
    if not (always or outcome.failed(strict=True)):
        if is_own(path):
            path.unlink()
        return None
    claim(path)
    places = zip(outcome.to_look_at, pictures, strict=True)
    changed = [changed_photo(ready, outcome, at, label, picture) for (at, label), picture in places]
    content = page(ready, outcome, changed)
    write_atomic(path, lambda file: file.write(content.encode()))
    return path


def page(ready: ReadySuite, outcome: Outcome, changed: Sequence[ChangedPhoto]) -> str:
    """The page as text; its contents are escaped, and nothing in it can run."""
    concluded = conclusion(outcome.verdicts)
    return page_of(
        importlib.resources.files("xaicli.gate").joinpath(NAME).read_text(encoding="utf-8"),
        title=f"{outcome.sides.verb}: {concluded}",
        model=ready.classifier.name,
        sides=outcome.sides,
        before=outcome.baseline.fingerprint[:8],
        after=outcome.fingerprint[:8],
        photos=len(outcome.now),
        number=NUMBER.get(ready.classifier.outputs, "probability"),
        decides=ready.classifier.outputs is not Outputs.VALUES,
        verdicts=[(word(verdict), verdict) for verdict in in_order(outcome)],
        conclusion=concluded,
        changed=changed,
    )


def changed_photo(ready: ReadySuite, outcome: Outcome, at: int, label: str, picture: Path) -> ChangedPhoto:
    before, after = outcome.baseline.photos[at], outcome.now[at]
    found = similarity(before.maps[label], after.maps[label], ready.classifier.view.size)
    return ChangedPhoto(
        image=after.image,
        method=label,
        target=in_words(after.target, ready),
        decisions=(decision(ready, before), decision(ready, after)),
        probabilities=(before.probability, after.probability),
        spearman=found.spearman,
        overlap=found.overlap,
        picture=as_jpeg(picture),
    )


def decision(ready: ReadySuite, photo: PhotoResult) -> str:
    return ready.classifier.class_name(photo.decision)


def as_jpeg(picture: Path) -> str:
    """A picture as JPEG in base64, a tenth of the size of the PNG."""
    content = io.BytesIO()
    with Image.open(picture) as opened:
        opened.convert("RGB").save(content, "JPEG", quality=85)
    return base64.b64encode(content.getvalue()).decode()
