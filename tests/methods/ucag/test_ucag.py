"""UCAG: weights, folding of signed maps, the decision made once, and that slices of all photos share one queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close
from torchvision.transforms.functional import gaussian_blur

from xaicli.errors import RunError, UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, checked
from xaicli.methods.daam.daam import DAAM
from xaicli.methods.eigen_cam import EigenCAM
from xaicli.methods.grad_cam import GradCAM, LayerCAM
from xaicli.methods.pixel_gradients.pixel_gradients import InputXGradient, SmoothGrad
from xaicli.methods.rise.rise import RISE
from xaicli.methods.score_cam import ScoreCAM
from xaicli.methods.ucag.ucag import UCAG, ExplainedSlices
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.registry import make_method
from xaicli.targets import DECISION, TargetRule, Targets

ClassifierOf = Callable[..., Classifier]
FIRST = TargetRule(index=0)


def explain(method: Method, classifier: Classifier, inputs: Tensor, rule: TargetRule = DECISION) -> Maps:
    seeds = torch.arange(len(inputs))
    return method.attribute(classifier, inputs, Targets.same(rule, len(inputs)), seeds)


def inputs_of(size: tuple[int, int], count: int = 2) -> Tensor:
    coarse = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class Given(Method):
    """A base whose maps are constant: one value a slice of a photo, in turn."""

    name = "given"
    needs = Needs.GRADIENTS | Needs.FEATURES
    maps: ClassVar[list[float]] = []
    chances: ClassVar[list[float]] = []
    seen: ClassVar[list[tuple[int, ...]]] = []

    @property
    def sign(self) -> Sign:
        return Sign.SIGNED

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        done = sum(shape[0] for shape in self.seen)
        self.seen.append(tuple(inputs.shape))
        order = [at % len(self.maps) for at in range(done, done + len(inputs))]
        values = torch.tensor([self.maps[at] for at in order])[:, None, None, None]
        p = torch.tensor([self.chances[at] for at in order])
        logits = torch.stack([p.log(), (1 - p).log()], dim=1)
        return Maps(values, targets.resolve(logits), logits)


@pytest.fixture
def two_classes(classifier_of: ClassifierOf) -> Classifier:
    class Net(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.stack([inputs.mean(dim=(1, 2, 3)), -inputs.mean(dim=(1, 2, 3))], dim=1)

    return classifier_of(Net(), size=(4, 4), count=2)


def given(maps: list[float], chances: list[float]) -> Given:
    Given.maps[:], Given.chances[:] = maps, chances
    Given.seen.clear()
    return Given()


def test_check_2_slices_are_enlarged_by_the_scale(classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    base = given([1.0], [0.5])
    for size, enlarged in (((224, 224), 322), ((299, 299), 429)):
        Given.seen.clear()
        explain(UCAG(base=base), classifier_of(tiny_cnn, size=size), torch.zeros(1, 3, *size), FIRST)
        assert {shape[2:] for shape in Given.seen} == {(enlarged, enlarged)}
        assert sum(shape[0] for shape in Given.seen) == 36


def test_check_4_the_least_confident_slice_keeps_a_third_of_the_best() -> None:
    p = torch.tensor([0.1, 0.2, 0.1, 0.3, 0.9, 0.3, 0.1, 0.2, 0.1])[:, None]
    expected = torch.tensor([0.449329, 0.496585, 0.449329, 0.548812, 1, 0.548812, 0.449329, 0.496585, 0.449329])[:, None]
    assert_close(UCAG().weights(p, p), expected, atol=1e-6, rtol=0)
    assert_close(UCAG(weight="linear").weights(p, p), p)
    assert_close(UCAG(weight="none").weights(p, p), torch.ones_like(p))
    assert_close(UCAG(weight="softmax_logit", temperature=0.5).weights(p, p), (p / 0.5).softmax(dim=0))


@pytest.mark.parametrize(
    ("weight", "folded", "final"),
    [
        ("exp", [1, 1.340640, 1.347987, -1.986341], [0.741847, 0.994550, 1, 0]),
        ("linear", [0.9, 1, 0.3, -0.8], [0.9, 1, 0.3, 0]),
    ],
)
def test_check_7_signed_maps_are_folded_and_clipped_afterwards(
    weight: str, folded: list[float], final: list[float], two_classes: Classifier
) -> None:
    base = given([1.0, 2.0, 3.0, -4.0], [0.9, 0.5, 0.1, 0.2])
    # The side of 4 pixels is 112 and 2 of 224.
    ucag = UCAG(base=base, crop=112, slices=2, weight=weight, blur=None)
    signed = explain(UCAG(base=base, crop=112, slices=2, weight=weight, signed=True), two_classes, torch.zeros(1, 3, 4, 4), FIRST)
    blocks = signed.values[0, 0, ::2, ::2].flatten()
    assert_close(blocks, torch.tensor(folded), atol=1e-5, rtol=0)
    assert ucag.sign is Sign.NONNEGATIVE
    kept = explain(ucag, two_classes, torch.zeros(1, 3, 4, 4), FIRST).values[0, 0, ::2, ::2].flatten()
    assert_close(kept, blocks.relu())
    # What the authors show is brought to 0 to 1 besides.
    assert_close((kept - kept.min()) / (kept.max() - kept.min()), torch.tensor(final), atol=1e-5, rtol=0)


def test_check_8_the_blur() -> None:
    point = torch.zeros(1, 3, 9, 9)
    point[..., 4, 4] = 1
    kernel = gaussian_blur(point, [5, 5], [3.0, 3.0])[0, 0]
    assert float(kernel[4, 4]) == pytest.approx(0.049528, abs=1e-6)
    assert float(kernel[2, 2]) == pytest.approx(0.031756, abs=1e-6)
    assert float(kernel.sum()) == pytest.approx(1)
    assert UCAG().blur == (5, 3.0)


def test_maps_are_blurred_after_they_are_clipped(classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    classifier, inputs = classifier_of(tiny_cnn), inputs_of((32, 32))
    signed = explain(UCAG(signed=True), classifier, inputs).values
    assert (signed < 0).any()
    assert_close(explain(UCAG(), classifier, inputs).values, gaussian_blur(signed.relu(), [5, 5], [3.0, 3.0]))


def test_check_10_one_slice_of_the_whole_photo_is_the_base_enlarged_and_then_clipped(
    classifier_of: ClassifierOf, tiny_cnn: nn.Module
) -> None:
    classifier, inputs = classifier_of(tiny_cnn, size=(40, 32)), inputs_of((40, 32))
    whole = {"slices": 1, "crop": 224, "scale": 1.0, "weight": "none", "blur": None}
    raw = explain(GradCAM(relu=False), classifier, inputs).values
    expected = functional.interpolate(raw, (40, 32), mode="bilinear", align_corners=False).relu()
    found = explain(UCAG(**whole), classifier, inputs)
    assert_close(found.values, expected, atol=1e-6, rtol=1e-5)
    clipped_first = functional.interpolate(raw.relu(), (40, 32), mode="bilinear", align_corners=False)
    assert (found.values - clipped_first).abs().max() > 1e-3


@pytest.mark.parametrize("chunk", [1, 16, 36, 72])
def test_check_11_chunks_and_neighbours_do_not_change_a_map(chunk: int, classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    inputs = inputs_of((40, 32))
    together = explain(UCAG(), classifier_of(tiny_cnn, size=(40, 32), batch_size=chunk), inputs)
    for row in range(2):
        alone = explain(UCAG(), classifier_of(tiny_cnn, size=(40, 32)), inputs[row : row + 1])
        assert_close(together.values[row], alone.values[0], atol=1e-6, rtol=1e-5)


def test_slices_of_several_photos_share_chunks(classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    base = given([1.0], [0.5])
    explain(UCAG(base=base, slices=3), classifier_of(tiny_cnn, batch_size=8), inputs_of((32, 32), 4), FIRST)
    assert [shape[0] for shape in Given.seen] == [8, 8, 8, 8, 4]


def test_check_12_equal_gains_of_confidence_change_nothing_nor_does_the_order() -> None:
    p, maps = torch.rand(9, 1) / 2, torch.randn(9, 1, 3, 3)
    ucag = UCAG(slices=3)
    assert_close(ucag.weights(p + 0.3, p), ucag.weights(p, p))
    slicing, order = ucag.slicing((40, 40)), torch.randperm(9, generator=torch.Generator().manual_seed(1))
    in_order = ucag.conquer(ExplainedSlices(maps, p, ucag.weights(p, p)), slicing)
    shuffled = slicing_of(slicing, order)
    assert_close(ucag.conquer(ExplainedSlices(maps[order], p[order], ucag.weights(p, p)[order]), shuffled), in_order)


def slicing_of(slicing: Any, order: Tensor) -> Any:
    """The same slices, listed in another order."""

    class Shuffled(type(slicing)):  # type: ignore[misc]
        @property
        def corners(self) -> list[tuple[int, int]]:
            return [slicing.corners[int(at)] for at in order]

    return Shuffled(slicing.size, slicing.crop, slicing.rows, slicing.columns)


def test_the_authors_variant_divides_by_one_more_and_is_brought_to_unit_range(
    classifier_of: ClassifierOf, tiny_cnn: nn.Module
) -> None:
    classifier, inputs = classifier_of(tiny_cnn), inputs_of((32, 32))
    signed = explain(UCAG(variant="official", signed=True), classifier, inputs)
    found = explain(UCAG(variant="official", blur=None), classifier, inputs).values
    kept = signed.values.relu()
    assert_close(found, (kept - kept.amin((2, 3), True)) / (kept.amax((2, 3), True) - kept.amin((2, 3), True)))
    ucag = UCAG(base=given([1.0], [0.5]), crop=112, slices=3, variant="official", signed=True)
    constant = explain(ucag, classifier, inputs, FIRST).values
    # Three slices of 16 of 32 pixels by a stride of 9 end at 34; the corner is covered once, and divided by two.
    assert float(constant[0, 0, 0, 0]) == pytest.approx(0.5)


def test_the_authors_variant_drops_what_speaks_against_before_the_map_is_stretched(
    classifier_of: ClassifierOf, tiny_cnn: nn.Module
) -> None:
    """Three slices of 16 of 32 pixels along each axis, by the authors' stride of 9, end at 34 (specification, 3.4)."""
    maps = [1.0, -3.0, 2.0, -2.0, 4.0, -1.0, 3.0, -4.0, 1.0]
    ucag = UCAG(base=given(maps, [0.5] * 9), crop=112, slices=3, variant="official", blur=None)
    total, count = torch.zeros(1, 1, 34, 34), torch.zeros(1, 1, 34, 34)
    for value, (top, left) in zip(maps, [(9 * row, 9 * column) for row in range(3) for column in range(3)], strict=True):
        total[..., top : top + 16, left : left + 16] += value
        count[..., top : top + 16, left : left + 16] += 1
    stretch = partial(functional.interpolate, size=(32, 32), mode="bilinear", align_corners=False)
    kept = stretch((total / (1 + count)).relu())
    found = explain(ucag, classifier_of(tiny_cnn), torch.zeros(1, 3, 32, 32), FIRST).values
    assert_close(found, kept / kept.max())
    assert (kept - stretch(total / (1 + count)).relu()).abs().max() > 0.1


