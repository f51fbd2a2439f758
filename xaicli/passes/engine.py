"""The engine: what runs passes without gradients. The network itself or its folded twin in torch, what
`torch.compile` makes of it, or a converted network in OpenVINO or ONNX Runtime."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.network.classifier import Classifier
from xaicli.packages import version_of
from xaicli.passes.compiled import COMPILE, DEVICES, SHOWN, compiled
from xaicli.passes.converted import converted
from xaicli.passes.folded_engine import folded_engine_for
from xaicli.passes.runtimes import RUNTIMES, Passes, Runtime, installed

AUTO, TORCH = "auto", "torch"
ENGINES = (AUTO, TORCH, COMPILE, *RUNTIMES)

WORTH_CONVERTING = 2000
"""By itself a network is converted where at least this many passes are expected. Importing the runtime, converting, compiling
and the check take as long as some hundred to 2,000 passes save (`python -m benchmarks engines`)."""


def checked_engine(name: str) -> str:
    """The name of an engine that can be used here; raises UsageError for an unknown one, InputError for one that is not
    installed."""
    if name not in ENGINES:
        raise UsageError(f'no engine "{name}"', expected=", ".join(ENGINES))
    if name in RUNTIMES:
        RUNTIMES[name].require()
    return name


def engine_for(classifier: Classifier, photo: Tensor, passes: float, *, exact: bool) -> Classifier:
    """The classifier over what runs `passes` passes of inputs like `photo` (1, C, H, W), without gradients, in the shortest time.

    With `auto` it is the first runtime that is installed, where at least 2,000 passes are expected (here and in the whole run);
    otherwise what torch runs (see `folded_engine_for`), as always in bf16, where each engine rounds in its own way and a longer
    run would have other results. It never takes `compile` by itself: from how many passes on that pays on a GPU is not measured.
    The choice depends on no clock and on nothing that ran before, so that the same call gives the same bytes. exact: float32,
    else `masked_dtype`.
    """
    dtype = torch.float32 if exact else classifier.masked_dtype
    run, version = beside_torch(classifier, photo, passes, dtype)
    if run is None:
        return folded_engine_for(classifier, photo, passes, exact=exact)
    classifier.engines_used.add(version)
    return dataclasses.replace(classifier, forward=run, module=None, output_name="", copies_input=False)


def beside_torch(classifier: Classifier, photo: Tensor, passes: float, dtype: torch.dtype) -> tuple[Passes | None, str]:
    """Passes by an engine other than torch, and its name and version; None where torch is to run them."""
    if classifier.engine == COMPILE:
        able = is_plain(classifier) and classifier.device.type in DEVICES
        return compiled(classifier, photo, dtype) if able else None, f"{SHOWN} {version_of('torch')}"
    runtime = runtime_for(classifier, passes, dtype)
    if runtime is None:
        return None, ""
    return converted(classifier, runtime, photo, dtype, warn=classifier.engine != AUTO), runtime.version


def runtime_for(classifier: Classifier, passes: float, dtype: torch.dtype) -> Runtime | None:
    """The runtime that is to run these passes, None for torch: for an accelerator, or a classifier that is not plain."""
    if classifier.engine == TORCH or not is_plain(classifier) or classifier.device.type != "cpu":
        return None
    able = [runtime for runtime in RUNTIMES.values() if dtype in runtime.dtypes]
    if classifier.engine != AUTO:
        return next((runtime for runtime in able if runtime.name == classifier.engine), None)
    if dtype != torch.float32 or max(passes, classifier.expected_passes) < WORTH_CONVERTING:
        return None
    return next((runtime for runtime in able if installed(runtime.name)), None)


def is_plain(classifier: Classifier) -> bool:
    """Whether another engine can take the network's place: not that of a detector, of a black box, or of a network whose outputs
    for a photo depend on more than that photo."""
    own = classifier.module is not None and classifier.forward is classifier.module and classifier.decoding is None
    return own and not classifier.inconsistency
