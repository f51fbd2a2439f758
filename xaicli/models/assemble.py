"""From a source's network to the classifier that methods see: view, device, a trial pass, names, fingerprint."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn

from xaicli.containment import contained
from xaicli.errors import InputError, RunError, UsageError
from xaicli.images.view import View
from xaicli.models.cut_network import CutNetwork
from xaicli.models.fingerprint import Account, computed, file_fingerprint, module_fingerprint, network_fingerprint
from xaicli.models.from_hf import LogitsOnly
from xaicli.models.headless import gives_features
from xaicli.models.input_view import Overrides
from xaicli.models.model_request import LoadedModel, Notice
from xaicli.models.probe import output_kind
from xaicli.models.reading_frames import framed, refuse_places, sequence_network
from xaicli.models.text_image import PromptLogits, refuse_other_outputs
from xaicli.models.trial import Trial, outputs_on_trial, trial_inputs, try_network
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.network.sequences import itself
from xaicli.outputs import Outputs
from xaicli.passes.device import masked_dtype
from xaicli.stamps import stamp
from xaicli.words import count as counted
from xaicli.writable_text import writable

OF_ATTENTION = ("attention", "attn", "mhsa", "transformer")
"""Names of modules that hold attention, by class or attribute. If such a network turns out unsuitable, the method refuses it."""


def assemble(
    loaded: LoadedModel,
    *,
    device: torch.device,
    precision: str = "auto",
    overrides: Overrides = Overrides(),
    classes: tuple[str, ...] | None = None,
    layer: str = "auto",
    outputs: Outputs | None = None,
    output_name: str = "",
    notice: Notice,
) -> Classifier:
    """The classifier, tried once: how many outputs there are, and of which kind, is found by a pass of two random inputs.

    The module is put into evaluation mode, where it is not in it, and onto `device`. classes: names that the user gave, which
    must be as many as the outputs; the source's own are dropped with a notice where they are not. outputs: what the user says
    they are; output_name: which entry of a tuple or dict they are. Raises InputError and RunError.
    """
    module = None if loaded.module is None else prepared(loaded.module, device)
    if isinstance(module, PromptLogits):
        refuse_other_outputs(outputs, loaded)
    overrides = overrides if loaded.decoding is None else overrides.of_detector()
    view = framed(overrides.apply(loaded.view, module, loaded.name), module, overrides.frames, overrides.frame_step, loaded.name)
    if loaded.accepts is not None:
        loaded.accepts.refuse_other(view, loaded.name)
    if view.frames and module is not None and loaded.decoding is None:
        module = sequence_network(module, view, loaded.name)
    forward = module if module is not None else loaded.forward
    assert forward is not None
    at = loaded.device or device
    quantised = module is not None and any("quantized" in type(part).__module__ for part in module.modules())
    dtype = torch.float32 if quantised or isinstance(module, CutNetwork) else masked_dtype(precision, at)
    bare = Classifier(
        forward=forward,
        module=module,
        name=loaded.name,
        view=view,
        classes=(),
        count=0,
        provides=provided(module) | (Needs.FRAMES if view.frames else Needs(0)),
        fingerprint=fingerprint_of_source(loaded, module, view),
        device=at,
        layer=layer if layer != "auto" else loaded.layer,
        output_name=output_name or loaded.output_name,
        masked_dtype=dtype if module is not None and loaded.decoding is None else torch.float32,
        decoding=loaded.decoding,
        cuts=loaded.cuts,
    )
    if bare.decoding is not None:
        bare = settled(bare)
    trial = try_network(bare)
    raw = trial.outputs
    if view.frames and (raw.ndim == 4 or bare.decoding is not None):
        refuse_places(bare)
    if trial.inconsistency:
        notice(f"{loaded.name} {trial.inconsistency}: maps and scores of it mean little")
    bare = dataclasses.replace(bare, inconsistency=trial.inconsistency, copies_input=trial.changes_input)
    account = account_of(bare, trial)
    if bare.decoding is not None and outputs is not None:
        raise UsageError(f"{loaded.name} is a detector, whose outputs are boxes", hint="Leave --outputs out.")
    if bare.decoding is not None:
        return of_detector(bare, raw, classes, loaded, account, notice)
    if raw.ndim == 4:
        return of_class_map(bare, raw, outputs or loaded.outputs, classes, loaded, account, notice)
    kind = output_kind(raw, loaded.name, outputs or loaded.outputs, ends_in_sigmoid=trial.ends_in_sigmoid)
    if kind.notice:
        notice(kind.notice)
    elif not bool(raw.isfinite().all()):
        notice(f"{loaded.name} gives outputs that are not finite on a trial input; photos with such outputs will be refused")
    yes_or_no = kind.outputs is Outputs.SIGMOID and raw.shape[1] == 1
    own = yes_or_no_names(loaded.classes) if yes_or_no else loaded.classes
    given = yes_or_no_names(classes) if yes_or_no and classes is not None else classes
    count = 2 if yes_or_no else raw.shape[1]
    names = names_for(count, given, own, loaded.name, notice)
    undescribed = not names and not kind.applied and (outputs or loaded.outputs) is None
    features = undescribed and gives_features(bare, count)
    if features:
        notice(f"{loaded.name} has no head: its outputs are {count} features, not classes (--outputs softmax if they are)")
    weights = fingerprint_of(bare, kind.outputs)
    return dataclasses.replace(
        bare,
        count=count,
        outputs=kind.outputs,
        features=features,
        probabilities=kind.applied,
        classes=names,
        fingerprint=network_fingerprint(weights, account),
        weights_fingerprint=weights,
    )


def of_class_map(
    bare: Classifier,
    raw: Tensor,
    stated: Outputs | None,
    classes: tuple[str, ...] | None,
    loaded: LoadedModel,
    account: Account,
    notice: Notice,
) -> Classifier:
    """A classifier of a network that gives a class map (2, C, H, W) for two photos: one class per pixel, or labels.

    Raises InputError where its numbers are said to be values.
    """
    if stated is Outputs.VALUES:
        raise InputError(
            f"{loaded.name} gives a class map, {raw.shape[1]} numbers a pixel, which are no values",
            expected="--outputs softmax for one class per pixel, or --outputs sigmoid for labels",
        )
    single = raw.shape[1] == 1
    own = yes_or_no_names(loaded.classes) if single else loaded.classes
    given = yes_or_no_names(classes) if single and classes is not None else classes
    count = 2 if single else raw.shape[1]
    pixels = Outputs.SIGMOID if stated is Outputs.SIGMOID and not single else Outputs.SOFTMAX
    weights = fingerprint_of(bare, pixels)
    return dataclasses.replace(
        bare,
        count=count,
        pixels=pixels,
        outputs=Outputs.REGION,
        classes=names_for(count, given, own, loaded.name, notice),
        fingerprint=network_fingerprint(weights, account),
        weights_fingerprint=weights,
    )


def of_detector(
    bare: Classifier,
    raw: Tensor,
    classes: tuple[str, ...] | None,
    loaded: LoadedModel,
    account: Account,
    notice: Notice,
) -> Classifier:
    """A detector, from the summary (2, C + 4) of its proposals for two photos; raises InputError if its scores are not within
    0..1."""
    count = raw.shape[1] - 4
    best = raw[:, :count]
    if bool(best.isfinite().all()) and not bool(((best >= 0) & (best <= 1)).all()):
        raise InputError(
            f"the scores of {loaded.name} run from {float(best.min()):.2f} to {float(best.max()):.2f}",
            expected="scores of classes from 0 to 1",
            hint="Apply the sigmoid or softmax in the decode function.",
        )
    weights = fingerprint_of(bare, Outputs.BOXES)
    return dataclasses.replace(
        bare,
        count=count,
        outputs=Outputs.BOXES,
        classes=names_for(count, classes, loaded.classes, loaded.name, notice),
        provides=bare.provides & ~Needs.HEAD | Needs.BOXES,
        fingerprint=network_fingerprint(weights, account),
        weights_fingerprint=weights,
    )


def settled(detector: Classifier) -> Classifier:
    """The detector, with a decode function called photo by photo if it cannot read the output for two photos."""
    inputs = trial_inputs(detector.view.size, detector.view.channels).to(detector.device)
    with contained(f"{detector.name} on a trial input"), torch.no_grad():
        try:
            detector.proposals(inputs)
            return detector
        except RunError:
            assert detector.decoding is not None
            return dataclasses.replace(detector, decoding=dataclasses.replace(detector.decoding, one_by_one=True))


def fingerprint_of_source(loaded: LoadedModel, module: nn.Module | None, view: View) -> str:
    """The fingerprint of what a source gave: of its files for a black box, also of one that was cut, else of the module."""
    if module is None or isinstance(module, CutNetwork):
        return file_fingerprint(loaded.content, view)
    return module_fingerprint(unwrapped(module), view)


def fingerprint_of(classifier: Classifier, outputs: Outputs) -> str:
    """The fingerprint of the network, including how its outputs are read unless that is a plain softmax."""
    if outputs is Outputs.SOFTMAX and not classifier.output_name:
        return classifier.fingerprint
    return stamp({"network": classifier.fingerprint, "outputs": outputs.value, "output": classifier.output_name})


def account_of(classifier: Classifier, trial: Trial) -> Account:
    """A coarse account, for the fingerprint, of what the network computes: measured on the processor, whichever device it runs
    on."""
    if trial.inconsistency:
        return ["inconsistent"]
    if classifier.device.type == "cpu" or classifier.module is None:
        return computed(trial.outputs)
    try:
        on_processor = copy.deepcopy(classifier.module).cpu()
        with torch.no_grad():
            there = dataclasses.replace(classifier, forward=on_processor, module=on_processor)
            return computed(outputs_on_trial(there, trial_inputs(classifier.view.size, classifier.view.channels)))
    # A network that cannot be copied, or runs only on its device, may raise anything: then its own device is used.
    except Exception:
        return computed(trial.outputs)


def yes_or_no_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the two labels of a single yes-or-no output: "not X", "X"; two given names stay."""
    return (f"not {classes[0]}", classes[0]) if len(classes) == 1 else classes


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
            expected="float32 (passes that may run in bf16 are cast as they run)",
            hint="Return module.float().",
        )
    # Exported programs, which stay in the mode that they were exported in, put a refusal in the place of `eval`.
    if "eval" not in vars(module) and any(part.training for part in module.modules()):
        module.eval()
    return module.to(device)


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside our wrappers."""
    inner = itself(module)
    return inner.model if isinstance(inner, LogitsOnly) else inner


def provided(module: nn.Module | None) -> Needs:
    """What methods may ask of a network: a black box has only its forward pass, one that was cut features too, a scripted program
    gradients."""
    if module is None:
        return Needs.FORWARD
    if isinstance(module, CutNetwork):
        return Needs.FORWARD | Needs.FEATURES
    if isinstance(module, torch.jit.ScriptModule):
        return Needs.FORWARD | Needs.GRADIENTS
    needs = Needs.FORWARD | Needs.GRADIENTS | Needs.FEATURES | Needs.HEAD
    named = (f"{name} {type(part).__name__}".lower() for name, part in module.named_modules())
    return needs | Needs.ATTENTION if any(word in text for text in named for word in OF_ATTENTION) else needs


def names_for(count: int, given: tuple[str, ...] | None, own: tuple[str, ...], name: str, notice: Notice) -> tuple[str, ...]:
    """Class names: the user's, whose number must fit, or else the source's, if their number fits. All can be written."""
    own, given = tuple(map(writable, own)), None if given is None else tuple(map(writable, given))
    if given is not None:
        if len(given) != count:
            raise InputError(
                f"{len(given)} class names for the {counted(count, 'output')} of {name}", expected=f"{counted(count, 'name')}"
            )
        if len(own) == count and given != own:
            compare_names(given, own, name, notice)
        return given
    if own and len(own) != count:
        notice(f"{name} has {counted(count, 'output')} and {len(own)} class names, which are left out; others: --classes FILE")
        return ()
    return own


SHOWN_NAMES = 3


def compare_names(given: tuple[str, ...], own: tuple[str, ...], name: str, notice: Notice) -> None:
    """Raise InputError if the user's names are the model's own in another order; otherwise report which output has which name."""
    if sorted(given) == sorted(own):
        at = next(index for index in range(len(own)) if given[index] != own[index])
        raise InputError(
            f"the class names are those of {name} in another order: its output {at} is {own[at]}, not {given[at]}",
            expected=f"{', '.join(own[:SHOWN_NAMES])}, …",
            hint="Leave --classes out.",
        )
    pairs = ", ".join(f"{new} for {old}" for new, old in list(zip(given, own, strict=True))[:SHOWN_NAMES])
    notice(f"class names are taken in the order of the outputs: {pairs}, …")
