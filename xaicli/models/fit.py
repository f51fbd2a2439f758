"""Loading weights into a network, strictly; if they do not fit, the error says in words what differs."""

from __future__ import annotations

import re
from collections import OrderedDict

import torch
from torch import nn

from xaicli.errors import InputError
from xaicli.models.weights import State, without_prefix
from xaicli.words import count

Shapes = dict[str, tuple[int, ...]]
AVERAGED = re.compile(r"ema|averag|shadow|swa", re.IGNORECASE)
"""Names of averaged copies of weights, beside the plain ones."""
NAMED = 3
"""Maximum names of differing weights in an error."""


def fit(module: nn.Module, state: State, file: str, network: str, hint: str = "") -> None:
    """Load `state` into `module`, strictly: every weight of one must be in the other. Raises InputError in words.

    file, network: names of the two for the error; hint: what to do if they do not fit.
    """
    state = aligned(state, module)
    difference = misfit(shapes(module), shapes(state))
    if difference:
        raise InputError(f"{file} does not fit {network}: {difference}", hint=hint or "Which architecture is it?")
    own = module.state_dict()
    # Old and converted checkpoints lack batch norm's counters, which evaluation does not use.
    whole = OrderedDict((name, state.get(name, own[name])) for name in own)
    whole._metadata = getattr(state, "_metadata", None) or own._metadata  # type: ignore[attr-defined]
    try:
        module.load_state_dict(whole, strict=True)
    except (RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{file} does not fit {network}: {text[:200]}", hint=hint or "Which architecture is it?") from error


def shapes(holder: nn.Module | State) -> Shapes:
    """The shapes of all tensors by name."""
    state = holder.state_dict() if isinstance(holder, nn.Module) else holder
    return {name: tuple(tensor.shape) for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def aligned(state: State, module: nn.Module) -> State:
    """`state` without a prefix before all names of the network (such as `model.` in Lightning's checkpoints); if several prefixes
    fit, a copy of averaged weights comes last."""
    wanted = {name for name in shapes(module) if not is_counter(name)}
    if not wanted or wanted <= set(state):
        return state
    anchor = min(wanted)
    prefixes = [name.removesuffix(anchor) for name in state if name.endswith(f".{anchor}")]
    fitting = [prefix for prefix in prefixes if all(prefix + key in state for key in wanted)]
    fitting.sort(key=lambda prefix: bool(AVERAGED.search(prefix)))
    return without_prefix(state, fitting[0]) if fitting else state


def is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def misfit(wanted: Shapes, given: Shapes) -> str:
    """How the given tensors differ from the wanted ones, in words; empty if they do not."""
    lacking = [name for name in wanted if name not in given and not is_counter(name)]
    extra = [name for name in given if name not in wanted]
    if not lacking and not extra:
        return reshaped(wanted, given)
    if len(lacking) > len(wanted) // 2 and extra:
        return f"it has {extra[0]} … ({count(len(given), 'key')}), wanted {lacking[0]} … ({len(wanted)})"
    parts = [f"lacks {len(lacking)} of {count(len(wanted), 'key')} ({listed(lacking)})"] if lacking else []
    parts += [f"has {len(extra)} too many ({listed(extra)})"] if extra else []
    return f"it {' and '.join(parts)}"


def reshaped(wanted: Shapes, given: Shapes) -> str:
    differing = [name for name in wanted if name in given and wanted[name] != given[name]]
    if not differing:
        return ""
    shown = ", ".join(f"{name} is {by(given[name])}, wanted {by(wanted[name])}" for name in differing[:NAMED])
    more = f" … ({len(differing)} of {count(len(wanted), 'key')} differ)" if len(differing) > NAMED else ""
    return shown + more


def listed(names: list[str]) -> str:
    return f"{', '.join(names[:NAMED])}{' …' if len(names) > NAMED else ''}"


def by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"


def head_classes(wanted: Shapes, given: Shapes, count: int) -> int | None:
    """How many classes the head in a file has, if that is the only difference from a network of `count` classes; else None."""
    if misfit(dict.fromkeys(wanted, ()), dict.fromkeys(given, ())):
        return None
    differing = [name for name in wanted if name in given and wanted[name] != given[name]]
    found = set()
    for name in differing:
        if wanted[name][:1] != (count,) or len(given[name]) != len(wanted[name]) or given[name][1:] != wanted[name][1:]:
            return None
        found.add(given[name][0])
    return found.pop() if len(found) == 1 else None
