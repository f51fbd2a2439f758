"""`xai report`: one HTML page of a store."""

from __future__ import annotations

from pathlib import Path

import click

from xaicli.cli.options import option
from xaicli.cli.progress import ticking
from xaicli.cli.verbosity import Command, Verbosity, verbosity_options
from xaicli.cli.words import count

EXAMPLES = """
xai report scores.db -o report.html
xai report scores.db --photos photos/ -o report.html
xai report scores.db --most 500 -o report.html
"""


@click.command(cls=Command, examples=EXAMPLES, short_help="one HTML page: table, curves, gallery")
@click.argument("store", metavar="STORE.db")
@option("Output", "-o", "--output", default="report.html", metavar="FILE.html", help="The page.")
@option("Photos", "--photos", multiple=True, metavar="DIR", help="Where photos are looked for that have moved.")
@option("Photos", "--most", type=click.IntRange(min=1), default=5000, metavar="N", help="Photos in the gallery, worst first.")
@verbosity_options
def command(store: str, output: str, photos: tuple[str, ...], most: int) -> int:
    """Write one self-contained page of a store: the table of means, curves, and a gallery of photos, worst cases first."""
    from xaicli.results.report.page import write_report
    from xaicli.results.store import Store

    with Store.open(store, write=False) as opened:
        total = min(most, len(opened.photos()))
        shown = write_report(
            opened, Path(output), folders=[Path(folder) for folder in photos], most_photos=most, tick=ticking(total, "photos")
        )
    Verbosity.current().say(f"{count(shown, 'photo')} in {output}")
    return 0
