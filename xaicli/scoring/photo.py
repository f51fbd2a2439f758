"""The photo whose maps are scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from xaicli.images.truth import PhotoTruth
from xaicli.network.classifier import Classifier
from xaicli.passes.seeds import photo_seed
from xaicli.scoring.removal import ScoreBaseline, score_baselines
from xaicli.stamps import subject_stamp

AnyScoreBaseline: TypeAlias = ScoreBaseline | Literal["rise-blur"]

SEEDS_OF_SCORES = "scores"
"""The name from which the seed of scores is derived: one seed per photo for all methods and metrics, so that their scores are
paired."""


@dataclass(frozen=True, eq=False)
class ScoredPhoto:
    """One photo as a classifier sees it.

    image: its path as given; content: SHA-256 of its bytes in hex; frame: of a file that holds several; input: (3, H, W), of a
    sequence (3 F, H, W), preprocessed, on the classifier's device; seed: the run's; truth: its marks, None if it is not
    annotated.
    """

    classifier: Classifier
    image: str
    content: str
    frame: int
    input: Tensor
    seed: int = 0
    truth: PhotoTruth | None = None
    made: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.input.shape[1], self.input.shape[2]

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of what can be removed: (H, W), the pixels of a photo, or (F, H, W), those of all frames of a sequence."""
        frames = self.classifier.view.frames
        return (frames, *self.size) if frames else self.size

    def seed_for(self, name: str) -> int:
        """The seed under which a method of that name explains the photo."""
        return photo_seed(self.seed, self.content, self.frame, name)

    @property
    def score_seed(self) -> int:
        """The seed of all random numbers in scoring."""
        return self.seed_for(SEEDS_OF_SCORES)

    def subject(self, target: str, partner: str = "") -> str:
        """The subject stamp of a score for a canonical target; partner: the photo whose map is scored, if it is another photo."""
        return subject_stamp(self.content, self.frame, self.classifier.fingerprint, target, partner)

    def baseline(self, kind: AnyScoreBaseline) -> Tensor:
        """The baseline that replaces removed pixels: (3, H, W), as `removal.score_baselines` defines it; made once."""
        if kind not in self.made:
            self.made[kind] = score_baselines(kind, self.input[None], (self.score_seed,), self.classifier.view)[0]
        return self.made[kind]
