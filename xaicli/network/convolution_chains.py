"""Which convolution's output is read by one batch norm or activation and by nothing else, as one pass shows."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from xaicli.network.observe import Call, Observed

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)


class Chain(NamedTuple):
    """Names of a convolution, of the batch norm that alone reads its output, and of the activation that alone reads that; empty
    where there is none."""

    convolution: str
    norm: str = ""
    activation: str = ""


def chains(seen: Observed) -> list[Chain]:
    """Each convolution with what alone reads it, modules that were called once; from a pass with numbered tensors."""
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
    """By the name of a convolution or norm, the norm or activation that alone reads what it gave."""
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
    """An activation that works in place, before anything else has read: all that follows reads its result."""
    return call.returned == call.received and call.reads == 1


def plain(part: nn.Module, seen: Observed) -> bool:
    """A convolution, batch norm or activation and nothing more: no subclass, no hook, no forward of its own."""
    known = type(part) in (nn.Conv2d, *ACTIVATIONS) or (type(part) is nn.BatchNorm2d and part.running_mean is not None)
    return known and part not in seen.hooked and "forward" not in vars(part)
