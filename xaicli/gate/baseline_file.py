"""A baseline on disk: `baseline.json` for people and programs, and its maps beside it as safetensors.

The record names its file of maps by content and is renamed into place last. So whenever writing stops, the folder holds either
the whole old baseline or the whole new one. A baseline in a checked-out repository is not trusted: everything that is read is
checked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from xaicli import untrusted
from xaicli.errors import InputError, UsageError, fault_in_content
from xaicli.files import write_atomic
from xaicli.gate.baseline import Baseline
from xaicli.gate.map_similarity import Noise, Similarity
from xaicli.gate.photo_result import PhotoResult, Score
from xaicli.stamps import with_checksum, without_checksum
from xaicli.terminal import printable
from xaicli.untrusted import is_file, is_there
from xaicli.words import count, type_of
from xaicli.writable_text import json_text

SCHEMA = 2
RECORD = "baseline.json"
MAPS = re.compile(r"maps-[0-9a-f]{16}\.safetensors")
LARGEST_RECORD = 200_000_000
LARGEST_MAPS = 4_000_000_000
"""Maximum bytes of a baseline."""
TARGET = re.compile(r"(((box:)?[0-9]{1,9}(-[0-9]{1,9})?(@[^\x00-\x1f\x7f]{1,300})?)|(similar|differs):[^\x00-\x1f\x7f]{1,300})")
"""A class or a contrast, and what follows it, such as a region; or a box."""

Maps = Mapping[str, NDArray[Any]]
T = TypeVar("T")


def save(baseline: Baseline, folder: Path) -> int:
    """Write a baseline, replacing an existing one; returns the bytes written."""
    placed = [(f"{at}/{label}", values) for at, photo in enumerate(baseline.photos) for label, values in photo.maps.items()]
    regions = {region_name(at): photo.region for at, photo in enumerate(baseline.photos) if photo.region is not None}
    arrays: dict[str, NDArray[Any]] = {name: np.ascontiguousarray(values) for name, values in placed}
    arrays |= {name: region.astype(np.uint8) for name, region in regions.items()}
    packed = safetensors.numpy.save(arrays)
    name = maps_name(packed)
    fields = {field.name: getattr(baseline, field.name) for field in dataclasses.fields(baseline)}
    record = {
        "schema": SCHEMA,
        "maps": name,
        **fields,
        "noise": {label: dataclasses.asdict(noise) for label, noise in baseline.noise.items()},
        "photos": [photo_record(photo) for photo in baseline.photos],
    }
    text = json_text(with_checksum(record), allow_nan=False, default=dict)
    write_atomic(folder / name, lambda file: file.write(packed))
    content = text.encode()
    write_atomic(folder / RECORD, lambda file: file.write(content))
    for old in folder.iterdir():
        if old.name != name and is_file_of_maps(old):
            with contextlib.suppress(OSError):
                old.unlink()
    return len(content) + len(packed)


def maps_name(packed: bytes) -> str:
    """The name of a file of maps, by its content."""
    return f"maps-{hashlib.sha256(packed).hexdigest()[:16]}.safetensors"


def is_file_of_maps(path: Path) -> bool:
    """Whether a file has the name that its contents give a file of maps; others are left alone."""
    with contextlib.suppress(ValueError):
        return MAPS.fullmatch(path.name) is not None and maps_name(read(path, LARGEST_MAPS)) == path.name
    return False


def region_name(at: int) -> str:
    """The name of a photo's region among the maps; no method is called so."""
    return f"{at}/@region"


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
        **({"box": dict(photo.box)} if photo.box else {}),
    }


def exists(folder: Path) -> bool:
    return is_there(folder / RECORD)


