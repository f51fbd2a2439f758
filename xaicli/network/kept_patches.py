"""A vision transformer on part of a photo's patches: the others are left out of the sequence of tokens.

Where every token attends to every token, a sequence without some patches gives what the whole one gives when no attention sees
them: nothing stands in their place, and the sequence is shorter. Positions are added before, so that patches keep their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.errors import RunError, UsageError, is_out_of_memory
from xaicli.network.attention import Attention, reading_attention
from xaicli.network.classifier import Classifier
from xaicli.network.hidden_tokens import hiding_tokens
from xaicli.network.layers import FeatureLayer
from xaicli.network.modes import eval_mode
from xaicli.network.suffix import Suffix, suffix
from xaicli.network.tokens import Axes, Layout

Removed = Literal["pixels", "tokens"]
REMOVE_HELP = "what is hidden: pixels are painted over; `tokens`, of vision transformers: patches are left out of the sequence"
TOLERANCE = 1e-4
"""Of the largest logit: how far passes on part of the patches may be off passes in which attention does not see the others."""


@dataclass(frozen=True, eq=False)
class KeptPatches:
    """The passes of one photo on part of its patches. logits: (1, C), of all of them."""

    rest: Suffix
    layout: Layout

    @property
    def logits(self) -> Tensor:
        return self.rest.logits

    def __call__(self, kept: Tensor) -> Tensor:
        """Logits (n, C) of n sequences; kept: (n, patches) bool, the same number of patches in each."""
        count, tokens = len(kept), self.rest.activation
        patches = kept.nonzero()[:, 1].view(count, -1) + self.layout.prefix
        ends = [torch.arange(self.layout.prefix), torch.arange(tokens.shape[1] - self.layout.trailing, tokens.shape[1])]
        first, last = (end.to(tokens.device).expand(count, -1) for end in ends)
        return self.rest(tokens[0, torch.cat([first, patches, last], dim=1)])


@contextmanager
def kept_patches(classifier: Classifier, photo: Tensor, what: str) -> Iterator[KeptPatches]:
    """The passes of a photo (1, 3, H, W) on part of its patches, without gradients, in float32.

    Tried first on every other patch, against a pass in which attention does not see the rest. Raises UsageError, in the name of
    `what`, for a network that is no vision transformer in which every token attends to every token and a class token is read.
    """
    layout = patch_layout(classifier, what)
    with eval_mode(classifier.module), suffix(classifier, first_block(classifier, photo, layout, what), photo) as rest:
        passes = KeptPatches(rest, layout)
        if not keeps_its_word(passes, classifier, photo):
            raise refused(classifier, what)
        yield passes


def require_patches(classifier: Classifier, what: str) -> None:
    """Raise UsageError, in the name of `what`, unless patches can be left out of this network: tried on noise."""
    noise = torch.randn(1, classifier.view.channels, *classifier.view.size, generator=torch.Generator().manual_seed(0))
    with kept_patches(classifier, noise.to(classifier.device), what):
        pass


def patch_layout(classifier: Classifier, what: str) -> Layout:
    """The layout of the tokens; raises UsageError where the network's features are no tokens with others in front."""
    refusal = refused(classifier, what)
    if classifier.module is None or classifier.of_places:
        raise refusal
    layout = classifier.default_layer.layout
    if layout.axes is not Axes.TOKENS or layout.frames or layout.prefix == 0:
        raise refusal
    return layout


def first_block(classifier: Classifier, photo: Tensor, layout: Layout, what: str) -> FeatureLayer:
    """The first block of the transformer: what enters it are the tokens, with their positions."""
    found: list[Attention] = []
    with torch.no_grad(), reading_attention(classifier.torch_module, found.append):
        classifier(photo)
    tokens = layout.prefix + layout.grid[0] * layout.grid[1] + layout.trailing
    if not found or any(attention.value.shape[-2] != tokens for attention in found):
        raise refused(classifier, what)
    # The outermost module around the first attention and no other.
    path = found[0].name.split(".")
    heads = [".".join(path[: depth + 1]) for depth in range(len(path))]
    alone = [head for head in heads if not any(f"{other.name}.".startswith(f"{head}.") for other in found[1:])]
    if not alone or not alone[0]:
        raise refused(classifier, what)
    module = classifier.torch_module.get_submodule(alone[0])
    return FeatureLayer(alone[0], module, "input", layout, found[0].value.shape[-1])


def keeps_its_word(passes: KeptPatches, classifier: Classifier, photo: Tensor) -> bool:
    """Whether sequences without every other patch, and without any, give what attention that does not see them gives."""
    count = passes.layout.grid[0] * passes.layout.grid[1]
    every_other = torch.arange(count, device=photo.device) % 2 == 0
    for kept in (every_other, torch.zeros_like(every_other)):
        seen = kept.new_ones(passes.layout.prefix + count + passes.layout.trailing)
        seen[passes.layout.prefix : passes.layout.prefix + count] = kept
        with torch.no_grad(), hiding_tokens(classifier.torch_module, seen):
            expected = classifier(photo)
        try:
            given = passes(kept[None])
        except (RuntimeError, ValueError, RunError) as error:
            if is_out_of_memory(error):
                raise
            return False
        near = TOLERANCE * expected.abs().max().clamp_min(1.0)
        if not bool(((given - expected).abs() <= near).all()):
            return False
    return True


def refused(classifier: Classifier, what: str) -> UsageError:
    return UsageError(
        f"{what}: no patches can be left out of {classifier.name}",
        expected="a vision transformer with a class token, in which every token attends to every token",
        hint="Leave remove out.",
    )
