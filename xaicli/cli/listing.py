"""`xai list`: methods, metrics, models, layers, checkpoints."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.options import ModelOptions, format_option, model_options, option
from xaicli.cli.printing import print_rows
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options

EXAMPLES = """
xai list methods
xai list models 'resnet*'
xai list layers --model resnet50
"""

WHAT = ("methods", "metrics", "models", "layers", "checkpoints")


@click.command(cls=Command, examples=EXAMPLES, short_help="methods, metrics, models, layers, checkpoints")
@click.argument("what", type=click.Choice(WHAT), metavar="methods|metrics|models|layers|checkpoints")
@click.argument("pattern", default="*")
@format_option()
@option("Output", "--check", is_flag=True, help="Import every method or metric and show the broken ones.")
@model_options
@verbosity_options
def command(what: str, pattern: str, form: str, check: bool, model: ModelOptions) -> int:
    """List methods, metrics, models, the layers of a model, or the trained checkpoints that are found by themselves.

    PATTERN is a glob such as 'resnet*'. Listing imports no plugin; --check does, and shows those that are broken.
    """
    if what in ("methods", "metrics"):
        return list_definitions(what, pattern, form, check)
    if what == "models":
        from xaicli.models.catalogue import list_models

        print_rows([{"model": entry.spec, "what": entry.summary} for entry in list_models(pattern)], form)
        return 0
    if what == "checkpoints":
        return list_checkpoints(pattern, form)
    return list_layers(pattern, form, model)


def list_definitions(what: str, pattern: str, form: str, check: bool) -> int:
    from fnmatch import fnmatchcase

    from xaicli import registry

    kind = registry.METHODS if what == "methods" else registry.METRICS
    entries = [entry for entry in registry.entries(kind, check=check) if fnmatchcase(entry.name, pattern)]
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
    from fnmatch import fnmatchcase

    from xaicli.network.branches import one_of_branches

    classifier = model.open()
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
        for row in found
        if fnmatchcase(row.name, pattern)
    ]
    print_rows(rows, form)
    return 0


def list_checkpoints(pattern: str, form: str) -> int:
    from fnmatch import fnmatchcase

    from xaicli.models.checkpoint import list_checkpoints as all_checkpoints

    rows = [
        {
            "checkpoint": found.path.name,
            "method": str(found.metadata.get("method", "")),
            "model": f"broken: {found.fault}" if found.fault else str(found.metadata.get("classifier", "")),
            "fingerprint": str(found.metadata.get("fingerprint", "")),
            "origin": "built in" if found.bundled else "installed",
        }
        for found in all_checkpoints()
        if fnmatchcase(found.path.name, pattern)
    ]
    print_rows(rows, form)
    return 0
