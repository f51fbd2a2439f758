"""Networks of sequences: in which form they take frames, and what they are refused for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.models.load import load_classifier
from xaicli.models.with_frames import with_frames
from xaicli.needs import Needs
from xaicli.network.sequences import ClipNetwork, FrameByFrame

FILM = Path(__file__).parents[1] / "data" / "film.py"


class Recurrent(nn.Module):
    """2-D convolutions inside, and clips (B, C, F, H, W) outside, as a network of CNN and LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = nn.Conv2d(3, 4, 3)

    def forward(self, clips: Tensor) -> Tensor:
        batch, frames = clips.shape[0], clips.shape[2]
        seen = self.frame(clips.transpose(1, 2).flatten(0, 1)).mean(dim=(2, 3))
        return seen.unflatten(0, (batch, frames)).cumsum(dim=1)[:, -1]


def test_a_network_of_volumes_reads_clips(classifier_of: Callable[..., Any]) -> None:
    classifier = load_classifier(f"{FILM}:clips")
    assert isinstance(classifier.module, ClipNetwork)
    assert classifier.view.frames == 6
    assert Needs.FRAMES in classifier.provides
    clips = torch.rand(2, 6, 3, 32, 32)
    network = classifier.module.network
    torch.testing.assert_close(classifier(clips.flatten(1, 2)), network(clips.transpose(1, 2)))


def test_a_network_of_volumes_reads_sixteen_frames_unless_told(classifier_of: Callable[..., Any]) -> None:
    made = xaicli.classifier(load_classifier(f"{FILM}:clips").torch_module.network, resize=(32, 32), crop=None)
    assert made.view.frames == 16


def test_a_recurrent_network_reads_clips() -> None:
    made = xaicli.classifier(Recurrent(), resize=(16, 16), crop=None, frames=4)
    assert isinstance(made.module, ClipNetwork)


def test_a_network_of_photos_reads_frames_as_the_mean_of_their_logits() -> None:
    photos, window = load_classifier(f"{FILM}:photos"), load_classifier(f"{FILM}:photos", frames=3)
    assert isinstance(window.module, FrameByFrame)
    clips = torch.rand(2, 3, 3, 32, 32)
    each = torch.stack([photos(clips[:, at]) for at in range(3)])
    torch.testing.assert_close(window(clips.flatten(1, 2)), each.mean(dim=0))


def test_frames_are_part_of_the_fingerprint() -> None:
    loaded = [
        load_classifier(f"{FILM}:photos", **words) for words in ({}, {"frames": 3}, {"frames": 3, "frame_step": 2}, {"frames": 4})
    ]
    assert len({classifier.fingerprint for classifier in loaded}) == 4


def test_a_loaded_classifier_reads_as_many_frames_as_one_that_is_loaded_for_them() -> None:
    again = with_frames(load_classifier(f"{FILM}:photos"), 3)
    assert again.fingerprint == load_classifier(f"{FILM}:photos", frames=3).fingerprint
    assert with_frames(again, 5).view.frames == 5
    assert isinstance(with_frames(again, 5).torch_module.network, nn.Conv2d | nn.Module)


def test_a_step_without_frames_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a frame step, and film.py:photos reads photos. Give --frames N too."):
        load_classifier(f"{FILM}:photos", frame_step=2)


def test_a_network_of_class_maps_has_no_mean_over_frames() -> None:
    with pytest.raises(InputError, match="gives class maps, and those of several frames have no mean"):
        xaicli.classifier(nn.Conv2d(3, 4, 3), resize=(16, 16), crop=None, frames=3)


def test_the_layers_of_a_network_keep_their_names() -> None:
    window = load_classifier(f"{FILM}:photos", frames=3)
    assert window.feature_layer().name == "kept"


def test_the_view_says_how_many_frames() -> None:
    assert "3 frames, one of 2" in load_classifier(f"{FILM}:photos", frames=3, frame_step=2).view.describe()
