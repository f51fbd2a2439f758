import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, ResNet

from xaicli.errors import UsageError
from xaicli.methods.lfi.lfi_network import with_branch
from xaicli.network.dry_run import dry_run
from xaicli.network.stages import find_stages, named_stages

SIZE = (64, 64)


def built(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def stages(network, count=3, size=SIZE, **settings):
    return [(str(layer), layer.channels, layer.layout.grid) for layer in find_stages(dry_run(network, size), count, **settings)]


def test_a_residual_network_has_its_last_stages():
    network = built(lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5))
    last = [("layer2", 128, (8, 8)), ("layer3", 256, (4, 4)), ("layer4", 512, (2, 2))]
    assert stages(network) == last
    assert stages(network, 4) == [("layer1", 64, (16, 16)), *last]


def test_a_vgg_has_the_pools_that_end_its_blocks():
    # As published for VGG-16: 256, 512 and 512 channels, each at the resolution behind the pool.
    network = built(lambda: get_model("vgg16", weights=None, num_classes=4, init_weights=False))
    network.classifier = nn.Linear(25088, 4)
    assert stages(network) == [("features.16", 256, (8, 8)), ("features.23", 512, (4, 4)), ("features.30", 512, (2, 2))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("densenet121", ["features.denseblock2", "features.denseblock3", "features.norm5"]),
        ("mobilenet_v3_small", ["features.3", "features.8", "features.12"]),
        ("shufflenet_v2_x0_5", ["stage2", "stage3", "conv5"]),
        ("convnext_tiny", ["features.3", "features.5", "features.7"]),
    ],
)
def test_other_networks_have_the_last_layer_of_each_resolution(name, expected):
    network = built(lambda: get_model(name, weights=None, num_classes=4))
    assert [name for name, _, _ in stages(network)] == expected


def test_a_densenets_last_features_are_read_behind_its_relu():
    network = built(lambda: get_model("densenet121", weights=None, num_classes=4))
    assert [layer.rectified for layer in find_stages(dry_run(network, SIZE))] == [False, False, True]
    (again,) = named_stages(dry_run(network, SIZE), ("features.norm5",))
    assert again.rectified


def test_networks_of_timm_too():
    timm = pytest.importorskip("timm")
    network = built(lambda: timm.create_model("mobilenetv3_small_100", num_classes=4))
    assert [name for name, _, _ in stages(network)] == ["blocks.1", "blocks.3", "blocks.5"]
    vit = built(lambda: timm.create_model("vit_tiny_patch16_224", num_classes=4, depth=4, img_size=64))
    assert [name for name, _, _ in stages(vit)] == ["blocks.1.norm1", "blocks.2.norm1", "blocks.3.norm1"]


def test_a_transformer_has_its_last_blocks_or_what_their_first_norm_gives(tiny_vit):
    names = [f"encoder.layers.encoder_layer_{number}" for number in (0, 1)]
    assert stages(tiny_vit, size=(32, 32)) == [(f"{name}.ln_1", 16, (4, 4)) for name in names]
    assert stages(tiny_vit, size=(32, 32), vit_tap="block_out") == [(name, 16, (4, 4)) for name in names]
    assert stages(tiny_vit, 1, size=(32, 32)) == [(f"{names[1]}.ln_1", 16, (4, 4))]


def test_a_small_network_has_as_many_as_it_has_resolutions(tiny_cnn):
    assert [grid for _, _, grid in stages(tiny_cnn, 4, size=(32, 32))] == [(16, 16), (8, 8)]


def test_a_branch_is_no_stage(tiny_cnn):
    network = with_branch(tiny_cnn, (32, 32))
    assert all(name.startswith("network.features") for name, _, _ in stages(network, 4, size=(32, 32)))


def test_layers_are_named_as_they_are_written(tiny_vit, tiny_cnn):
    written = tuple(name for name, _, _ in stages(tiny_vit, size=(32, 32), vit_tap="block_out"))
    assert tuple(map(str, named_stages(dry_run(tiny_vit, (32, 32)), written))) == written
    (entered,) = named_stages(dry_run(tiny_cnn, (32, 32)), ("features.-1:input",))
    assert (str(entered), entered.channels) == ("features.6:input", 8)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("featuers.3", 'no layer "featuers.3"'),
        ("features.3:middle", 'no layer "features.3:middle"'),
        ("head", "no spatial grid"),
    ],
)
def test_a_layer_that_is_none_is_refused(tiny_cnn, name, words):
    with pytest.raises(UsageError, match=words):
        named_stages(dry_run(tiny_cnn, (32, 32)), (name,))


def test_a_layer_that_runs_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.head = nn.Linear(3, 2)

        def forward(self, inputs):
            return self.head(self.conv(self.conv(inputs)).mean(dim=(2, 3)))

    with pytest.raises(UsageError, match="layer conv runs 2 times"):
        named_stages(dry_run(built(Twice), (8, 8)), ("conv",))
