"""`xaicli.train`: an explainer, or a network, from photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xaicli.errors import UsageError, did_you_mean
from xaicli.models.catalogue import DEFAULT
from xaicli.training.loop import Epoch, Step
from xaicli.training.plan import prepare
from xaicli.training.task import parse_what
from xaicli.training.wish import Wish

OF_WISH = ("limit", "held", "seed", "bf16", "half", "pretrained", "resume", "overwrite", "save_every")
OF_MODEL = ("weights", "classes", "resize", "crop", "interpolation", "mean", "std", "device", "offline")
SCHEDULE = ("epochs", "batch_size", "lr", "weight_decay", "optimizer", "shape", "ema")


def train(
    method: str,
    data: str | Path,
    *,
    model: str | None = None,
    output: str | Path | None = None,
    val: str | Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    on_event: Callable[[Step | Epoch], None] = lambda event: None,
    **settings: Any,
) -> Path:
    """Train `method` (`t-tame`, `p-tame`, `lfi-cam` or `classifier`, as a specification) and return the checkpoint's path.

    data, val: photos as `xai train` takes them; model: a specification; output: the file, None for where methods look for it;
    parameters: of training, by name; on_event: called after each step and epoch; settings: entries of the schedule (`epochs`,
    `batch_size`, `lr`, `weight_decay`, `optimizer`, `shape`, `ema`), of `Wish` (`seed`, `bf16`, `limit`, `pretrained`, …) and
    of `load_classifier` (`crop`, `device`, …). A run that was stopped is gone on from. Raises XaiError.
    """
    for name in settings:
        if name not in (known := (*SCHEDULE, *OF_WISH, *OF_MODEL)):
            raise UsageError(f'xaicli.train has no setting "{name}"', hint=did_you_mean(name, known) or ", ".join(known))
    given = {key: str(value) for key, value in (parameters or {}).items()}
    wish = Wish(
        method=method,
        data=str(data),
        model=model or ("tiny" if parse_what(method, given).trains_network else DEFAULT),
        output=None if output is None else Path(output),
        val=None if val is None else str(val),
        given=given,
        overrides={key: value for key, value in settings.items() if key in SCHEDULE},
        model_options={key: value for key, value in settings.items() if key in OF_MODEL},
        **{key: value for key, value in settings.items() if key in OF_WISH},
    )
    run = prepare(wish)
    for event in run.events():
        on_event(event)
    return run.output
