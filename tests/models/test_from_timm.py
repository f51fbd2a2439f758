import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from xaicli.cache import weights_folder
from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.models import from_timm
from xaicli.models.from_timm import view_of
from xaicli.models.load import load_classifier

timm = pytest.importorskip("timm")
NAME = "test_vit"
"""timm's own network for tests: 160 pixels, 0.4 million weights."""


def network(**arguments):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return timm.create_model(NAME, pretrained=False, **arguments).eval()


@pytest.fixture
def weights(tmp_path):
    def saved(model):
        save_file(model.state_dict(), tmp_path / "net.safetensors")
        return tmp_path / "net.safetensors"

    return saved


def test_weights_from_a_file_take_the_model_s_data_configuration_and_imagenet_s_names(weights):
    model = network()
    classifier = load_classifier(f"timm:{NAME}", weights=weights(model))
    inputs = torch.randn(2, 3, *classifier.view.size)
    with torch.no_grad():
        assert torch.equal(classifier(inputs), model(inputs))
    config = timm.data.resolve_model_data_config(model)
    assert classifier.view.size == config["input_size"][1:]
    assert classifier.view.mean == config["mean"]
    assert (classifier.count, classifier.classes[281]) == (1000, "tabby, tabby cat")
    assert classifier.name == f"timm:{NAME}@weights=net.safetensors"


def test_a_head_of_other_classes_is_built_as_the_file_has_it(weights, notices):
    classifier = load_classifier(f"timm:{NAME}", weights=weights(network(num_classes=7)), notice=notices.append)
    assert (classifier.count, classifier.classes, notices) == (7, (), [])


def test_weights_of_another_architecture_are_refused(tmp_path):
    save_file({"conv1.weight": torch.ones(1)}, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=rf"net\.safetensors does not fit timm:{NAME}: it .*conv1\.weight"):
        load_classifier(f"timm:{NAME}", weights=tmp_path / "net.safetensors")


@pytest.fixture
def pretrained(monkeypatch, tmp_path, site):
    """timm's weights of the network, as a server on this machine has them and not the hub."""
    torch.save(network().state_dict(), tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    site.pages[f"/{name}"] = content
    config = timm.get_pretrained_cfg(NAME)
    elsewhere = type(config)(**{**config.to_dict(), "hf_hub_id": None, "url": f"{site.address}/{name}"})
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda wanted: elsewhere)
    return weights_folder() / name


def test_weights_of_timm_s_own_site_go_through_our_cache(pretrained, site):
    classifier = load_classifier(f"timm:{NAME}")
    with torch.no_grad():
        inputs = torch.randn(2, 3, *classifier.view.size)
        assert torch.equal(classifier(inputs), network()(inputs))
    assert load_classifier(f"timm:{NAME}", offline=True).fingerprint == classifier.fingerprint
    assert site.asked == 1
    assert pretrained.is_file()
    assert classifier.name.startswith(f"timm:{NAME}.")


def test_offline_the_place_of_the_file_is_named(pretrained):
    with pytest.raises(InputError) as caught:
        load_classifier(f"timm:{NAME}", offline=True)
    assert str(pretrained) in str(caught.value)


def test_offline_a_model_of_the_hub_is_not_asked_for_and_its_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        load_classifier("timm:resnet18", offline=True)
    assert str(tmp_path / "models--timm--resnet18.a1_in1k") in str(caught.value)
    assert "--offline forbids the download" in str(caught.value)


def test_without_a_network_that_is_said_in_one_line_at_once(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9 cannot be reached") as caught:
        load_classifier("timm:resnet18")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_network_without_a_head_gives_its_features_and_that_is_said(weights, notices, monkeypatch):
    model = network(num_classes=0)
    monkeypatch.setattr(from_timm, "build", lambda *args: model)
    classifier = load_classifier(f"timm:{NAME}", weights=weights(model), notice=notices.append)
    assert (classifier.count, classifier.classes) == (model.num_features, ())
    assert classifier.features
    [notice] = notices
    assert f"{NAME}@weights=" in notice
    assert notice.endswith(
        f" has no head: its outputs are {model.num_features} features, not classes (--outputs softmax if they are)"
    )


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("timm:resnt18", r'timm has no model "resnt18"\. Did you mean resnet18\?'),
        ("timm:resnet18.a9_in1k", r'timm has no weights "a9_in1k" for resnet18.*Did you mean a\d_in1k\?'),
        ("timm:resnet18@a1_in1k", r"the weights are part of the name: timm:resnet18\.a1_in1k"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(spec, complaint):
    with pytest.raises(UsageError, match=complaint):
        load_classifier(spec, offline=True)


def test_a_model_that_timm_has_no_weights_for_is_refused(monkeypatch):
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
    with pytest.raises(InputError, match=r"timm has no weights for test_vit\. Give them with --weights FILE"):
        load_classifier("timm:test_vit")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *args: None)
    with pytest.raises(InputError, match=r'timm is not installed\. Type: pip install "xaicli\[timm\]"'):
        load_classifier("timm:resnet18")


def configuration(**changes):
    return {
        "input_size": (3, 224, 224),
        "crop_pct": 0.9,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.3, 0.4),
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "resize", "crop"),
    [
        ({}, 248, 224),
        ({"crop_pct": 1.0}, 224, 224),
        ({"crop_pct": 0.875, "input_size": (3, 288, 288)}, 329, 288),
        ({"crop_mode": "squash", "crop_pct": 1.0, "input_size": (3, 384, 384)}, (384, 384), 384),
        ({"crop_mode": "squash", "crop_pct": 0.95, "input_size": (3, 192, 256)}, (202, 269), (192, 256)),
    ],
)
def test_the_data_configuration_becomes_a_view(changes, resize, crop, notices):
    assert view_of(configuration(**changes), notices.append) == View(resize, crop, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert notices == []


def test_a_view_that_cannot_be_had_is_said(notices):
    assert view_of(configuration(crop_mode="border"), notices.append).size == (224, 224)
    assert "pads photos to a square" in notices[0]


@pytest.mark.parametrize(
    "changes", [{}, {"crop_pct": 1.0}, {"crop_mode": "squash", "crop_pct": 1.0}, {"interpolation": "bilinear"}]
)
@pytest.mark.parametrize("size", [(320, 240), (240, 320), (225, 225)])
def test_the_view_gives_what_timm_s_own_transform_gives(changes, size):
    config = configuration(**changes)
    coarse = np.random.default_rng(3).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    photo = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    theirs = timm.data.create_transform(**config, is_training=False)(photo)
    torch.testing.assert_close(view_of(config, lambda text: None).prepare(photo), theirs, atol=1e-6, rtol=1e-6)
