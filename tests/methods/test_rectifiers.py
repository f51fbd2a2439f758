"""Guided backpropagation, deconvolution and guided Grad-CAM, against their definitions and against captum run plainly."""

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.method import Sign
from xaicli.methods.rectifiers import Deconvolution, GuidedBackprop, GuidedGradCAM
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.arange(5)


def explain(method, classifier, photos, rule=DECISION):
    return method.attribute(classifier, photos, Targets.same(rule, len(photos)), SEEDS[: len(photos)])


class Rectify(torch.autograd.Function):
    """A ReLU whose way back is written out: guided where `guided`, else that of the deconvolution."""

    @staticmethod
    def forward(ctx, values, guided):
        ctx.guided = guided
        ctx.save_for_backward(values)
        return values.clamp_min(0)

    @staticmethod
    def backward(ctx, gradient):
        (values,) = ctx.saved_tensors
        positive = gradient.clamp_min(0)
        return (positive * (values > 0) if ctx.guided else positive), None


class Block(nn.Module):
    """A residual block before whose ReLU the network branches: both branches read the ReLU's input."""

    def __init__(self, activation):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.activation = activation
        self.head = nn.Linear(4, 5)

    def forward(self, inputs):
        hidden = self.first(inputs)
        hidden = self.second(self.activation(hidden)) + hidden
        return self.head(hidden.mean(dim=(2, 3)))


def with_weights(network, seed=2):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network.eval()


class ByHand(nn.Module):
    def __init__(self, guided):
        super().__init__()
        self.guided = guided

    def forward(self, values):
        return Rectify.apply(values, self.guided)


def plain_gradient(network, photos, index):
    points = photos.clone().requires_grad_()
    return torch.autograd.grad(network(points)[:, index].sum(), points)[0]


@pytest.mark.parametrize(("cls", "guided"), [(GuidedBackprop, True), (Deconvolution, False)])
def test_maps_follow_the_definition_also_where_a_relus_input_is_read_elsewhere(classifier_of, photo_batch, cls, guided):
    classifier = classifier_of(with_weights(Block(nn.ReLU(inplace=False))))
    expected = plain_gradient(with_weights(Block(ByHand(guided))), photo_batch, 3).sum(dim=1)
    assert_close(explain(cls(channels="sum"), classifier, photo_batch, TargetRule(index=3)).values[:, 0], expected)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(GuidedBackprop, captum.attr.GuidedBackprop), (Deconvolution, captum.attr.Deconvolution)]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_maps_are_captums_where_captum_is_right(classifier_of, tiny_cnn, photo_batch, ours, theirs):
    maps = explain(ours(channels="max-abs"), classifier_of(tiny_cnn), photo_batch)
    expected = theirs(tiny_cnn).attribute(photo_batch.clone(), target=maps.targets.classes[:, 0]).abs().amax(dim=1)
    assert_close(maps.values[:, 0], expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_guided_grad_cam_is_the_product_of_its_factors(classifier_of, tiny_cnn, photo_batch):
    classifier = classifier_of(tiny_cnn)
    product = explain(GuidedGradCAM(layer="features.6", channels="sum"), classifier, photo_batch, TargetRule(index=1))
    guided = explain(GuidedBackprop(channels="sum"), classifier, photo_batch, TargetRule(index=1))
    layer = tiny_cnn.features[6]
    activations = []
    hook = layer.register_forward_hook(lambda module, args, output: activations.append(output))
    tiny_cnn(photo_batch.clone().requires_grad_())
    hook.remove()
    # The mean of a linear head: each channel's gradient is its weight over the number of cells.
    weights = tiny_cnn.head.weight[1] / activations[0][0, 0].numel()
    cam = (activations[0] * weights[:, None, None]).sum(dim=1, keepdim=True).relu()
    upsampled = F.interpolate(cam, size=(32, 32), mode="bilinear", align_corners=False)
    assert_close(product.values, upsampled.detach() * guided.values)


@pytest.mark.parametrize("cls", [GuidedBackprop, Deconvolution, GuidedGradCAM])
@pytest.mark.parametrize(
    ("activation", "word"),
    [(nn.ReLU6, "ReLU6"), (nn.Hardswish, "Hardswish"), (nn.SiLU, "SiLU"), (nn.GELU, "GELU"), (nn.ELU, "ELU")],
)
def test_activations_that_the_hooks_pass_over_are_refused_by_name(classifier_of, photo_batch, cls, activation, word):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), activation(), nn.Flatten(), nn.LazyLinear(5))
    network(photo_batch)
    method = cls(layer="2") if cls is GuidedGradCAM else cls()
    with pytest.raises(UsageError, match=rf"{cls.name} cannot explain Sequential.*3 \({word}\)"):
        explain(method, classifier_of(network), photo_batch)


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.activation, self.function = nn.ReLU(), function

    def forward(self, inputs):
        return self.second(self.function(self.activation(self.first(inputs)))).mean(dim=(2, 3))


