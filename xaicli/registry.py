"""Methods and metrics by name: the built-in table, then installed plugins.

Plugins are entry points of the groups `xaicli.methods` and `xaicli.metrics`. Listing reads the table and the entry points'
metadata alone; a class is imported when it is used. A plugin that cannot be imported is listed as broken and does no harm.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from xaicli import builtin
from xaicli.containment import contained
from xaicli.duties import Duty, refuse_neglected
from xaicli.errors import RunError, UsageError, XaiError, did_you_mean
from xaicli.method import Method
from xaicli.metric import Direction, Metric
from xaicli.params import Definition, Spec, escape, fold, format_value, parameters, parse_spec, parse_specs
from xaicli.python_file import functions_of, import_file, importable, place_of
from xaicli.python_file import split as split_file
from xaicli.sign import Sign
from xaicli.stamps import sha256_file

if TYPE_CHECKING:
    from xaicli.scoring.judging import MetricJudge

T = TypeVar("T", bound=Definition)
CONTROLS = ("random", "center")
BUILT_IN = "built in"
"""The origin of what comes with the package."""


@dataclass(frozen=True)
class Kind:
    """Methods or metrics, the two kinds that are looked up by name."""

    word: str
    group: str
    base: type[Definition]
    duties: tuple[Duty, ...]
    table: dict[str, builtin.Builtin] = field(repr=False)


OF_METHODS = (
    Duty("attribute", "a function attribute()"),
    Duty("sign", "a line sign = Sign.SIGNED", Sign),
    Duty("cost", "a function cost()"),
)
OF_METRICS = (Duty("score", "a function score()"), Duty("direction", "a line direction = Direction.HIGHER", Direction))
METHODS = Kind("method", "xaicli.methods", Method, OF_METHODS, builtin.METHODS)
METRICS = Kind("metric", "xaicli.metrics", Metric, OF_METRICS, builtin.METRICS)


@dataclass(frozen=True)
class Entry:
    """One line of a listing. `origin` is "built in" or the plugin's distribution and version; `fault` says why it is broken, if
    so."""

    name: str
    target: str
    summary: str
    origin: str
    aliases: tuple[str, ...] = ()
    fault: str = ""


def entries(kind: Kind, *, check: bool = False) -> list[Entry]:
    """All entries of a kind, built-in ones first; `check` imports each and fills in faults."""
    found = [Entry(name, f"{kind.group}.{row.target}", row.summary, BUILT_IN, row.aliases) for name, row in kind.table.items()]
    taken = {fold(name): entry for entry in found for name in (entry.name, *entry.aliases)}
    plugins = [plugin_entry(point) for point in entry_points(kind.group)]
    for entry in sorted(plugins, key=lambda entry: (entry.name, entry.origin, entry.target)):
        first = taken.setdefault(fold(entry.name), entry)
        fault = "" if first is entry else f"the name is taken by {first.name} ({first.origin})"
        found.append(replace(entry, fault=fault))
    return [checked(kind, entry) for entry in found] if check else found


def entry_points(group: str) -> list[importlib.metadata.EntryPoint]:
    """Installed entry points of a group; a distribution with a damaged entry point file is skipped."""
    try:
        return list(importlib.metadata.entry_points(group=group))
    # The standard library reads all distributions at once and fails, with any exception, if one of them is damaged.
    except Exception:
        points = []
        for distribution in importlib.metadata.distributions():
            with contextlib.suppress(Exception):
                points += list(distribution.entry_points.select(group=group))
        return points


def plugin_entry(point: importlib.metadata.EntryPoint) -> Entry:
    """An entry from an entry point's metadata, without importing it; damaged metadata gives less."""
    known: dict[str, str] = {}
    with contextlib.suppress(Exception):
        if point.dist is not None:
            metadata = point.dist.metadata
            known = {key: metadata[key].strip() for key in ("Name", "Version", "Summary") if key in metadata}
    origin = f"{known.get('Name', 'a plugin')} {known.get('Version', '')}".strip()
    return Entry(point.name, point.value, known.get("Summary", "").rstrip("."), origin)


