"""LFI networks: any convolutional classifier with a feature importance branch (Lee et al., ICCV 2021, section 3).

The branch looks at the last feature map F and at the input, and gives an attention A. What follows the feature map gets
(1 + A) F in its place: A is both the explanation and a gate, learned from the labels alone. The classifier's own code runs as it
is; a hook that stands for the length of one forward pass puts the gate where it belongs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from xaicli.errors import InputError, UsageError
from xaicli.methods.lfi.feature_importance import FeatureImportance, Importance
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import FeatureLayer, default_layer, feature_layer, named_layer
from xaicli.network.nested import altering
from xaicli.network.tokens import Axes, Side
from xaicli.network.trace import NetworkTrace

Gate = Literal["authors", "post_act"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """The place where a network is gated: the layer's dotted path, its side and its channels; rectified: the network applies a
    functional ReLU to it, and the gate comes after that ReLU."""

    layer: str
    side: Side = "output"
    channels: int
    rectified: bool = False


class LFINetwork(nn.Module):
    """A classifier with a feature importance branch: called with inputs (B, 3, H, W) it gives logits (B, C).

    network: the classifier; site: where its last feature map is; branch: what gives the attention. Raises InputError where the
    network has no such layer.
    """

    def __init__(self, network: nn.Module, site: Site, importance: Importance = Importance()) -> None:
        super().__init__()
        if site.layer not in dict(network.named_modules()):
            raise InputError(f"{type(network).__name__} has no layer {site.layer}", expected="the network that the branch is of")
        self.network = network
        self.site = site
        self.branch = FeatureImportance(site.channels, importance)
        # A twin for rules of gradients has another module in the branch's place.
        self.plain = importance.plain

    def forward(self, inputs: Tensor) -> Any:
        with self.gated(inputs):
            return self.network(inputs)

    @contextmanager
    def gated(self, inputs: Tensor) -> Iterator[None]:
        """Inside the `with`, the features at the site are multiplied by 1 + A, or get what a plain branch adds."""
        layer = self.network.get_submodule(self.site.layer)

        def gate(tensor: Tensor) -> Tensor:
            features = tensor.relu() if self.site.rectified else tensor
            if self.plain:
                return features + self.branch(features, inputs).to(features.dtype)
            return features * (1 + self.branch(features, inputs).unsqueeze(1)).to(features.dtype)

        with altering(layer, self.site.side, gate):
            yield


def with_branch(
    network: nn.Module,
    size: tuple[int, int],
    importance: Importance = Importance(),
    *,
    gate: Gate = "authors",
    layer: str = "auto",
) -> LFINetwork:
    """`network` with a new branch at its last feature map, or at the layer that is named, on the network's device.

    size: height and width of inputs; gate: where a network normalises its last features only after they were added or joined up
    (DenseNet, ResNet V2), before that, as the authors do, or after its activation. A network that has a branch keeps it if it
    is built alike, else it gets a new one in its place. Raises UsageError for a transformer, InputError where there is no feature
    map.
    """
    plain = network.network if isinstance(network, LFINetwork) else network
    site = find_site(plain, size, gate, layer if plain is network else layer.removeprefix("network."))
    if isinstance(network, LFINetwork) and (network.site, network.branch.importance) == (site, importance):
        return network
    made = LFINetwork(plain, site, importance)
    parameter = next(network.parameters(), None)
    return made if parameter is None else made.to(parameter.device)


def find_site(network: nn.Module, size: tuple[int, int], gate: Gate = "authors", name: str = "auto") -> Site:
    """The place of the last feature map, with its channels."""
    trace = dry_run(network, size)
    layer = default_layer(trace) if name == "auto" else named_layer(trace, name)
    if layer.layout.axes is not Axes.CHANNELS_FIRST:
        raise UsageError(
            f"lfi-cam: the last features of {type(network).__name__} are laid out as {layer.layout.axes.value}",
            expected="a convolutional network with a last feature map",
            hint="For transformers train t-tame, or use daam, which needs no training.",
        )
    if layer.call is not None:
        raise UsageError(f"lfi-cam: layer {layer} runs more than once in a pass", hint="Choose a network whose layers run once.")
    if gate == "authors" and layer.side == "output" and joins_before(trace, layer):
        layer = feature_layer(trace, trace.layers[layer.name], "input")
    return Site(layer=layer.name, side=layer.side, channels=layer.channels, rectified=layer.rectified)


def joins_before(trace: NetworkTrace, layer: FeatureLayer) -> bool:
    """Whether the layer normalises a sum or concatenation, not the output of a single convolution."""
    norm = trace.layers[layer.name]
    if not isinstance(layer.module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm) or trace.layout(norm, "input") is None:
        return False
    convolutions = [other for other in trace.layers.values() if isinstance(other.module, nn.Conv2d)]
    return all(norm.numbers["input"] != convolution.numbers["output"] for convolution in convolutions)


def described(network: LFINetwork) -> dict[str, Any]:
    """What `restored` needs to wrap a network of the same architecture again, in plain JSON types."""
    return {"site": dataclasses.asdict(network.site), "importance": dataclasses.asdict(network.branch.importance)}


def restored(network: nn.Module, description: Mapping[str, Any]) -> LFINetwork:
    """`network` with a branch as `described`; its weights are still to be loaded. Raises InputError where the two do not fit."""
    try:
        site, importance = Site(**description["site"]), Importance(**description["importance"])
        return LFINetwork(network, site, importance)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the record of the branch is damaged: {error}", expected="a network of xai train lfi-cam") from error


def branch_of(module: nn.Module | None) -> FeatureImportance | None:
    """The feature importance branch inside a network; None if it has none."""
    parts = () if module is None else module.modules()
    return next((part.branch for part in parts if isinstance(part, LFINetwork)), None)


@contextmanager
def reading(branch: FeatureImportance) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Keep the branch's input (B, K, h, w) and its attention (B, h, w) from each pass inside the `with`, without a graph."""
    kept: list[tuple[Tensor, Tensor]] = []
    hook = branch.register_forward_hook(lambda _, args, output: kept.append((args[0].detach(), output.detach())))
    try:
        yield kept
    finally:
        hook.remove()