@pytest.mark.parametrize(
    "function",
    [F.relu, torch.relu, torch.relu_, torch.Tensor.relu, F.gelu, F.silu, F.hardtanh, lambda values: values.clamp(min=0)],
)
def test_functional_activations_are_refused(classifier_of, photo_batch, function):
    with pytest.raises(UsageError, match="captum's hooks pass over"):
        explain(GuidedBackprop(), classifier_of(Functional(function)), photo_batch)


@pytest.mark.parametrize("cls", [GuidedBackprop, Deconvolution, GuidedGradCAM])
@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda values: values * torch.sigmoid(values), "sigmoid"),
        (lambda values: 0.5 * values * (1 + torch.tanh(values)), "tanh"),
        (lambda values: torch.where(values > 0, values, 0 * values), "gt"),
        (lambda values: (values + values.abs()) / 2, "abs"),
        (lambda values: values * (values > 0), "gt"),
        (lambda values: values * values.mean(dim=(2, 3), keepdim=True), "mul"),
        (lambda values: values.softmax(dim=1), "_softmax"),
    ],
    ids=["silu", "gelu", "where", "abs", "mask", "gate", "softmax"],
)
def test_activations_that_are_written_out_are_refused(classifier_of, photo_batch, cls, function, word):
    method = cls(layer="second") if cls is GuidedGradCAM else cls()
    with pytest.raises(UsageError, match=f"{cls.name} cannot explain .*captum's hooks pass over {word} in Functional"):
        explain(method, classifier_of(Functional(function)), photo_batch)


def test_a_subclass_of_relu_that_computes_something_else_is_refused(classifier_of, photo_batch):
    class Swish(nn.ReLU):
        def forward(self, inputs):
            return inputs * torch.sigmoid(inputs)

    with pytest.raises(UsageError, match=r"captum's hooks pass over sigmoid in function \(Swish\)"):
        explain(GuidedBackprop(), classifier_of(Functional(Swish())), photo_batch)


@pytest.mark.parametrize(
    "function",
    [
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.MaxPool2d(3, 2),
        nn.AdaptiveMaxPool2d(8),
        nn.AvgPool2d(2),
        nn.Dropout(),
        lambda values: values + values.flip(3),
        lambda values: torch.cat([values[:, 2:], values[:, :2]], dim=1),
    ],
    ids=["batch norm", "group norm", "max pooling", "adaptive", "mean pooling", "dropout", "sum", "cat"],
)
@pytest.mark.parametrize(("cls", "guided"), [(GuidedBackprop, True), (Deconvolution, False)])
def test_what_is_no_activation_may_stand_beside_relu(classifier_of, photo_batch, function, cls, guided):
    network, by_hand = with_weights(Functional(function)), with_weights(Functional(function))
    by_hand.activation = ByHand(guided)
    values = explain(cls(channels="sum"), classifier_of(network), photo_batch, TargetRule(index=2)).values
    assert_close(values[:, 0], plain_gradient(by_hand, photo_batch, 2).sum(dim=1))


