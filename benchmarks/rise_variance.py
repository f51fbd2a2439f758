"""RISE at equal masks: how much lower the variance of a map is than that of plain averaging, on networks with real weights."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.networks import assets
from xaicli.images.decode import decode
from xaicli.images.find import find
from xaicli.methods.rise.mask_estimates import Estimator, Sample, estimate
from xaicli.methods.rise.mask_passes import MaskedPasses
from xaicli.methods.rise.masks import MaskPainter
from xaicli.methods.rise.rise import RISE
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import clean_logits
from xaicli.targets import DECISION, Targets

MASKS, PHOTOS = 2000, 4
RISE_OF_2000 = RISE(n_masks=MASKS)
NETWORKS = {"timm:deit_tiny_patch16_224": ("DeiT-Ti", 3.5), "mobilenet_v2": ("MobileNetV2", 1.3)}
WAYS: tuple[Estimator, ...] = ("center", "regress")


def measure(rounds: int) -> list[Figure]:
    """One seed a round; a value of a figure is one photo, the mean over its seeds. Nothing without real weights."""
    if not (assets() / "weights").is_dir():
        return []
    figures = []
    for name, (words, bar) in NETWORKS.items():
        weights = assets() / "weights" / f"{name.rpartition(':')[2]}.safetensors"
        network = load_classifier(name, weights=weights)
        samples = [[record(network, photo, seed) for seed in range(rounds)] for photo in photos_of(network)]
        for way in WAYS:
            found = tuple(statistics.mean(lowered(sample, way) for sample in own) for own in samples)
            what = (
                f"RISE at equal quality, {words}, {MASKS} masks: variance of plain averaging over that of antithetic pairs, {way}"
            )
            figures.append(Figure(what, "times", found, least=bar if way == "regress" else None))
    return figures


def photos_of(network: Classifier) -> list[Tensor]:
    found = sorted((assets() / "photos").glob("*.jpg"))[5::37][:PHOTOS]
    return [network.view.prepare(decode(find([str(path)])[0]).image)[None] for path in found]


def record(network: Classifier, photo: Tensor, seed: int) -> Sample:
    """The scores of a photo's masks."""
    law = RISE_OF_2000.law((photo.shape[2], photo.shape[3]))
    chosen = Targets.same(DECISION, 1).resolve(clean_logits(network, photo))
    passes = MaskedPasses(network, photo, chosen, [seed], law, "probability", MASKS)
    passes.run([0], 0, MASKS)
    return passes.samples(0, MASKS)[0]


def lowered(sample: Sample, way: Estimator) -> float:
    """The variance of plain averaging over that of an estimate, both a mean over pixels."""
    return plain_variance(sample) / float(estimate(sample, way).standard_error.square().mean())


def plain_variance(sample: Sample) -> float:
    """The variance of the paper's sum over as many independent masks: `(E[(f M / p)^2] - S^2) / N`, mean over pixels.

    Each mask alone follows the same law under every sampling, so that both means are read from the same masks.
    """
    grid, p = sample.law.grid, sample.law.mean
    painter = MaskPainter.on(torch.device("cpu"), grid)
    first, second = torch.zeros(2, *grid.size, dtype=torch.float64)
    for part, bits, shifts in sample.chunks():
        masks = painter.masks(bits.float(), shifts).double()
        first += torch.einsum("n,nhw->hw", sample.scores[part] / p, masks)
        second += torch.einsum("n,nhw->hw", (sample.scores[part] / p) ** 2, masks**2)
    count = len(sample)
    return float((second / count - (first / count) ** 2).mean()) / count
