"""The attention of all blocks of a vision transformer in one pass forward, and their maps in one pass back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from xaicli.errors import RunError, UsageError
from xaicli.network.attention import Attention
from xaicli.network.tokens import Layout

FAITHFUL, FAITHFUL_IN_HALF = 1e-5, 1e-3
"""How far the attention that was read may differ from what the network computed, relative to its largest value: in float32, and
in lower precision. Rounding stays below (on a DeiT-Ti 1.6e-6 and, in float16, 3.5e-4); a mask, a norm or a bias that was missed
is far above."""

SMALLEST = 1e-30

DIAGNOSTICS = ("identity_error", "prefix_mass", "contribution")
Rows = Literal["class", "patches"]
Blocks = Literal["all"] | tuple[int, ...]


def unread(name: str, rows: Rows) -> UsageError:
    """The error for a network whose head reads other tokens than those that are followed."""
    if rows == "patches":
        return UsageError(f"daam: the head of {name} reads no patches", hint="Leave rows=patches out.")
    return UsageError(
        f"daam cannot be used with {name}, whose head averages patches and reads no class token",
        hint="Write daam@rows=patches to follow the patches' own attention, a variant beyond the paper.",
    )


def refusal(name: str, why: str) -> UsageError:
    return UsageError(
        f"daam cannot be used with {name}, which {why}",
        expected="a vision transformer whose tokens all attend to each other, and whose head reads a class token",
        hint="Try grad-cam.",
    )


class AttentionFlow:
    """The attention of all blocks, read in one forward pass, and their maps, made in one backward pass per target.

    No block keeps more than the pass itself does: probabilities are worked out for the rows that are followed when a block's
    gradient arrives, one scalar a head and token, and then the block is let go. rows: whose attention is followed, the class
    token's or the patches'; blocks: which are asked for; clip: channels that speak against the target count nothing.
    """

    def __init__(self, layout: Layout, photos: int, rows: Rows, blocks: Blocks, *, clip: bool) -> None:
        self.layout, self.photos = layout, photos
        self.followed, self.wanted, self.clip = rows, blocks, clip
        self.tokens = layout.prefix + layout.grid[0] * layout.grid[1]
        self.rows = slice(0, layout.prefix) if rows == "class" else slice(layout.prefix, self.tokens)
        self.blocks: dict[int, Attention] = {}
        self.count = self.others = 0
        self.hooks: list[RemovableHandle] = []
        self.maps: dict[int, Tensor] = {}
        self.told: dict[int, dict[str, Tensor]] = {}
        self.read: Tensor | None = None
        self.others_read: Tensor | None = None
        self.faithful = FAITHFUL
        self.last = False

    def close(self) -> None:
        """Free all blocks: they and the graph keep each other alive through the hooks."""
        for hook in self.hooks:
            hook.remove()
        self.blocks.clear()

    def receive(self, attention: Attention) -> None:
        """Keep an attention if it belongs to a block: of all photos, from every token to every token. Others are counted."""
        output = attention.output
        if (output.shape[0], output.shape[-2], attention.value.shape[-2]) != (self.photos, self.tokens, self.tokens):
            self.others += 1
            return
        if output.dtype in (torch.float16, torch.bfloat16):
            self.faithful = FAITHFUL_IN_HALF
        if output.requires_grad:
            self.hooks.append(output.register_hook(partial(self.arrive, self.count)))
        self.blocks[self.count] = attention
        self.count += 1

    def require(self, name: str, scores: Tensor) -> None:
        """Raise if there is nothing to follow: no block, no prefix token, no gradient, or a block that does not exist."""
        if not self.blocks:
            raise refusal(name, "shows no attention of every token to every token")
        if self.layout.prefix == 0 and self.followed == "class":
            raise unread(name, self.followed)
        if not (scores.requires_grad and self.hooks):
            raise RunError(f"{name} passes no gradients to its blocks", hint="Use a method that needs the forward pass alone.")
        for block in () if self.wanted == "all" else self.wanted:
            if not -self.count <= block < self.count:
                raise UsageError(f"daam: {name} has no block {block}", expected=f"0 to {self.count - 1}")

    def require_faithful(self, name: str) -> None:
        """Raise if the head does not read the rows that were followed, or if the attention is not what the network computed."""
        if self.read is not None and self.others_read is not None and self.others_read and not self.read.any():
            raise unread(name, self.followed)
        worst = max((float(told["identity_error"].nan_to_num().max()) for told in self.told.values()), default=0.0)
        if worst > self.faithful:
            raise RunError(
                f"the attention read from {name} is off what it computes by {worst:.1g}",
                expected=f"at most {self.faithful:g}",
                hint="Its attention is of a kind that daam does not know, or its precision is lower than its type (TF32).",
            )

    def follow(self, score: Tensor, *, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps (B, L, h, w) of the blocks that count, for one score per photo (B,), and the diagnostics of each block, (B, L)."""
        self.maps, self.read, self.last = {}, None, last
        torch.autograd.grad(score.sum(), self.blocks[0].output, retain_graph=not last, materialize_grads=True)
        wanted: Sequence[int] = range(self.count)
        if self.wanted != "all":
            chosen = {block % self.count for block in self.wanted}
            wanted = [block for block in wanted if block in chosen]
        # A block from which no path leads to the target gave nothing to it.
        nothing = torch.zeros(self.photos, *self.layout.grid, device=score.device)
        maps = torch.stack([self.maps.get(block, nothing) for block in wanted], dim=1)
        silent = dict.fromkeys(DIAGNOSTICS, torch.zeros(self.photos, device=score.device))
        told = [self.told.get(block, silent) for block in wanted]
        return maps, {name: torch.stack([one[name] for one in told], dim=1) for name in DIAGNOSTICS}

    def arrive(self, block: int, gradient: Tensor) -> None:
        """Make a block's map as the gradient (B, heads, N, d) at its attention's output arrives, the last block's first."""
        attention = self.blocks.pop(block) if self.last else self.blocks[block]
        if self.read is None:
            self.look_at(gradient)
        assert self.read is not None
        # After the last block tokens do not mix: the head does not read rows without a gradient there.
        coefficients = gradient[:, :, self.rows].float() * self.read[:, None]
        values, probabilities = attention.value.detach().float(), attention.probabilities(self.rows).detach()
        sums = attention.output.detach()[:, :, self.rows].float()
        self.told[block] = self.look_into(probabilities, probabilities @ values, sums, coefficients)
        coefficients = coefficients.relu() if self.clip else coefficients
        # One scalar a head, row and token; S itself, one a channel, is never made.
        products = probabilities * (coefficients @ values.transpose(-2, -1))
        self.maps[block] = products.sum(dim=(1, 2))[:, self.layout.prefix :].unflatten(1, self.layout.grid)

    def look_at(self, gradient: Tensor) -> None:
        """Which of the followed rows the head reads, as 0 or 1, measured where the gradient arrives first."""
        seen = ((gradient != 0) & gradient.isfinite()).any(dim=3).any(dim=1).any(dim=0)
        self.read = seen[self.rows].float()
        self.others_read = seen.any()

    def look_into(self, probabilities: Tensor, made: Tensor, sums: Tensor, coefficients: Tensor) -> dict[str, Tensor]:
        """The diagnostics of a block, each (B,): `made`, computed from what was read, (B, heads, rows, d), should equal
        `sums`."""
        assert self.read is not None
        error = (made - sums).abs().amax(dim=(1, 2, 3)) / sums.abs().amax(dim=(1, 2, 3)).clamp_min(SMALLEST)
        on_prefix = probabilities[..., : self.layout.prefix].sum(dim=-1).mean(dim=1) @ self.read / self.read.sum().clamp_min(1)
        return dict(zip(DIAGNOSTICS, (error, on_prefix, (coefficients * sums).sum(dim=(1, 2, 3))), strict=True))
