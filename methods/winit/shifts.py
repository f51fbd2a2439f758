"""How far a prediction shifts when something is hidden, and what each moment's share of the shift is."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from xaicli.outputs import Outputs
from xaicli.passes.explained_score import scores_of
from xaicli.targets import Resolved

Measure = Literal["probability", "logit", "pd", "kl", "js"]
Aggregate = Literal["mean", "max", "abs-max"]

LARGEST_DIVERGENCE = 1e6


def shift(measure: Measure, chosen: Resolved, whole: Tensor, hidden: Tensor) -> Tensor:
    """Shifts (n, T) of the T targets of one sequence between its logits (1, C), `whole`, and those of n copies (n, C)."""
    if measure == "logit" or measure == "probability":
        return scores_of(chosen, whole, measure) - scores_of(chosen, hidden, measure)
    before, after = (distributions(chosen, logits) for logits in (whole, hidden))
    return distance(measure, before, after).expand(len(hidden), chosen.classes.shape[1])


def distributions(chosen: Resolved, logits: Tensor) -> Tensor:
    """What is predicted, (n, 1, C) over all classes; of labels (n, T, 2), each target's own yes and no."""
    if chosen.outputs is Outputs.SOFTMAX:
        return logits.softmax(dim=1)[:, None]
    yes = scores_of(chosen, logits, "probability")
    return torch.stack([yes, 1 - yes], dim=-1)


def distance(measure: Measure, before: Tensor, after: Tensor) -> Tensor:
    """Distance of distributions along the last axis: `pd`, the sum of absolute differences; `kl`, sum P log(P / Q), within 1e6;
    `js`, the mean of both to their middle."""
    if measure == "pd":
        return (before - after).abs().sum(dim=-1)
    if measure == "kl":
        return divergence(before, after)
    middle = (before + after) / 2
    return (divergence(before, middle) + divergence(after, middle)) / 2


def divergence(before: Tensor, after: Tensor) -> Tensor:
    smallest = torch.finfo(before.dtype).tiny
    terms = torch.where(before > 0, before * (before.clamp_min(smallest).log() - after.clamp_min(smallest).log()), 0)
    return terms.sum(dim=-1).clamp(-LARGEST_DIVERGENCE, LARGEST_DIVERGENCE)


def importances(shifts: Tensor) -> Tensor:
    """From shifts (N, ...) when the last 1, 2, ... N moments are hidden to each moment's share, the last moment first; the shares
    sum to the last shift."""
    return torch.diff(shifts, dim=0, prepend=torch.zeros_like(shifts[:1]))


def aggregate(windows: Tensor, rule: Aggregate) -> Tensor:
    """From windows (T, N, ...), in which entry (k, l) is the importance of moment k - N + 1 + l for time k, to one number for
    each moment, (T, ...): over all times whose window holds it their mean, their maximum, or the value of the largest
    magnitude."""
    moments, length = windows.shape[:2]
    found = []
    for moment in range(moments):
        times = range(moment, min(moments, moment + length))
        own = torch.stack([windows[time, moment - time + length - 1] for time in times])
        if rule == "abs-max":
            found.append(own.gather(0, own.abs().argmax(dim=0, keepdim=True))[0])
        else:
            found.append(own.mean(dim=0) if rule == "mean" else own.amax(dim=0))
    return torch.stack(found)