def test_the_decision_is_made_once_on_the_whole_photo(classifier_of: ClassifierOf) -> None:
    """The left half of the photo speaks for class 0, the right one, larger, for class 1: no slice is explained for class 0."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 2, 1)
            self.features.weight.data = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None]
            self.features.bias.data.zero_()

        def forward(self, inputs: Tensor) -> Tensor:
            return self.features(inputs).mean(dim=(2, 3)) * 10

    photo = torch.zeros(1, 3, 32, 32)
    photo[:, 0, :, :12] = 1
    photo[:, 1, :, 12:] = 1
    maps = explain(UCAG(base=GradCAM(layer="features")), classifier_of(Halves(), count=2), photo)
    assert maps.targets.classes.tolist() == [[1]]
    # Slices wholly on the left would decide for class 0; explained for class 1 they show nothing there.
    assert maps.values[0, 0, :, :4].abs().max() == 0
    assert maps.values[0, 0, :, 20:].min() > 0


def test_of_the_top_k_each_has_the_map_that_it_has_alone(classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    classifier, inputs = classifier_of(tiny_cnn), inputs_of((32, 32), 1)
    top = explain(UCAG(parts=True), classifier, inputs, TargetRule(top=3))
    assert top.extras["confidence"].shape == top.extras["weight"].shape == (1, 3, 36)
    for place, index in enumerate(top.targets.classes[0].tolist()):
        alone = explain(UCAG(), classifier, inputs, TargetRule(index=index))
        assert_close(top.values[:, place], alone.values[:, 0], atol=1e-6, rtol=1e-5)


def test_slices_of_a_transformer_have_the_size_that_it_takes(classifier_of: ClassifierOf, tiny_vit: nn.Module) -> None:
    base = given([1.0], [0.5])
    explain(UCAG(base=base), classifier_of(tiny_vit), inputs_of((32, 32)), FIRST)
    assert {shape[2:] for shape in Given.seen} == {(32, 32)}
    for method in (UCAG(), UCAG(base=DAAM()), UCAG(size=32)):
        assert explain(method, classifier_of(tiny_vit), inputs_of((32, 32))).values.shape == (2, 1, 32, 32)


def test_a_convolutional_network_of_one_size_gets_slices_of_that_size(classifier_of: ClassifierOf) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)).eval()
    maps = explain(UCAG(base=GradCAM(layer="1")), classifier_of(network), inputs_of((32, 32)))
    by_name = explain(UCAG(base=GradCAM(layer="1"), size=32), classifier_of(network), inputs_of((32, 32)))
    assert torch.equal(maps.values, by_name.values)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"scale": 0.001}, "takes no slices of 1 x 1 pixels .* Leave scale out, or try another"),
        ({"scale": 2.0}, "takes no slices of 34 x 34 pixels .* Leave scale out, or try another"),
        ({"size": 1}, "takes no slices of 1 x 1 pixels .* Leave size out, or try another"),
    ],
)
def test_a_size_of_the_users_that_the_network_does_not_take_is_refused(
    parameters: dict[str, Any], words: str, classifier_of: ClassifierOf, tiny_vit: nn.Module
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 5)).eval()
    for module, base in ((network, GradCAM(layer="3")), (tiny_vit, GradCAM())):
        with pytest.raises(UsageError, match=f"ucag: {type(module).__name__} {words}"):
            explain(UCAG(base=base, **parameters), classifier_of(module), inputs_of((32, 32)))


def test_a_network_that_flattens_with_view_gets_slices_in_plain_layout(classifier_of: ClassifierOf) -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.head = nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.Linear(4, 5)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.features(inputs).view(len(inputs), 4, -1).mean(dim=2))

    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = Views().eval()
    classifier, inputs = classifier_of(network), inputs_of((32, 32))
    found = explain(UCAG(), classifier, inputs)
    network.forward = lambda inputs: network.head(network.features(inputs).flatten(2).mean(dim=2))
    assert_close(found.values, explain(UCAG(), classifier, inputs).values, atol=1e-6, rtol=1e-5)


def test_memory_that_runs_out_makes_chunks_smaller(
    classifier_of: ClassifierOf, tiny_cnn: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, inputs = classifier_of(tiny_cnn, batch_size=16), inputs_of((32, 32))
    expected = explain(UCAG(), classifier, inputs).values
    whole, sizes = GradCAM.attribute, []

    def limited(self: GradCAM, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        if len(inputs) > 5:
            raise torch.OutOfMemoryError("out of memory")
        sizes.append(len(inputs))
        return whole(self, classifier, inputs, targets, seeds)

    monkeypatch.setattr(GradCAM, "attribute", checked(limited))
    assert_close(explain(UCAG(), classifier, inputs).values, expected, atol=1e-6, rtol=1e-5)
    assert sum(sizes) == 72
    assert max(sizes) == 4


def test_a_fault_of_the_base_is_raised_as_it_is(classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.calls = tiny_cnn, 0

        def forward(self, inputs: Tensor) -> Tensor:
            if inputs.shape[2] != 32:
                raise RuntimeError("boom")
            return self.network(inputs)

    with pytest.raises(RunError, match=r"grad-cam.* on Broken raised RuntimeError: boom"):
        explain(UCAG(), classifier_of(Broken(), layer="network.features"), inputs_of((32, 32)))


def test_the_base_follows_in_the_grammar_and_its_relu_makes_no_other_label() -> None:
    made = make_method("ucag@crop=100@base=layer-cam@layer=features.18")
    assert made == UCAG(crop=100, base=LayerCAM(layer="features.18"))
    assert made.label == "ucag@crop=100@base=layer-cam@layer=features.18"
    assert make_method("ucag@base=grad-cam@relu=false").label == "ucag"
    assert make_method("ucag@base=grad-cam") == UCAG()


def test_the_cost_is_the_bases_a_slice_and_the_photos_own_pass(classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    assert UCAG().cost() == Cost(37, 36)
    assert UCAG(slices=(2, 3)).cost() == Cost(7, 6)
    classifier, passed = classifier_of(tiny_cnn), []
    assert classifier.feature_layer() is not None
    with tiny_cnn.register_forward_hook(lambda part, args, output: passed.append(len(output))):
        explain(UCAG(), classifier, inputs_of((32, 32), 1))
    assert sum(passed) == 37


def test_needs_and_sign_are_the_bases() -> None:
    assert UCAG().needs == GradCAM().needs
    assert UCAG(base=InputXGradient()).sign is Sign.SIGNED
    assert UCAG(base=InputXGradient(), signed=False).sign is Sign.NONNEGATIVE
    assert UCAG(signed=True).sign is Sign.SIGNED
    assert UCAG(base=EigenCAM()).needs == EigenCAM().needs
    assert UCAG(base=ScoreCAM()).masks_input
    assert UCAG(base=SmoothGrad()).stochastic
    assert not UCAG().stochastic


@pytest.mark.parametrize("base", [InputXGradient(), EigenCAM(), ScoreCAM(), SmoothGrad(n_samples=2), LayerCAM()], ids=str)
def test_any_gradient_or_cam_method_can_be_the_base(base: Method, classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    maps = explain(UCAG(base=base, slices=2), classifier_of(tiny_cnn), inputs_of((32, 32)))
    assert maps.values.shape == (2, 1, 32, 32)
    assert maps.values.isfinite().all()
    assert (maps.values.flatten(1).amax(dim=1) > 0).all()


def test_every_slice_has_random_numbers_of_its_own(classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    flat = torch.zeros(1, 3, 32, 32)
    signed = explain(UCAG(base=SmoothGrad(n_samples=2), weight="none", slices=2, size=17), classifier_of(tiny_cnn), flat).values
    assert not torch.allclose(signed[..., :15, :15], signed[..., 17:, 17:])


@pytest.mark.parametrize("base", [RISE(), UCAG()], ids=["rise", "ucag"])
def test_methods_that_need_the_whole_photo_are_no_base(base: Method) -> None:
    with pytest.raises(UsageError, match=f"ucag cannot wrap {base.name}; expected a gradient or CAM method"):
        UCAG(base=base)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"crop": 50, "slices": 2}, "2 slices of 7 pixels do not cover 32"),
        ({"blur": (4, 1.0)}, "no middle"),
        ({"blur": (65, 3.0)}, "a blur of 65 pixels is too wide for maps of 32 x 32; expected at most 63"),
        ({"variant": "official", "fold": "weighted"}, "already sets fold"),
        ({"crop": 300}, "at most 224"),
    ],
)
def test_parameters_that_make_no_sense(
    parameters: dict[str, Any], words: str, classifier_of: ClassifierOf, tiny_cnn: nn.Module
) -> None:
    with pytest.raises(UsageError, match=words):
        explain(UCAG(**parameters), classifier_of(tiny_cnn), inputs_of((32, 32)))


def test_the_widest_blur_is_taken_and_signed_maps_have_none(classifier_of: ClassifierOf, tiny_cnn: nn.Module) -> None:
    classifier, inputs = classifier_of(tiny_cnn), inputs_of((32, 32), 1)
    assert explain(UCAG(slices=2, crop=124, blur=(63, 3.0)), classifier, inputs).values.isfinite().all()
    assert explain(UCAG(slices=2, crop=124, blur=(65, 3.0), signed=True), classifier, inputs).values.isfinite().all()


@pytest.mark.parametrize(
    ("parameters", "words"), [({"size": 64}, "a smaller size"), ({"scale": 3.0}, "a smaller scale"), ({}, "--resize and --crop")]
)
def test_slices_that_do_not_fit_memory_say_what_makes_them_smaller(
    parameters: dict[str, Any],
    words: str,
    classifier_of: ClassifierOf,
    tiny_cnn: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: GradCAM, *given: object) -> Maps:
        raise MemoryError

    monkeypatch.setattr(GradCAM, "attribute", full)
    with pytest.raises(RunError, match="ran out of memory on a single") as refusal:
        explain(UCAG(slices=2, **parameters), classifier_of(tiny_cnn), inputs_of((32, 32), 1))
    assert words in refusal.value.hint


@pytest.mark.real
def test_on_a_real_network_the_map_is_finer_than_its_base(assets: Path) -> None:
    from PIL import Image

    weights = assets / "weights/squeezenet1_0.safetensors"
    classifier = load_classifier("squeezenet1_0", weights=weights, device="cpu")
    inputs = classifier.view.prepare(Image.open(assets / "classics/goldfish.jpg").convert("RGB"))[None]
    found = explain(UCAG(slices=3, scale=1.8), classifier, inputs)
    base = explain(GradCAM(), classifier, inputs)
    assert found.targets.classes.tolist() == base.targets.classes.tolist() == [[1]]
    coarse = functional.interpolate(base.values, (224, 224), mode="bilinear", align_corners=False)
    pair = torch.stack([coarse.flatten(), found.values.flatten()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.3
