"""Gradients and CAMs on networks of sequences: a map of each frame, or of each part of the time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT

import xaicli
from xaicli.errors import UsageError
from xaicli.method import Maps, Method
from xaicli.methods.grad_cam import GradCAM, HiResCAM, LayerCAM
from xaicli.methods.pixel_gradients.pixel_gradients import GradientSHAP, IntegratedGradients, Saliency, SmoothGrad
from xaicli.network.classifier import Classifier
from xaicli.suitability import require_fit
from xaicli.targets import TargetRule, Targets

VIEW: dict[str, Any] = {"resize": (32, 32), "crop": None, "mean": (0,), "std": (1,)}
FRAMES = 4


class Volumes(nn.Module):
    """Convolutions over time, and a linear head over the mean of all places and times."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(3, 6, 3, stride=(2, 2, 2), padding=1), nn.ReLU(), nn.Conv3d(6, 8, 3, padding=1))
        self.head = nn.Linear(8, 5)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.features(clips).mean(dim=(2, 3, 4)))


class LastAxis(Volumes):
    """The same with features (B, t, h, w, K) under a layer norm, as in transformers of clips."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.norm(self.features(clips).permute(0, 2, 3, 4, 1)).mean(dim=(1, 2, 3)))


@pytest.fixture
def clips() -> Classifier:
    torch.manual_seed(3)
    return xaicli.classifier(Volumes(), frames=FRAMES, **VIEW)


@pytest.fixture
def window(tiny_cnn: nn.Module) -> Classifier:
    return xaicli.classifier(tiny_cnn, frames=FRAMES, **VIEW)


@pytest.fixture
def photos(tiny_cnn: nn.Module) -> Classifier:
    return xaicli.classifier(tiny_cnn, **VIEW)


def inputs(count: int = 2) -> Tensor:
    coarse = torch.randn(count, 3 * FRAMES, 8, 8, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")


def explained(method: Method, classifier: Classifier, given: Tensor, index: int = 1) -> Maps:
    targets = Targets((TargetRule(index=index),) * len(given))
    return method.attribute(classifier, given, targets, torch.arange(len(given)))


def test_a_signed_map_over_time_sums_to_the_logit_less_the_bias(clips: Classifier) -> None:
    made = explained(HiResCAM(relu=False), clips, inputs())
    assert made.values.shape == (2, 1, 2, 16, 16)
    bias = clips.torch_module.network.head.bias[1]
    torch.testing.assert_close(made.values.sum(dim=(2, 3, 4))[:, 0], made.logits[:, 1] - bias)


def test_grad_cam_over_time_weights_a_channel_by_its_mean_gradient_over_places_and_time(clips: Classifier) -> None:
    network = clips.torch_module.network
    activation = network.features(inputs().unflatten(1, (FRAMES, 3)).transpose(1, 2))
    weights = network.head.weight[1] / activation[0, 0].numel()
    expected = torch.einsum("k,bkthw->bthw", weights, activation)
    torch.testing.assert_close(explained(GradCAM(relu=False), clips, inputs()).values[:, 0], expected.detach())


@pytest.mark.parametrize("method", [GradCAM(), LayerCAM(relu=False)], ids=lambda method: method.name)
def test_a_cam_of_frames_one_by_one_is_that_of_each_photo(window: Classifier, photos: Classifier, method: Method) -> None:
    """Each frame has a share of 1 / F in the mean of logits."""
    given = inputs()
    made = explained(method, window, given).values
    each = [explained(method, photos, frame).values for frame in given.unflatten(1, (FRAMES, 3)).unbind(1)]
    torch.testing.assert_close(made, torch.stack(each, dim=2) / FRAMES)


def test_the_saliency_of_frames_is_that_of_each_photo(window: Classifier, photos: Classifier) -> None:
    given = inputs()
    made = explained(Saliency(), window, given).values
    each = [explained(Saliency(), photos, frame).values for frame in given.unflatten(1, (FRAMES, 3)).unbind(1)]
    torch.testing.assert_close(made, torch.stack(each, dim=2) / FRAMES)


def test_integrated_gradients_of_a_sequence_sum_to_the_change_of_the_logit(clips: Classifier) -> None:
    given = inputs()
    made = explained(IntegratedGradients(n_steps=64), clips, given)
    assert made.values.shape == (2, 1, FRAMES, 32, 32)
    change = clips(given)[:, 1] - clips(torch.zeros_like(given))[:, 1]
    torch.testing.assert_close(made.values.sum(dim=(2, 3, 4))[:, 0], change.detach(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("method", [SmoothGrad(n_samples=3), GradientSHAP(n_samples=3)], ids=lambda method: method.name)
def test_a_batch_of_sequences_gives_what_single_ones_give(clips: Classifier, method: Method) -> None:
    given = inputs()
    together = explained(method, clips, given).values
    second = method.attribute(clips, given[1:], Targets((TargetRule(index=1),)), torch.tensor([1])).values
    assert together.shape == (2, 1, FRAMES, 32, 32)
    torch.testing.assert_close(together[1:], second)


def test_features_with_channels_last_have_their_places(clips: Classifier) -> None:
    torch.manual_seed(3)
    classifier = xaicli.classifier(LastAxis(), frames=FRAMES, layer="norm", **VIEW)
    layer = classifier.feature_layer()
    assert (layer.layout.grid, layer.layout.frames, layer.channels) == ((16, 16), 2, 8)
    made = explained(HiResCAM(relu=False), classifier, inputs())
    bias = classifier.torch_module.network.head.bias[1]
    torch.testing.assert_close(made.values.sum(dim=(2, 3, 4))[:, 0], made.logits[:, 1] - bias)


def test_the_feature_layer_of_a_network_of_clips_is_what_its_last_convolution_gives(clips: Classifier) -> None:
    layer = clips.feature_layer()
    assert (layer.name, layer.layout.grid, layer.layout.frames) == ("features", (16, 16), 2)


def block(channels: int, given: int, heads: int, stride: list[int], keys: list[int]) -> MSBlockConfig:
    return MSBlockConfig(heads, channels, given, [3, 3, 3] if stride else [], [3, 3, 3], stride, keys)


def test_tokens_of_a_transformer_of_clips_have_their_places_and_times() -> None:
    torch.manual_seed(3)
    blocks = [block(16, 16, 1, [], [1, 2, 2]), block(16, 32, 2, [1, 2, 2], [1, 1, 1])]
    plain = {"residual_pool": False, "residual_with_cls_embed": False, "rel_pos_embed": False, "proj_after_attn": False}
    network = MViT(spatial_size=(64, 64), temporal_size=4, block_setting=blocks, num_classes=5, **plain)
    classifier = xaicli.classifier(network, frames=4, resize=(64, 64), crop=None, mean=(0,), std=(1,))
    layer = classifier.feature_layer()
    assert (layer.name, layer.layout.grid, layer.layout.frames, layer.layout.prefix) == ("blocks.1.norm1", (16, 16), 2, 1)
    given = torch.randn(2, 12, 64, 64, generator=torch.Generator().manual_seed(3))
    assert explained(GradCAM(), classifier, given).values.shape == (2, 1, 2, 16, 16)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (GradCAM(layer="features.0+features.2"), "grad-cam: several layers are for photos"),
        (Saliency(channels="each"), "saliency: channels=each is for photos"),
    ],
    ids=["layers", "channels"],
)
def test_what_is_for_photos_alone_is_refused(clips: Classifier, method: Method, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_fit(method, clips)


def test_a_network_of_photos_is_explained_as_before(photos: Classifier, classifier_of: Callable[..., Classifier]) -> None:
    plain = dataclasses.replace(photos, view=photos.view.of_frame)
    assert plain.view == photos.view
    assert explained(GradCAM(), photos, inputs()[:, :3]).values.shape == (2, 1, 8, 8)
