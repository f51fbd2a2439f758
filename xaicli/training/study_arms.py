"""What a study trains: the same network, data and schedule with LFI-CAM's branch, without it, and with a plain head as large."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xaicli.task import Augmentation, Schedule

EPOCHS = 30
"""Of a study's schedule, unless the user says otherwise."""
BRANCH, PLAIN, NONE = "branch", "plain-head", "none"


@dataclass(frozen=True)
class StudyArm:
    """One training of a study.

    name: of its file; kind: of the network (BRANCH, PLAIN or NONE); seed; overrides: of the schedule, where it is not the
    published one; setting: what that is, in words.
    """

    name: str
    kind: str
    seed: int
    overrides: Mapping[str, Any] = field(default_factory=dict)
    setting: str = ""

    @property
    def method(self) -> str:
        """What `xai train` trains."""
        return "classifier" if self.kind == NONE else "lfi-cam"

    def parameters(self, augmentation: Augmentation) -> dict[str, str]:
        """Parameters of its training, with photos varied as for the branch."""
        if self.kind == BRANCH:
            return {}
        if self.kind == PLAIN:
            return {"role": "plain"}
        varied = {"padding": augmentation.padding, "margin": augmentation.margin, "colour": augmentation.colour}
        return {**{name: str(value) for name, value in varied.items()}, "smoothing": "0"}


def arms_of(seeds: int, schedule: Schedule) -> list[StudyArm]:
    """All trainings: three kinds of network for each seed, then two more settings of the branch."""
    kinds = [StudyArm(f"{kind}.{seed}", kind, seed) for seed in range(seeds) for kind in (BRANCH, PLAIN, NONE)]
    return [*kinds, *settings_of(schedule)[1:]]


def settings_of(schedule: Schedule) -> list[StudyArm]:
    """The settings between which the attention shall be stable: the published one, and two that a user might as well choose."""
    rate, decay = schedule.lr / 2, schedule.weight_decay * 5
    return [
        StudyArm(f"{BRANCH}.0", BRANCH, 0, setting="as published"),
        StudyArm(f"{BRANCH}.lr", BRANCH, 0, {"lr": rate}, f"lr {rate:g}"),
        StudyArm(f"{BRANCH}.decay", BRANCH, 0, {"weight_decay": decay}, f"weight decay {decay:g}"),
    ]


def pairs(arms: Sequence[StudyArm]) -> list[tuple[StudyArm, StudyArm]]:
    return [(one, other) for at, one in enumerate(arms) for other in arms[at + 1 :]]


def overrides_of(arm: StudyArm, schedule: Schedule) -> dict[str, Any]:
    """The whole schedule of an arm: that of the branch, whatever the network's usual one would be."""
    return {**dataclasses.asdict(schedule), **arm.overrides}
