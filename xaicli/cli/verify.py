"""`xai verify`: are these the maps and scores that their records say, made again."""

from __future__ import annotations

from dataclasses import replace

import click

from xaicli.cli.command_progress import CommandProgress
from xaicli.cli.file_names import Argument
from xaicli.cli.options import complete_model, device_option, format_option, option
from xaicli.cli.printing import print_result
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai verify xai-out/
xai verify scores.db --sample 20
xai verify evidence.zip --photos photos/ --model resnet50
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="make results again from their records, and compare")
@click.argument("path", nargs=-1, required=True, metavar="FOLDER|STORE.db|ZIP...", cls=Argument)
@option("Evidence", "--photos", multiple=True, metavar="DIR", help="Folders in which photos are looked up by content.")
@option("Evidence", "--sample", type=click.IntRange(min=1), metavar="N", help="Make only N of them again.  [default: all]")
@option("Evidence", "--seed", type=click.IntRange(min=0), default=0, help="Which of them a sample is.")
@option(
    "Model", "-m", "--model", metavar="SPEC", shell_complete=complete_model, help="The model.  [default: the one in the record]"
)
@option("Model", "--weights", type=click.Path(path_type=str), metavar="FILE", help="Its weights.  [default: the model's own]")
@device_option
@option("Model", "--trust", is_flag=True, help="Let code run that a record names, and download its weights.")
@format_option(("table", "markdown", "json", "csv"))
@option("Output", "--all", "every", is_flag=True, help="List every result, also those that are the same.")
@verbosity_options
def command(
    path: tuple[str, ...],
    photos: tuple[str, ...],
    sample: int | None,
    seed: int,
    model: str | None,
    weights: str | None,
    device: str,
    trust: bool,
    form: str,
    every: bool,
) -> int:
    """Make maps or scores again from their records, and say of each: same bytes, same within tolerance (as another processor
    rounds), differs, or cannot be made, since its photo, weights or method changed.

    Exit code 1 where a result differs, 3 where one cannot be made.
    """
    from xaicli.passes.device import threads
    from xaicli.runs.verify import verify

    click.get_current_context().with_resource(threads())
    found = verify(
        path,
        model,
        photos=photos,
        sample=sample,
        seed=seed,
        weights=weights,
        device=device,
        trust=trust,
        progress=CommandProgress(),
    )
    print_result(replace(found, every=every), form)
    return 1 if found.failed else 3 if found.incomplete else 0