def load(folder: Path) -> Baseline:
    """Read a baseline; raises UsageError if there is none, InputError if it is damaged or of a newer version."""
    path = folder / RECORD
    if not is_file(path):
        raise UsageError(f"no baseline in {folder}", hint="Make one from a model that you trust: xai baseline")
    try:
        record = taken(json.loads(read(path, LARGEST_RECORD)), dict)
        if taken(record["schema"], int) > SCHEMA:
            raise InputError(f"{path} was written by a newer version", hint="Upgrade xaicli, or make the baseline again.")
        record = without_checksum(record, record["schema"])
        name = taken(record["maps"], str)
        if not MAPS.fullmatch(name):
            raise ValueError(f"maps in {name!r}")
        packed = read(folder / name, LARGEST_MAPS)
        if maps_name(packed) != name:
            raise ValueError(f"something in {name} is not what was written")
        return baseline_of(record, safetensors.numpy.load(packed))
    # An untrusted file may be wrong in any way: safetensors, JSON and the checks below raise these errors.
    except (OSError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise damaged(folder, error) from error
    except safetensors.SafetensorError as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> InputError:
    return InputError(
        f"the baseline in {folder} is damaged ({fault_in_content(error)})", hint="Make it again: xai baseline --overwrite"
    )


def read(path: Path, most: int) -> bytes:
    try:
        return untrusted.read(path, "a file of a baseline", most)
    except InputError as error:
        raise ValueError(error.found) from error


def baseline_of(record: Mapping[str, Any], maps: Maps) -> Baseline:
    photos = tuple(photo_of(at, taken(entry, dict), maps) for at, entry in enumerate(taken(record["photos"], list)))
    return Baseline(
        photos=photos,
        definitions={label: definition(entry) for label, entry in by_label(record["definitions"])},
        layers={label: text(layer) for label, layer in by_label(record["layers"])},
        model=text(record["model"]),
        fingerprint=text(record["fingerprint"]),
        target_rule=text(record["target_rule"]),
        expect=text(record["expect"]),
        seed=whole(record["seed"], 2**63 - 1),
        noise={label: noise_of(entry, len(photos)) for label, entry in by_label(record["noise"])},
        versions={label: text(version) for label, version in by_label(record["versions"])},
        view={name: text(value) for name, value in by_label(record.get("view", {}))},
        places={label: text(place) for label, place in by_label(record.get("places", {}))},
        classes={index: text(name) for index, name in by_label(record.get("classes", {}))},
    )


def photo_of(at: int, entry: Mapping[str, Any], maps: Maps) -> PhotoResult:
    target = taken(entry["target"], str)
    if not TARGET.fullmatch(target):
        raise ValueError(f"target {target!r}")
    labels = [taken(label, str) for label in taken(entry["methods"], list)]
    if not labels:
        raise ValueError(f"photo {at} has no maps")
    return PhotoResult(
        image=text(entry["image"]),
        content=text(entry["content"]),
        frame=whole(entry["frame"]),
        target=target,
        decision=whole(entry["decision"]),
        probability=number(entry["probability"]),
        maps={label: map_of(maps[f"{at}/{label}"]) for label in labels},
        scores={(taken(a, str), taken(b, str)): score_of(value, status) for a, b, value, status in taken(entry["scores"], list)},
        region=region_of(maps.get(region_name(at))),
        box=box_of(entry.get("box", {})),
    )


def region_of(values: NDArray[Any] | None) -> NDArray[np.bool_] | None:
    if values is None:
        return None
    if values.dtype != np.uint8 or values.ndim != 2 or not values.size:
        raise ValueError(f"a region of shape {values.shape} and type {values.dtype}")
    return values.astype(np.bool_)


def box_of(entry: Any) -> dict[str, Any]:
    if not taken(entry, dict):
        return {}
    left, top, right, bottom = (number(corner) for corner in taken(entry["corners"], list))
    return {"corners": (left, top, right, bottom), "label": text(entry["label"]), "score": number(entry["score"])}


def map_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.dtype != np.float32 or values.ndim != 2 or not values.size:
        raise ValueError(f"a map of shape {values.shape} and type {values.dtype}")
    return values


def noise_of(entry: Any, photos: int) -> Noise:
    floor, expected = taken(entry["floor"], dict), [number(value) for value in taken(entry["expected"], list)]
    if len(expected) != photos:
        raise ValueError(f"{len(expected)} expected values of {count(photos, 'photo')}")
    return Noise(Similarity(number(floor["spearman"]), number(floor["overlap"])), tuple(expected))


def definition(entry: Any) -> Mapping[str, Any]:
    taken(taken(entry, dict)["parameters"], dict)
    content = {"name": text(entry["name"]), "version": whole(entry["version"]), "parameters": entry["parameters"]}
    return content | {"file": text(entry["file"])} if "file" in entry else content


def score_of(value: Any, status: Any) -> Score:
    return Score(None if value is None else number(value), text(status))


def by_label(entries: Any) -> list[tuple[str, Any]]:
    return list(taken(entries, dict).items())


def taken(value: Any, kind: type[T]) -> T:
    """`value`, which must be of that type; a bool does not count as a number."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{type_of(value)} where {kind.__name__} is expected")
    return value


def text(value: Any) -> str:
    """Text that is safe to show in a terminal."""
    return printable(taken(value, str))


def whole(value: Any, most: int = 2**31) -> int:
    if not 0 <= taken(value, int) <= most:
        raise ValueError("a whole number out of range")
    return int(value)


def number(value: Any) -> float:
    found = float(value if isinstance(value, int | float) and not isinstance(value, bool) else taken(value, float))
    if not math.isfinite(found):
        raise ValueError(f"the number {found}")
    return found
