"""Deletion and insertion to an error of 0.002: how many points are passed, and how often the area of 224 steps lies inside."""

from __future__ import annotations

import statistics
from typing import Any

import torch

import xaicli
from benchmarks.figures import Figure
from benchmarks.networks import assets
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier

ERROR, STEPS = 0.002, 224
METHODS = ("grad-cam", "rise@n_masks=300", "integrated-gradients", "random")


def measure(rounds: int) -> list[Figure]:
    """Two photos a round, four methods, two curves each."""
    figures = []
    for words, network in networks().items():
        source = sorted((assets() / "photos").glob("*.jpg"))[2::29] or ["sample:hopper"]
        chosen = [str(path) for path in source[: 2 * rounds]]
        metrics = [f"{name}@{how}" for name in ("deletion", "insertion") for how in (f"steps={STEPS}", f"auc_error={ERROR:g}")]
        rows = xaicli.score(chosen, network, list(METHODS), metric=metrics, controls=False).records()
        fine = {key_of(row): row["value"] for row in rows if "steps" in row["metric"]}
        quick = [row for row in rows if "auc_error" in row["metric"]]
        inside = statistics.mean(abs(row["value"] - fine[key_of(row)]) <= ERROR for row in quick)
        points = tuple(float(row["points"]) for row in quick)
        figures.append(Figure(f"areas inside {ERROR:g}, {words}, {len(quick)} curves", "", (inside,), least=0.99))
        figures.append(Figure(f"points passed of {STEPS - 1} for an error of {ERROR:g}, {words}", "", points, STEPS / 8))
    return figures


def key_of(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["image"], row["method"], row["metric"].partition("@")[0]


def networks() -> dict[str, Classifier]:
    found = {"tiny-vit": load_classifier("tiny-vit")}
    weights = assets() / "weights" / "mobilenet_v2.safetensors"
    if weights.is_file():
        found["MobileNetV2"] = load_classifier("mobilenet_v2", weights=weights)
    torch.set_num_threads(1)
    return found
