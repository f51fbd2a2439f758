"""`xai compare`: methods side by side, with scores and what the intervals say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xaicli.cli.manner import Command, Manner, manner_options
from xaicli.cli.options import image_options, model_options, option
from xaicli.cli.score import carry_out, open_store, plan, score_options, show, summary
from xaicli.errors import UsageError

EXAMPLES = """
xai compare photos/ --method grad-cam,rise@n_masks=1000
xai compare dog.jpg --method grad-cam,layer-cam,occlusion --no-controls
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
@option("Running", "--batch-size", type=click.IntRange(min=1), metavar="N", help="Passes a batch.  [default: automatic]")
@manner_options
def command(images: tuple[str, ...], **given: Any) -> int:
    """Compare methods: a contact sheet of photos and maps with scores under each, and a table of means.

    With several photos the table has 95 % intervals, differences are paired and corrected by Holm, and sentences say what may be
    concluded. Rows are kept in compare.db, so that running again does only what is missing.
    """
    from xaicli.files import require_writable
    from xaicli.runs.compare import draw_comparison

    if not given["method"]:
        raise UsageError("no methods are named", expected="--method A,B", hint="xai list methods shows them.")
    folder = Path(given["output"])
    run, lost = plan(images, given)
    require_writable(folder)
    with open_store({"output": folder / "compare.db", "no_curves": False, "no_maps": False}) as store:
        errors = carry_out(run, store, lost)
        on_sheet = draw_comparison(run, store, folder / "compare.png")
        show(summary(run, store), given["form"])
    if on_sheet:
        rest = f" (the first {on_sheet} photos)" if on_sheet < len(run.sources) - len(errors) else ""
        Manner.current().say(f"sheet {folder / 'compare.png'}{rest}")
    if errors and not run.keep_going:
        raise errors[0]
    return 4 if errors else 0