def checked(kind: Kind, entry: Entry) -> Entry:
    if entry.fault:
        return entry
    try:
        load(kind, entry)
    except XaiError as error:
        return replace(entry, fault=error.found)
    return entry


def load(kind: Kind, entry: Entry) -> type[Definition]:
    """Import the class of an entry; raises RunError, which names the plugin, if it cannot be used."""
    module, _, attribute = entry.target.partition(":")
    # A plugin may raise, print or end the program at import.
    with contained(f"{kind.word} {entry.name} of {entry.origin}, when it was imported,", hint="See xai doctor."):
        cls: Any = importlib.import_module(module)
        for part in attribute.split("."):
            cls = getattr(cls, part)
        if isinstance(cls, type) and issubclass(cls, Definition):
            parameters(cls)
    refuse_unfit(kind, entry, cls)
    return cls  # type: ignore[no-any-return]


def refuse_unfit(kind: Kind, entry: Entry, cls: Any) -> None:
    """Raise RunError if an entry's class is not of its kind, is no dataclass, lacks what it must define, or has another name."""
    where = f"{kind.word} {entry.name} of {entry.origin}: {entry.target}"
    if not (isinstance(cls, type) and issubclass(cls, kind.base)):
        raise RunError(f"{where} is no {kind.word}", expected=f"a class derived from {kind.base.__name__}")
    refuse_neglected(cls, kind.base, kind.duties, where)
    own = getattr(cls, "name", None)
    if own is None:
        raise RunError(f"{where} has no name", expected=f"a line name = {entry.name!r} in the class")
    names = [own, *cls.aliases] if isinstance(own, str) else []
    if fold(entry.name) not in map(fold, names):
        raise RunError(f"{where} calls itself {own!r}", expected=f"name = {entry.name!r}")


def find(kind: Kind, name: str) -> Entry:
    """The entry of that name or alias; raises UsageError with the nearest name."""
    known = entries(kind)
    for entry in known:
        if fold(name) in {fold(entry.name), *map(fold, entry.aliases)} and not entry.fault:
            return entry
    names = [spelled for entry in known for spelled in (entry.name, *entry.aliases)]
    raise UsageError(f'no {kind.word} "{name}"', hint=f"{did_you_mean(name, names)} (xai list {kind.word}s)".strip())


def definition_class(kind: Kind, name: str) -> type[Definition]:
    """The class of a name, or of `FILE.py:NAME`, which is then run."""
    return from_own_file(kind, name) if is_own_file(name) else load(kind, find(kind, name))


def is_own_file(name: str) -> bool:
    """Whether a name means the user's own code, `FILE.py:NAME`, or that without its class, which is then refused in words."""
    return ".py:" in name or name.endswith(".py")


def from_own_file(kind: Kind, name: str) -> type[Definition]:
    """The class in a user's file, with the file's hash, so that results of edited code are other results; raises RunError if it
    cannot be used."""
    file, attribute = split_file(name)
    folder = Path(os.path.realpath(file)).parent
    with importable(folder):
        try:
            module = import_file(file)
            if not hasattr(module, attribute):
                known = functions_of(file)
                raise UsageError(
                    f"{file.name} has no {attribute}", expected=", ".join(known), hint=did_you_mean(attribute, known)
                )
            cls = getattr(module, attribute)
        # The user's code may raise anything; the error is reported as theirs, with its line.
        except BaseException as error:
            with contained(place_of(error, folder) or file.name, hint="This is in your own code; --debug shows the traceback."):
                raise
    with contained(f"{file.name}:{attribute}"):
        own = getattr(cls, "name", None)
        refuse_unfit(kind, Entry(own if isinstance(own, str) else attribute, f"{file.name}:{attribute}", "", "your own"), cls)
        parameters(cls)
    if fold(cls.name) in {fold(known) for row in kind.table for known in (row, *kind.table[row].aliases)}:
        raise RunError(
            f"{file.name}:{attribute} is called {cls.name}, as a built-in {kind.word} is", expected="a name of its own"
        )
    cls.file_hash, cls.typed = sha256_file(file), name
    return cls  # type: ignore[no-any-return]


