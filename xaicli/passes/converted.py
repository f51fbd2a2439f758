"""A network converted for another engine: made once for each size of inputs, kept in the cache, trusted after a check."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaicli.cache import engines_folder
from xaicli.errors import InputError, RunError, XaiError
from xaicli.files import write_atomic
from xaicli.network.classifier import Classifier
from xaicli.network.modes import eval_mode
from xaicli.network.onnx_program import ReadingOutputs, onnx_program
from xaicli.network.state import State, hash_of_state, state_of
from xaicli.passes.device import sensible_threads
from xaicli.passes.runtimes import Passes, Runtime
from xaicli.stamps import stamp
from xaicli.untrusted import LARGEST_WEIGHTS
from xaicli.untrusted import read as read_file

FORMAT = 1
"""Raised when programs are made in another way, so that older ones in the cache are not used."""
TOLERANCE = 1e-4
"""How far a converted network's outputs may differ from the network's own, relative to their range; see `size_of`."""
ROUNDING = 2.0
"""In bf16: how many times the network's own rounding error they may differ from its outputs in float32."""
DIGEST = hashlib.sha256().digest_size
ENDING = ".program"
MOST = 16
"""Programs that are kept."""

logger = logging.getLogger("xaicli")


@dataclass(frozen=True, eq=False)
class Conversions:
    """What was made of a network in `state`, by engine, size and so on; None where it cannot be converted."""

    state: State
    passes: dict[Hashable, Passes | None] = field(default_factory=dict)


MADE: WeakKeyDictionary[nn.Module, Conversions] = WeakKeyDictionary()
"""Conversions by network, dropped with it."""


def converted(classifier: Classifier, runtime: Runtime, inputs: Tensor, dtype: torch.dtype, *, warn: bool) -> Passes | None:
    """Passes of the classifier's network by that runtime, for inputs like these (B, C, H, W); None, with one line of why, where
    it cannot be converted or gives other outputs.

    They give the outputs as the network returns them. Nothing is converted twice: not in this process while the network is
    unchanged, and not in the next, which finds the program in the cache. warn: show the line to the user.
    """
    return made_once(classifier, runtime.name, inputs, dtype, lambda: begun(classifier, runtime, inputs, dtype), warn=warn)


def made_once(
    classifier: Classifier, engine: str, inputs: Tensor, dtype: torch.dtype, make: Callable[[], Passes], *, warn: bool
) -> Passes | None:
    """What `make` gives: passes of the classifier's network by an engine, for inputs like these (B, C, H, W). They are made once
    while the network is unchanged; None, with one line of why, where that fails."""
    module, state = classifier.torch_module, state_of(classifier.torch_module)
    known = MADE.get(module)
    if known is None or known.state != state:
        known = MADE[module] = Conversions(state)
    key = (engine, inputs.device, inputs.shape[1:], dtype, sensible_threads(), classifier.output_name)
    if key not in known.passes:
        try:
            known.passes[key] = make()
        # Foreign code may raise anything on a foreign network; torch runs it then.
        except Exception as error:
            known.passes[key] = None
            reason = error.found if isinstance(error, XaiError) else " ".join(str(error).split())[:120] or type(error).__name__
            line = f"{classifier.name} runs in torch, not in {engine}: {reason}"
            logger.log(logging.WARNING if warn else logging.INFO, line)
    return known.passes[key]


def begun(classifier: Classifier, runtime: Runtime, inputs: Tensor, dtype: torch.dtype) -> Passes:
    """Passes that were checked: by the program in the cache, or by a new one, which then is in the cache."""
    tried = for_trial(inputs)
    expected, tolerance = own_outputs(classifier, tried, dtype)
    file = engines_folder() / f"{name_of(classifier, inputs)}{ENDING}"
    kept = read(file)
    if kept is not None:
        passes = runtime.begin(kept, dtype)
        if difference(passes, tried, expected) <= tolerance:
            return passes
    program = onnx_program(classifier, (inputs.shape[2], inputs.shape[3]), inputs.shape[1])
    passes = runtime.begin(program, dtype)
    checked(passes, tried, expected, tolerance)
    keep(file, program)
    return passes


def checked(passes: Passes, tried: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raise RunError where passes give other outputs than expected."""
    found = difference(passes, tried, expected)
    if not found <= tolerance:
        raise RunError(f"its outputs differ by {found:.2g}, more than {tolerance:.2g}")


def name_of(classifier: Classifier, inputs: Tensor) -> str:
    """The name of the network's program in the cache: its fingerprint, and a stamp of all on which the program depends."""
    shapes, weights = hash_of_state(classifier.torch_module.state_dict())
    about = {
        "format": FORMAT,
        "torch": torch.__version__,
        "weights": weights,
        "shapes": shapes,
        "size": list(inputs.shape[1:]),
        "output": classifier.output_name,
    }
    return f"{classifier.fingerprint}-{stamp(about)}"


def for_trial(inputs: Tensor) -> Tensor:
    """The first input and mirror images of it (3, C, H, W): another number than the program was made with."""
    first = inputs[:1].detach()
    return torch.cat([first, first.flip(3), first.flip(2)])


def own_outputs(classifier: Classifier, tried: Tensor, dtype: torch.dtype) -> tuple[Tensor, float]:
    """The network's own outputs in float32, and how far others may differ from them."""
    network = ReadingOutputs(classifier)

    def outputs(kind: torch.dtype) -> Tensor:
        half = kind != torch.float32
        with torch.inference_mode(), torch.autocast(tried.device.type, dtype=kind if half else None, enabled=half):
            return network(tried.clone())

    with eval_mode(network):
        expected = outputs(torch.float32)
        least = TOLERANCE * size_of(expected)
        if dtype == torch.float32:
            return expected, least
        return expected, max(least, ROUNDING * float((outputs(dtype) - expected).abs().max()))


def size_of(outputs: Tensor) -> float:
    """What differences of outputs (B, C, ...) are relative to: their range; of a single output, which for a plain photo and its
    mirror images is one number, the largest magnitude."""
    single = outputs.shape[1] == 1
    return float(outputs.abs().max() if single else outputs.max() - outputs.min())


def difference(passes: Passes, tried: Tensor, expected: Tensor) -> float:
    """The largest difference from the expected outputs, for all inputs together and for the first alone."""
    together, alone = passes(tried), passes(tried[:1])
    if together.shape != expected.shape or alone.shape != expected[:1].shape:
        return math.inf
    return float(torch.cat([together - expected, alone - expected[:1]]).abs().max())


def read(file: Path) -> bytes | None:
    """The program in the cache; None if there is none, or if the file is damaged."""
    try:
        content = read_file(file, "a converted network", LARGEST_WEIGHTS)
    except InputError:
        return None
    program = content[DIGEST:]
    return program if hashlib.sha256(program).digest() == content[:DIGEST] else None


def keep(file: Path, program: bytes) -> None:
    """Put a program into the cache, behind its SHA-256; a cache that cannot be written is left alone, and the oldest programs
    beyond `MOST` are removed."""
    with contextlib.suppress(InputError, OSError):
        write_atomic(file, lambda opened: opened.write(hashlib.sha256(program).digest() + program))
        kept = sorted(file.parent.glob(f"*{ENDING}"), key=lambda one: one.stat().st_mtime)
        for old in kept[:-MOST]:
            old.unlink(missing_ok=True)
