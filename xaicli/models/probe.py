"""The kind of a network's outputs, detected by a trial: softmax or sigmoid already applied, a single output, plain logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from xaicli.errors import InputError
from xaicli.network.dispatch import DispatchWatch
from xaicli.outputs import Outputs

SUMS_TO_ONE = 1e-4
SIGMOIDS = frozenset({"aten::sigmoid", "aten::sigmoid_", "aten::hardsigmoid", "aten::hardsigmoid_"})
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "linear", "native_batch_norm")


class LastSigmoid(DispatchWatch):
    """Watches a pass; `applied` says whether the network ends in a sigmoid, that is, whether one ran after the last product with
    weights."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.applied = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in SIGMOIDS:
            self.applied = True
        elif name.split("::")[-1].strip("_") in PRODUCTS:
            self.applied = False
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class OutputKind:
    """The result: the kind, whether softmax or sigmoid is already applied (it is then undone), and a line for the user."""

    outputs: Outputs
    applied: bool = False
    notice: str = ""


def output_kind(raw: Tensor, name: str, stated: Outputs | None, *, ends_in_sigmoid: bool) -> OutputKind:
    """The kind of outputs `raw` (B, C) of trial inputs.

    stated: the kind according to the user or the model's configuration, which is trusted; ends_in_sigmoid: whether the network
    ends in a sigmoid. Raises InputError for a single output whose kind is not stated.
    """
    inside = bool(((raw >= 0) & (raw <= 1)).all())
    sums = bool(((raw.sum(dim=1) - 1).abs() <= SUMS_TO_ONE).all())
    if raw.shape[1] == 1 and stated not in (Outputs.SIGMOID, Outputs.VALUES):
        raise InputError(
            f"{name} has one output, but nothing says what it means",
            expected="--outputs sigmoid for yes or no, or --outputs values for a quantity",
        )
    if stated is Outputs.VALUES:
        return OutputKind(stated)
    if stated is not Outputs.SIGMOID and inside and sums and raw.shape[1] > 1:
        return OutputKind(Outputs.SOFTMAX, True, f"{name} ends in a softmax, which is undone: scores are log-probabilities")
    if stated is not Outputs.SOFTMAX and inside and ends_in_sigmoid:
        text = f"{name} ends in a sigmoid, which is undone: each output is a label of its own (--outputs softmax if not)"
        return OutputKind(Outputs.SIGMOID, True, text)
    return OutputKind(stated or Outputs.SOFTMAX)
