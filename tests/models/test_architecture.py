"""Networks without weights: what a specification builds, and how checkpoints become networks again."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from xaicli.errors import InputError, UsageError
from xaicli.methods.lfi import lfi_network as lfi
from xaicli.models import from_checkpoint
from xaicli.models.architecture import build, record
from xaicli.models.checkpoint import write_checkpoint
from xaicli.models.load import load_classifier
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import default_layer
from xaicli.network.tokens import Axes

SMALL = "tiny@widths=8+8+16@blocks=1"
SMALL_VIT = "tiny-vit@width=32@depth=2@heads=2"


@pytest.mark.parametrize(("spec", "parameters"), [("tiny", 1_974_248), ("tiny-vit", 2_070_160)])
def test_a_bundled_network_fits_into_eight_megabytes_of_float16(spec, parameters):
    module = build(spec, 200).module
    assert sum(tensor.numel() for tensor in module.parameters()) == parameters
    assert 2 * parameters < 8e6


def test_the_residual_network_has_a_map_of_eight_by_eight_that_is_not_negative():
    module = build(SMALL, 5).module.eval()
    layer = default_layer(dry_run(module, (64, 64)))
    assert layer.layout.axes is Axes.CHANNELS_FIRST
    assert (layer.layout.grid, layer.channels) == ((8, 8), 16)
    assert module.stages(module.stem(torch.randn(2, 3, 64, 64))).min() >= 0


def test_its_head_is_linear_in_the_mean_of_the_map():
    module = build(SMALL, 5).module.eval()
    inputs = torch.randn(2, 3, 64, 64)
    features = module.stages(module.stem(inputs))
    wanted = features.mean(dim=(2, 3)) @ module.head.weight.T + module.head.bias
    torch.testing.assert_close(module(inputs), wanted)


def test_the_transformer_has_tokens_of_eight_by_eight_after_a_class_token():
    layer = default_layer(dry_run(build(SMALL_VIT, 5).module.eval(), (64, 64)))
    assert layer.layout.axes is Axes.TOKENS
    assert (layer.layout.grid, layer.layout.prefix) == ((8, 8), 1)


def test_its_head_reads_the_class_token_alone():
    module = build(SMALL_VIT, 5).module.eval()
    tokens = torch.randn(2, 65, 32, requires_grad=True)
    module.head(module.norm(tokens)[:, 0]).sum().backward()
    assert not tokens.grad[:, 1:].any()


def test_skipped_blocks_are_of_training_alone_and_keep_the_mean():
    module = build("tiny-vit@width=32@depth=2@heads=2@drop_path=0.5", 5).module
    block = module.blocks[1].train()
    torch.manual_seed(0)
    change = torch.ones(4000, 1, 1)
    kept = block.kept(change)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(1.0, abs=0.05)
    assert block.eval().kept(change) is change


def test_specifications_are_kept_in_canonical_form():
    assert build("Tiny@blocks=1@widths=8+8+16", 3).spec == "tiny@blocks=1@widths=8+8+16"
    assert build("resnet18", 3).spec == "torchvision:resnet18"


def test_a_network_of_torchvision_has_as_many_outputs_as_wanted_and_its_weights_view():
    made = build("torchvision:squeezenet1_0", 7)
    assert made.module(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    assert made.view.size == (224, 224)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tinny", "no network .tinny.*Did you mean tiny"),
        ("tiny@widht=3", "no parameter"),
        ("tiny@V1", "is not a network"),
        ("tiny-vit@width=100@heads=3", "3 heads do not divide"),
        ("resnet18@width=3", "takes no parameters"),
        ("resnet18@NOPE", "no weights"),
        ("onnx:net.onnx", "cannot be built without weights"),
        ("net.py:make", "cannot be built without weights"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(spec, words):
    with pytest.raises(UsageError, match=words):
        build(spec, 5)


@pytest.fixture
def saved(tmp_path):
    """A network with LFI-CAM's branch in a checkpoint: the path and the network."""
    torch.manual_seed(0)
    made = build(SMALL, 3)
    network = lfi.with_branch(made.module, (64, 64)).eval()
    told = {
        "method": "lfi-cam",
        "architecture": record(made.spec, 3),
        "branch": lfi.described(network),
        "view": dataclasses.replace(made.view, mean=(0.4, 0.5, 0.6)).as_dict(),
        "class_names": ["ant", "bee", "cat"],
        "classifier": made.spec,
    }
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    write_checkpoint(tmp_path / "my-lfi.safetensors", state, told)
    return tmp_path / "my-lfi.safetensors", network, state, told


