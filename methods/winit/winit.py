"""WinIT (Leung et al., 2023): what the score loses when the latest frames are hidden, one more each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.methods.segments.segmentation import segment, segment_count
from xaicli.methods.winit.hidden_frames import Removal, Sequence
from xaicli.methods.winit.shifts import Aggregate, Measure, aggregate, importances, shift
from xaicli.needs import of_photos
from xaicli.network.classifier import Classifier
from xaicli.outputs import Outputs
from xaicli.passes.queue import CopyJob, clean_logits, run
from xaicli.targets import Resolved, Targets

AUTHORS_WINDOW = 10
DISTANCES = ("pd", "kl", "js")


@dataclass(frozen=True, kw_only=True)
class WinIT(Method):
    """WinIT: the importance of each frame of a sequence, by what the score loses when the latest frames are hidden.

    `map(a) = i(a) - i(a + 1)`, `i(a) = s(x) - s(x with frames a to t hidden)`: s is the target's probability, t the last frame,
    and a runs back through the window. So the map sums to what hiding the whole window costs, `extras["shift"]` (B, T), and a
    frame counts whose event shows its effect only later. Negative values are frames that hid evidence. Maps are (B, T, F, 1, 1),
    one number for each of F frames, signed, in probability; with `regions=N` they are (B, T, F, H, W), for tubes: about N
    superpixels of the mean frame, followed through all frames.

    The order is fixed: a frame's value holds with all later ones hidden already, so of two frames that say the same the earlier
    gets everything. It is one path of a Shapley value, not the mean over all. `removal=freeze` repeats the frame before the
    hidden ones: it hides what changes, and what the sequence shows stays. The first frame is then never hidden, unless the window
    is said to be as long as the sequence; it becomes the data's mean colour.

    Where this differs from the authors: they explain time series at every time, over a window of 10, by the distance of
    predictions `pd`, which knows no target, and draw hidden values from a generator. Here the last frame alone is explained
    unless `times=all`, in which a sequence that ended at time t is one whose later frames repeat frame t; the window is as long
    as the sequence allows; generators and donor clips are left out.

    `xai explain film.gif --model video.py:make --frames 16 --method winit --steps`
    """

    window: int | Literal["auto"] = param("auto", "frames that are hidden at most; auto is all, but for freeze the first", ge=1)
    removal: Removal = param("freeze", "what hidden frames become: the frame before, their blur, their mean colour, or zero")
    metric: Measure = param("probability", "the shift: of the target, or the authors' pd, kl or js between predictions")
    regions: int = param(0, "tubes of superpixels, about; 0 hides whole frames", ge=0)
    times: Literal["last", "all"] = param("last", "the times that are explained: the last frame, or every one")
    aggregate: Aggregate = param("mean", "of several times, what a frame gets of the importance for each")

    name = "winit"
    paper = "Leung et al., ICLR 2023, arXiv 2107.14317"
    needs = Needs.FORWARD | Needs.FRAMES
    of_frames = True
    sign = Sign.SIGNED

    def cost(self, classifier: Classifier | None = None) -> Cost:
        frames = classifier.view.frames if classifier else AUTHORS_WINDOW
        regions = segment_count(self.regions, classifier.view if classifier else None) if self.regions else 1
        window = min(self.window_of(frames), frames)
        times = self.times_of(frames)
        return Cost(forward=1 + len(times) + regions * sum(min(window, time + 1) for time in times))

    def window_of(self, frames: int) -> int:
        if self.window != "auto":
            return self.window
        # The first frame has none before it that could be repeated.
        return max(1, frames - (self.removal == "freeze"))

    def times_of(self, frames: int) -> range:
        """The times that are explained; the first frame has nothing before it."""
        return range(min(1, frames - 1), frames) if self.times == "all" else range(frames - 1, frames)

    def require(self, classifier: Classifier) -> None:
        """Raise UsageError for a window longer than the sequence, and for distances of what is no prediction of classes."""
        frames = classifier.view.frames
        if not frames:
            raise of_photos(self.name, classifier.name)
        if self.window_of(frames) > frames:
            found = f"winit: a window of {self.window} frames, and {classifier.name} reads {classifier.view.describe_frames()}"
            raise UsageError(found, expected=f"window={frames} at most", hint=f"Or give --frames {self.window}.")
        if self.metric in DISTANCES and classifier.outputs not in (Outputs.SOFTMAX, Outputs.SIGMOID):
            found = f"winit: metric={self.metric} compares predictions of classes, and {classifier.name} has others"
            raise UsageError(found, hint="Write winit@metric=probability.")

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        self.require(classifier)
        inputs = inputs.detach()
        logits = clean_logits(classifier, inputs)
        chosen = targets.resolve(logits)
        view = classifier.view
        labels = [segment("slic", view, photo, self.regions) if self.regions else None for photo in inputs]
        sequences = [Sequence.of(photo, view, self.removal, own) for photo, own in zip(inputs, labels, strict=True)]
        answers = self.answers(classifier, sequences, inputs)
        each = [
            self.values(sequence, answer, chosen[row : row + 1])
            for row, (sequence, answer) in enumerate(zip(sequences, answers, strict=True))
        ]
        values, shifts = (torch.stack(parts) for parts in zip(*each, strict=True))
        return Maps(values, chosen, logits, {"shift": shifts})

    def answers(self, classifier: Classifier, sequences: list[Sequence], inputs: Tensor) -> list[Tensor]:
        """The logits (n, C) of all copies of each sequence, in the order of `Sequence.copies`."""
        frames = classifier.view.frames
        found: list[list[Tensor]] = [[] for _ in sequences]

        def job(row: int) -> CopyJob:
            copies = sequences[row].copies(self.times_of(frames), self.window_of(frames))
            return CopyJob(
                len(copies),
                lambda out, start, stop: sequences[row].write(out, copies[start:stop]),
                lambda logits, start, stop: found[row].append(logits),
            )

        channels, height, width = inputs.shape[1:]
        passes = len(sequences) * self.cost(classifier).forward
        run(classifier, (job(row) for row in range(len(sequences))), (channels, height, width), passes=passes, exact=True)
        return [torch.cat(parts) for parts in found]

    def values(self, sequence: Sequence, logits: Tensor, chosen: Resolved) -> tuple[Tensor, Tensor]:
        """The map (T, F, h, w) of one sequence, and what hiding its whole window costs, (T,), for the last time explained."""
        frames, regions = len(sequence.frames), sequence.regions
        times, window = self.times_of(frames), self.window_of(frames)
        count = chosen.classes.shape[1]
        windows = logits.new_zeros((frames, window, regions, count))
        shifts = logits.new_zeros((regions, count))
        at = len(times)
        for number, time in enumerate(times):
            back = min(window, time + 1)
            own = logits[at : at + regions * back].unflatten(0, (regions, back))
            at += regions * back
            whole = logits[number : number + 1]
            moved = torch.stack([shift(self.metric, chosen, whole, own[region]) for region in range(regions)], dim=1)
            windows[time, window - back :] = importances(moved).flip(0)
            shifts = moved[-1]
        if self.times == "all":
            importance = aggregate(windows, self.aggregate)
        else:
            importance = torch.cat([windows.new_zeros((frames - window, regions, count)), windows[-1]])
        spread = importance.permute(2, 0, 1)
        return spread[..., None] if sequence.labels is None else spread[..., sequence.labels], shifts.sum(dim=0)
