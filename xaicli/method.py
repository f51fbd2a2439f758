"""The interface that an attribution method implements.

A method is a frozen dataclass: its fields are its parameters. It declares what it needs of a classifier, which sign its maps have
and what it costs, and computes maps for a batch in `attribute`. It never normalises, upsamples or clips: what it returns is
stored and scored unchanged.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from xaicli.containment import contain_members, contained
from xaicli.errors import RunError
from xaicli.given_tensors import copies_of, written
from xaicli.needs import Needs
from xaicli.params import Definition, as_json, param
from xaicli.sign import Sign
from xaicli.words import count, type_of

if TYPE_CHECKING:
    from torch import Tensor

    from xaicli.network.classifier import Classifier
    from xaicli.targets import Resolved, Targets

__all__ = ["Cost", "Maps", "Method", "Needs", "Sign", "content_on", "param", "Wrapper"]


AT_MOST = "at most "


@dataclass(frozen=True)
class Cost:
    """Passes per photo, in equivalents of forward and backward passes of the whole network; at_most: the method stops earlier
    where a photo needs fewer."""

    forward: float = 0.0
    backward: float = 0.0
    at_most: bool = False

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.forward + other.forward, self.backward + other.backward, self.at_most or other.at_most)

    def __str__(self) -> str:
        both = self.forward, self.backward
        forward, backward = (f"{round(passes, 1):g}" if passes < 100 else f"{passes:.0f}" for passes in both)
        most = AT_MOST if self.at_most else ""
        return f"{most}{forward}+{backward} passes" if self.backward else f"{most}{forward} passes"

    @property
    def per_photo(self) -> str:
        """`1 pass per photo`, `1+1 passes per photo`; the text above is stored with results and stays as it is."""
        return f"{'1 pass' if str(self) == '1 passes' else self} per photo"


@dataclass(frozen=True, eq=False)
class Maps:
    """What `attribute` returns for B photos and T targets each.

    values: (B, T, h, w) float32 at the method's own resolution, of sequences (B, T, t, h, w); targets: the resolved targets, (B,
    T); logits: (B, C) of the clean photos, float32; extras: further results by name, each (B,), one number per photo, or (B, T,
    ...), one number or array per map.
    """

    values: Tensor
    targets: Resolved
    logits: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)

    def photo(self, row: int) -> Maps:
        """The maps of one photo of the batch, as a batch of one."""
        rows = slice(row, row + 1)
        extras = {name: part[rows] for name, part in self.extras.items()}
        return Maps(self.values[rows], self.targets[rows], self.logits[rows], extras)


@dataclass(frozen=True, kw_only=True)
class Method(Definition):
    """Base class of all attribution methods."""

    needs: ClassVar[Needs] = Needs.FORWARD
    class_specific: ClassVar[bool] = True
    stochastic: ClassVar[bool] = False
    masks_input: ClassVar[bool] = False
    """True if the method only runs masked copies of the photo: it may then run in bf16 under precision `auto`."""
    clean_pass_first: ClassVar[bool] = False
    """True if the first pass is of the clean photo, by the network itself in float32: a target that depends on that pass is then
    fixed on it, without a pass of its own."""
    stepwise: ClassVar[bool] = False
    """True if maps come with `extras["steps"]`, (B, T, L, h, w): how each grew in L steps."""
    of_frames: ClassVar[bool] = False
    """True if it also explains sequences: of a classifier whose view has frames, maps are (B, T, t, h, w), t parts of time."""
    pairwise: ClassVar[bool] = False
    """True if maps come with `extras["pairs"]`: segments whose joint effect is not the sum of their own."""
    decision_only: ClassVar[bool] = False
    """True if the map can only explain the decision: a run that asks for another target is refused."""
    training: ClassVar[type[Definition] | None] = None
    """For a method that is trained, the parameters of its training: `xai train NAME --set KEY=VALUE`."""
    trains_network: ClassVar[bool] = False
    """True if training makes a network, to be used as `--model`, and not an explainer of an existing one."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap what a method defines in `contained`, so that no call can be forgotten."""
        super().__init_subclass__(**options)
        contain_members(cls, ("sign", "cost", "require", "layers_read", "found_for"), "method")
        if "attribute" in vars(cls):
            cls.attribute = checked(cls.attribute)  # type: ignore[method-assign]  # the same signature

    @property
    def sign(self) -> Sign:
        """Whether maps are signed, non-negative or only a ranking."""
        raise TypeError(f"{type(self).__name__} declares no sign")

    @property
    def of_all_features(self) -> bool:
        """Whether the map explains all outputs of a network without classes together, and not one of them."""
        return False

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """Passes per photo; a method whose cost depends on the network reads it from `classifier`, if given."""
        raise TypeError(f"{type(self).__name__} declares no cost")

    def require(self, classifier: Classifier) -> None:
        """Raise XaiError, before any work, if the method cannot run on a classifier although that has all it `needs`.

        A warning for the user that does not stop the run goes to the log `xaicli`; commands show it.
        """

    def with_negative(self, keep: bool) -> Method:
        """The same method with negative values kept, or dropped; itself if no parameter controls that."""
        return self

    def layers_read(self, classifier: Classifier) -> tuple[str, ...]:
        """The names of the layers whose features are read, for the record; none if the method reads no features.

        By default the layer that a parameter `layer` names, or the classifier's feature layer.
        """
        if Needs.FEATURES not in self.needs or classifier.module is None:
            return ()
        return (str(classifier.feature_layer(str(self.parameters_as_given().get("layer", "auto")))),)

    def found_for(self, classifier: Classifier) -> dict[str, str]:
        """What `auto` finds beside the classifier, by parameter, as results count it: a trained checkpoint by its content.

        What the classifier alone determines, such as its feature layer, is not among it.
        """
        return {}

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        """Maps of a batch.

        inputs: (B, 3, H, W) preprocessed, on the classifier's device; targets: the rule for what is explained, to be resolved on
        the logits of the method's own first forward pass; seeds: (B,) int64, one per photo.
        """
        raise TypeError(f"{type(self).__name__} has no attribute()")


