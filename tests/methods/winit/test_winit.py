"""WinIT: the importance of frames, and of tubes, on networks whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.images.view import View
from xaicli.method import Maps
from xaicli.methods.winit.winit import WinIT
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.network.sequences import ClipNetwork
from xaicli.outputs import Outputs
from xaicli.targets import TargetRule, Targets


class Scored(nn.Module):
    """One value a clip, a function of the mean brightness (B, F) of its frames."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.score = score

    def forward(self, clips: Tensor) -> Tensor:
        return self.score(clips.mean(dim=(1, 3, 4)))[:, None]


def reading(network: nn.Module, frames: int, size: tuple[int, int] = (8, 8), **settings: Any) -> Classifier:
    view = View(size, None, mean=(0.0,), std=(1.0,), frames=frames)
    settings = {"outputs": Outputs.VALUES, "count": 1} | settings
    module = ClipNetwork(network, frames)
    return Classifier(module, module, "clips", view, (), provides=Needs.FORWARD | Needs.FRAMES, fingerprint="0", **settings)


def series(*brightness: float) -> Tensor:
    """A clip (1, F, 8, 8) of one channel, of even frames."""
    return torch.tensor(brightness)[None, :, None, None].expand(1, -1, 8, 8).clone()


def explained(method: WinIT, classifier: Classifier, clips: Tensor, index: int = 0) -> Maps:
    targets = Targets((TargetRule(index=index),) * len(clips), classifier.outputs)
    return method.attribute(classifier, clips, targets, torch.arange(len(clips)))


def middle(brightness: Tensor) -> Tensor:
    return brightness[:, 2:5].mean(dim=1)


@pytest.mark.parametrize(
    ("removal", "expected"),
    [("zero", (0.0, 0.3, 0.2666667, 0.2333333)), ("freeze", (0.1, 0.8, -0.0666667, -0.0333333))],
)
def test_frames_share_the_fall_of_the_score(removal: Any, expected: tuple[float, ...]) -> None:
    """Self-check 5 of the specification: five frames, the last explained, a window of four."""
    made = explained(WinIT(window=4, removal=removal), reading(Scored(middle), 5), series(0, 0.1, 0.9, 0.8, 0.7))
    assert made.values.shape == (1, 1, 5, 1, 1)
    torch.testing.assert_close(made.values[0, 0, :, 0, 0], torch.tensor([0.0, *expected]))


def test_the_map_sums_to_what_hiding_the_window_costs() -> None:
    classifier = reading(Scored(lambda brightness: (3 * brightness[:, 1] - brightness[:, 3]).tanh()), 4)
    clip = series(0.3, 0.9, 0.2, 0.6)
    made = explained(WinIT(removal="zero"), classifier, clip)
    cost = classifier(clip) - classifier(torch.zeros_like(clip))
    torch.testing.assert_close(made.values.sum(dim=(2, 3, 4)), cost)
    torch.testing.assert_close(made.extras["shift"], cost)


def test_a_frozen_sequence_keeps_its_first_frame_unless_the_window_is_as_long() -> None:
    classifier, clip = reading(Scored(lambda brightness: brightness.mean(dim=1)), 3), series(0.6, 0.6, 0.9)
    torch.testing.assert_close(explained(WinIT(), classifier, clip).values[0, 0, :, 0, 0], torch.tensor([0.0, 0.0, 0.1]))
    torch.testing.assert_close(explained(WinIT(window=3), classifier, clip).values[0, 0, :, 0, 0], torch.tensor([0.6, 0.0, 0.1]))


def test_an_event_whose_effect_comes_later_is_found() -> None:
    """The clip is decided by its second frame alone; hiding any later frame shows nothing."""
    made = explained(
        WinIT(removal="zero"), reading(Scored(lambda brightness: brightness[:, 1]), 5), series(0.1, 0.8, 0.3, 0.2, 0.9)
    )
    torch.testing.assert_close(made.values[0, 0, :, 0, 0], torch.tensor([0.0, 0.8, 0.0, 0.0, 0.0]))


