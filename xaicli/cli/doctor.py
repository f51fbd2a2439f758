"""`xai doctor`: checks of the installation and of a model."""

from __future__ import annotations

import click

from xaicli.cli.options import ModelOptions, format_option, model_options
from xaicli.cli.printing import print_result
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai doctor
xai doctor --model resnet50
xai doctor --model net.py:make --format json
"""


@click.command(
    cls=Command,
    examples=EXAMPLES,
    meant=("the model", "--model"),
    short_help="versions, devices, plugins; a model's layer and its pitfalls",
)
@format_option()
@model_options
@verbosity_options
def command(form: str, model: ModelOptions) -> int:
    """Look at the installation: versions, devices, plugins, cache.

    With --model also at that model: the layer chosen and its gradient, in-place or reused activations, a softmax inside, class
    count against class names, the patch grid. Exit code 3 where a fault is found.
    """
    from xaicli.runs.doctor import doctor

    found = doctor(model.open if model.model else None)
    print_result(found, form)
    return 3 if found.faults else 0