def test_a_checkpoint_is_a_model_of_its_own(saved):
    path, network, *_ = saved
    classifier = load_classifier(str(path))
    inputs = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(classifier(inputs), network(inputs))
    assert classifier.classes == ("ant", "bee", "cat")
    assert classifier.view.mean == (0.4, 0.5, 0.6)
    assert classifier.name == "my-lfi.safetensors"
    assert lfi.branch_of(classifier.module) is not None


def test_it_is_loaded_as_tiny_with_weights_too(saved):
    path, network, *_ = saved
    with pytest.raises(UsageError, match="is a network of its own"):
        load_classifier("resnet18", weights=path)
    classifier = load_classifier("tiny", weights=path)
    inputs = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(classifier(inputs), network(inputs))
    assert classifier.name == "tiny@weights=my-lfi.safetensors"


def test_building_it_again_leaves_the_callers_random_state_alone(saved):
    state = torch.get_rng_state()
    load_classifier(str(saved[0]))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": None, "classifier": "resnet50"}, "holds no network: it explains resnet50"),
        ({"architecture": {"spec": "tiny", "count": 3}}, "does not fit"),
        ({"architecture": {"spec": "tinny", "count": 3}}, "no network"),
        ({"architecture": {"spec": "net.py:make", "count": 3}}, "your own code, net.py:make.*--weights my-lfi"),
        ({"branch": {"site": {}}}, "record of the branch is damaged"),
        ({"view": {"resize": 3}}, "record of a view is not complete"),
        ({"class_names": [1]}, "class names .* are damaged"),
    ],
)
def test_a_damaged_record_is_refused_in_words(saved, change, words):
    path, _, state, told = saved
    write_checkpoint(path, state, {**told, **change})
    with pytest.raises((InputError, UsageError), match=words):
        load_classifier(str(path))


def test_a_bundled_network_without_weights_says_how_to_train_it(tmp_path, monkeypatch):
    monkeypatch.setattr(from_checkpoint, "BUNDLED", tmp_path)
    with pytest.raises(InputError, match=r"weights of tiny are not in this installation.*tools\.bundled_models"):
        load_classifier("tiny")


def test_a_bundled_network_is_loaded_by_its_name(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(from_checkpoint, "BUNDLED", tmp_path)
    saved[0].rename(tmp_path / "tiny.safetensors")
    assert load_classifier("Tiny").name == "tiny"


def test_each_stage_has_its_own_number_of_blocks_or_all_the_same():
    assert [len(stage) for stage in build("tiny@widths=8+8+16@blocks=1+2+3", 3).module.stages] == [1, 2, 3]
    assert [len(stage) for stage in build(SMALL, 3).module.stages] == [1, 1, 1]
    with pytest.raises(UsageError, match="tiny: 2 strides; expected 4"):
        build("tiny@strides=2+1", 3)
    with pytest.raises(UsageError, match="widths of 2 stages, blocks of 3"):
        build("tiny@widths=8+16@blocks=1+2+3", 3)


def test_a_transformer_sees_photos_of_another_size_at_positions_in_between():
    torch.manual_seed(0)
    module = build("tiny-vit@width=16@depth=1@heads=2", 3).module.eval()
    assert module.positions_of(8, 8) is module.positions
    smaller = module.positions_of(4, 4)
    # Halved bilinearly with corners apart: each of the sixteen is the mean of four.
    square = module.positions[0, 1:].unflatten(0, (4, 2, 4, 2)).mean(dim=(1, 3)).flatten(0, 1)
    torch.testing.assert_close(smaller[0, 1:], square)
    torch.testing.assert_close(smaller[0, 0], module.positions[0, 0])
    assert module(torch.rand(2, 3, 32, 48)).shape == (2, 3)


def test_attention_in_training_is_the_fused_one():
    torch.manual_seed(0)
    attention = build(SMALL_VIT, 3).module.blocks[0].attention
    tokens = torch.randn(2, 5, 32)
    torch.testing.assert_close(attention.train()(tokens), attention.eval()(tokens))
