"""What deletion and insertion take from a photo: pixels, which a baseline replaces, or patches, in whose place nothing stands."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.network.kept_patches import patch_layout
from xaicli.scoring import ranking
from xaicli.scoring.case import Case
from xaicli.scoring.copies import Copies, replaced, without_patches
from xaicli.scoring.photo import AnyScoreBaseline
from xaicli.scoring.ranking import Ties


@dataclass(frozen=True)
class PaintedPixels:
    """Pixels of the photo of each item of a case, replaced by a baseline."""

    case: Case
    baseline: AnyScoreBaseline

    @property
    def grid(self) -> tuple[int, ...]:
        """The axes of what is removed: rows and columns, of a sequence after its frames."""
        return self.case.places

    @property
    def tied(self) -> Tensor:
        """The share (N,) of places with the same saliency as another."""
        return self.case.tied

    def ranks(self, ties: Ties) -> Tensor:
        """The rank of each place in descending order of saliency: (N, *grid) int32."""
        made = {Ties.SEEDED: "ranks", Ties.REVERSED: "reversed_ranks", Ties.AUTHORS: "authors_ranks"}
        ranks: Tensor = getattr(self.case, made[ties])
        return ranks

    def bare(self) -> list[Copies]:
        """One copy per item without anything of the photo."""
        return self.case.baseline_copies(self.baseline)

    def copies(self, item: int, ranks: Tensor, taken: Tensor, *, insert: bool) -> Copies:
        """Copies of the photo without, or with nothing but, the `taken` (K,) most salient places."""
        photo, instead = self.case.photo(item), self.case.baseline(item, self.baseline)
        first, rest = (photo, instead) if insert else (instead, photo)
        return replaced(item, ranks, taken, first, rest)


@dataclass(frozen=True)
class LeftOutPatches:
    """Patches of the photo of each item of a case, left out of a vision transformer's sequence. what: the metric's label."""

    case: Case
    what: str

    @property
    def grid(self) -> tuple[int, int]:
        return patch_layout(self.case.classifier, self.what).grid

    @property
    def saliency(self) -> Tensor:
        """The map's own values where it has one a patch, else its mean over each patch: (N, rows, columns)."""
        own = self.case.maps
        if tuple(own.shape[1:]) == self.grid:
            return own
        return torch.nn.functional.adaptive_avg_pool2d(self.case.upsampled, self.grid)

    @property
    def tied(self) -> Tensor:
        return ranking.tied_share(self.saliency)

    def ranks(self, ties: Ties) -> Tensor:
        return ranking.ranks(self.saliency, self.case.seeds, ties)

    def bare(self) -> list[Copies]:
        none = torch.zeros(1, self.grid[0] * self.grid[1], dtype=torch.bool, device=self.case.device)
        return [without_patches(item, none, shared=("baseline", "tokens")) for item in range(len(self.case))]

    def copies(self, item: int, ranks: Tensor, taken: Tensor, *, insert: bool) -> Copies:
        shown = ranks.flatten() < taken[:, None]
        return without_patches(item, shown if insert else ~shown)


Removal = PaintedPixels | LeftOutPatches
