"""The built-in methods and metrics: names, where they are, and their summaries.

Data only, so that `xai list methods` and shell completion import neither torch nor a method; a test holds the table against the
classes. Add a line here when you add a file to `methods/` or `metrics/`.
"""

from __future__ import annotations

from typing import NamedTuple


class Builtin(NamedTuple):
    target: str
    """`module:Class` below xaicli.methods or xaicli.metrics."""
    summary: str
    """The first line of the class's docstring, without its full stop."""
    aliases: tuple[str, ...] = ()


METHODS: dict[str, Builtin] = {
    "rise": Builtin("rise:RISE", "Mean of random masks, weighted by the score of the masked photo"),
    "random": Builtin("random_map:RandomMap", "Noise of 7 x 7 values that knows nothing of the photo: a control"),
    "center": Builtin("center:Center", "Gaussian in the middle, whatever the photo shows: a control"),
}

METRICS: dict[str, Builtin] = {
}
