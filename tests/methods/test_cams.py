"""The class activation maps on small networks: closed forms, captum, batches, modes, and real weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.method import Maps, Method
from xaicli.methods.ablation_cam import AblationCAM
from xaicli.methods.eigen_cam import EigenCAM
from xaicli.methods.grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from xaicli.methods.score_cam import ScoreCAM
from xaicli.network.classifier import Classifier
from xaicli.network.taps import tap
from xaicli.registry import make_method
from xaicli.targets import DECISION, TargetRule, Targets

ClassifierOf = Callable[..., Classifier]

GRADIENT = [GradCAM, GradCAMPlusPlus, XGradCAM, LayerCAM, HiResCAM]
ALL: list[type[Method]] = [*GRADIENT, EigenCAM, ScoreCAM, AblationCAM]


def explain(method: Method, classifier: Classifier, inputs: Tensor, *rules: TargetRule) -> Maps:
    """Maps of a batch; one rule is for all photos, none is the decision."""
    rules = rules or (DECISION,)
    targets = Targets(rules if len(rules) > 1 else rules * len(inputs))
    return method.attribute(classifier, inputs, targets, torch.zeros(len(inputs), dtype=torch.int64))


@pytest.mark.parametrize("layer", ["features.0", "features.3", "features"])
def test_the_signed_map_is_captums(layer: str, tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    found = explain(GradCAM(layer=layer, relu=False), classifier_of(tiny_cnn), photo_batch)
    captums = LayerGradCam(tiny_cnn.requires_grad_(True), tiny_cnn.get_submodule(layer))
    expected = captums.attribute(photo_batch, target=found.targets.classes[:, 0])
    assert_close(found.values, expected.detach())


def test_captum_on_the_default_layer_of_a_real_architecture(classifier_of: ClassifierOf) -> None:
    from torchvision.models import resnet18

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = resnet18(weights=None, num_classes=5).eval()
    inputs = torch.randn(2, 3, 65, 97, generator=torch.Generator().manual_seed(1))
    found = explain(GradCAM(relu=False), classifier_of(network, size=(65, 97)), inputs, TargetRule(index=3))
    assert_close(found.values, LayerGradCam(network, network.layer4).attribute(inputs, target=3).detach())
    assert found.values.shape == (2, 1, 3, 4)


def test_under_pooling_and_a_linear_head_the_map_sums_to_the_logit_less_the_bias(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    activation = tiny_cnn.features(photo_batch)
    for method in (GradCAM(relu=False), HiResCAM(relu=False), XGradCAM(relu=False)):
        found = explain(method, classifier, photo_batch, TargetRule(index=2))
        cam = torch.einsum("k,bkij->bij", tiny_cnn.head.weight[2], activation) / activation[0, 0].numel()
        assert_close(found.values[:, 0], cam)
        assert_close(found.values.sum(dim=(1, 2, 3)), found.logits[:, 2] - tiny_cnn.head.bias[2])


@pytest.mark.parametrize("method", [GradCAM(relu=False), XGradCAM(relu=False), HiResCAM(relu=False)], ids=lambda m: m.name)
def test_the_signed_map_of_a_contrast_is_the_difference_of_two(
    method: Method, tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_vit)
    one, other, contrast = (
        explain(method, classifier, photo_batch, rule).values
        for rule in (TargetRule(index=1), TargetRule(index=4), TargetRule(index=1, against=4))
    )
    assert_close(contrast, one - other)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_a_map_with_relu_is_the_positive_part_of_the_signed_one(
    cls: type[Method], tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn, layer="features.3")
    signed, positive = (explain(cls(relu=relu), classifier, photo_batch[:2]).values for relu in (False, True))  # type: ignore[call-arg]
    assert_close(positive, signed.clamp_min(0))
    assert positive.any()


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
@pytest.mark.parametrize("network", ["tiny_cnn", "tiny_vit"])
def test_four_photos_with_mixed_targets_are_four_single_runs(
    cls: type[Method], network: str, request: pytest.FixtureRequest, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(request.getfixturevalue(network))
    rules = (TargetRule(index=0), TargetRule(index=3), DECISION, TargetRule(index=1, against=2))
    together = explain(cls(), classifier, photo_batch[:4], *rules)
    alone = [explain(cls(), classifier, photo_batch[row : row + 1], rule) for row, rule in enumerate(rules)]
    assert_close(together.values, torch.cat([maps.values for maps in alone]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_three_targets_for_four_photos_are_refused(
    cls: type[Method], tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    with pytest.raises(UsageError, match="3 targets for a batch of 4 photos"):
        explain(cls(), classifier_of(tiny_cnn), photo_batch[:4], *[DECISION] * 3)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_in_inference_mode_a_frozen_network_gives_the_same_map(
    cls: type[Method], tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn.requires_grad_(True))
    expected = explain(cls(), classifier, photo_batch[:2]).values
    tiny_cnn.requires_grad_(False)
    with torch.inference_mode():
        found = explain(cls(), classifier, photo_batch[:2] * 1).values
    assert_close(found, expected, atol=1e-6, rtol=0)
    assert all(tensor.grad is None for tensor in tiny_cnn.parameters())


def test_check_8_where_the_gradient_reaches_the_patches_of_a_vision_transformer(tiny_vit: nn.Module, photo_batch: Tensor) -> None:
    kept: list[Tensor] = []
    block = tiny_vit.encoder.layers[-1]
    handles = [
        block.register_forward_pre_hook(lambda _, args: kept.append(args[0])),
        block.register_forward_hook(lambda _, __, output: kept.append(output)),
    ]
    logits = tiny_vit(photo_batch.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    before, after = torch.autograd.grad(logits[:, 0].sum(), kept)
    assert not after[:, 1:].any()
    assert before[:, 1:].abs().sum() > 0


def test_a_vision_transformers_map_is_that_of_the_norm_entering_its_last_attention(
    tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    kept: list[Tensor] = []
    handle = tiny_vit.encoder.layers[-1].ln_1.register_forward_hook(lambda _, __, output: kept.append(output))
    logits = tiny_vit(photo_batch.clone().requires_grad_())
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[:, 3].sum(), kept)
    weights = gradient[:, 1:].mean(dim=1)
    expected = (kept[0][:, 1:] * weights[:, None]).sum(dim=2).reshape(5, 1, 4, 4)
    found = explain(GradCAM(relu=False), classifier_of(tiny_vit), photo_batch, TargetRule(index=3))
    assert_close(found.values, expected.detach())


@pytest.mark.parametrize("cls", GRADIENT, ids=lambda cls: cls.name)
def test_several_targets_come_from_one_forward_pass(
    cls: type[Method], tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn, layer="features.3")
    classifier.feature_layer()
    passes: list[int] = []
    handle = tiny_cnn.register_forward_hook(lambda _, args, __: passes.append(len(args[0])))
    top3 = explain(cls(), classifier, photo_batch, TargetRule(top=3))
    handle.remove()
    assert passes == [5]
    assert top3.values.shape == (5, 3, 8, 8)
    for rank in range(3):
        rules = [TargetRule(index=int(index)) for index in top3.targets.classes[:, rank]]
        assert_close(top3.values[:, rank], explain(cls(), classifier, photo_batch, *rules).values[:, 0])


def test_a_map_of_zeros_says_whether_there_was_a_gradient(classifier_of: ClassifierOf) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)).eval()
    nn.init.constant_(network[3].weight, -1.0)
    found = explain(GradCAM(layer="1"), classifier_of(network, size=(4, 4)), torch.rand(2, 3, 4, 4), TargetRule(index=0))
    assert not found.values.any()
    assert found.extras["largest_gradient"].tolist() == [[1.0], [1.0]]


def test_ablation_cam_is_the_fall_of_the_logit_with_one_channel_at_zero(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    found = explain(AblationCAM(layer="features.3", form="absolute", relu=False), classifier_of(tiny_cnn), photo_batch[:1])
    kept = tiny_cnn.features[:4](photo_batch[:1])
    target = found.targets.classes[0, 0]
    falls = []
    for channel in range(kept.shape[1]):
        without = kept.clone()
        without[:, channel] = 0
        falls.append(found.logits[0, target] - tiny_cnn.head(tiny_cnn.features[4:](without).mean(dim=(2, 3)))[0, target])
    assert_close(found.values[0, 0], (torch.stack(falls)[:, None, None] * kept[0]).sum(dim=0), atol=1e-5, rtol=1e-4)


def test_before_a_layer_norm_gradient_times_activation_is_rounding_error(
    tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    """Behind the norm nothing depends on a token's length, so that the derivative along it is zero: why the layer is the norm."""
    classifier = classifier_of(tiny_vit)
    before = explain(HiResCAM(layer="encoder.layers.-1:input", relu=False), classifier, photo_batch).values
    chosen = explain(HiResCAM(relu=False), classifier, photo_batch).values
    assert before.abs().max() < 1e-3 * chosen.abs().max()


