"""`xai list`: methods, metrics, models, layers, checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import click

from xaicli.cli.file_names import Argument
from xaicli.cli.options import ModelOptions, format_option, model_options, option
from xaicli.cli.printing import print_rows
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.errors import UsageError, did_you_mean
from xaicli.grammar import matches

Entry = TypeVar("Entry")

EXAMPLES = """
xai list methods
xai list models 'resnet*'
xai list layers --model resnet50
"""

WHAT = ("methods", "metrics", "models", "layers", "checkpoints")


@click.command(cls=Command, examples=EXAMPLES, short_help="methods, metrics, models, layers, checkpoints")
@click.argument("what", type=click.Choice(WHAT), metavar="methods|metrics|models|layers|checkpoints")
@click.argument("pattern", default="*", cls=Argument)
@format_option()
@option("Output", "--check", is_flag=True, help="Import every method or metric and show the broken ones.")
@model_options
@verbosity_options
def command(what: str, pattern: str, form: str, check: bool, model: ModelOptions) -> int:
    """List methods, metrics, models, the layers of a model, or the trained checkpoints that are found by themselves.

    PATTERN keeps the names that contain it, or that match it where it is a glob such as 'resnet*'. Listing imports no plugin;
    --check does, and shows those that are broken.
    """
    if what in ("methods", "metrics"):
        return list_definitions(what, pattern, form, check)
    if what == "models":
        from xaicli.models.catalogue import list_models

        listed = chosen("model", pattern, [(entry.spec, entry) for entry in list_models()])
        print_rows([{"model": entry.spec, "what": entry.summary} for entry in listed], form)
        return 0
    if what == "checkpoints":
        return list_checkpoints(pattern, form)
    return list_layers(pattern, form, model)


def chosen(what: str, pattern: str, named: Iterable[tuple[str, Entry]]) -> list[Entry]:
    """The entries whose names match; raises UsageError if a pattern matches none."""
    # A list, since two checkpoints may have one name.
    known = list(named)
    found = [entry for name, entry in known if matches(pattern, name)]
    if known and not found:
        near = did_you_mean(pattern, [name for name, _ in known])
        raise UsageError(f'no {what} matches "{pattern}"', expected="a part of a name, or a glob", hint=near)
    return found


def list_definitions(what: str, pattern: str, form: str, check: bool) -> int:
    from xaicli import registry

    kind = registry.METHODS if what == "methods" else registry.METRICS
    entries = chosen(what[:-1], pattern, [(entry.name, entry) for entry in registry.entries(kind, check=check)])
    foreign = any(entry.origin != registry.BUILT_IN for entry in entries)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        summary, aliases = f"broken: {entry.fault}" if entry.fault else entry.summary, ", ".join(entry.aliases)
        if form == "table":
            # Few have other names and most are built in: two columns less leave a terminal's width to the summary.
            summary = f"{summary} (also {aliases})" if aliases else summary
            rows.append({"name": entry.name, "summary": summary, **({"origin": entry.origin} if foreign else {})})
        else:
            row = {"name": entry.name, "summary": summary, "aliases": aliases, "origin": entry.origin}
            rows.append({**row, "fault": entry.fault})
    print_rows(rows, form)
    return 0


def list_layers(pattern: str, form: str, model: ModelOptions) -> int:
    from xaicli.errors import UsageError
    from xaicli.needs import Needs
    from xaicli.network.branches import one_of_branches

    classifier = model.open()
    if Needs.FEATURES not in classifier.provides and classifier.cuts is None:
        raise UsageError(f"{classifier.name} shows no layers", hint="Methods that need none explain it, such as rise.")
    found = classifier.layers()
    default = next((row.name for row in found if row.default), "")
    if classifier.cuts is None and default and classifier.branches:
        Verbosity.current().warn(one_of_branches(default, classifier.branches))
    rows = [
        {
            "layer": row.name,
            "kind": row.kind,
            "output": " x ".join(map(str, row.shape)),
            "grid": " x ".join(map(str, row.grid or ())),
            "default": row.default,
        }
        for row in chosen("layer", pattern, [(row.name, row) for row in found])
    ]
    print_rows(rows, form)
    return 0


def list_checkpoints(pattern: str, form: str) -> int:
    from xaicli.models.checkpoint import list_checkpoints as all_checkpoints
    from xaicli.models.checkpoint_content import IN_SHORT, figures_of

    rows: list[dict[str, Any]] = []
    for found in chosen("checkpoint", pattern, [(found.path.name, found) for found in all_checkpoints()]):
        about = found.metadata
        row = {
            "checkpoint": found.path.name,
            "method": str(about.get("method", "")),
            "model": f"broken: {found.fault}" if found.fault else str(about.get("classifier", "")),
        }
        origin, figures = "built in" if found.bundled else "installed", figures_of(about)
        short = str(figures.get(IN_SHORT, ""))
        if form == "table":
            # A terminal's width is for what people compare; scripts get the fingerprint, and all figures.
            rows.append({**row, "origin": origin, "measured": short})
        else:
            known = {"fingerprint": str(about.get("fingerprint", "")), "origin": origin}
            rows.append({**row, **known, "measured": figures if form == "json" else short})
    print_rows(rows, form)
    return 0
