import hashlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models import get_model, get_model_weights

from xaicli.cache import weights_folder
from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.models import from_torchvision
from xaicli.models.download import DownloadError
from xaicli.models.from_torchvision import arguments_of, current_names, view_of
from xaicli.models.load import load_classifier

INPUTS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def network(name, **arguments):
    """An untrained network with fixed weights."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return get_model(name, weights=None, **arguments).eval()


@pytest.fixture
def squeezenet(tmp_path):
    """SqueezeNet 1.1 and its weights in a file."""
    model = network("squeezenet1_1")
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    return model, tmp_path / "net.safetensors"


@pytest.fixture
def pretrained(squeezenet, site, tmp_path, monkeypatch):
    """torchvision's weights of SqueezeNet 1.1, as a server on this machine has them; the path of the file in the cache."""
    model, _ = squeezenet
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    torch.save(model.state_dict(), tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    name = f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    site.pages[f"/models/{name}"] = content
    monkeypatch.setattr(from_torchvision, "address", lambda entry: f"{site.address}/models/{name}")
    return weights_folder() / name


def gives_what(classifier, model, inputs=INPUTS):
    with torch.no_grad():
        return torch.equal(classifier(inputs), model(inputs))


def test_weights_from_a_file_take_the_first_weights_preprocessing_and_names(squeezenet):
    model, file = squeezenet
    classifier = load_classifier("squeezenet1_1", weights=file)
    assert gives_what(classifier, model)
    assert classifier.view == View(256, 224, "bilinear")
    assert (classifier.count, classifier.class_name(0), classifier.class_name(999)) == (1000, "tench", "toilet tissue")
    assert classifier.name == "torchvision:squeezenet1_1@weights=net.safetensors"
    assert not classifier.torch_module.training


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1", "SqueezeNet1-1", "TorchVision:squeezenet11"])
def test_a_name_may_be_written_in_many_ways_and_has_one_canonical_form(squeezenet, spec):
    assert load_classifier(spec, weights=squeezenet[1]).name == "torchvision:squeezenet1_1@weights=net.safetensors"


def test_the_weights_file_may_stand_in_the_specification(squeezenet):
    model, file = squeezenet
    assert gives_what(load_classifier(f"squeezenet1_1@weights={file}"), model)


def test_weights_are_fetched_once_and_then_taken_from_the_cache(squeezenet, pretrained, site, notices):
    classifier = load_classifier("squeezenet1_1", notice=notices.append)
    assert gives_what(classifier, squeezenet[0])
    assert classifier.name == "torchvision:squeezenet1_1@IMAGENET1K_V1"
    assert notices == [f"squeezenet1_1: downloading {pretrained.name} to {pretrained.parent}"]
    again = load_classifier("squeezenet1_1", notice=notices.append)
    assert again.fingerprint == classifier.fingerprint
    assert (site.asked, len(notices)) == (1, 1)


def test_the_weights_that_torch_hub_has_are_used_and_not_fetched(squeezenet, pretrained, site):
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    (folder / pretrained.name).write_bytes(site.pages[f"/models/{pretrained.name}"])
    assert gives_what(load_classifier("squeezenet1_1", offline=True), squeezenet[0])
    assert site.asked == 0


def test_a_damaged_file_in_the_cache_is_fetched_again(squeezenet, pretrained, site):
    pretrained.parent.mkdir(parents=True)
    pretrained.write_bytes(b"cut off")
    assert gives_what(load_classifier("squeezenet1_1"), squeezenet[0])
    assert site.asked == 1


def test_offline_nothing_is_fetched_and_the_place_is_named(pretrained, site):
    with pytest.raises(InputError) as caught:
        load_classifier("squeezenet1_1", offline=True)
    assert str(pretrained) in str(caught.value)
    assert "--offline forbids the download" in str(caught.value)
    assert site.asked == 0


def test_offline_a_damaged_file_is_said_to_be_damaged(pretrained):
    pretrained.parent.mkdir(parents=True)
    pretrained.write_bytes(b"cut off")
    with pytest.raises(InputError, match="is damaged"):
        load_classifier("squeezenet1_1", offline=True)


def test_a_download_that_breaks_is_one_line_and_leaves_nothing(pretrained, site):
    site.breaks = True
    with pytest.raises(DownloadError, match="broke after"):
        load_classifier("squeezenet1_1")
    assert list(pretrained.parent.iterdir()) == []


def test_a_head_of_other_classes_is_built_as_the_file_has_it(tmp_path, notices):
    model = network("squeezenet1_1", num_classes=7)
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    classifier = load_classifier("squeezenet1_1", weights=tmp_path / "net.safetensors", notice=notices.append)
    assert gives_what(classifier, model)
    assert (classifier.count, classifier.classes) == (7, ())
    assert "7 outputs and 1000 class names" in notices[0]


def test_weights_of_another_architecture_are_refused_by_their_first_keys(squeezenet):
    words = r"net\.safetensors does not fit resnet18: it has .* … \(52 keys\), wanted conv1\.weight … \(122\)"
    with pytest.raises(InputError, match=words):
        load_classifier("resnet18", weights=squeezenet[1])


def test_loading_leaves_the_random_state_as_it_was(squeezenet):
    before = torch.random.get_rng_state()
    load_classifier("squeezenet1_1", weights=squeezenet[1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(UsageError, match=r'no model "resnt50"\. Did you mean resnet50\? \(xai list models\)'):
        load_classifier("resnt50")


def test_a_name_that_timm_knows_is_sent_there():
    with pytest.raises(UsageError, match=r"Did you mean timm:deit_tiny_patch16_224\?"):
        load_classifier("deit_tiny_patch16_224")


def test_a_name_of_the_hub_s_form_is_sent_there():
    with pytest.raises(UsageError, match="write hf:google/vit-base-patch16-224"):
        load_classifier("google/vit-base-patch16-224")


def test_unknown_weights_get_the_list_and_a_suggestion():
    with pytest.raises(UsageError, match=r"no weights .*expected IMAGENET1K_V1, IMAGENET1K_V2\. Did you mean IMAGENET1K_V2\?"):
        load_classifier("resnet50@imagenet1k_v3")


def test_networks_of_pairs_are_no_models_of_photos():
    with pytest.raises(UsageError, match="no model"):
        load_classifier("raft_large")


@pytest.mark.parametrize(("name", "frames"), [("r3d_18", 16), ("s3d", 128), ("mvit_v2_s", 16), ("swin3d_t", 32)])
def test_a_network_of_clips_takes_as_many_frames_as_its_weights_were_scored_on(name, frames):
    entry = get_model_weights(name).DEFAULT
    preset, view = entry.transforms(), view_of(entry)
    assert view.frames == frames
    assert view.size == tuple(preset.crop_size)
    assert view.resize == (tuple(preset.resize_size) if len(preset.resize_size) == 2 else preset.resize_size[0])


@pytest.mark.slow
def test_a_network_of_clips_is_loaded_with_weights_from_a_file(tmp_path):
    model = network("mc3_18")
    save_file(model.state_dict(), tmp_path / "clips.safetensors")
    classifier = load_classifier("mc3_18", weights=tmp_path / "clips.safetensors", frames=2)
    clips = torch.randn(1, 2, 3, 112, 112)
    assert (classifier.view.channels, classifier.count) == (6, 400)
    torch.testing.assert_close(classifier(clips.flatten(1, 2)), model.eval()(clips.transpose(1, 2)))


@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models))
def test_the_view_of_all_weights_is_their_own_preprocessing(name):
    for entry in get_model_weights(name):
        preset, view = entry.transforms(), view_of(entry)
        assert [view.crop] == list(preset.crop_size)
        assert [view.resize] == list(preset.resize_size)
        assert view.interpolation == preset.interpolation.value
        assert (list(view.mean), list(view.std)) == (list(preset.mean), list(preset.std))


def test_a_transformer_s_positions_follow_the_weights_image_size():
    weights = get_model_weights("vit_b_16")
    assert arguments_of("vit_b_16", weights["IMAGENET1K_SWAG_E2E_V1"]) == {"image_size": 384}
    assert arguments_of("vit_b_16", weights["IMAGENET1K_V1"]) == {"image_size": 224}


def test_the_dotted_names_of_old_densenet_files_are_today_s():
    state = OrderedDict({"features.denseblock1.denselayer1.norm.1.weight": torch.ones(1), "features.norm0.weight": torch.ones(1)})
    assert list(current_names("densenet121", state)) == ["features.denseblock1.denselayer1.norm1.weight", "features.norm0.weight"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "densenet121", "mnasnet0_5", "mobilenet_v3_small"])
def test_a_pretrained_network_is_what_torchvision_itself_builds_from_the_file(name, tmp_path, monkeypatch):
    entry = get_model_weights(name).DEFAULT
    state = network(name, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {})).state_dict()
    monkeypatch.setattr(type(entry), "get_state_dict", lambda self, *args, **kwargs: state)
    theirs = get_model(name, weights=entry).eval()
    torch.save(state, tmp_path / "net.pth")
    monkeypatch.setattr(from_torchvision, "pretrained_file", lambda *args: tmp_path / "net.pth")
    ours = load_classifier(f"{name}@{entry.name}")
    inputs = torch.randn(1, 3, *ours.view.size, generator=torch.Generator().manual_seed(2))
    assert gives_what(ours, theirs, inputs)
