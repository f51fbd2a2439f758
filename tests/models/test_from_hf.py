import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.models.from_hf import LogitsOnly, require_photos
from xaicli.models.load import load_classifier

transformers = pytest.importorskip("transformers")


def network(kind="ViTForImageClassification", classes=5, **changes):
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        **{"num_labels": classes, **changes},
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return getattr(transformers, kind)(config).eval()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes a network and a processor of 32 pixels into ./vit of the current folder, as save_pretrained does."""

    def saved(model, **processor):
        model.save_pretrained(tmp_path / "vit")
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}, **processor).save_pretrained(tmp_path / "vit")
        monkeypatch.chdir(tmp_path)
        return tmp_path / "vit"

    return saved


def test_a_network_of_one_channel_reads_colour_photos_as_grey(folder):
    folder(network(num_channels=1), image_mean=[0.3], image_std=[0.2])
    classifier = load_classifier("hf:./vit")
    assert classifier.view == View((32, 32), None, "bilinear", (0.3,), (0.2,))
    [found] = xaicli.explain(Image.new("RGB", (40, 40), "red"), classifier, method="grad-cam")
    assert found.values.shape == (4, 4)


def test_a_folder_gives_the_network_its_view_and_its_names(folder, capfd):
    names = {0: "cat", 1: "dog", 2: "bee", 3: "ant", 4: "owl"}
    model = network(id2label=names, label2id={name: index for index, name in names.items()})
    folder(model)
    capfd.readouterr()
    classifier = load_classifier("hf:./vit")
    inputs = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(classifier(inputs), model(inputs).logits)
    assert classifier.view == View((32, 32), None, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert classifier.classes == ("cat", "dog", "bee", "ant", "owl")
    assert classifier.name == "hf:vit"
    assert not classifier.torch_module.training
    assert capfd.readouterr() == ("", "")


def test_placeholders_are_no_names(folder):
    folder(network())
    assert load_classifier("hf:./vit").classes == ()


def test_weights_in_half_precision_become_float32(folder):
    folder(network().half())
    classifier = load_classifier("hf:./vit")
    assert {parameter.dtype for parameter in classifier.torch_module.parameters()} == {torch.float32}


def test_the_fingerprint_is_the_network_s_and_not_the_wrapper_s(folder):
    folder(network())
    first = load_classifier("hf:./vit")
    assert first.fingerprint == load_classifier("hf:./vit").fingerprint
    assert "LogitsOnly" in type(first.torch_module).__name__


def test_weights_from_a_file_replace_the_folder_s(folder, tmp_path):
    folder(network())
    other = network()
    with torch.no_grad():
        other.classifier.bias += 1
    save_file(other.state_dict(), tmp_path / "net.safetensors")
    classifier = load_classifier("hf:./vit", weights=tmp_path / "net.safetensors")
    inputs = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(classifier(inputs), other(inputs).logits)
    assert classifier.name == "hf:vit@weights=net.safetensors"


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("ImageGPT", {"n_positions": 16, "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 1}, "a sequence of tokens"),
        ("Siglip2", {"vision_config": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}}, "patches that its"),
    ],
)
def test_a_network_that_takes_no_photo_is_refused_in_words(kind, settings, told):
    transformers = pytest.importorskip("transformers")
    network = getattr(transformers, f"{kind}ForImageClassification")(getattr(transformers, f"{kind}Config")(**settings))
    with pytest.raises(InputError, match=rf"hf:net takes {told}.*FILE\.py:FUNCTION"):
        require_photos("hf:net", network)


def test_logits_that_go_by_another_name_are_found():
    transformers = pytest.importorskip("transformers")
    network = transformers.PPLCNetForImageClassification(transformers.PPLCNetConfig(num_labels=3)).eval()
    with torch.no_grad():
        assert LogitsOnly(network, False)(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_a_network_without_a_trained_head_is_refused(folder):
    folder(network("ViTModel"))
    with pytest.raises(
        InputError, match=r"is not a trained classifier: its file lacks classifier\.bias, classifier\.weight"
    ) as caught:
        load_classifier("hf:./vit")
    assert caught.value.exit_code == 3


def test_a_folder_that_lacks_something_is_refused(folder, tmp_path):
    path = folder(network())
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"hf:?\S* ?\S*holds no preprocessor_config\.json|holds no preprocessor_config"):
        load_classifier("hf:./vit")
    (path / "config.json").unlink()
    with pytest.raises(InputError, match=r"holds no config\.json"):
        load_classifier("hf:./vit")
    with pytest.raises(InputError, match=r"there is no folder \./absent"):
        load_classifier("hf:./absent")


def test_a_folder_whose_weights_are_damaged_is_refused_in_one_line(folder):
    path = folder(network())
    (path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"hf:\./vit cannot be loaded") as caught:
        load_classifier("hf:./vit")
    assert "\n" not in str(caught.value)


def test_a_folder_has_no_revisions(folder):
    folder(network())
    with pytest.raises(UsageError, match="A folder has no revisions"):
        load_classifier("hf:./vit@main")


def test_a_folder_named_without_the_prefix_is_sent_there(folder):
    folder(network())
    with pytest.raises(UsageError, match="write hf:vit"):
        load_classifier("vit")


def test_offline_a_repository_is_not_asked_for_and_its_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        load_classifier("hf:nobody/nothing", offline=True)
    assert str(tmp_path / "models--nobody--nothing") in str(caught.value)
    assert "--offline forbids the download" in str(caught.value)


@pytest.mark.slow
def test_without_a_network_that_is_one_line_on_stderr_and_nothing_else(tmp_path):
    code = (
        "from xaicli.models.load import load_classifier\n"
        "from xaicli.errors import InputError\n"
        "try: load_classifier('hf:nobody/nothing')\n"
        "except InputError as error: print(error)\n"
    )
    address = {"HF_ENDPOINT": "http://127.0.0.1:9", "no_proxy": "127.0.0.1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **address}, check=True)
    assert "http://127.0.0.1:9 cannot be reached" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_name_that_is_no_repository_is_refused(monkeypatch):
    with pytest.raises(InputError, match="hf:not a name"):
        load_classifier("hf:not a name", offline=True)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *args: None)
    with pytest.raises(InputError, match=r'transformers is not installed\. Type: pip install "xaicli\[hf\]"'):
        load_classifier("hf:nobody/nothing")