def make(kind: Kind, spec: Spec) -> Definition:
    """An instance from a specification, its base included; raises UsageError on unknown or ill-typed parameters."""
    cls = definition_class(kind, spec.name)
    if spec.flag:
        raise UsageError(f'"{spec.flag}" in {spec.name}@{spec.flag} is no parameter', expected="key=value")
    base = None
    if spec.base is not None:
        if "base" not in {parameter.name for parameter in parameters(cls)}:
            raise UsageError(f"{cls.name} wraps no other {kind.word}, so it takes no base", hint=f"See {cls.describing()}.")
        base = make(kind, spec.base)
    refuse_unescaped(cls, spec)
    with contained(f"{spec.name}, given its parameters,"):
        return cls.from_text(dict(spec.params), base)


def refuse_unescaped(cls: type[Definition], spec: Spec) -> None:
    """Raise UsageError for a parameter that belongs to the metric in another parameter, and so takes a backslash before its @."""
    given, own = dict(spec.params), {fold(parameter.name) for parameter in parameters(cls)}
    metric = given.get("metric", "")
    if not metric or "metric" not in own:
        return
    foreign = [(key, value) for key, value in spec.params if fold(key) not in own]
    try:
        theirs = {fold(parameter.name) for parameter in parameters(definition_class(METRICS, parse_spec(metric).name))}
    except XaiError:
        # What is wrong with the metric is said when it is made.
        return
    if foreign and all(fold(key) in theirs for key, _ in foreign):
        raise UsageError(
            f'{cls.name} has no parameter "{foreign[0][0]}", but its metric has',
            expected="".join([f"metric={escape(metric)}", *(rf"\@{key}={escape(value)}" for key, value in foreign)]),
            hint="The backslash says whose parameter it is; a shell wants the whole in single quotes.",
        )


def make_method(text: str | Spec) -> Method:
    """A method from its specification: `make_method("rise@n_masks=8000")`."""
    made = make(METHODS, parse_spec(text) if isinstance(text, str) else text)
    assert isinstance(made, Method)
    return made


def make_metric(text: str | Spec) -> Metric:
    """A metric from its specification: `make_metric("deletion@steps=56")`."""
    made = make(METRICS, parse_spec(text) if isinstance(text, str) else text)
    assert isinstance(made, Metric)
    return made


def judge(metric: str) -> MetricJudge:
    """A metric as the judge of maps, for a method that is fitted to it (`xaicli.judge`)."""
    from xaicli.scoring.judging import MetricJudge

    return MetricJudge(make_metric(metric), lambda: map(make_metric, builtin.METRICS))


def make_methods(texts: Iterable[str]) -> list[Method]:
    """Methods from comma-separated specifications, in order; a repeated one is refused."""
    return distinct([make_method(spec) for text in texts for spec in parse_specs(text)])


def make_metrics(texts: Iterable[str]) -> list[Metric]:
    """Metrics from comma-separated specifications, in order; a repeated one is refused."""
    return distinct([make_metric(spec) for text in texts for spec in parse_specs(text)])


def distinct(made: list[T]) -> list[T]:
    labels = [definition.label for definition in made]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"{label} is named twice", hint="Name it once, or change a parameter.")
    return made


def describe(cls: type[Definition]) -> list[dict[str, str]]:
    """The parameters of a definition as rows of text: name, type, default, range, help."""
    return [
        {
            "name": parameter.name,
            "type": parameter.kind_text,
            "default": format_value(parameter.default),
            "range": parameter.range_text,
            "help": parameter.help,
        }
        for parameter in parameters(cls)
    ]
