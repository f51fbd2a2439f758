"""The checks of `xai doctor`: the installation, and a model's pitfalls."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xaicli import registry
from xaicli.cache import cache_folder, cached_files
from xaicli.containment import contained
from xaicli.errors import XaiError
from xaicli.needs import Needs
from xaicli.network.any_target import with_any_target
from xaicli.network.branches import one_of_branches
from xaicli.network.classifier import Classifier
from xaicli.network.taps import tap
from xaicli.outputs import Outputs
from xaicli.packages import version_of, versions
from xaicli.passes.device import has_bf16
from xaicli.runs.open_model import Model, open_model
from xaicli.tabular import Tabular
from xaicli.words import count, volume

PACKAGES = ("torch", "torchvision", "captum", "numpy", "scipy", "pillow", "matplotlib", "safetensors")
EXTRAS = {
    "timm": "timm",
    "transformers": "hf",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "ai-edge-litert": "tflite",
    "pyarrow": "parquet",
    "pandas": "pandas",
    "ray": "ray",
}
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report. `state` is ok, note or fault."""

    what: str
    state: str
    text: str


@dataclass(frozen=True)
class Diagnosis(Tabular):
    """What the doctor found."""

    findings: tuple[Finding, ...]

    def records(self) -> list[dict[str, Any]]:
        return [{"what": finding.what, "state": finding.state, "finding": finding.text} for finding in self.findings]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """Findings that must be repaired."""
        return tuple(finding for finding in self.findings if finding.state == "fault")


def doctor(classifier: Model = None) -> Diagnosis:
    """Check the installation (versions, devices, plugins, cache) and, if given, a classifier.

    classifier: loaded, or a specification such as "resnet50". Checked are its view, layer and gradient, activations that are
    unsuitable for hooks, a softmax inside, and class names. Raises XaiError if it cannot be loaded.

        print(xaicli.doctor("resnet50"))
    """
    findings = list(examine_installation())
    if classifier is not None:
        model = open_model(classifier)
        with contained(f"{model.name}, when it was examined,"):
            findings += examine_model(model)
    return Diagnosis(tuple(findings))


def examine_installation() -> Iterator[Finding]:
    """Versions, devices, plugins, cache."""
    yield Finding(
        "python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
    yield Finding("xaicli", "ok", versions()["xaicli"])
    for name in PACKAGES:
        yield Finding(name, "ok", importlib.metadata.version(name))
    for name, extra in EXTRAS.items():
        found = version_of(name)
        yield Finding(name, "ok", found) if found else Finding(name, "note", f'not installed (pip install "xaicli[{extra}]")')
    yield Finding(
        "cpu",
        "ok",
        f"{torch.get_num_threads()} threads, bf16 {'in hardware' if has_bf16(torch.device('cpu')) else 'not in hardware'}",
    )
    yield cuda()
    if hasattr(torch.backends, "mps") and torch.backends.mps.is_available():
        yield Finding("mps", "ok", "available")
    files = cached_files()
    yield Finding("cache", "ok", f"{cache_folder()}: {count(len(files), 'file')}, {volume(sum(file.size for file in files))}")
    for kind in (registry.METHODS, registry.METRICS):
        listed = registry.entries(kind, check=True)
        yield Finding(f"{kind.word}s", "ok", f"{sum(not entry.fault for entry in listed)} usable")
        for entry in listed:
            if entry.fault:
                yield Finding(f"{kind.word} {entry.name}", "fault", f"{entry.origin}: {entry.fault}")


def cuda() -> Finding:
    if not torch.cuda.is_available():
        return Finding(
            "cuda",
            "note",
            f"no device (torch built for CUDA {torch.version.cuda})" if torch.version.cuda else "torch built for the CPU",
        )
    names = Counter(torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count()))
    return Finding("cuda", "ok", ", ".join(f"{count} x {name}" for name, count in names.items()))


