"""Engines: RISE by each against the plain loop, against its own bare passes, and against the runtimes called by hand.

Processor time of one thread, the sides in turn and in reverse, so that a drift of the machine's speed cancels.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks.figures import Figure
from benchmarks.networks import SIDE, classifier, photos, settled
from benchmarks.timing import seconds
from xaicli.methods.rise.rise import RISE
from xaicli.network.classifier import Classifier
from xaicli.network.onnx_program import INPUT, onnx_program
from xaicli.packages import require
from xaicli.passes.converted import MADE
from xaicli.passes.device import threads
from xaicli.passes.engine import engine_for
from xaicli.passes.memory import batch_size_for
from xaicli.passes.runtimes import RUNTIMES, installed
from xaicli.targets import DECISION, Targets

MASKS = {"mobilenet_v2": 128, "resnet50": 64, "vit_b_32": 64}
FOLDED, CONVERTED, HALF = 2.0, 2.3, 4.0
"""How many times as fast as the plain loop a mask has to be: in torch, by an extra engine, in bf16."""
OVER_BARE, OVER_BY_HAND = 1.15, 1.1
MANY = 10_000
Work = Callable[[], object]


def measure(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as cache, threads(1):
        os.environ["XAI_CACHE"] = cache
        return [figure for name in MASKS for figure in of_network(name, rounds)]


def of_network(name: str, rounds: int) -> list[Figure]:
    own = dataclasses.replace(settled(classifier(name)), expected_passes=MANY)
    engines = ["torch", *(runtime for runtime in RUNTIMES if installed(runtime))]
    taken = {engine: conversion(own, engine) for engine in engines[1:]}
    batch = photos(1) * torch.rand(batch_size_for(own.device, SIDE, SIDE), 1, SIDE, SIDE)
    sides: dict[str, Work] = {"loop": lambda: plain_loop(own, batch, MASKS[name])}
    for engine in engines:
        network = dataclasses.replace(own, engine=engine)
        sides |= {f"rise {engine}": rise(network, MASKS[name]), f"bare {engine}": bare(network, batch, MASKS[name])}
    if "openvino" in engines:
        sides["rise bf16"] = rise(dataclasses.replace(own, engine="openvino", masked_dtype=torch.bfloat16), MASKS[name])
    sides |= by_hand(own, batch, MASKS[name], engines)
    found = in_turn(sides, rounds)
    return [*against_the_loop(name, found), *against_bare(name, engines, found), *costs(name, engines, found, taken)]


def conversion(own: Classifier, engine: str) -> float:
    """Processor seconds to convert, compile and check, the package imported and nothing in the cache."""
    require(engine, RUNTIMES[engine].extra)
    MADE.clear()
    network = dataclasses.replace(own, engine=engine)
    with tempfile.TemporaryDirectory() as empty:
        before, os.environ["XAI_CACHE"] = os.environ["XAI_CACHE"], empty
        taken = seconds(lambda: engine_for(network, photos(1), MANY, exact=True), time.process_time)
        os.environ["XAI_CACHE"] = before
    return taken


def plain_loop(own: Classifier, batch: Tensor, masks: int) -> None:
    """The loop of the specification: in float32, batches as they come."""
    with torch.no_grad():
        for _ in range(masks // len(batch)):
            own.torch_module(batch).softmax(dim=1)


def rise(network: Classifier, masks: int) -> Work:
    method, seeds, targets = RISE(n_masks=masks), torch.tensor([1]), Targets.same(DECISION, 1)
    return lambda: method.attribute(network, photos(1), targets, seeds)


def bare(network: Classifier, batch: Tensor, masks: int) -> Work:
    """Passes of a batch that is in place already, in the layout that is fastest."""
    engine = engine_for(network, batch[:1], MANY, exact=True)
    laid_out = batch if engine.module is None else batch.to(memory_format=torch.channels_last)

    def work() -> None:
        for _ in range(masks // len(batch)):
            engine.masked(laid_out)

    return work


def by_hand(own: Classifier, batch: Tensor, masks: int, engines: list[str]) -> dict[str, Work]:
    """The runtimes as their manuals call them, on as many threads."""
    program, array = onnx_program(own, (SIDE, SIDE), 3), batch.contiguous().numpy()
    sides: dict[str, Work] = {}
    if "onnxruntime" in engines:
        onnxruntime = require("onnxruntime", "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])
        sides["hand onnxruntime"] = lambda: [session.run(None, {INPUT: array}) for _ in range(masks // len(array))]
    if "openvino" in engines:
        openvino = require("openvino", "openvino")
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.compile_model(openvino.Core().read_model(program), "CPU", settings)
        sides["hand openvino"] = lambda: [compiled(array) for _ in range(masks // len(array))]
    return sides


def in_turn(sides: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each side, once a round (two runs of it), after one round to warm up."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        first = {name: seconds(work, time.process_time) for name, work in sides.items()}
        second = {name: seconds(sides[name], time.process_time) for name in reversed(sides)}
        for name in sides:
            found[name].append(first[name] + second[name])
    return {name: taken[1:] for name, taken in found.items()}


def over(found: Mapping[str, list[float]], above: str, below: str) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(found[above], found[below], strict=True))


def against_the_loop(name: str, found: Mapping[str, list[float]]) -> list[Figure]:
    least = {"rise torch": FOLDED, "rise bf16": HALF}
    sides = [side for side in found if side.startswith("rise ")]
    convolutional = name in ("mobilenet_v2", "resnet50")
    return [
        Figure(f"the plain loop in float32 over {side}, a mask, {name}", "", over(found, "loop", side), least=at_least)
        for side in sides
        for at_least in [least.get(side, CONVERTED) if convolutional else None]
    ]


def against_bare(name: str, engines: list[str], found: Mapping[str, list[float]]) -> list[Figure]:
    figures = [
        Figure(f"RISE over bare passes, both by {engine}, {name}", "", over(found, f"rise {engine}", f"bare {engine}"), OVER_BARE)
        for engine in engines
    ]
    for engine in engines[1:]:
        what = f"bare passes by the engine over {engine} called by hand, {name}"
        figures.append(Figure(what, "", over(found, f"bare {engine}", f"hand {engine}"), OVER_BY_HAND))
    return figures


def costs(name: str, engines: list[str], found: Mapping[str, list[float]], taken: Mapping[str, float]) -> list[Figure]:
    """What a conversion takes, and after how many passes it has paid for itself."""
    figures = [
        Figure(f"a bare pass by {engine}, {name}", "ms", tuple(500 * each / MASKS[name] for each in found[f"bare {engine}"]))
        for engine in engines
    ]
    for engine in engines[1:]:
        figures.append(Figure(f"converting for {engine}, {name}", "s", (taken[engine],)))
        pairs = zip(found["bare torch"], found[f"bare {engine}"], strict=True)
        saved = [(slow - fast) / 2 / MASKS[name] for slow, fast in pairs]
        paid = tuple(taken[engine] / each for each in saved if each > 0)
        if paid:
            figures.append(Figure(f"passes until converting for {engine} has paid, {name}", "", paid))
    return figures
