"""From what a source gives to the classifier that methods see: view, device, one trial pass, names, fingerprint."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xaicli.containment import contained
from xaicli.errors import InputError, RunError
from xaicli.images.view import View
from xaicli.models.fingerprint import file_fingerprint, module_fingerprint
from xaicli.models.from_hf import LogitsOnly
from xaicli.models.source import Loaded, Notice
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.passes.device import masked_dtype

SUMS_TO_ONE = 1e-4
TRIAL_PHOTOS = 2
OF_ATTENTION = ("attention", "attn", "mhsa", "transformer")
"""How modules that hold attention are called, by class or by name. What such a network cannot do after all, a method refuses."""
Side = int | tuple[int, int]


@dataclass(frozen=True)
class Overrides:
    """Parts of the view that the user states; None keeps what the weights say."""

    resize: Side | None = None
    crop: Side | None = None
    interpolation: str | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def apply(self, view: View) -> View:
        stated = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        changes = {name: value for name, value in stated.items() if value is not None}
        return dataclasses.replace(view, **changes) if changes else view


def assemble(
    loaded: Loaded,
    *,
    device: torch.device,
    precision: str = "auto",
    overrides: Overrides = Overrides(),
    classes: tuple[str, ...] | None = None,
    layer: str = "auto",
    notice: Notice,
) -> Classifier:
    """The classifier, tried once: count of outputs and softmax inside are found by one forward pass of two random inputs.

    The module is put into evaluation mode and onto `device`. classes: names that the user gave, which must be as many as the
    outputs; the source's own are dropped with a notice where they are not. Raises InputError and RunError.
    """
    view = overrides.apply(loaded.view)
    module = None if loaded.module is None else prepared(loaded.module, device)
    forward = module if module is not None else loaded.forward
    assert forward is not None
    at = loaded.device or device
    dtype = masked_dtype(precision, at)
    bare = Classifier(
        forward=forward,
        module=module,
        name=loaded.name,
        view=view,
        classes=(),
        count=0,
        provides=provided(module),
        fingerprint=file_fingerprint(loaded.content, view) if module is None else module_fingerprint(unwrapped(module), view),
        device=at,
        layer=layer if layer != "auto" else loaded.layer,
        masked_dtype=dtype if module is not None else torch.float32,
    )
    outputs = trial(bare)
    probabilities = is_probability(outputs)
    if probabilities:
        notice(f"{loaded.name} ends in a softmax, which is undone: scores are log-probabilities")
    elif not bool(outputs.isfinite().all()):
        notice(f"{loaded.name} gives outputs that are not finite on a trial input; photos with such outputs will be refused")
    count = outputs.shape[1]
    return dataclasses.replace(
        bare, count=count, probabilities=probabilities, classes=names_for(count, classes, loaded.classes, loaded.name, notice)
    )


def prepared(module: nn.Module, device: torch.device) -> nn.Module:
    """The network itself, without wrappers for several devices or compilation, in evaluation mode, on `device`."""
    while isinstance(module, nn.DataParallel) or hasattr(module, "_orig_mod"):
        inner = module.module if isinstance(module, nn.DataParallel) else module._orig_mod
        assert isinstance(inner, nn.Module)
        module = inner
    half = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()} - {torch.float32}
    if half:
        raise InputError(
            f"the network's weights are {str(half.pop()).removeprefix('torch.')}",
            expected="float32: passes that may run in bf16 are cast as they run",
            hint="Return module.float().",
        )
    return module.eval().to(device)


def unwrapped(module: nn.Module) -> nn.Module:
    """The network that a wrapper of ours holds."""
    return module.model if isinstance(module, LogitsOnly) else module


def provided(module: nn.Module | None) -> Needs:
    """What methods may ask of a network: a black box gives its forward pass, a scripted program gradients too."""
    if module is None:
        return Needs.FORWARD
    if isinstance(module, torch.jit.ScriptModule):
        return Needs.FORWARD | Needs.GRADIENTS
    needs = Needs.FORWARD | Needs.GRADIENTS | Needs.FEATURES | Needs.HEAD
    named = (f"{name} {type(part).__name__}".lower() for name, part in module.named_modules())
    return needs | Needs.ATTENTION if any(word in text for text in named for word in OF_ATTENTION) else needs


def trial(classifier: Classifier) -> Tensor:
    """Raw outputs (2, C) of two fixed random inputs; raises RunError where the network fails or gives something else."""
    height, width = classifier.view.size
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(TRIAL_PHOTOS, 3, height, width, generator=generator).to(classifier.device)
    # Not inference mode: what a network computes once and keeps would then be of no use to gradients.
    with (
        contained(
            f"{classifier.name} on inputs of {height} x {width} pixels", hint="Another size is set by --resize and --crop."
        ),
        torch.no_grad(),
    ):
        output = classifier.forward(inputs)
    outputs = classifier.logits(output)
    if len(outputs) != TRIAL_PHOTOS:
        raise RunError(f"{classifier.name} gave {len(outputs)} rows for {TRIAL_PHOTOS} photos", expected="one row a photo")
    if outputs.shape[1] < 2:
        raise InputError(
            f"{classifier.name} has {outputs.shape[1]} output",
            expected="one for each of at least 2 classes",
            hint="For a yes-or-no network return torch.cat([-x / 2, x / 2], dim=1), x its output.",
        )
    return outputs


def is_probability(outputs: Tensor) -> bool:
    """Whether outputs (B, C) are probabilities already: not negative, and 1 in sum."""
    sums = outputs.sum(dim=1)
    return bool((outputs >= 0).all()) and bool(((sums - 1).abs() <= SUMS_TO_ONE).all())


def names_for(count: int, given: tuple[str, ...] | None, own: tuple[str, ...], name: str, notice: Notice) -> tuple[str, ...]:
    """Class names: the user's, which must fit; else the source's, where they do."""
    if given is not None:
        if len(given) != count:
            raise InputError(f"{len(given)} class names for the {count} outputs of {name}", expected=f"{count} names")
        return given
    if own and len(own) != count:
        notice(f"{name} has {count} outputs and {len(own)} class names, which are left out; give others with --classes FILE")
        return ()
    return own
