import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import get_model

from xaicli.errors import InputError, UsageError
from xaicli.methods.lfi.feature_importance import FeatureImportance, Importance
from xaicli.methods.lfi.lfi_network import LFINetwork, Site, branch_of, described, find_site, reading, restored, with_branch
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import default_layer
from xaicli.registry import make_method
from xaicli.targets import TargetRule, Targets

SMALL = (64, 64)
SIZE = (32, 32)


@pytest.fixture
def network(tiny_cnn):
    torch.manual_seed(4)
    return with_branch(tiny_cnn, SIZE).eval()


def test_what_follows_the_features_gets_them_times_one_plus_the_attention(network, photo_batch):
    features = network.network.features(photo_batch)
    attention = network.branch(features, photo_batch)
    expected = network.network.head((features * (1 + attention[:, None])).mean(dim=(2, 3)))
    assert_close(network(photo_batch), expected)


def test_the_published_numbers_of_gating():
    class Second(nn.Module):
        def forward(self, features):
            return features.mean(dim=(2, 3))

    class Attending(nn.Module):
        def forward(self, features, inputs):
            return torch.tensor([[[0.733333, 0.066667], [0.0, 1.0]]])

    network = LFINetwork(nn.Sequential(nn.Identity(), Second()), Site(layer="0", channels=2))
    network.branch = Attending()
    features = torch.tensor([[[[1.0, 3], [2, 5]], [[4, 0], [0, 4]]]])
    assert_close(network(features), torch.tensor([[4.233333, 3.733333]]), atol=1e-5, rtol=0)


def test_dark_features_leave_the_logits_to_the_head_alone(network):
    nn.init.zeros_(network.network.features[-1].weight)
    nn.init.zeros_(network.network.features[-1].bias)
    inputs = torch.randn(2, 3, 32, 32, requires_grad=True)
    logits = network.requires_grad_(True)(inputs)
    assert_close(logits, network.network.head.bias.expand(2, -1))
    logits.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    ("name", "layer", "side", "channels"),
    [
        ("resnet18", "layer4", "output", 512),
        ("densenet121", "features.norm5", "input", 1024),
        ("vgg11_bn", "features.27", "output", 512),
        ("mobilenet_v3_small", "features.12", "output", 576),
        ("efficientnet_b0", "features.8", "output", 1280),
        ("convnext_tiny", "features.7", "output", 768),
    ],
)
def test_the_branch_stands_at_the_last_feature_map_of_each_family(name, layer, side, channels):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = get_model(name, weights=None, **({"init_weights": False} if name.startswith("vgg") else {}))
    site = find_site(network, SMALL)
    assert (site.layer, site.side, site.channels) == (layer, side, channels)


@pytest.mark.parametrize("name", ["densenet121", "resnetv2_50", "mobilenetv3_small_100", "efficientnet_b0", "convnext_atto"])
def test_networks_of_timm_take_a_branch(name):
    timm = pytest.importorskip("timm")
    network = with_branch(timm.create_model(name, num_classes=7), SMALL, Importance(fin_width=4)).eval()
    with torch.no_grad(), reading(network.branch) as seen:
        assert network(torch.randn(2, 3, *SMALL)).shape == (2, 7)
    features, attention = seen[0]
    assert features.shape[1] == network.site.channels
    assert attention.shape[1:] == features.shape[2:]


def test_a_densenet_is_gated_before_its_last_norm_or_after_its_activation():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = get_model("densenet121", weights=None, num_classes=4).eval()
    assert find_site(network, SMALL, "post_act") == Site(layer="features.norm5", channels=1024, rectified=True)
    gated = with_branch(network, SMALL, Importance(fin_width=4), gate="post_act").eval()
    inputs = torch.randn(2, 3, *SMALL)
    with torch.no_grad(), reading(gated.branch) as seen:
        logits = gated(inputs)
        features, attention = seen[0]
        expected = network.classifier((features * (1 + attention[:, None])).mean(dim=(2, 3)))
    assert features.min() >= 0
    assert_close(logits, expected)


