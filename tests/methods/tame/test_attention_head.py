import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.methods.tame.attention_head import AttentionHead, Branch


@pytest.mark.parametrize(
    ("channels", "bias", "count"),
    [
        ((256, 512, 512), True, 1_874_664),
        ((512, 1024, 2048), True, 9_100_776),
        ((768, 768, 768), True, 4_081_384),
        ((64, 128, 256, 512), False, 1_311_040),
        ((64, 128, 256, 512), True, 1_312_040),
    ],
    ids=["VGG-16", "ResNet-50", "ViT-B/16", "P-TAME", "P-TAME with bias"],
)
def test_published_numbers_of_parameters(channels, bias, count):
    with torch.device("meta"):
        head = AttentionHead(channels, 1000, bias=bias)
    assert sum(parameter.numel() for parameter in head.parameters()) == count


def test_a_branch_of_zeros_passes_what_is_positive():
    branch = Branch(3).eval()
    nn.init.zeros_(branch.conv.weight)
    nn.init.zeros_(branch.conv.bias)
    features = torch.randn(2, 3, 4, 4)
    assert_close(branch(features), features.relu())


@pytest.mark.parametrize(("largest", "size"), [(56, (56, 56)), (None, (64, 60)), (100, (64, 60))])
def test_maps_have_the_first_layers_size_up_to_the_largest(largest, size):
    head = AttentionHead((2, 3), 4, largest=largest)
    maps = head([torch.rand(2, 2, 64, 60), torch.rand(2, 3, 32, 30)], torch.tensor([1, 3]))
    assert maps.shape == (2, 2, *size)


def test_all_layers_of_a_resnet_18_are_brought_to_56_by_doubling():
    head = AttentionHead((2, 2, 2, 2), 3, upsampling="doubling")
    features = [torch.rand(1, 2, side, side) for side in (56, 28, 14, 7)]
    assert head(features, torch.tensor([0])).shape == (1, 1, 56, 56)


def test_a_contrast_is_the_map_of_one_class_less_that_of_the_other():
    head = AttentionHead((2, 3), 5).eval()
    features = [torch.rand(3, 2, 6, 6), torch.rand(3, 3, 3, 3)]
    whole = head.dense(features)
    classes, against = torch.tensor([[1], [4], [2]]), torch.tensor([[3], [-1], [0]])
    expected = torch.stack([whole[0, 1] - whole[0, 3], whole[1, 4], whole[2, 2] - whole[2, 0]])[:, None]
    assert_close(head.contrast(features, classes, against), expected)
    assert_close(head.contrast(features, classes, torch.full((3, 1), -1)), whole[torch.arange(3), classes[:, 0]][:, None])


def test_a_head_is_built_again_from_its_description():
    head = AttentionHead((2, 3), 4, bias=False, upsampling="doubling", largest=9)
    again = AttentionHead(**head.described())
    again.load_state_dict(head.state_dict())
    assert again.described() == head.described()
