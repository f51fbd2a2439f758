"""Path integrals over a layer's features: gradients on the straight line from a baseline to the features."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import RunError
from xaicli.network.suffix import Suffix
from xaicli.targets import Resolved

Integrand = Literal["ig", "relu_product", "product"]


def places_of(integrand: Integrand, steps: int) -> list[float]:
    """Where on the line gradients are taken, 0 at the baseline: `steps` middles for `ig`, else `steps + 1` points with both
    ends."""
    at = (np.arange(steps) + 0.5) / steps if integrand == "ig" else np.arange(steps + 1) / steps
    return [float(place) for place in at]


def path_maps(
    rest: Suffix, chosen: Resolved, baselines: Tensor, integrand: Integrand, steps: int, limit: int | None = None
) -> Tensor:
    """Maps (P, h, w), float32, of one photo from P baselines (P, K, h, w); chosen: its one target, (1, 1).

    With h the features, b a baseline, `v_k = b + t_k (h - b)` and g_k the gradient of the target's logit at v_k, the maps are
    sums over channels of `(h - b) mean_k g_k` (`ig`; it sums to the logit less the baseline's), of `sum_k relu(g_k) relu(v_k)`
    (`relu_product`) or of `sum_k g_k v_k` (`product`). Only what follows the layer runs; of tokens that are no patches the
    photo's own stay. limit: most points at a time.
    """
    layer = rest.layer
    features = layer.to_grid(rest.activation)[0]
    at = torch.tensor(places_of(integrand, steps), device=features.device, dtype=features.dtype)
    pulls, points = (part.flatten() for part in np.indices((len(baselines), len(at))))
    terms = []
    for rows in torch.arange(len(pulls)).split(rest.copies_at_once(limit)):
        starts = baselines[pulls[rows]].to(features)
        way = features - starts
        values = starts + at[points[rows]][:, None, None, None] * way
        gradients = gradients_at(rest, chosen, values).float()
        if integrand == "ig":
            terms.append((way.float() * gradients).sum(dim=1) / len(at))
        elif integrand == "relu_product":
            terms.append((gradients.relu() * values.float().relu()).sum(dim=1))
        else:
            terms.append((gradients * values.float()).sum(dim=1))
    return torch.cat(terms).unflatten(0, (len(baselines), len(at))).sum(dim=1)


def gradients_at(rest: Suffix, chosen: Resolved, values: Tensor) -> Tensor:
    """Gradients (n, K, h, w) of the target's logit at features `values` (n, K, h, w) in the place of the photo's."""
    raw = rest.activation.repeat(len(values), *[1] * (rest.activation.ndim - 1))
    rest.layer.to_grid(raw).copy_(values)
    with torch.enable_grad():
        raw.requires_grad_()
        # A copy: what follows may work in place.
        logits = rest(raw.clone())
        scores = chosen[torch.zeros(len(values), dtype=torch.int64, device=logits.device)].logit(logits)
        if not scores.requires_grad:
            raise RunError(f"no gradient reaches layer {rest.layer}", hint="Choose another: xai list layers --model SPEC.")
        (gradients,) = torch.autograd.grad(scores.sum(), raw)
    return rest.layer.to_grid(gradients)
