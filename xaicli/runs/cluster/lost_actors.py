"""Going on where Ray has lost all actors of a pool."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from xaicli.errors import InputError, RunError, XaiError
from xaicli.images.source import Source

T = TypeVar("T")
TRIES = 3
"""How often in turn all actors may be lost before they did anything: a node that leaves may take them along."""


class ActorsLost(RunError):
    """Ray did not start actors again although it may do so without end, as it does now and then after one was killed."""


def with_new_actors(
    todo: Sequence[Source],
    at_work: Callable[[Sequence[Source]], Iterator[T]],
    left: Callable[[], Sequence[Source]],
) -> Iterator[T]:
    """What actors make of photos; where all actors are lost, new ones do what is left.

    at_work: what a pool of actors makes of photos; left: the photos that are still to be done. Raises ActorsLost where several
    pools in turn did nothing: then there is another reason.
    """
    in_vain = 0
    while todo:
        begun = False
        try:
            for made in at_work(todo):
                begun = True
                yield made
            return
        except ActorsLost:
            in_vain = 0 if begun else in_vain + 1
            if in_vain == TRIES:
                raise
            todo = left()


def gave_up(error: BaseException) -> XaiError:
    """Ray's own end of a job, in one line: what was raised first, or else the first of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = (line for line in lines if re.match(r"[A-Za-z_.]+(Error|Exception|Exit|Interrupt)\b", line))
    reason = next(raised, lines[0] if lines else type(error).__name__)
    if module := re.search(r"No module named '([\w.]+)'", reason):
        hint = 'Install the same packages on every machine: pip install "xaicli[ray]"'
        return InputError(f"the Python of the cluster's workers has no module {module[1]}", hint=hint)
    kind = ActorsLost if "ActorDiedError" in reason or "ActorUnavailableError" in reason else RunError
    return kind(f"Ray gave up ({reason})", hint="What was finished is kept; the same command goes on from there.")
