"""Networks of others that were tried: the feature layer found in each, with weights that nobody trained.

    python -m tools.models_tested [--only "timm:*"]

Every image classifier of torchvision, one of each of timm's families, the smallest, and one of each kind of transformers'. A run
takes about an hour on one core. Each network is tried in a process of its own, within `LARGEST` parameters, `MEMORY` and
`SECONDS`; what was tried is kept in a file, so that a run that was stopped goes on, and `--only` tries some again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tools.children import stops_raised
from xaicli.errors import XaiError, text_of
from xaicli.files import write_atomic
from xaicli.models.from_hf import LogitsOnly, require_photos
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import FeatureLayer, default_layer

LARGEST = 300e6
MEMORY = 8 << 30
SECONDS = 600
RESULTS = Path("docs/results/models/tested.jsonl")
FAMILIES = Path(__file__).with_name("timm_families.txt")
"""timm's families, each with its smallest network by parameters, as `timm.list_models()` gave them when the file was made; and
the side of its inputs where its own would take too much memory."""


@dataclass(frozen=True)
class TriedNetwork:
    """One network: its library, its family there, its name, how it is made, and the size of its inputs (0: its own default)."""

    library: str
    family: str
    name: str
    make: Callable[[], nn.Module]
    size: int = 0

    @property
    def spec(self) -> str:
        return f"{self.library}:{self.name}"


@dataclass(frozen=True)
class LayerFound:
    """What was found in a network: the layer and its grid, or why there is none."""

    library: str
    family: str
    name: str
    layer: str = ""
    grid: tuple[int, ...] | None = None
    refusal: str = ""

    @property
    def spec(self) -> str:
        return f"{self.library}:{self.name}"


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
        family, name, *smaller = line.split()
        size = int(smaller[0]) if smaller else 0

        def make(name: str = name, size: int = size) -> nn.Module:
            given: dict[str, Any] = {"img_size": size} if size else {}
            try:
                return timm.create_model(name, pretrained=False, **given)
            # What takes any size is not told one.
            except TypeError:
                return timm.create_model(name, pretrained=False)

        yield TriedNetwork("timm", family, name, make, size)


def of_transformers() -> Iterator[TriedNetwork]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    for config in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        found: Any = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[config]
        kind: Any = found[0] if isinstance(found, tuple) else found

        def make(config: Any = config, kind: Any = kind) -> nn.Module:
            model = kind(config())
            require_photos(f"hf:{kind.__name__}", model)
            return LogitsOnly(model, False)

        yield TriedNetwork("transformers", config.__name__.removesuffix("Config"), kind.__name__, make)


def tried(candidate: TriedNetwork) -> LayerFound:
    """The feature layer of a fresh network, or why it has none: the latest of those found as it is made, and with statistics."""

    def found(**words: Any) -> LayerFound:
        return LayerFound(candidate.library, candidate.family, candidate.name, **words)

    try:
        with torch.device("meta"):
            weights = sum(parameter.numel() for parameter in candidate.make().parameters())
        if weights > LARGEST:
            return found(refusal=f"not tried: {weights / 1e6:.0f} million parameters")
    except XaiError as error:
        return found(refusal=error.line())
    # Some networks cannot be made without memory for their weights.
    except Exception:
        weights = 0
    torch.manual_seed(0)
    try:
        module = candidate.make().eval()
        size = (size_of(candidate, module),) * 2
        layer = latest_layer(module, size)
    except XaiError as error:
        return found(refusal=error.line())
    # A network of another library may raise anything: the page says so.
    except Exception as error:
        return found(refusal=f"{type(error).__name__}: {text_of(error)[:160]}")
    return found(layer=str(layer), grid=layer.layout.grid)


def latest_layer(module: nn.Module, size: tuple[int, int]) -> FeatureLayer:
    """The feature layer as the network is made, or with statistics of its batch norms where it then lies further behind.

    Without statistics signals die in some deep networks; with those of noise, what moves all of a map at once outweighs the rest
    in others. Trained weights do neither. Heads and scales that begin at zero have no gradient. Raises XaiError.
    """
    for name, parameter in module.named_parameters():
        if not name.endswith("bias") and not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.02)
    found: list[FeatureLayer] = []
    said: list[XaiError] = []
    for prepare in (nn.Module.eval, lambda module: settled(module, size)):
        if not prepare(module):
            break
        try:
            found.append(default_layer(dry_run(module, size)))
        except XaiError as error:
            said.append(error)
    if not found:
        raise said[0]
    return min(found, key=lambda layer: layer.behind)


def settled(module: nn.Module, size: tuple[int, int]) -> bool:
    """Give batch norms statistics of noise; False where there are none of them."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    if norms:
        with torch.no_grad():
            module(torch.randn(4, 3, *size))
        module.eval()
    return bool(norms)


def tried_apart(candidate: TriedNetwork, memory: int = MEMORY, seconds: float = SECONDS) -> LayerFound:
    """The same in a process of its own, within so many bytes and seconds."""
    there, here = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=within, args=(candidate, here, memory))
    process.start()
    here.close()
    refusal = f"not tried: it takes more than {seconds:g} s"
    try:
        if there.poll(seconds):
            told = there.recv()
            assert isinstance(told, LayerFound)
            return told
    except EOFError:
        refusal = f"not tried: it takes more than {memory >> 30} GiB"
    finally:
        process.kill()
        process.join()
    return LayerFound(candidate.library, candidate.family, candidate.name, refusal=refusal)


def within(candidate: TriedNetwork, here: Connection, memory: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + memory, used + memory))
    here.send(tried(candidate))


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
    found = [one for one in outcomes if one.grid is not None]
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
    for one in outcomes:
        grid = one.refusal.replace("|", "/") if one.grid is None else " x ".join(map(str, one.grid))
        lines.append(f"| {one.library} | {one.family} | {one.name} | {one.layer or 'none'} | {grid} |")
    return "\n".join(lines) + "\n"


def read_results(file: Path) -> dict[str, LayerFound]:
    """What was tried before, by specification."""
    lines = file.read_text().splitlines() if file.is_file() else []
    read = (LayerFound(**json.loads(line)) for line in lines)
    return {one.spec: one for one in read}


@stops_raised()
def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.models_tested", description="Try networks of other libraries.")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/models-tested.md"))
    parser.add_argument("--results", type=Path, default=RESULTS, help="what was tried; goes on from there")
    parser.add_argument("--only", metavar="PATTERN", help="LIBRARY:NAME, try those alone, and again where they were tried")
    given = parser.parse_args(words)
    known, listed = read_results(given.results), list(candidates())
    for candidate in listed:
        if (given.only is None and candidate.spec in known) or not fnmatchcase(candidate.spec, given.only or "*"):
            continue
        known[candidate.spec] = tried_apart(candidate)
        print(candidate.spec, known[candidate.spec].layer or known[candidate.spec].refusal, file=sys.stderr, flush=True)
        keep([known[one.spec] for one in listed if one.spec in known], given.results)
    content = page([known[one.spec] for one in listed if one.spec in known]).encode()
    write_atomic(given.output, lambda file: file.write(content))
    return 0


def keep(outcomes: Sequence[LayerFound], file: Path) -> None:
    content = "".join(f"{json.dumps(asdict(one))}\n" for one in outcomes).encode()
    write_atomic(file, lambda opened: opened.write(content))


if __name__ == "__main__":
    sys.exit(main())
