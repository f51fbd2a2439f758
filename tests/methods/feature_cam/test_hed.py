"""HED against its parts put together plainly, and files of weights under the names that are published."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close
from torchvision.models.vgg import cfgs, make_layers

from xaicli.errors import InputError
from xaicli.methods.feature_cam.feature_cam import FeatureCAM
from xaicli.methods.feature_cam.hed import MEANS, hed_edges, own_name, read_hed
from xaicli.targets import DECISION, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])
BEHIND = (3, 8, 15, 22, 29)
"""Where the stages of torchvision's VGG-16 end."""


@pytest.fixture(scope="module")
def parts():
    """VGG-16's convolutions, five side outputs and their fusion, of weights that nobody trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = make_layers(cfgs["D"], batch_norm=False).eval().requires_grad_(False)
        sides = [nn.Conv2d(count, 1, 1).requires_grad_(False) for count in (64, 128, 256, 512, 512)]
        return trunk, sides, nn.Conv2d(5, 1, 1).requires_grad_(False)


def in_caffes_names(parts):
    trunk, sides, fusion = parts
    stage, at, named = 1, 1, {}
    for layer in trunk:
        if isinstance(layer, nn.MaxPool2d):
            stage, at = stage + 1, 1
        elif isinstance(layer, nn.Conv2d):
            named |= {f"conv{stage}_{at}.weight": layer.weight, f"conv{stage}_{at}.bias": layer.bias}
            at += 1
    for number, side in enumerate(sides, start=1):
        named |= {f"score_dsn{number}.weight": side.weight, f"score_dsn{number}.bias": side.bias}
    return {**named, "score_final.weight": fusion.weight, "score_final.bias": fusion.bias}


def in_the_ports_names(parts):
    trunk, sides, fusion = parts
    words, named, stage, at = ("One", "Two", "Thr", "Fou", "Fiv"), {}, 0, 0
    for layer in trunk:
        if isinstance(layer, nn.MaxPool2d):
            stage, at = stage + 1, 0
        if stage == len(words):
            break
        if isinstance(layer, nn.Conv2d):
            named |= {f"netVgg{words[stage]}.{at}.{name}": tensor for name, tensor in layer.state_dict().items()}
        at += 1
    for word, side in zip(words, sides, strict=True):
        named |= {f"netScore{word}.{name}": tensor for name, tensor in side.state_dict().items()}
    return {**named, **{f"netCombine.0.{name}": tensor for name, tensor in fusion.state_dict().items()}}


def plainly(parts, photos):
    trunk, sides, fusion = parts
    features, maps = 255 * photos[:, [2, 1, 0]] - torch.tensor(MEANS).view(3, 1, 1), []
    for at, layer in enumerate(trunk[: BEHIND[-1] + 1]):
        features = layer(features)
        if at in BEHIND:
            maps.append(
                functional.interpolate(sides[len(maps)](features), photos.shape[2:], mode="bilinear", align_corners=False)
            )
    return fusion(torch.cat(maps, dim=1)).sigmoid()[:, 0]


@pytest.mark.parametrize("naming", [in_caffes_names, in_the_ports_names])
def test_edges_are_those_of_the_network_put_together_plainly(parts, tmp_path, naming):
    torch.save(naming(parts), tmp_path / "hed.pth")
    photos = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    found = hed_edges(str(tmp_path / "hed.pth"), photos)
    assert found.shape == (2, 32, 48)
    assert_close(found, plainly(parts, photos), atol=1e-5, rtol=1e-4)


def test_a_photo_of_odd_sides_loses_nothing(parts, tmp_path):
    torch.save(in_caffes_names(parts), tmp_path / "hed.pth")
    assert hed_edges(str(tmp_path / "hed.pth"), torch.rand(1, 3, 17, 21)).shape == (1, 17, 21)


def test_the_map_is_the_coarse_one_times_those_edges(parts, tmp_path, tiny_cnn, classifier_of, photo_batch):
    file = tmp_path / "hed.pth"
    torch.save(in_caffes_names(parts), file)
    method = FeatureCAM(hed=str(file), parts=True)
    maps = method.attribute(classifier_of(tiny_cnn), photo_batch, Targets.same(DECISION, 5), SEEDS)
    photos = classifier_of(tiny_cnn).view.pixels(photo_batch)
    assert_close(maps.extras["edges"][:, 0], plainly(parts, photos), atol=1e-5, rtol=1e-4)
    assert_close(maps.values, maps.extras["coarse"] * maps.extras["edges"])
    assert str(method.cost()) == "2+1 passes"


def test_the_stamp_is_of_the_weights_and_is_as_it_was_without(parts, tmp_path):
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        torch.save({"fuse.bias": torch.zeros(1)}, tmp_path / folder / "hed.pth")
    one, other = (FeatureCAM(hed=str(tmp_path / folder / "hed.pth")).parameters_as_given() for folder in ("one", "other"))
    assert one == other
    assert "hed" not in FeatureCAM().parameters_as_given()


def test_a_file_that_is_not_of_hed_is_refused_before_any_work(parts, tmp_path, tiny_cnn, classifier_of):
    named = in_caffes_names(parts)
    del named["conv3_2.weight"]
    torch.save(named, tmp_path / "cut.pth")
    torch.save({**in_caffes_names(parts), "score_dsn2.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "other.pth")
    for name, wrong in {"cut.pth": "stages.2.1.weight is missing", "other.pth": r"sides.1.weight is \(1, 64, 1, 1\)"}.items():
        with pytest.raises(InputError, match=wrong):
            FeatureCAM(hed=str(tmp_path / name)).require(classifier_of(tiny_cnn))
    with pytest.raises(InputError):
        read_hed(str(tmp_path / "none.pth"))


def test_names_that_are_none_of_hed_are_left_out():
    assert own_name("conv1_1.weight") == "stages.0.0.weight"
    assert own_name("moduleVggFiv.5.bias") == "stages.4.2.bias"
    assert own_name("upsample_2.weight") is None
