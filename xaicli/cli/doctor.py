"""`xai doctor`: is the installation sound, and what of this model."""

from __future__ import annotations

from typing import Any

import click

from xaicli.cli.options import model_options, open_classifier, option
from xaicli.cli.printing import FORMATS, print_rows
from xaicli.cli.verbosity import Command, verbosity_options

EXAMPLES = """
xai doctor
xai doctor --model resnet50
xai doctor --model net.py:make --format json
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="versions, devices, plugins; a model's layer and its pitfalls")
@option("Output", "--format", "form", type=click.Choice(FORMATS), default="table", help="What stdout shows.")
@model_options
@verbosity_options
def command(form: str, **given: Any) -> int:
    """Look at the installation: versions, devices, plugins, cache.

    With --model also at that model: the layer chosen and its gradient, in-place or reused activations, a softmax inside, class
    count against class names, the patch grid. Exit code 3 where a fault is found.
    """
    from xaicli.runs.doctor import examine_installation, examine_model

    findings = list(examine_installation())
    if given["model"]:
        findings += examine_model(open_classifier(given))
    print_rows([{"what": finding.what, "state": finding.state, "finding": finding.text} for finding in findings], form)
    return 3 if any(finding.state == "fault" for finding in findings) else 0