def test_a_softmax_at_the_end_is_no_activation_either(classifier_of, photo_batch):
    network = with_weights(Functional(nn.Identity()))
    ended = nn.Sequential(network, nn.Softmax(dim=1)).eval()
    maps = explain(GuidedBackprop(channels="sum"), classifier_of(ended, probabilities=True), photo_batch)
    assert_close(maps.logits.exp(), ended(photo_batch).detach())
    assert maps.values.isfinite().all()
    assert (maps.values.flatten(1) != 0).any(dim=1).all()


def test_a_layer_of_tokens_is_refused_in_words(classifier_of, photo_batch):
    transformers = pytest.importorskip("timm.models.vision_transformer")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = transformers.VisionTransformer(32, 8, num_classes=5, embed_dim=16, depth=2, num_heads=2, act_layer=nn.ReLU)
    classifier = classifier_of(network.eval())
    with pytest.raises(UsageError, match=r"guided-grad-cam cannot explain VisionTransformer: layer .* gives tokens"):
        explain(GuidedGradCAM(), classifier, photo_batch)
    with pytest.raises(UsageError, match="gives tokens"):
        GuidedGradCAM().require(classifier)


def test_a_network_without_a_single_relu_is_refused(classifier_of, photo_batch):
    network = nn.Sequential(nn.Conv2d(3, 5, 32), nn.Identity(), nn.Flatten())
    with pytest.raises(UsageError, match="there is none"):
        explain(Deconvolution(), classifier_of(network), photo_batch)


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.activation, self.head = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, inputs):
        hidden = self.activation(self.second(self.activation(self.first(inputs))))
        return self.head(hidden.mean(dim=(2, 3)))


@pytest.mark.parametrize(("cls", "guided"), [(GuidedBackprop, True), (Deconvolution, False)])
def test_a_reused_relu_is_refused_or_split_as_told(classifier_of, photo_batch, cls, guided):
    network = with_weights(Reused())
    with pytest.raises(UsageError, match=f"used 2 times in a pass.*{cls.name}@split=true"):
        explain(cls(), classifier_of(network), photo_batch)
    values = explain(cls(split=True, channels="sum"), classifier_of(network), photo_batch, TargetRule(index=2)).values
    by_hand = with_weights(Reused())
    by_hand.activation = ByHand(guided)
    assert_close(values[:, 0], plain_gradient(by_hand, photo_batch, 2).sum(dim=1))


def test_the_sign_follows_from_the_rule_for_colours():
    assert GuidedBackprop().sign is Sign.NONNEGATIVE
    assert GuidedGradCAM(channels="sum").sign is Sign.SIGNED


class Twice(nn.Module):
    """A convolution and its ReLU that run twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(4, 5)

    def forward(self, inputs):
        return self.head(self.second(self.second(self.first(inputs))).mean(dim=(2, 3)))


def test_a_layer_that_runs_twice_is_refused(classifier_of, photo_batch):
    with pytest.raises(UsageError, match="runs 2 times"):
        explain(GuidedGradCAM(layer="second.0", split=True), classifier_of(with_weights(Twice())), photo_batch)


@pytest.mark.parametrize("cls", [GuidedBackprop, Deconvolution])
def test_scripted_activations_are_seen_too(classifier_of, photo_batch, cls):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.activation = nn.Conv2d(3, 5, 3), nn.ReLU()

        def forward(self, inputs):
            return rectified(self.activation(self.first(inputs))).mean(dim=(2, 3))

    @torch.jit.script
    def rectified(values):
        return torch.relu(values - 1)

    with pytest.raises(UsageError, match="captum's hooks pass over relu"):
        explain(cls(), classifier_of(Outer()), photo_batch)
