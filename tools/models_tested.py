"""Networks of others that were tried: the feature layer found in each, with weights that nobody trained.

    python -m tools.models_tested -o docs/models-tested.md [--only torchvision]

Every image classifier of torchvision, one of each of timm's families, the smallest, and one of each kind of transformers'. A run
takes an hour or two on one core; what is larger than `LARGEST` parameters is left out and said to be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xaicli.errors import XaiError
from xaicli.files import write_atomic
from xaicli.models.from_hf import LogitsOnly
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import default_layer

LARGEST = 200e6
FAMILIES = Path(__file__).with_name("timm_families.txt")
"""timm's families, each with its smallest network by parameters: what `timm.list_models()` gave when the file was made."""


@dataclass(frozen=True)
class TriedNetwork:
    """One network: its library, its family there, its name, how it is made, and the size of its inputs (0: its own default)."""

    library: str
    family: str
    name: str
    make: Callable[[], nn.Module]
    size: int = 0


@dataclass(frozen=True)
class LayerFound:
    """What was found: the layer and its grid, or why there is none."""

    candidate: TriedNetwork
    layer: str = ""
    grid: tuple[int, int] | None = None
    refusal: str = ""


def candidates() -> Iterator[TriedNetwork]:
    """All networks, library by library."""
    yield from of_torchvision()
    yield from of_timm()
    yield from of_transformers()


def of_torchvision() -> Iterator[TriedNetwork]:
    import torchvision

    for name in torchvision.models.list_models(torchvision.models):
        settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        size = 299 if name == "inception_v3" else 224

        def make(name: str = name, settings: dict[str, bool] = settings) -> nn.Module:
            return torchvision.models.get_model(name, weights=None, **settings)

        yield TriedNetwork("torchvision", name.rstrip("0123456789"), name, make, size)


def of_timm() -> Iterator[TriedNetwork]:
    import timm

    for line in FAMILIES.read_text().splitlines():
        family, name = line.split()

        def make(name: str = name) -> nn.Module:
            return timm.create_model(name, pretrained=False)

        yield TriedNetwork("timm", family, name, make)


def of_transformers() -> Iterator[TriedNetwork]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    for config in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        found: Any = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[config]
        kind: Any = found[0] if isinstance(found, tuple) else found

        def make(config: Any = config, kind: Any = kind) -> nn.Module:
            return LogitsOnly(kind(config()), False)

        yield TriedNetwork("transformers", config.__name__.removesuffix("Config"), kind.__name__, make)


def tried(candidate: TriedNetwork) -> LayerFound:
    """The feature layer of a fresh network, its zero weights replaced by small noise, or why it has none."""
    try:
        with torch.device("meta"):
            weights = sum(parameter.numel() for parameter in candidate.make().parameters())
        if weights > LARGEST:
            return LayerFound(candidate, refusal=f"not tried: {weights / 1e6:.0f} million parameters")
    # Some networks cannot be made without memory for their weights.
    except Exception:
        weights = 0
    torch.manual_seed(0)
    try:
        module = candidate.make().eval()
        # Heads and scales that begin at zero have no gradient.
        for parameter in module.parameters():
            if not bool(parameter.any()):
                nn.init.normal_(parameter, std=0.02)
        layer = default_layer(dry_run(module, (size_of(candidate, module),) * 2))
    except XaiError as error:
        return LayerFound(candidate, refusal=error.line())
    # A network of another library may raise anything: the page says so.
    except Exception as error:
        return LayerFound(candidate, refusal=f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}")
    return LayerFound(candidate, str(layer), layer.layout.grid)


def size_of(candidate: TriedNetwork, module: nn.Module) -> int:
    """The side of inputs: as the library says of the network, else 224."""
    if candidate.size:
        return candidate.size
    if candidate.library == "timm":
        return int(module.default_cfg["input_size"][-1])  # type: ignore[index, union-attr]
    stated = getattr(module.model.config, "image_size", 224)  # type: ignore[union-attr]
    return int(stated[0] if isinstance(stated, list | tuple) else stated or 224)


def page(outcomes: Sequence[LayerFound]) -> str:
    """The page, in Markdown."""
    found = [outcome for outcome in outcomes if outcome.grid is not None]
    lines = [
        "# Networks that were tried",
        "",
        "The feature layer found in networks of other libraries, with weights that nobody trained; its grid is proved by",
        "changing the corners of the input. Made by `make models-tested`.",
        "",
        f"{len(found)} of {len(outcomes)} have a layer.",
        "",
        "| library | family | network | feature layer | grid |",
        "|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        one = outcome.candidate
        grid = outcome.refusal.replace("|", "/") if outcome.grid is None else " x ".join(map(str, outcome.grid))
        lines.append(f"| {one.library} | {one.family} | {one.name} | {outcome.layer or 'none'} | {grid} |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.models_tested", description="Try networks of other libraries.")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/models-tested.md"))
    parser.add_argument("--only", choices=["torchvision", "timm", "transformers"])
    given = parser.parse_args(words)
    outcomes = []
    for candidate in candidates():
        if given.only in (None, candidate.library):
            outcomes.append(tried(candidate))
            print(candidate.library, candidate.name, outcomes[-1].layer or outcomes[-1].refusal, file=sys.stderr, flush=True)
    write_atomic(given.output, lambda file: file.write(page(outcomes).encode()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
