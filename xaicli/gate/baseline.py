"""The baseline: what a suite gave when somebody looked and approved."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xaicli.errors import InputError, UsageError
from xaicli.files import write_atomic
from xaicli.gate.measure import Bench, PhotoResult, Score, run_suite, with_classes
from xaicli.gate.similarity import Similarity, similarity
from xaicli.runs.records import versions

SCHEMA = 1
FURTHER_SEEDS = 4
"""How often a stochastic method is repeated with another seed, to learn how far its maps move by chance."""
LARGEST_RECORD = 200_000_000


@dataclass(frozen=True, eq=False)
class Baseline:
    """photos: in the suite's order; floors: what maps of stochastic methods may fall to by chance, by method label."""

    photos: tuple[PhotoResult, ...]
    definitions: Mapping[str, str]
    layers: Mapping[str, str]
    model: str
    fingerprint: str
    target_rule: str
    expect: str
    seed: int
    size: tuple[int, int]
    floors: Mapping[str, Similarity] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def make_baseline(bench: Bench, tick: Callable[[int], object] = lambda done: None) -> Baseline:
    """Run the suite, and stochastic methods further times to learn their noise. tick: told the number of photos done."""
    photos = tuple(ticking(run_suite(bench, bench.suite.seed), tick))
    if not photos:
        raise InputError("the suite names no photos", hint="An empty set of photos never passes.")
    return Baseline(
        photos=photos,
        definitions=bench.definitions(),
        layers=bench.layers(),
        model=bench.classifier.name,
        fingerprint=bench.classifier.fingerprint,
        target_rule=bench.targets.text,
        expect=bench.suite.expect,
        seed=bench.suite.seed,
        size=bench.classifier.view.size,
        floors=floors_of(bench, photos, tick),
        versions=versions(),
    )


def floors_of(bench: Bench, photos: Sequence[PhotoResult], tick: Callable[[int], object]) -> dict[str, Similarity]:
    """The lowest similarity between the baseline's maps and those of other seeds: below it falls less than one map in a hundred
    of an unchanged model, as far as so many repetitions can tell."""
    stochastic = tuple(method for method in bench.methods if method.stochastic)
    if not stochastic:
        return {}
    again = with_classes(dataclasses.replace(bench, methods=stochastic), {photo.image: photo.target for photo in photos})
    seen: dict[str, list[Similarity]] = {}
    for repetition in range(1, FURTHER_SEEDS + 1):
        fresh = ticking(run_suite(again, bench.suite.seed + repetition, score=False), tick)
        for old, new in zip(photos, fresh, strict=True):
            for label, values in new.maps.items():
                seen.setdefault(label, []).append(similarity(old.maps[label], values, bench.classifier.view.size))
    return {label: Similarity.lowest(found) for label, found in seen.items()}


def ticking(results: Iterable[PhotoResult], tick: Callable[[int], object]) -> Iterable[PhotoResult]:
    for done, result in enumerate(results, 1):
        tick(done)
        yield result


def save(baseline: Baseline, folder: Path) -> int:
    """Write `maps.npz`, then `baseline.json`; returns the bytes written."""
    arrays = {f"{at}/{label}": values for at, photo in enumerate(baseline.photos) for label, values in photo.maps.items()}
    packed = io.BytesIO()
    np.savez_compressed(packed, **{name: values for name, values in arrays.items()})  # type: ignore[arg-type]
    record = {
        "schema": SCHEMA,
        **{f.name: as_plain(getattr(baseline, f.name)) for f in dataclasses.fields(baseline) if f.name not in ("photos", "floors")},
        "floors": {label: dataclasses.asdict(floor) for label, floor in baseline.floors.items()},
        "photos": [photo_record(photo) for photo in baseline.photos],
    }
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).encode()
    (folder / "baseline.json").unlink(missing_ok=True)
    write_atomic(folder / "maps.npz", lambda file: file.write(packed.getvalue()))
    write_atomic(folder / "baseline.json", lambda file: file.write(text))
    return len(text) + packed.tell()


def as_plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value


def photo_record(photo: PhotoResult) -> dict[str, Any]:
    return {
        "image": photo.image,
        "content": photo.content,
        "frame": photo.frame,
        "target": photo.target,
        "decision": photo.decision,
        "probability": photo.probability,
        "methods": list(photo.maps),
        "scores": [[method, metric, score.value, score.status] for (method, metric), score in photo.scores.items()],
    }


def load(folder: Path) -> Baseline:
    """Read a baseline; raises UsageError where there is none, InputError where it is damaged or of a newer version."""
    path = folder / "baseline.json"
    if not path.is_file():
        raise UsageError(f"no baseline in {folder}", hint="Make one from a model that you trust: xai baseline")
    try:
        if path.stat().st_size > LARGEST_RECORD:
            raise InputError(f"{path} is too large for a baseline")
        record = json.loads(path.read_text("utf-8"))
        if record["schema"] > SCHEMA:
            raise InputError(f"{path} was written by a newer version", hint="Upgrade xaicli, or make the baseline again.")
        with np.load(folder / "maps.npz", allow_pickle=False) as maps:
            photos = tuple(photo_of(at, entry, maps) for at, entry in enumerate(record.pop("photos")))
        floors = {label: Similarity(**floor) for label, floor in record.pop("floors").items()}
        record.pop("schema")
        return Baseline(photos=photos, floors=floors, **{**record, "size": tuple(record["size"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"the baseline in {folder} is damaged ({type(error).__name__}: {error})", hint="Make it again: xai baseline") from error


def photo_of(at: int, entry: Mapping[str, Any], maps: Mapping[str, Any]) -> PhotoResult:
    return PhotoResult(
        image=str(entry["image"]),
        content=str(entry["content"]),
        frame=int(entry["frame"]),
        target=str(entry["target"]),
        decision=int(entry["decision"]),
        probability=float(entry["probability"]),
        maps={label: np.asarray(maps[f"{at}/{label}"], dtype=np.float32) for label in entry["methods"]},
        scores={(method, metric): Score(value, status) for method, metric, value, status in entry["scores"]},
    )
