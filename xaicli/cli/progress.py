"""A progress bar on stderr, on terminals alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click

from xaicli.cli.verbosity import Verbosity

T = TypeVar("T")
LONG_RUN = 20.0
"""Seconds. An estimate is printed for runs longer than that."""


def progress_bar(items: Iterable[T], total: int, word: str, batch: int = 1) -> Iterator[T]:
    """Pass items on, with a bar and the time left; says after the first batch how long the whole may take."""
    verbosity = Verbosity.current()
    if not verbosity.shows_progress:
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(word), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left")
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, start = bar.add_task(word, total=total), time.monotonic()
        for number, item in enumerate(items, 1):
            seconds = (time.monotonic() - start) / number
            if number == min(batch, total) and seconds * total > LONG_RUN:
                bar.console.print(
                    f"about {max(1, seconds * total / 60):.0f} min at {60 / seconds:.0f} photos a minute", style="dim"
                )
            bar.advance(task)
            yield item


def ticking(total: int, what: str) -> Callable[[], None]:
    """A counter on a terminal's last line, for work that tells of each step."""
    verbosity, done = Verbosity.current(), 0

    def tick() -> None:
        nonlocal done
        done += 1
        if verbosity.shows_progress:
            click.echo(f"\r{done} of {total} {what}", nl=done == total, err=True)

    return tick