def test_ablation_cam_of_a_vision_transformer_sets_channels_to_zero_at_the_patches(
    tiny_vit: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    found = explain(AblationCAM(form="absolute", relu=False), classifier_of(tiny_vit), photo_batch[:1], TargetRule(index=2))
    blocks = list(tiny_vit.encoder.layers)
    tokens = tiny_vit._process_input(photo_batch[:1])
    tokens = torch.cat([tiny_vit.class_token, tokens], dim=1) + tiny_vit.encoder.pos_embedding
    stream, last = blocks[0](tokens), blocks[1]
    kept = last.ln_1(stream)

    def logit(normed: Tensor) -> Tensor:
        mixed = stream + last.self_attention(normed, normed, normed, need_weights=False)[0]
        return tiny_vit.heads(tiny_vit.encoder.ln(mixed + last.mlp(last.ln_2(mixed)))[:, 0])[0, 2]

    falls = []
    for channel in range(kept.shape[2]):
        without = kept.clone()
        without[:, 1:, channel] = 0
        falls.append(logit(kept) - logit(without))
    expected = (kept[0, 1:] * torch.stack(falls)).sum(dim=1).reshape(4, 4)
    assert_close(found.values[0, 0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("form", ["paper", "authors"])
def test_score_cam_is_a_plain_loop_over_its_channels(
    form: str, tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    method = ScoreCAM(layer="features.3", relu=False, score_form=form)  # type: ignore[arg-type]
    found = explain(method, classifier_of(tiny_cnn), photo_batch[:1], TargetRule(index=4))
    channels = tiny_cnn.features[:4](photo_batch[:1])[0]
    large = nn.functional.interpolate(channels[None], (32, 32), mode="bilinear", align_corners=False)[0]
    scores = []
    for mask in large:
        logits = tiny_cnn(photo_batch[:1] * (mask - mask.min()) / (mask.max() - mask.min()))
        scores.append(logits[0, 4] if form == "paper" else logits.softmax(dim=1)[0, 4])
    weights = torch.stack(scores).softmax(dim=0) if form == "paper" else torch.stack(scores)
    expected = torch.einsum("k,kij->ij", weights, channels if form == "paper" else large)
    assert_close(found.values[0, 0], expected, atol=1e-5, rtol=1e-4)


def test_score_cam_of_the_top_channels_is_the_sum_over_those_of_the_largest_mean_activation(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    whole = explain(ScoreCAM(relu=False), classifier, photo_batch)
    with tap(classifier, "auto", gradients=False) as features:
        classifier(photo_batch)
    for row, channels in enumerate(features.activation):
        best = sorted(range(len(channels)), key=lambda k: -float(channels[k].mean()))[:3]
        logits = []
        for k in best:
            mask = nn.functional.interpolate(channels[k][None, None], (32, 32), mode="bilinear", align_corners=False)
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            logits.append(tiny_cnn(photo_batch[row : row + 1] * mask)[0, whole.targets.classes[row, 0]])
        weights = torch.stack(logits).softmax(dim=0)
        expected = sum(weight * channels[k] for weight, k in zip(weights, best, strict=True))
        found = explain(ScoreCAM(relu=False, top=3), classifier, photo_batch[row : row + 1])
        assert_close(found.values[0, 0], expected, atol=1e-4, rtol=1e-4)
        others = (len(channels) - 3) * torch.stack(logits).max().exp()
        assert_close(found.extras["left_out"][0, 0], others / (others + torch.stack(logits).exp().sum()), atol=1e-4, rtol=1e-4)


def test_score_cam_of_the_top_channels_by_the_authors_bounds_the_share_of_probabilities_that_are_left_out(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    with tap(classifier, "auto", gradients=False) as features:
        target = classifier(photo_batch[:1]).argmax(dim=1)
    (channels,) = features.activation
    weights = []
    for k in sorted(range(len(channels)), key=lambda k: -float(channels[k].mean()))[:3]:
        mask = nn.functional.interpolate(channels[k][None, None], (32, 32), mode="bilinear", align_corners=False)
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        weights.append(tiny_cnn(photo_batch[:1] * mask).softmax(dim=1)[0, target])
    found = explain(ScoreCAM(score_form="authors", top=3), classifier, photo_batch[:1])
    others = (len(channels) - 3) * torch.stack(weights).max()
    assert_close(found.extras["left_out"][0, 0], others / (others + torch.stack(weights).sum()), atol=1e-5, rtol=1e-5)


def test_score_cam_of_more_channels_than_there_are_is_that_of_all(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    found = explain(ScoreCAM(top=1000), classifier, photo_batch)
    assert_close(found.values, explain(ScoreCAM(), classifier, photo_batch).values)
    assert_close(found.extras["left_out"], torch.zeros(len(photo_batch), 1))
    assert ScoreCAM(top=5).cost(classifier).forward == 6


def test_eigen_cam_is_the_first_right_singular_vector(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    for layer, end in (("features.3", 4), ("features.6", 7)):
        for centred in (False, True):
            method = EigenCAM(layer=layer, relu=False, centred=centred)
            found = explain(method, classifier_of(tiny_cnn), photo_batch).values[0, 0].flatten()
            cells = tiny_cnn.features[:end](photo_batch[:1])[0].flatten(1).T
            cells = cells - cells.mean(dim=0) if centred else cells
            projected = cells @ torch.linalg.svd(cells)[2][0]
            assert_close(found * (found @ projected).sign(), projected, atol=1e-4, rtol=1e-4)
            if not centred:
                assert found.sum() >= 0


def test_cost_counts_channels_by_the_share_of_the_network_behind_the_layer(
    tiny_cnn: nn.Module, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    assert ScoreCAM().cost(classifier).forward == 1 + 16
    assert ScoreCAM(layer="features.0").cost(classifier).forward == 1 + 8
    # Multiplications: 55,296 and 36,864 and 73,728 in the convolutions, 80 in the head.
    total = 16 * 16 * 8 * 27 + 8 * 8 * 8 * 72 + 8 * 8 * 16 * 72 + 80
    assert AblationCAM().cost(classifier).forward == pytest.approx(1 + 16 * 80 / total)
    assert AblationCAM(layer="features.0").cost(classifier).forward == pytest.approx(1 + 8 * (1 - 16 * 16 * 8 * 27 / total))


@pytest.mark.real
def test_on_real_weights_elephant_and_zebra_are_told_apart(assets: Path, classifier_of: ClassifierOf) -> None:
    timm = pytest.importorskip("timm")
    from PIL import Image
    from safetensors.torch import load_file

    from xaicli.images.view import View

    network = timm.create_model("deit_tiny_patch16_224", pretrained=False).eval()
    weights = load_file(assets / "weights" / "deit_tiny_patch16_224.safetensors")
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    names = ["hila_el1.png", "hila_el2.png", "hila_el3.jpg", "hila_el4.png", "hila_el5.png"]
    photos = torch.stack([View().prepare(Image.open(assets / "classics" / name).convert("RGB")) for name in names])
    classifier = classifier_of(network, size=(224, 224), count=1000)
    elephant, zebra = (explain(GradCAM(), classifier, photos, TargetRule(index=index)).values for index in (386, 340))
    for one, other in zip(elephant.flatten(1), zebra.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] < 0.7


@pytest.mark.parametrize("method", [GradCAM, HiResCAM, LayerCAM])
@pytest.mark.parametrize("relu", [True, False])
def test_maps_of_several_layers_are_scaled_enlarged_and_averaged(
    method: type[Method], relu: bool, tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    """Of each layer the map by itself, over its largest magnitude; the coarser one enlarged by torch's own interpolation."""
    classifier = classifier_of(tiny_cnn)
    names = ("features.0", "features.3")
    alone = [explain(method(layer=name, relu=relu), classifier, photo_batch).values for name in names]
    found = explain(method(layer="+".join(names), relu=relu), classifier, photo_batch)
    scaled = [one / one.abs().amax(dim=(2, 3), keepdim=True).clamp_min(1e-30) for one in alone]
    size = tuple(alone[0].shape[2:])
    expected = sum(nn.functional.interpolate(one, size, mode="bilinear") for one in scaled) / 2
    assert_close(found.values, expected, atol=1e-5, rtol=1e-5)
    largest = [explain(method(layer=name), classifier, photo_batch).extras["largest_gradient"] for name in names]
    assert_close(found.extras["largest_gradient"], torch.maximum(*largest))


def test_a_layer_without_a_part_in_the_score_adds_nothing(classifier_of: ClassifierOf, photo_batch: Tensor) -> None:
    class TwoLevels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.coarse = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 4, 1)

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.stack([self.fine(inputs).mean(dim=(1, 2, 3)), self.coarse(inputs).mean(dim=(1, 2, 3))], dim=1)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = classifier_of(TwoLevels().eval())
    both = explain(HiResCAM(layer="fine+coarse", relu=False), classifier, photo_batch, TargetRule(index=0)).values
    fine = explain(HiResCAM(layer="fine", relu=False), classifier, photo_batch, TargetRule(index=0)).values
    assert_close(both, fine / fine.abs().amax(dim=(2, 3), keepdim=True) / 2)


def test_several_layers_are_named_on_the_command_line_and_recorded(tiny_cnn: nn.Module, classifier_of: ClassifierOf) -> None:
    method = make_method("layer-cam@layer=features.0+features.-1")
    assert method.label == "layer-cam@layer=features.0+features.-1"
    assert method.layers_read(classifier_of(tiny_cnn)) == ("features.0", f"features.{len(tiny_cnn.features) - 1}")
    with pytest.raises(UsageError, match='no layer "none"'):
        explain(make_method("grad-cam@layer=features.0+none"), classifier_of(tiny_cnn), torch.zeros(1, 3, 32, 32))
