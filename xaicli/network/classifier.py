"""The one type of model that methods and metrics see."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from xaicli.errors import RunError, UsageError
from xaicli.images.view import View
from xaicli.needs import Needs
from xaicli.network.box_similarity import FixedBoxes
from xaicli.network.known_layers import KnownLayers
from xaicli.network.layers import Cuts, FeatureLayer, LayerRow
from xaicli.network.modes import eval_mode
from xaicli.network.proposals import Decoding, Proposals
from xaicli.network.raw_output import read_outputs
from xaicli.network.reference import Reference
from xaicli.network.regions import FixedRegion, OpenRegion, two_classes
from xaicli.network.sequences import SequenceNetwork
from xaicli.network.trace import NetworkTrace
from xaicli.outputs import Outputs
from xaicli.words import count


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier: called with a batch (B, channels, H, W), preprocessed, it gives logits (B, C) in float32.

    forward: the network as a function; module: the same as a torch module, None for a black box; name: its specification in
    canonical form; view: resize, crop, mean and standard deviation; classes: names by index, synonyms separated by commas, may be
    empty; count: number of outputs C; provides: what methods may ask of it; fingerprint: hash of architecture, weights, view and
    what the network computes; weights_fingerprint: the same without what the network computes, by which trained explainers
    recognise their network; outputs: one softmax, one sigmoid per output, or values; features: the network has no head, so that
    its outputs are features, none of which is a decision, although they are read like classes; output_name: the entry to take of
    a tuple or dict; pixels: of a network that gives a class map (B, C, H, W), what the outputs of a pixel are, None for all
    others; region: the part of the class map that one photo's outputs are of; decoding: of a detector, how its outputs become
    boxes; boxes: those of the clean photo that one photo's outputs are of; probabilities: True if the network itself ends in the
    softmax or sigmoid, which is then undone here; masked_dtype: the precision of passes that only mask the input; batch_size:
    maximum inputs per pass, None for what the device takes best; inconsistency: why the outputs for a photo depend on more than
    that photo, in words, empty if they do not; copies_input: the network writes into its input and is therefore given a copy;
    engine: what runs passes without gradients, `auto`, `torch`, `compile`, `openvino` or `onnxruntime`; engines_used: names and
    versions of those other than torch that did, to be cleared by whoever wants to know; expected_passes: passes without gradients
    in the whole run, 0 if unknown; reference: the embedding of another photo, to which those of this network, its outputs, are
    compared; cuts: finds the tensors at which an exported network can be cut; known: what was looked up of the network's layers.
    """

    forward: Callable[[Tensor], Tensor] = field(repr=False)
    module: nn.Module | None = field(repr=False)
    name: str
    view: View
    classes: tuple[str, ...] = field(repr=False)
    count: int
    provides: Needs
    fingerprint: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    outputs: Outputs = Outputs.SOFTMAX
    features: bool = False
    output_name: str = ""
    pixels: Outputs | None = None
    region: FixedRegion | OpenRegion | None = field(default=None, repr=False)
    decoding: Decoding | None = field(default=None, repr=False)
    boxes: FixedBoxes | None = field(default=None, repr=False)
    probabilities: bool = False
    layer: str = "auto"
    masked_dtype: torch.dtype = torch.float32
    batch_size: int | None = None
    weights_fingerprint: str = ""
    inconsistency: str = ""
    copies_input: bool = False
    engine: str = field(default="auto", repr=False)
    engines_used: set[str] = field(default_factory=set, repr=False)
    expected_passes: float = 0
    reference: Reference | None = field(default=None, repr=False)
    cuts: Cuts | None = field(default=None, repr=False)
    known: KnownLayers | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.weights_fingerprint:
            object.__setattr__(self, "weights_fingerprint", self.fingerprint)
        at = self.view.size, self.traced_channels
        layers = KnownLayers(self.module, self.name, *at, self.decoding, self.output_name, self.of_places)
        # A copy of a classifier, made for a photo or a precision, keeps what is known as long as it has the same network.
        if self.known is None or not self.known.fits(layers):
            object.__setattr__(self, "known", layers)

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.logits(self.run(inputs), len(inputs))

    def run(self, inputs: Tensor) -> object:
        """What the network returns for a batch in evaluation mode; the batch itself is not changed. Runs photo by photo if the
        decoding of boxes demands it."""
        inputs = inputs.clone() if self.copies_input else inputs
        with self.evaluating():
            if self.decoding is not None and self.decoding.one_by_one:
                return [self.forward(photo[None]) for photo in inputs]
            return self.forward(inputs)

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode for a network that keeps another between passes, as one that was handed in may."""
        parts = () if self.module is None else (self.module, *self.module.children())
        return eval_mode(self.module) if any(part.training for part in parts) else nullcontext()

    def masked(self, inputs: Tensor) -> Tensor:
        """Logits of masked copies of photos, computed in `masked_dtype` whatever the caller's autocast; no gradients."""
        half = self.masked_dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=self.masked_dtype if half else None, enabled=half):
            return self(inputs)

    def logits(self, output: object, photos: int) -> Tensor:
        """What the network returned for B photos as float32 logits (B, C); raises RunError where it is something else.

        A single yes-or-no output x becomes two labels, (-x, x): "not it" and "it", each with its own probability.
        """
        if self.decoding is not None:
            return self.of_boxes(self.decoding.read(output, photos, self.name))
        read = read_outputs(output, photos, self.name, self.output_name)
        if self.reference is not None:
            return self.reference.read(read)
        if (read.ndim == 4) is (self.pixels is None):
            raise RunError(
                f"{self.name} returned a tensor of shape {tuple(read.shape)}; its output had another form when it was loaded"
            )
        if self.pixels is not None:
            return self.of_region(two_classes(read))
        if self.count and read.shape[1] != self.count and (read.shape[1], self.outputs) != (1, Outputs.SIGMOID):
            raise RunError(f"{self.name} gave {count(read.shape[1], 'output')}; it had {self.count} when it was loaded")
        if self.probabilities:
            read = self.outputs.undo(read)
        return torch.cat([-read, read], dim=1) if self.outputs is Outputs.SIGMOID and read.shape[1] == 1 else read

    def class_map(self, inputs: Tensor) -> Tensor:
        """The class map (B, C, H, W) of a network that gives one: logits in float32."""
        return two_classes(read_outputs(self.run(inputs), len(inputs), self.name, self.output_name))

    def of_region(self, class_map: Tensor) -> Tensor:
        """Outputs (B, 3C) of the region of this classifier's photo; raises RunError where none is fixed."""
        if self.region is None or self.pixels is None:
            raise RunError(f"{self.name} gives a class map: name a region of it", hint="Give --target CLASS@region=predicted.")
        region = self.region.fixed_on(class_map, self.pixels)
        before, now = tuple(region.cells.shape), tuple(class_map.shape[2:])
        if now != before:
            raise RunError(f"{self.name} gave a class map of {now}; it was {before} before")
        return region.read(class_map, self.pixels)

    def proposals(self, inputs: Tensor) -> Proposals:
        """All that a detector proposes for a batch; raises RunError for another model."""
        if self.decoding is None:
            raise RunError(f"{self.name} gives no boxes", expected="a detector")
        return self.decoding.read(self.run(inputs), len(inputs), self.name)

    def of_boxes(self, proposals: Proposals) -> Tensor:
        """Outputs (B, 2T) of the T boxes of this classifier's photo; raises RunError where none are fixed."""
        if self.boxes is None:
            raise RunError(f"{self.name} gives boxes: name one of them", hint="Give --target box:0.")
        return self.boxes.read(proposals)

    def for_boxes(self, boxes: FixedBoxes, names: tuple[str, ...]) -> Classifier:
        """The detector as a classifier of T boxes of one photo, each with a name."""
        return dataclasses.replace(self, boxes=boxes, classes=names, count=len(boxes), outputs=Outputs.BOXES)

    def for_region(self, region: FixedRegion | OpenRegion) -> Classifier:
        """The network as a classifier of one region of its class map."""
        return dataclasses.replace(self, region=region, outputs=Outputs.REGION)

    def region_of(self, target: int) -> Tensor | None:
        """The part of the photo to which a target belongs, bool (h, w) over the input at any resolution; None: all of it."""
        if self.boxes is not None:
            return self.boxes.mask(target, self.view.size)
        return None if self.region is None else self.region.cells

    def class_of(self, target: int) -> int:
        """The class of a target: for a box, the class of the box; otherwise the target itself."""
        return target if self.boxes is None else int(self.boxes.labels[target])

    def feature_layer(self, name: str = "auto") -> FeatureLayer:
        """The layer of that name, or the one found for this network; raises UsageError for a wrong name, InputError if none is
        found."""
        wanted = self.layer if name == "auto" else name
        if wanted == "auto":
            return self.default_layer
        return self.layers_known.layer(wanted)

    @property
    def of_places(self) -> bool:
        """Whether the network gives a class map or boxes, so that features are looked for in its encoder alone."""
        return self.pixels is not None or self.decoding is not None

    def refuse_places(self, what: str) -> None:
        """Raise UsageError where `what` needs one number per class and photo, and the network says something of places."""
        if self.of_places:
            given = "boxes" if self.pixels is None else "a class map"
            found = f"{what} needs one number per class, but {self.name} gives {given}"
            raise UsageError(found, hint="Choose an image classifier.")

    @property
    def layers_known(self) -> KnownLayers:
        """What is known of the network's layers."""
        assert self.known is not None
        return self.known

    @property
    def traced_channels(self) -> int:
        """The channels of the inputs on which layers are looked up: of a network of sequences, all its frames'."""
        if isinstance(self.module, SequenceNetwork):
            return self.module.traced_frames * len(self.view.mean)
        return self.view.channels

    @property
    def default_layer(self) -> FeatureLayer:
        return self.layers_known.default

    def layers(self) -> list[LayerRow]:
        """Every layer that runs; of an exported network the tensors at which it can be cut."""
        return self.layers_known.rows() if self.cuts is None else self.cuts()

    @property
    def branches(self) -> tuple[str, ...]:
        """The last layers of the branches beside the layer that is found for this network; see `parallel_branches`. Empty for a
        class map or boxes, of whose stages each has a layer of its own."""
        return () if self.of_places else self.layers_known.branches

    @property
    def trace(self) -> NetworkTrace:
        """What a dry run of the network shows at inputs of the view's size; run once."""
        return self.layers_known.trace

    def stages(self, names: tuple[str, ...]) -> tuple[FeatureLayer, ...]:
        """Several layers by name, as trainable attention reads them: each needs a grid, but no gradient. Raises UsageError."""
        return self.layers_known.stages_of(names)

    @property
    def torch_module(self) -> nn.Module:
        """The network as a torch module; raises RunError for a black box (the `needs` of a method rule that out beforehand)."""
        if self.module is None:
            raise RunError(f"{self.name} is a black box: no layers", hint="Use a method that needs the forward pass alone.")
        return self.module

    def class_name(self, index: int) -> str:
        """The name of a class that is shown: its first name; all its names if another class has the same first name, with the
        index if that is still ambiguous; the index alone if the model has no names, `feature 7` if it has no classes."""
        if self.features:
            return f"feature {index}"
        return self.shown_names[index] if index < len(self.shown_names) else str(index)

    @cached_property
    def shown_names(self) -> tuple[str, ...]:
        """One name for each class, no two alike."""
        first = [names.split(",")[0].strip() for names in self.classes]
        seen, whole = Counter(first), Counter(self.classes)
        shown = (one if seen[one] == 1 else names.strip() for one, names in zip(first, self.classes, strict=True))
        return tuple(
            name if whole[names] == 1 else f"{name} ({index})"
            for index, (name, names) in enumerate(zip(shown, self.classes, strict=True))
        )

    def with_masked_dtype(self, dtype: torch.dtype) -> Classifier:
        return dataclasses.replace(self, masked_dtype=dtype)
