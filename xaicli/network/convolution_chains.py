"""Which convolution's output is read by one batch norm or activation and by nothing else, as one pass shows."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from xaicli.network.observe import Call, Observed

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)


class Chain(NamedTuple):
    """Names of a convolution, of the batch norm that is the only reader of its output, and of the activation that is the only
    reader after it; empty if there is none."""

    convolution: str
    norm: str = ""
    activation: str = ""


def chains(seen: Observed) -> list[Chain]:
    """Each convolution with the only readers of its output, from a pass with numbered tensors; modules that were called once."""
    parts = {path: part for part, path in seen.paths.items() if plain(part, seen)}
    times, after = seen.times, only_readers(parts, seen)
    after = {maker: reader for maker, reader in after.items() if times[parts[maker]] == times[parts[reader]] == 1}
    found = []
    for name, part in parts.items():
        if isinstance(part, nn.Conv2d) and name in after:
            norm = after[name] if isinstance(parts[after[name]], nn.BatchNorm2d) else ""
            last = after.get(norm, "") if norm else after[name]
            activation = last if isinstance(parts.get(last), ACTIVATIONS) else ""
            found.append(Chain(name, norm, activation))
    return found


def only_readers(parts: dict[str, nn.Module], seen: Observed) -> dict[str, str]:
    """For each convolution or norm, by name, the norm or activation that is the only reader of its output."""
    calls = [call for call in seen.ended if call.path in parts]
    makers = {call.returned: call.path for call in calls if not isinstance(call.module, ACTIVATIONS)}
    readers: dict[int | None, list[str]] = {}
    for call in calls:
        if not isinstance(call.module, nn.Conv2d):
            readers.setdefault(call.received, []).append(call.path)
    in_place = {call.returned for call in calls if works_in_place(call)}
    read_once = {
        number for number, names in readers.items() if len(names) == 1 and number is not None and seen.reads[number] == 1
    }
    return {maker: readers[number][0] for number, maker in makers.items() if number in in_place | read_once}


def works_in_place(call: Call) -> bool:
    """Whether a call is an activation in place that ran before anything else read its input: all later readers see its result."""
    return call.returned == call.received and call.reads == 1


def plain(part: nn.Module, seen: Observed) -> bool:
    """Whether a module is exactly a convolution, batch norm or activation: no subclass, no hook, no forward of its own."""
    known = type(part) in (nn.Conv2d, *ACTIVATIONS) or (type(part) is nn.BatchNorm2d and part.running_mean is not None)
    return known and part not in seen.hooked and "forward" not in vars(part)
