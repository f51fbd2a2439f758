"""`xai compare`: methods side by side, with scores and what the intervals say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from xaicli.cli.options import ModelOptions, batch_size_option, image_options, model_options, option
from xaicli.cli.score import carry_out, open_store, plan, score_options, show, summary
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.errors import UsageError
from xaicli.grammar import split

EXAMPLES = """
xai compare photos/ --method grad-cam,rise@n_masks=1000
xai compare dog.jpg --method grad-cam,layer-cam,occlusion --no-controls
xai compare photos/ --model tiny,tiny-vit --method grad-cam,t-tame,daam
xai compare photos/ --method grad-cam,rise --metric insertion,deletion,average-drop@area=50@mask=binary
"""

FORMATS = ("table", "json", "csv", "md")


@click.command(cls=Command, examples=EXAMPLES, short_help="methods side by side, with scores")
@click.argument("images", nargs=-1, metavar="IMAGE...")
@score_options
@image_options
@model_options
@option("Output", "-o", "--output", default="xai-out", metavar="DIR", help="Folder for compare.png and compare.db.")
@option("Output", "--format", "form", type=click.Choice(FORMATS), default="table", help="What stdout shows.")
@option("Running", "--keep-going", is_flag=True, help="Go on past photos that fail; exit code 4.")
@batch_size_option()
@verbosity_options
def command(images: tuple[str, ...], **given: Any) -> int:
    """Compare methods: a contact sheet of photos and maps with scores under each, and a table of means.

    With several photos the table has 95 % intervals, differences are paired and corrected by Holm, and sentences say what may be
    concluded. Rows are kept in compare.db, so that running again does only what is missing. Several models (--model A,B) have a
    table and a sheet each, of the methods that run on them.
    """
    from xaicli.files import require_writable
    from xaicli.images.names import safe_label
    from xaicli.runs.compare import draw_comparison

    if not given["method"]:
        raise UsageError("no methods are named", expected="--method A,B", hint="xai list methods shows them.")
    folder = Path(given["output"])
    models = models_of(given["model"])
    plans = [plan(images, {**given, "model": model}, leave_out=len(models) > 1) for model in models]
    require_writable(folder)
    groups, errors, sheets = [], [], []
    with open_store({"output": folder / "compare.db", "no_curves": False, "no_maps": False}) as store:
        for run, lost in plans:
            failed = carry_out(run, store, lost)
            errors += failed
            sheet = folder / ("compare.png" if len(plans) == 1 else f"compare.{safe_label(run.classifier.name)}.png")
            on_sheet = draw_comparison(run, store, sheet)
            groups += summary(run, store)
            if on_sheet:
                rest = f" (the first {on_sheet} photos)" if on_sheet < len(run.sources) - len(failed) else ""
                sheets.append(f"sheet {sheet}{rest}")
            if failed and not run.keep_going:
                break
        show(groups, given["form"])
    for line in sheets:
        Verbosity.current().say(line)
    if errors and not given["keep_going"]:
        raise errors[0]
    return 4 if errors else 0


def models_of(options: ModelOptions) -> list[ModelOptions]:
    """The options of each model that is named; raises UsageError where an option is of one model alone."""
    models = [part.strip() for part in split(options.model or "", ",")]
    if len(models) == 1:
        return [options]
    for name in ("weights", "classes"):
        if getattr(options, name):
            raise UsageError(f"--{name} with {len(models)} models", expected="one", hint="Compare each in a run of its own.")
    if "" in models:
        raise UsageError(f"--model {options.model} has an empty name", expected="SPEC,SPEC")
    return [replace(options, model=model) for model in dict.fromkeys(models)]
