"""`xai describe`: one method or metric on one screen."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from xaicli.cli.file_names import Argument
from xaicli.cli.options import option
from xaicli.cli.printing import terminal_width
from xaicli.cli.verbosity import Command, verbosity_options
from xaicli.text_table import rendered
from xaicli.writable_text import json_text

if TYPE_CHECKING:
    from xaicli.params import Definition
    from xaicli.registry import Kind

EXAMPLES = """
xai describe rise
xai describe grad-cam --format json
xai describe deletion
xai describe my.py:MyMethod
"""


def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from xaicli import builtin

    table = {**builtin.METHODS, **builtin.METRICS}
    return [CompletionItem(name, help=row.summary) for name, row in table.items() if name.startswith(incomplete)]


@click.command(cls=Command, examples=EXAMPLES, short_help="a method or metric: parameters, cost, needs, paper")
@click.argument("name", shell_complete=complete, cls=Argument)
@option("Output", "--format", "form", type=click.Choice(["text", "json"]), default="text", help="What stdout shows.")
@verbosity_options
def command(name: str, form: str) -> int:
    """Describe a method or a metric: what it is, what it needs and costs, its parameters, its paper."""
    facts = gather(name)
    if form == "json":
        click.echo(json_text(facts))
    else:
        click.echo(to_text(facts))
    return 0


def gather(name: str) -> dict[str, Any]:
    """All that a method or metric declares, by name or as `FILE.py:CLASS`, which is then run."""
    from xaicli import registry
    from xaicli.method import Method

    kind, cls, origin = own_class(name) if registry.is_own_file(name) else known_class(name)
    called = name if registry.is_own_file(name) else cls.name
    facts: dict[str, Any] = {"name": called, "kind": kind.word, "version": cls.version, "origin": origin}
    facts["aliases"] = list(cls.aliases)
    facts["description"] = inspect.cleandoc(cls.__doc__ or "")
    facts |= declared(cls)
    facts["paper"] = cls.paper
    facts["parameters"] = registry.describe(cls)
    if issubclass(cls, Method) and cls.training is not None:
        facts["training"] = registry.describe(cls.training)
    return facts


def known_class(name: str) -> tuple[Kind, type[Definition], str]:
    """The kind, class and origin of what is built in or a plugin; raises UsageError with the nearest name."""
    from xaicli import registry
    from xaicli.errors import UsageError, did_you_mean
    from xaicli.params import fold

    kinds = (registry.METHODS, registry.METRICS)
    for kind in kinds:
        for entry in registry.entries(kind):
            if fold(name) in {fold(entry.name), *map(fold, entry.aliases)}:
                entry = registry.find(kind, name)
                return kind, registry.load(kind, entry), entry.origin
    names = [entry.name for kind in kinds for entry in registry.entries(kind)]
    raise UsageError(
        f'no method or metric "{name}"', hint=f"{did_you_mean(name, names)} (xai list methods, xai list metrics)".strip()
    )


def own_class(name: str) -> tuple[Kind, type[Definition], str]:
    """The kind, class and origin of `FILE.py:CLASS`; what is neither a method nor a metric is refused as a method."""
    from xaicli import registry
    from xaicli.errors import RunError

    try:
        return registry.METHODS, registry.definition_class(registry.METHODS, name), "your own"
    except RunError:
        with contextlib.suppress(RunError):
            return registry.METRICS, registry.definition_class(registry.METRICS, name), "your own"
        raise


def declared(cls: type[Definition]) -> dict[str, Any]:
    """What a method declares of needs, cost and sign, or a metric of direction and range."""
    from xaicli.method import Method
    from xaicli.metric import Metric

    made = cls()
    if isinstance(made, Method):
        return {
            "needs": made.needs.words(),
            "cost": made.cost().per_photo,
            "sign": made.sign.value,
            "class specific": made.class_specific,
            "stochastic": made.stochastic,
        }
    assert isinstance(made, Metric)
    low, high = made.range
    return {
        "needs": made.needs.words() or "the map alone",
        "direction": {"higher": "higher is better", "lower": "lower is better"}.get(made.direction.value, "neither is better"),
        "range": f"{low:g} to {high:g}{f' {made.unit}' if made.unit else ''}",
        "ground truth": made.needs_truth,
        "explains again": made.needs_explain,
        "signs": ", ".join(sorted(sign.value for sign in made.signs)),
        "columns": dict(made.readouts),
    }


def to_text(facts: dict[str, Any]) -> str:
    lines = [f"{facts['name']}  ({facts['kind']}, version {facts['version']}, {facts['origin']})", "", facts["description"], ""]
    for key, value in facts.items():
        if key in ("name", "kind", "version", "origin", "description", "parameters", "training") or value in ("", [], {}):
            continue
        if isinstance(value, dict):
            value = "; ".join(f"{name}: {text}" for name, text in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        lines.append(f"{key + ':':16} {('yes' if value else 'no') if isinstance(value, bool) else value}")
    parameters = facts["parameters"]
    lines += ["", *(parameters_as_text(facts["name"], parameters) if parameters else ["It has no parameters."])]
    if facts.get("training"):
        lines += ["", f"Parameters of its training, xai train {facts['name']} --set KEY=VALUE:", ""]
        lines.append(parameter_table(facts["training"]))
    return "\n".join(lines)


def parameters_as_text(name: str, parameters: list[dict[str, str]]) -> list[str]:
    return [parameter_table(parameters), "", f"Write it {name}@{parameters[0]['name']}={parameters[0]['default']}"]


def parameter_table(parameters: list[dict[str, str]]) -> str:
    rows = [
        {"parameter": row["name"], "type": row["type"], "default": row["default"], "range": row["range"], "meaning": row["help"]}
        for row in parameters
    ]
    return rendered(rows, width=terminal_width())