def test_every_time_is_explained_as_if_the_sequence_had_ended_there() -> None:
    """At time t later frames repeat frame t, so that the mean of all is (sum up to t + (F - 1 - t) x_t) / F."""
    brightness = torch.tensor([0.2, 0.6, 0.4])
    made = explained(
        WinIT(removal="zero", times="all", window=2),
        reading(Scored(lambda each: each.mean(dim=1)), 3),
        series(*brightness.tolist()),
    )
    at_1 = {1: 2 * 0.6 / 3, 0: 0.2 / 3}
    at_2 = {2: 0.4 / 3, 1: 0.6 / 3}
    # The first time has nothing before it and counts as zeros.
    expected = torch.tensor([(0 + at_1[0]) / 2, (at_1[1] + at_2[1]) / 2, at_2[2]])
    torch.testing.assert_close(made.values[0, 0, :, 0, 0], expected)


class Corner(nn.Module):
    """One value a clip: the brightness of the upper left quarter of its third frame."""

    def forward(self, clips: Tensor) -> Tensor:
        return clips[:, :, 2, :4, :4].mean(dim=(1, 2, 3))[:, None]


def test_a_tube_gets_what_it_alone_decides() -> None:
    quarters = torch.zeros(8, 8)
    quarters[:4, :4], quarters[:4, 4:], quarters[4:, :4] = 1.0, 0.66, 0.33
    clip = quarters.expand(1, 4, 8, 8).clone()
    made = explained(WinIT(removal="zero", regions=4), reading(Corner(), 4), clip)
    assert made.values.shape == (1, 1, 4, 8, 8)
    expected = torch.zeros(4, 8, 8)
    expected[2, :4, :4] = 1.0
    torch.testing.assert_close(made.values[0, 0], expected)


def test_the_authors_distance_counts_both_of_two_classes() -> None:
    """Of two classes it is twice the fall of the one's probability."""
    network = nn.Sequential(Scored(lambda brightness: brightness.sum(dim=1)), Two())
    classifier = reading(network, 3, outputs=Outputs.SOFTMAX, count=2)
    clip = series(0.5, 1.0, 0.25)
    fall = explained(WinIT(removal="zero"), classifier, clip, 1)
    both = explained(WinIT(removal="zero", metric="pd"), classifier, clip, 1)
    torch.testing.assert_close(both.values, 2 * fall.values)


class Two(nn.Module):
    def forward(self, scores: Tensor) -> Tensor:
        return torch.cat([-scores, scores], dim=1)


def test_a_batch_gives_what_single_sequences_give() -> None:
    clips = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    classifier = replace(reading(Scored(lambda brightness: brightness.square().sum(dim=1)), 4), batch_size=5)
    together = explained(WinIT(), classifier, clips).values
    alone = torch.cat([explained(WinIT(), classifier, clip[None]).values for clip in clips])
    torch.testing.assert_close(together, alone)


def test_the_cost_is_the_number_of_passes() -> None:
    seen = []

    def counted(brightness: Tensor) -> Tensor:
        seen.append(len(brightness))
        return brightness.sum(dim=1)

    for method in (WinIT(), WinIT(window=2), WinIT(times="all", window=3)):
        seen.clear()
        classifier = reading(Scored(counted), 5)
        explained(method, classifier, series(0.1, 0.2, 0.3, 0.4, 0.5))
        assert sum(seen) == method.cost(classifier).forward


def test_a_window_longer_than_the_sequence_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"a window of 9 frames, and clips reads 4 frames; expected window=4 at most. Or give --frames 9"
    ):
        explained(WinIT(window=9), reading(Scored(middle), 4), series(0, 0, 0, 0))


def test_a_network_of_photos_is_refused(tiny_cnn: nn.Module, classifier_of: Callable[..., Classifier]) -> None:
    with pytest.raises(UsageError, match=r"reads photos. --frames N lets it read N frames"):
        WinIT().require(classifier_of(tiny_cnn))


def test_distances_of_predictions_need_predictions() -> None:
    with pytest.raises(UsageError, match="metric=pd compares predictions of classes"):
        WinIT(metric="pd").require(reading(Scored(middle), 4))
