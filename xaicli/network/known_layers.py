"""What was looked up of a network's layers, which takes passes of its own: once, for all classifiers of that network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn

from xaicli.containment import contained
from xaicli.errors import RunError
from xaicli.network.branches import parallel_branches
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import FeatureLayer, LayerRow, default_layer, list_layers, named_layer
from xaicli.network.proposals import Decoding
from xaicli.network.raw_output import read_outputs
from xaicli.network.sequences import SequenceNetwork
from xaicli.network.stages import named_stages
from xaicli.network.trace import NetworkTrace


@dataclass(eq=False)
class KnownLayers:
    """The layers of a network, each looked up when it is first asked for. A classifier and its copies for single photos, targets
    or precisions share it.

    module: the network, None for a black box; name: in errors; size: (height, width) of its inputs; channels: of its inputs;
    decoding: how boxes are read of a detector; output_name: the entry of its output that is read; of_places: it gives a class
    map or boxes, so that features are looked for in its encoder alone.
    """

    module: nn.Module | None
    name: str
    size: tuple[int, int]
    channels: int
    decoding: Decoding | None = None
    output_name: str = ""
    of_places: bool = False
    named: dict[str, FeatureLayer] = field(default_factory=dict)
    stages: dict[tuple[str, ...], tuple[FeatureLayer, ...]] = field(default_factory=dict)

    def fits(self, other: KnownLayers) -> bool:
        """Whether the other is of the same network and inputs, so that its layers are these."""
        return all(
            ours is theirs if one.name in ("module", "decoding") else ours == theirs
            for one in dataclasses.fields(self)
            if one.name not in ("named", "stages")
            for ours, theirs in [(getattr(self, one.name), getattr(other, one.name))]
        )

    @cached_property
    def trace(self) -> NetworkTrace:
        """What a dry run of the network shows; raises RunError for a black box."""
        module = self.module
        if module is None:
            raise RunError(f"{self.name} is a black box: no layers", hint="Use a method that needs the forward pass alone.")
        with contained(f"{self.name}, in a dry run,"):
            if isinstance(module, SequenceNetwork):
                return dry_run(module.network, self.size, self.channels, self.outputs, enter=module.enter)
            if self.decoding is None:
                return dry_run(module, self.size, self.channels, self.outputs)
            read = dataclasses.replace(self.decoding, one_by_one=False).read
            return dry_run(module, self.size, self.channels, lambda output: read(output, 1, self.name).scores)

    def outputs(self, output: object) -> Tensor:
        """The outputs for one photo, the same entry of a tuple or dict that is read of the classifier."""
        return read_outputs(output, 1, self.name, self.output_name)

    @cached_property
    def default(self) -> FeatureLayer:
        """The layer that is found for this network; raises InputError if none is."""
        with contained(f"{self.name}, when its feature layer was looked for,"):
            return default_layer(self.trace, encoder=self.of_places)

    @cached_property
    def branches(self) -> tuple[str, ...]:
        """The last layers of the branches beside that layer; see `parallel_branches`."""
        return parallel_branches(self.trace, self.default)

    def layer(self, name: str) -> FeatureLayer:
        """The layer of that name; raises UsageError for a wrong one."""
        if name not in self.named:
            with contained(f"{self.name}, when its layer {name} was looked up,"):
                self.named[name] = named_layer(self.trace, name)
        return self.named[name]

    def stages_of(self, names: tuple[str, ...]) -> tuple[FeatureLayer, ...]:
        """Several layers by name, none of which needs a gradient; raises UsageError for a wrong one."""
        if names not in self.stages:
            with contained(f"{self.name}, when its layers were looked up,"):
                self.stages[names] = named_stages(self.trace, names)
        return self.stages[names]

    def rows(self) -> list[LayerRow]:
        """Every layer that runs."""
        with contained(f"{self.name}, when its layers were listed,"):
            return list_layers(self.trace, encoder=self.of_places)
