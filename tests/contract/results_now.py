"""Results as the package gives them now: definitions, maps and scores, through its outer interfaces alone.

Those are the command line, the names of `xaicli` itself, its tables in `xaicli.builtin` and `xaicli.registry`, and
`xaicli.stamps.definition_stamp`: rooms may be moved and modules renamed, and this file stays as it is. What is made, and of what,
stands in `results_asked.py`.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from command_line import main
from contract.fixed_inputs import SMALL, photo_paths, workplace, write_bank
from contract.results_asked import BANK, SHEETS, Asked, Sheet
from contract.results_book import MAP, SAMPLES, Entry, Section, names_of

import xaicli
from xaicli import stamps

CPU = ("--device", "cpu", "--precision", "fp32", "--no-progress")
LARGEST_WHOLE = 20
"""Rows of the largest map that is kept whole; of a larger one only samples are."""
PLACES = 8
OF_FRAMES = "frames"
"""The network of sequences, to which all photos of their folder are one."""


def xai(*words: object) -> str:
    """Run a command line; what it wrote on stdout."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    assert code == 0, f"xai {' '.join(map(str, words))} ended with {code}: {err.getvalue()}"
    return out.getvalue()


# Definitions


def definition(name: str) -> Entry:
    """What `xai describe` says of a method or metric, but for its prose, and of a method the stamp of its defaults."""
    told = json.loads(xai("describe", name, "--format", "json"))
    exact = {key: value for key, value in told.items() if key not in ("name", "description", "paper")}
    for part in {"parameters", "training"} & exact.keys():
        exact[part] = [[row[key] for key in ("name", "type", "default", "range")] for row in told[part]]
    exact["columns"] = sorted(told.get("columns", {}))
    if told["kind"] == "method":
        exact["stamp"] = stamps.definition_stamp(xaicli.make_method(name), "top1", "fp32")
    return Entry(exact, {})


# Maps


def maps_of(asked: Iterable[Asked]) -> Section:
    """The maps that are asked for; one line where a method refuses a network."""
    found: Section = {}
    bundled = defaultdict(list)
    with workplace():
        write_bank(Path(BANK), SMALL["vit"]().weights_fingerprint)
        for one in asked:
            if one.network in SMALL:
                found[one.key] = in_python(one)
            else:
                bundled[one.network, one.target].append(one)
        for number, group in enumerate(bundled.values()):
            found |= on_the_command_line(group, Path(f"maps-{number}"))
    return found


def in_python(asked: Asked) -> Entry:
    """A map as `xaicli.explain` gives it."""
    photos = [str(path) for path in photo_paths()[: asked.photos]]
    if asked.network == OF_FRAMES:
        photos = [str(photo_paths()[0].parent)]
    try:
        made = xaicli.explain(photos, SMALL[asked.network](), asked.label, target=asked.target, precision="fp32")
    except xaicli.XaiError as error:
        return Entry({"refused": error.exit_code}, {})
    return entry_of_maps(asked, [json.loads(one.record.to_json()) for one in made], [(one.values, one.extras) for one in made])


def on_the_command_line(group: Sequence[Asked], folder: Path) -> Section:
    """Maps of a bundled network as `xai explain` writes them."""
    labels = ",".join(asked.label for asked in group)
    model = ("--model", group[0].network, "--target", group[0].target, "--method", labels, *CPU)
    lines = xai("explain", *photo_paths(), *model, "--format", "jsonl", "-o", folder).splitlines()
    found = {}
    for asked in group:
        rows = [row for row in map(json.loads, lines) if row["method"] == asked.label]
        records = [json.loads(Path(row["record"]).read_text()) for row in rows]
        arrays = []
        for row, record in zip(rows, records, strict=True):
            stem = Path(row["array"])
            extras = {name: np.load(stem.with_name(f"{stem.stem}.{name}.npy")) for name in record["arrays"]}
            arrays.append((np.load(stem), extras))
        found[asked.key] = entry_of_maps(asked, records, arrays)
    return found


def entry_of_maps(asked: Asked, records: list[dict[str, Any]], arrays: list[tuple[Any, dict[str, Any]]]) -> Entry:
    """One entry of the records and arrays of some photos. Maps of the first two are kept, whole or in samples."""
    exact: dict[str, Any] = {name: records[0][name] for name in ("definition", "passes", "layer")}
    exact |= {name: brief([record[name] for record in records]) for name in ("target", "sign", "status")}
    exact["subjects"] = stamps.stamp([record["subject"] for record in records])
    exact["shape"] = brief([list(values.shape) for values, _ in arrays])
    kept = [values for values, _ in arrays[:2]]
    whole = asked.whole and max(max(values.shape) for values in kept) <= LARGEST_WHOLE
    numbers = {MAP: np.stack(kept)} if whole else {SAMPLES: np.stack([samples(values) for values in kept])}
    numbers["probability"] = np.array([record["target_probability"] for record in records])
    for name in records[0]["extras"]:
        numbers[name] = np.array([record["extras"].get(name, np.nan) for record in records])
    for name in records[0]["arrays"]:
        numbers[name] = np.stack([samples(extras[name]) for _, extras in arrays[:2]])
    raw = [np.ascontiguousarray(part).tobytes() for values, extras in arrays for part in (values, *extras.values())]
    told = json.dumps([[record["extras"], record["target_probability"]] for record in records])
    return Entry(exact, numbers, b"".join([*raw, told.encode()]))


def brief(items: list[Any]) -> Any:
    """One item in place of a list of the same."""
    return items[0] if all(item == items[0] for item in items) else items


def samples(values: Any) -> Any:
    """Mean, smallest and largest of an array, and its values at places spread over it."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    places = np.linspace(0, flat.size - 1, PLACES).round().astype(int)
    return np.concatenate([[flat.mean(), flat.min(), flat.max()], flat[places]])


# Scores


def scores_of(names: Iterable[str]) -> tuple[Section, Section]:
    """The rows of some sheets: all but those of the control `other`, and those of it."""
    rows: Section = {}
    with workplace():
        for name in names:
            rows |= rows_of(name, SHEETS[name])
    others = {key: entry for key, entry in rows.items() if "other" in names_of(key)}
    return {key: entry for key, entry in rows.items() if key not in others}, others


def rows_of(name: str, sheet: Sheet) -> Section:
    """A sheet as `xai score` gives it: an entry for each method and metric, photos in order."""
    words = ["--model", sheet.model, "--method", ",".join(sheet.methods), "--metric", ",".join(sheet.metrics)]
    words += ["--target", sheet.target, "--truth", "masks", *CPU, "--format", "jsonl", *sheet.words]
    groups = defaultdict(list)
    for row in map(json.loads, xai("score", *photo_paths(), *words).splitlines()):
        groups[row["method"], row["metric"]].append(row)
    return {f"{name} {method} {metric}": entry_of_rows(rows) for (method, metric), rows in groups.items()}


def entry_of_rows(rows: list[dict[str, Any]]) -> Entry:
    """The rows of one method and metric."""
    rows = sorted(rows, key=lambda row: (row["image"], row["target"]))
    exact: dict[str, Any] = {name: brief([row[name] for row in rows]) for name in ("definition", "seed", "target", "status")}
    exact["subjects"] = stamps.stamp([row["subject"] for row in rows])
    columns = dict.fromkeys(name for row in rows for name in row if name not in (*exact, "image", "method", "metric", "subject"))
    numbers = {name: np.array([row.get(name) for row in rows], dtype=np.float64) for name in columns}
    return Entry(exact, numbers, json.dumps(rows, sort_keys=True).encode())
