"""Progress of training on stderr: a bar on terminals, a line an epoch elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xaicli.cli.verbosity import Verbosity

if TYPE_CHECKING:
    from xaicli.training.loop import Epoch, Step


@contextmanager
def decoding_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar for photos that are being decoded; gives the function that moves it."""
    if not Verbosity.current().shows_progress:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left")
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("decoding", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_training(events: Iterable[Step | Epoch], total: int) -> None:
    """Carry the events out; on a terminal with a bar, the terms of the loss and the time left."""
    from xaicli.training.loop import Step

    verbosity = Verbosity.current()
    if not verbosity.shows_progress:
        for event in events:
            if not isinstance(event, Step):
                verbosity.say(epoch_line(event))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left")
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=total)
        means: dict[str, float] = {}
        for event in events:
            if isinstance(event, Step):
                # A running mean: single batches jump too much to be read.
                means = {name: 0.95 * means.get(name, value) + 0.05 * value for name, value in event.terms.items()}
                bar.update(task, completed=event.done, description=f"epoch {event.epoch}  {terms_line(means)}")
            else:
                bar.console.print(epoch_line(event), style="dim", highlight=False)


def epoch_line(event: Epoch) -> str:
    return f"epoch {event.number}/{event.total}  {terms_line(event.row)}"


def terms_line(terms: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in terms.items())
