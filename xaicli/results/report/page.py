"""The report: one self-contained HTML file in which no shown text can run.

The template escapes text, and the script sets it as text. The page's content security policy allows only its own script and
style, and no connections.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from xaicli.errors import InputError
from xaicli.files import write_atomic
from xaicli.images.colour import palette
from xaicli.kinds import write
from xaicli.params import escape
from xaicli.results.reading import StoredPhoto
from xaicli.results.report.curves import mean_curves, plain
from xaicli.results.report.entries import as_data, entries_of
from xaicli.results.report.table import Table
from xaicli.results.report.thumbnails import Thumbnail, thumbnails
from xaicli.results.sentences import sentences
from xaicli.results.store import Store
from xaicli.results.summary import Group, summarise
from xaicli.sign import Sign
from xaicli.words import count
from xaicli.writable_text import writable

MOST_PHOTOS = 5_000
MOST_NAMES = 4
"""Maximum methods or models that the title names."""
SCRIPTS = ("base", "table", "chart", "overlay", "card", "gallery", "detail", "main")
FILES = importlib.resources.files("xaicli.results.report")


def write_report(
    store: Store,
    path: Path,
    *,
    folders: Sequence[Path] = (),
    most_photos: int = MOST_PHOTOS,
    tick: Callable[[], object] = lambda: None,
) -> int:
    """Write the page of a store to `path`, whole or not at all; returns how many photos its gallery shows.

    folders: where else to search for photos that have moved, beside the store's own folder; most_photos: maximum photos in the
    gallery (the worst by the first metric); tick: called once per photo. Raises InputError if the store holds no scores or the
    file cannot be written.
    """
    groups = summarise(store)
    if not groups:
        raise InputError(f"{store.name} holds no scores", hint="xai score PHOTOS -o STORE.db writes them.")
    photos = worst(store, groups[0], most_photos)
    beside = [] if store.path is None else [store.path.parent]
    pictures = list(thumbnails(photos, [*folders, *beside], tick))
    write_atomic(path, lambda file: file.write(page(store, groups, photos, pictures).encode()))
    return len(photos)


def worst(store: Store, group: Group, most: int) -> list[StoredPhoto]:
    """All photos, or the worst by the first metric of the table that has a direction, over all methods."""
    photos = store.photos()
    judge = next((metric for metric in group.metrics if group.recipe(metric).direction != "neither"), None)
    if len(photos) <= most or judge is None:
        return photos[:most]
    scores = store.scores()
    judged = [at for at, recipe in enumerate(scores.recipes) if recipe.metric == judge and not recipe.control]
    mine = np.isin(scores.recipe, judged) & ~np.isnan(scores.value)
    counts = np.bincount(scores.photo[mine], minlength=len(photos))
    with np.errstate(invalid="ignore"):
        means = np.bincount(scores.photo[mine], scores.value[mine], minlength=len(photos)) / counts
    means = means if group.recipe(judge).direction == "higher" else -means
    chosen = np.argsort(np.nan_to_num(means, nan=-np.inf), kind="stable")[:most]
    return [photos[at] for at in sorted(chosen.tolist())]


def page(store: Store, groups: Sequence[Group], photos: Sequence[StoredPhoto], pictures: Sequence[Thumbnail]) -> str:
    """The page as text."""
    script = "".join(text(f"{name}.js") for name in SCRIPTS)
    return page_of(
        text("template.html"),
        script,
        title=title_of(groups),
        store="a store in memory" if store.path is None else store.path.name,
        total=len(store.photos()),
        shown=len(photos),
        groups=groups,
        tables=[Table(group) for group in groups],
        sentences=[sentences(group) for group in groups],
        recipes=store.recipes(),
        runs=store.runs(),
        models=store.models(),
        code=Markup(script),
        data=embedded(data_of(store, groups, photos, pictures)),
        thumbnails=embedded([picture.jpeg for picture in pictures]),
    )


def title_of(groups: Sequence[Group]) -> str:
    """What was compared: the methods (by name if they are few) and the models."""
    methods = list(dict.fromkeys(method for group in groups for method in group.methods))
    models = list(dict.fromkeys(group.model or group.fingerprint for group in groups))
    what = listed(methods) if len(methods) <= MOST_NAMES else count(len(methods), "method")
    where = listed(models) if len(models) <= MOST_NAMES else count(len(models), "model")
    return f"{what} on {where}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def data_of(
    store: Store, groups: Sequence[Group], photos: Sequence[StoredPhoto], pictures: Sequence[Thumbnail]
) -> dict[str, Any]:
    """The data that the script reads: photos, and for each group the names in its table, mean curves and gallery."""
    number = {(photo.content, photo.frame): at for at, photo in enumerate(photos)}
    entries = entries_of(store, groups, photos)
    curves = mean_curves(store)
    described = []
    for group, mine in zip(groups, entries, strict=True):
        names = [*group.methods, *group.controls]
        at = {cell.recipe.definition: name for name, cell in group.cells.items()}
        drawn = [
            {
                "method": names.index(at[curve.definition][0]),
                "metric": group.metrics.index(at[curve.definition][1]),
                "x": plain(curve.x),
                "y": plain(curve.mean),
                "half": plain(curve.half),
                "n": curve.n,
            }
            for curve in curves
            if curve.model == group.fingerprint and curve.definition in at
        ]
        metrics = [{"name": metric, "direction": group.recipe(metric).direction} for metric in group.metrics]
        methods = [{"name": name, "control": name in group.controls, "fitted": fitted_metrics(group, name)} for name in names]
        about = {"model": group.model, "fingerprint": group.fingerprint, "methods": methods, "metrics": metrics, "curves": drawn}
        described.append(about | as_data(mine, group, number))
    return {
        "groups": described,
        "photos": [
            {"path": path, "hash": photo.content, "frame": photo.frame, "size": picture.size, "why": picture.why}
            for path, photo, picture in zip(shown_paths(photos), photos, pictures, strict=True)
        ],
        "palettes": [base64.b64encode(palette(sign).tobytes()).decode() for sign in (Sign.NONNEGATIVE, Sign.SIGNED)],
    }


def fitted_metrics(group: Group, method: str) -> list[int]:
    """The metrics, by their positions, to which a method's maps were fitted."""
    found = [group.cells.get((method, metric)) for metric in group.metrics]
    return [at for at, cell in enumerate(found) if cell is not None and cell.recipe.fitted]


