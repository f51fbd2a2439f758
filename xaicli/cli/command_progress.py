"""How a command shows progress on stderr: a bar on a terminal, otherwise a line every minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from xaicli.cli.verbosity import Verbosity
from xaicli.progress import Progress, Step
from xaicli.words import span
from xaicli.writable_text import json_text

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LONG_RUN = 20.0
"""On a terminal, an estimate is printed for runs that take longer than this many seconds."""
BETWEEN_LINES = 60.0
"""Seconds between lines without a terminal."""


class CommandProgress(Progress):
    """Reports a run on stderr; stream: each row is also written to stdout as a JSON line as soon as it is known."""

    def __init__(self, *, stream: bool = False) -> None:
        self.verbosity = Verbosity.current()
        self.stream = stream
        self.bar: Bar | None = None

    def say(self, text: str) -> None:
        if self.bar is None:
            self.verbosity.say(text)
        elif not self.verbosity.quiet:
            self.bar.console.print(text, style="dim", highlight=False, markup=False)

    def warn(self, text: str) -> None:
        self.verbosity.warn(text)

    def row(self, record: Mapping[str, Any]) -> None:
        if self.stream:
            click.echo(json_text(record, None))
            # Flushed, so that a reader sees it at once.
            sys.stdout.flush()

    @contextmanager
    def task(self, what: str, total: int | None) -> Iterator[Step]:
        count = Count(what, total, self)
        if not self.verbosity.shows_progress:
            yield count.lines
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left")
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            self.bar, task = bar, bar.add_task(what, total=total)

            def step(done: int = 1, note: str = "", total: int | None = None) -> None:
                count.estimate(done, total)
                bar.update(task, completed=count.done, total=count.total, description=f"{what} {note}".rstrip())

            try:
                yield step
            finally:
                self.bar = None


class Count:
    """Counts the items of a part of a run, and reports speed and remaining time through `say`."""

    def __init__(self, what: str, total: int | None, progress: Progress) -> None:
        self.what, self.total, self.progress = what, total, progress
        self.done = 0
        self.start = self.last_line = time.monotonic()

    def add(self, done: int, total: int | None) -> float:
        """Count further items; returns the seconds since the start."""
        self.done += done
        self.total = self.total if total is None else total
        return time.monotonic() - self.start

    def lines(self, done: int = 1, note: str = "", total: int | None = None) -> None:
        """Count, and once a minute report how many are done, the speed and the time left."""
        seconds = self.add(done, total)
        if self.done and self.start + seconds - self.last_line >= BETWEEN_LINES and self.progress_wanted:
            self.last_line = self.start + seconds
            left = "" if self.total is None else f", {span((self.total - self.done) * seconds / self.done)} left"
            whole = "" if self.total is None else f" of {self.total}"
            self.progress.say(f"{self.what} {self.done}{whole}, {60 * self.done / seconds:.3g} a minute{left}")

    @property
    def progress_wanted(self) -> bool:
        return Verbosity.current().progress

    def estimate(self, done: int, total: int | None) -> None:
        """Count, and after the first items of a long run report how long all may take."""
        first = self.done == 0
        seconds = self.add(done, total)
        if first and self.done and self.total and (whole := seconds / self.done * self.total) > LONG_RUN:
            self.progress.say(f"about {span(whole)}, {60 * self.done / seconds:.3g} a minute")