class Wrapper(Method):
    """A method with a parameter `base`. Each instance has its own base, so that what a class declares is read from there."""

    base: Method

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        return self.base.needs

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.base.stochastic

    @property
    def masks_input(self) -> bool:  # type: ignore[override]
        return self.base.masks_input

    def require(self, classifier: Classifier) -> None:
        self.base.require(classifier)

    def layers_read(self, classifier: Classifier) -> tuple[str, ...]:
        return self.base.layers_read(classifier)


def content_on(method: Method, classifier: Classifier) -> dict[str, Any]:
    """A method as results of a classifier count it: name, version and parameters, with what `auto` finds in its place.

    Another trained checkpoint makes other maps, so its results are others too, although the method is typed alike.
    """
    content: dict[str, Any] = as_json(method)
    given = {**content["parameters"], **method.found_for(classifier)}
    bases = {name: value for name in given if isinstance(value := getattr(method, name, None), Method)}
    return {**content, "parameters": given | {name: content_on(base, classifier) for name, base in bases.items()}}


LARGEST_MAP = 1 << 24
"""Maximum values of one map: 4096 x 4096."""


def checked(attribute: Callable[..., Maps]) -> Callable[..., Maps]:
    """`attribute`, contained, and with its inputs and maps checked before anybody reads them: maps of inputs that it changed
    would explain another decision."""

    @functools.wraps(attribute)
    def call(self: Method, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        given = {"inputs": inputs, "seeds": seeds}
        before = copies_of(given)
        with contained(f"{self.label} on {classifier.name}"):
            maps = attribute(self, classifier, inputs, targets, seeds)
            if changed := written(given, before):
                raise RunError(
                    f"{self.label} on {classifier.name} changed its {changed[0]} in place",
                    expected=f"a copy to work on, such as {changed[0]}.clone()",
                )
            if fault := fault_of(maps, len(inputs), of_frames=bool(classifier.view.frames)):
                raise RunError(
                    f"{self.label} on {classifier.name} gave {fault}",
                    expected="Maps: values (photos, targets, height, width) in float32, logits (photos, classes)",
                )
            return maps

    return call


def fault_of(maps: object, photos: int, *, of_frames: bool = False) -> str:
    """What is wrong with the maps of that many photos, or of sequences of frames, in words; empty if nothing is."""
    if not isinstance(maps, Maps):
        return type_of(maps)
    of_targets = {name: getattr(maps.targets, name, None) for name in ("classes", "against", "scores")}
    for name, tensor in {"values": maps.values, "logits": maps.logits, **of_targets, **maps.extras}.items():
        if not hasattr(tensor, "detach"):
            return f"{name} that are {type_of(tensor)}"
        if tensor.is_complex():
            return f"complex {name}"
        if len(tensor.shape) == 0 or tensor.shape[0] != photos:
            return f"{name} of shape {tuple(tensor.shape)} for {count(photos, 'photo')}"
    shape = tuple(maps.values.shape)
    if len(shape) != 4 + of_frames or shape[:2] != tuple(maps.targets.classes.shape) or 0 in shape:
        return f"values of shape {shape} for targets of shape {tuple(maps.targets.classes.shape)}"
    if math.prod(shape[2:]) > LARGEST_MAP:
        return f"maps of {' x '.join(map(str, shape[2:]))} values (at most {LARGEST_MAP:,})"
    if not maps.values.is_floating_point():
        return f"values in {str(maps.values.dtype).removeprefix('torch.')}"
    return "" if len(maps.logits.shape) == 2 else f"logits of shape {tuple(maps.logits.shape)}"