def shown_paths(photos: Sequence[StoredPhoto]) -> list[str]:
    """Paths as given, absolute ones without the folder that they share: the page may be sent to others and must not describe this
    machine."""
    paths = [photo.paths[0] for photo in photos]
    folders = [os.path.dirname(path) for path in paths if os.path.isabs(path)]
    if not folders:
        return paths
    shared = os.path.commonpath(folders)
    return [os.path.relpath(path, shared) if os.path.isabs(path) else path for path in paths]


def embedded(content: Any) -> Markup:
    """JSON inside a `script` element: no character in it can end the element or open another."""
    plain_json = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(plain_json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def policy(style: str, script: str) -> str:
    """The page's content security policy: its own style and script by their hashes, pictures inside it, nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
    parts = ("default-src 'none'", "img-src data:", f"style-src 'sha256-{hashes[0]}'", f"script-src 'sha256-{hashes[1]}'")
    return "; ".join((*parts, "base-uri 'none'", "form-action 'none'"))


def page_of(template: str, script: str = "", **content: Any) -> str:
    """A page from the text of its template, which escapes all it is given; nothing but `script` can run in it."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["as_typed"] = as_typed
    style = text("style.css")
    made = environment.from_string(template).render(style=Markup(style), policy=policy(style, script), **content)
    return writable(made)


BASE = "base"
"""The parameter by which a method names the one that it wraps."""


def as_typed(value: Any) -> str:
    """A parameter's value in a stored definition as a user types it: `true`, `1+2`, and of a method `rise@n_masks=100`."""
    if isinstance(value, Mapping):
        stored = value.get("parameters")
        given = stored if isinstance(stored, Mapping) else {}
        typed = {key: as_typed(one) for key, one in given.items()}
        # Parameters after a base are the base's own, so it comes last; those of any other definition inside are escaped.
        last = [f"{BASE}={typed[BASE]}"] if BASE in typed else []
        own = [f"{key}={escape(text) if isinstance(given[key], Mapping) else text}" for key, text in typed.items() if key != BASE]
        return "@".join([str(value.get("name", "")), *own, *last])
    return "+".join(map(as_typed, value)) if isinstance(value, list) else write(value)


def text(name: str) -> str:
    return FILES.joinpath(name).read_text(encoding="utf-8")