def examine_model(classifier: Classifier) -> Iterator[Finding]:
    """Check the view, the classes, the layer and its gradient, activations that are unsuitable for hooks, a softmax inside, and
    the patch grid."""
    yield Finding("view", "ok", f"{classifier.view.describe()}, input {' x '.join(map(str, classifier.view.size))}")
    yield Finding("fingerprint", "ok", classifier.fingerprint)
    named = len(classifier.classes)
    if named == classifier.count:
        yield Finding("classes", "ok", f"{classifier.count}, all named")
    else:
        yield Finding("classes", "note", f"{count(classifier.count, 'output')}, {count(named, 'name')} (--classes FILE)")
    if classifier.outputs not in (Outputs.SOFTMAX, Outputs.SIGMOID, Outputs.REGION):
        yield Finding("softmax", "ok", "not asked: the outputs are no logits of classes")
    elif classifier.probabilities:
        yield Finding("softmax", "note", "the network ends in a softmax; its logarithm is taken as logits")
    else:
        yield Finding("softmax", "ok", "outputs are logits")
    if classifier.inconsistency:
        yield Finding("one photo", "fault", f"the network {classifier.inconsistency}")
    else:
        written = "; it writes into its input, so it is given a copy" if classifier.copies_input else ""
        yield Finding("one photo", "ok", f"the same outputs again, and alone or beside another{written}")
    classifier = with_any_target(classifier, noise(classifier))
    yield logits_of_noise(classifier)
    if classifier.module is None:
        yield Finding("black box", "note", f"methods that need {Needs.GRADIENTS.words()} or {Needs.FEATURES.words()} cannot run")
        return
    yield from examine_layer(classifier)
    yield from examine_activations(classifier)


def logits_of_noise(classifier: Classifier) -> Finding:
    logits = classifier(noise(classifier))
    if not bool(logits.isfinite().all()):
        return Finding("logits", "fault", "NaN or infinite on noise: damaged weights?")
    return Finding("logits", "ok", f"{logits.min():.1f} to {logits.max():.1f} on noise")


def noise(classifier: Classifier) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, classifier.view.channels, *classifier.view.size, generator=generator).to(classifier.device)


def examine_layer(classifier: Classifier) -> Iterator[Finding]:
    try:
        layer = classifier.feature_layer()
    except XaiError as error:
        yield Finding("layer", "fault", error.line())
        return
    height, width = layer.layout.grid
    yield Finding("layer", "ok", f"{layer}: {count(layer.channels, 'channel')} on a grid of {height} x {width}")
    if classifier.layer == "auto" and classifier.branches:
        yield Finding("branches", "note", one_of_branches(str(layer), classifier.branches))
    prefix = layer.layout.prefix
    if prefix:
        yield Finding("tokens", "ok", f"{prefix} prefix token{'s' if prefix > 1 else ''}, then {height} x {width} patches")
    with tap(classifier, "auto") as features:
        logits = classifier(noise(classifier))
        (gradient,) = features.gradients_of(classifier.outputs.scores(logits).amax(dim=1, keepdim=True))
    largest = float(gradient.abs().max())
    state = "ok" if largest > 0 else "fault"
    yield Finding("gradient", state, f"largest {largest:.2g} at that layer")


def examine_activations(classifier: Classifier) -> Iterator[Finding]:
    module = classifier.torch_module
    in_place = [name for name, part in module.named_modules() if getattr(part, "inplace", False)]
    if in_place:
        yield Finding(
            "in-place", "ok", f"{len(in_place)} in-place activations ({in_place[0]} …): features are copied before them"
        )
    reused = reused_activations(classifier)
    if reused:
        text = f"{', '.join(reused[:3])}: run more than once a pass, so deeplift, guided and deconvolution kinds refuse"
        yield Finding("reused", "note", text)


def reused_activations(classifier: Classifier) -> list[str]:
    """Names of activation modules that run more than once in one forward pass."""
    return [layer.name for layer in classifier.trace.layers.values() if isinstance(layer.module, ACTIVATIONS) and layer.calls > 1]