def test_a_residual_network_for_small_photos_takes_a_branch():
    from torchvision.models.resnet import BasicBlock, ResNet

    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)
    network.maxpool = nn.Identity()
    assert find_site(network, SIZE) == Site(layer="layer4", channels=512)


def test_a_transformer_has_no_last_feature_map(tiny_vit):
    with pytest.raises(UsageError, match=r"lfi-cam: the last features of VisionTransformer are laid out as tokens.*t-tame"):
        with_branch(tiny_vit, SIZE)


def test_a_layer_of_the_users_is_gated_instead(tiny_cnn):
    assert with_branch(tiny_cnn, SIZE, layer="features.3").site == Site(layer="features.3", channels=8)


def test_nothing_stays_hooked_after_a_pass_or_an_error(network, photo_batch):
    layer = network.network.features
    network(photo_batch)
    with pytest.raises(RuntimeError):
        network(photo_batch[:, :2])
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks


def test_a_branch_is_none_of_the_networks_features(network):
    assert default_layer(dry_run(network, SIZE)).name == "network.features"


def test_a_branch_is_found_inside_a_wrapper(network, tiny_cnn):
    assert branch_of(nn.Sequential(network)) is network.branch
    assert branch_of(tiny_cnn) is None
    assert branch_of(None) is None


def test_a_network_is_wrapped_again_from_its_description(network, tiny_cnn, photo_batch):
    again = restored(tiny_cnn, described(network)).eval()
    again.load_state_dict(network.state_dict())
    assert isinstance(again.branch, FeatureImportance)
    assert_close(again(photo_batch), network(photo_batch))


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: {},
        lambda told: {**told, "site": {**told["site"], "layer": "gone"}},
        lambda told: {**told, "site": {**told["site"], "channels": "many"}},
        lambda told: {**told, "importance": {"nonsense": 1}},
        lambda told: {**told, "site": None},
    ],
)
def test_a_damaged_description_is_refused(network, tiny_cnn, damage):
    with pytest.raises(InputError):
        restored(tiny_cnn, damage(described(network)))


def test_gradients_reach_the_features_through_the_attention(network, photo_batch):
    network.train().requires_grad_(True)
    network(photo_batch).logsumexp(dim=1).sum().backward()
    assert network.branch.fin[0].weight.grad.abs().sum() > 0
    assert network.network.features[0].weight.grad.abs().sum() > 0


class Gated(nn.Module):
    """A ReLU whose inputs and gradients are above 0 on bright photos, features, and a head of positive weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.activation = nn.ReLU()
        self.features = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.head = nn.Linear(6, 3, bias=False)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.rand(weight.shape, generator=generator) + 0.1)

    def forward(self, inputs):
        return self.head(self.features(self.activation(self.body(inputs))).mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["guided-backprop", "deconvolution", "deeplift", "lrp@rule=epsilon"])
def test_to_rules_for_gradients_the_gate_is_a_constant_factor(name, classifier_of):
    """Where no rule changes anything, their maps are gradients through (1 + A) F with A as it is on the photo."""
    torch.manual_seed(5)
    network = LFINetwork(Gated(), Site(layer="features", channels=6)).eval().requires_grad_(False)
    photos = torch.rand(1, 3, *SMALL, generator=torch.Generator().manual_seed(2)) + 0.1
    kind = f"{name}@channels=sum" if "@" not in name else name
    maps = make_method(kind).attribute(classifier_of(network), photos, Targets.same(TargetRule(index=1), 1), torch.zeros(1))
    leaf = photos.clone().requires_grad_()
    inner = network.network
    features = inner.features(inner.activation(inner.body(leaf)))
    gate = 1 + network.branch(features.detach(), photos)[:, None]
    logit = inner.head((features * gate).mean(dim=(2, 3)))[0, 1]
    (gradient,) = torch.autograd.grad(logit, leaf)
    of_pixels = gradient if name in ("guided-backprop", "deconvolution") else gradient * leaf.detach()
    assert_close(maps.values[0, 0], of_pixels[0].sum(dim=0), rtol=1e-3, atol=1e-6)
    assert_close(maps.logits[0, 1], logit.detach())
