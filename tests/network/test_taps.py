"""Taps read a layer and its gradient, cost a partial backward pass, and leave a network as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from xaicli.errors import InputError, RunError, UsageError
from xaicli.network.classifier import Classifier
from xaicli.network.dry_run import dry_run
from xaicli.network.layers import FeatureLayer, named_layer
from xaicli.network.taps import gradients_at, tap, tap_many
from xaicli.network.tokens import Axes, Layout

ClassifierOf = Callable[..., Classifier]


def state_of(module: nn.Module) -> str:
    """A hash of all that a call may change: weights, buffers, modes, flags, gradients, hooks, attributes."""
    digest = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(f"{name} {tensor.requires_grad} {tensor.grad is None} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    for name, part in module.named_modules():
        hooks = [len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks), len(part._backward_pre_hooks)]
        digest.update(f"{name} {part.training} {hooks} {sorted(part.__dict__)}".encode())
    return digest.hexdigest()


class Rectified(nn.Module):
    """A layer that passes its input on, an in-place ReLU, and twice the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * self.relu(self.layer(inputs * 1)).sum(dim=(1, 2, 3), keepdim=False)[:, None]


class Reused(nn.Module):
    """One ReLU, run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.relu(self.second(self.relu(self.first(inputs)))).mean(dim=(2, 3)))


def plain_layer(module: nn.Module, name: str, size: tuple[int, int]) -> FeatureLayer:
    part = module.get_submodule(name)
    return FeatureLayer(name, part, "output", Layout(Axes.CHANNELS_FIRST, size), 1)


def reference(module: nn.Module, name: str, inputs: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """Activations and gradients read plainly: a hook and autograd through the whole network."""
    kept: list[Tensor] = []
    handle = module.get_submodule(name).register_forward_hook(lambda _, __, output: kept.append(output))
    logits = module(inputs.clone().requires_grad_())
    handle.remove()
    return kept[0].detach(), torch.autograd.grad(logits[:, index].sum(), kept[0])[0]


def test_activations_and_gradients_are_those_of_plain_autograd(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    with tap(classifier_of(tiny_cnn), "features.3") as features:
        logits = tiny_cnn(photo_batch)
        gradients = list(features.gradients_of(logits[:, [2, 4]]))
    for index, gradient in zip((2, 4), gradients, strict=True):
        activation, expected = reference(tiny_cnn, "features.3", photo_batch, index)
        assert_close(features.activation, activation)
        assert_close(gradient, expected)


def test_logits_are_those_of_the_untouched_network(tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    expected = tiny_cnn(photo_batch)
    with tap(classifier_of(tiny_cnn)):
        assert torch.equal(tiny_cnn(photo_batch).detach(), expected)


def test_an_in_place_activation_after_the_layer_changes_neither_values_nor_gradients() -> None:
    inputs = torch.tensor([-1.0, 2.0, 3.0, -4.0]).view(1, 1, 2, 2)
    module = Rectified().eval()
    with tap_many(module, {"layer": plain_layer(module, "layer", (2, 2))}) as taps:
        (gradient,) = taps["layer"].gradients_of(module(inputs))
    assert taps["layer"].activation.flatten().tolist() == [-1, 2, 3, -4]
    assert gradient.flatten().tolist() == [0, 2, 2, 0]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_are_there_whatever_the_callers_mode_is(
    mode: Callable[[], object], tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    with tap(classifier) as features:
        (expected,) = features.gradients_of(classifier(photo_batch)[:, :1])
    with mode():  # type: ignore[attr-defined]
        inputs = photo_batch * 1
        with tap(classifier) as features:
            (found,) = features.gradients_of(classifier(inputs)[:, :1])
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    assert_close(found, expected)


def test_a_trainable_network_gives_what_the_frozen_one_gives_and_no_parameter_gets_a_gradient(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    results = []
    for trainable in (False, True):
        tiny_cnn.requires_grad_(trainable)
        with tap(classifier) as features:
            results += list(features.gradients_of(classifier(photo_batch)[:, :1]))
        assert all(tensor.grad is None and tensor.requires_grad == trainable for tensor in tiny_cnn.parameters())
    assert_close(results[0], results[1])


def test_the_graph_begins_at_the_layer(tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    saved: list[Tensor] = []
    classifier = classifier_of(tiny_cnn.requires_grad_(True), layer="features")
    classifier.feature_layer()

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with tap(classifier), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        classifier(photo_batch)
    # Behind the layer are a mean and a linear layer, which keeps its weights; no activation of the convolutions is saved.
    assert all(tensor.ndim <= 2 for tensor in saved)


class FrozenBackbone(nn.Module):
    """A network that runs its own backbone without gradients, as fine-tuning code does."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 3, stride=4)
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(inputs)
        return self.head(features.mean(dim=(2, 3)))


def test_gradients_begin_behind_a_part_that_runs_without_them(photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    classifier = classifier_of(FrozenBackbone().eval())
    with tap(classifier) as features:
        (gradient,) = features.gradients_of(classifier(photo_batch)[:, :1])
    assert str(classifier.feature_layer()) == "backbone"
    assert gradient.abs().sum() > 0


def test_of_a_module_that_runs_twice_the_last_call_counts(photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Reused().eval()
    classifier = classifier_of(module)
    assert str(classifier.feature_layer("relu")) == "relu#-1"
    layer = plain_layer(module, "relu", (32, 32))
    with tap_many(module, {"relu": layer}) as taps:
        module(photo_batch)
        with pytest.raises(UsageError, match="relu#-1"):
            taps["relu"].activation  # noqa: B018
    shapes = []
    for call, before in (("#0", "first"), ("#1", "second"), ("#-1", "second")):
        with tap(classifier, f"relu{call}") as features:
            (gradient,) = features.gradients_of(classifier(photo_batch)[:, :1])
        activation, _ = reference(module, before, photo_batch, 0)
        if call == "#0":
            assert_close(features.activation, activation.relu())
        shapes.append(gradient)
    assert torch.equal(shapes[1], shapes[2])
    assert not torch.equal(shapes[0], shapes[1])
    with pytest.raises(UsageError, match="no call 2"):
        classifier.feature_layer("relu#2")


def test_a_second_forward_pass_replaces_the_first(tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    with tap(classifier_of(tiny_cnn)) as features:
        tiny_cnn(photo_batch)
        tiny_cnn(photo_batch[:2])
        assert features.activation.shape[0] == 2


def test_several_layers_are_read_in_one_pass_whatever_order_they_are_named_in(tiny_cnn: nn.Module, photo_batch: Tensor) -> None:
    layers = {name: named_layer(dry_run(tiny_cnn, (32, 32)), name) for name in ("features.6", "features.0", "features.3")}
    with tap_many(tiny_cnn, layers) as taps:
        logits = tiny_cnn(photo_batch)
        (gradients,) = gradients_at(list(taps.values()), logits[:, 1:2])
    for (name, feature), gradient in zip(taps.items(), gradients, strict=True):
        activation, expected = reference(tiny_cnn, name, photo_batch, 1)
        assert_close(feature.raw.detach(), activation)
        assert_close(gradient, expected)


def test_without_a_graft_gradients_reach_the_input_too(tiny_cnn: nn.Module, photo_batch: Tensor) -> None:
    inputs = photo_batch.clone().requires_grad_()
    with tap_many(tiny_cnn, {"l": named_layer(dry_run(tiny_cnn, (32, 32)), "features.3")}, graft=False) as taps:
        score = tiny_cnn(inputs)[:, 0].sum()
        at_input, at_layer = torch.autograd.grad(score, [inputs, taps["l"].raw])
    plain = photo_batch.clone().requires_grad_()
    assert_close(at_input, torch.autograd.grad(tiny_cnn(plain)[:, 0].sum(), plain)[0])
    assert_close(at_layer, reference(tiny_cnn, "features.3", photo_batch, 0)[1])


def test_without_gradients_there_is_no_graph(tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf) -> None:
    classifier = classifier_of(tiny_cnn)
    with tap(classifier, gradients=False) as features:
        logits = classifier(photo_batch)
    assert not logits.requires_grad
    assert_close(features.activation, tiny_cnn.features(photo_batch))


def interrupt_inside(classifier: Classifier, inputs: Tensor, fault: type[BaseException]) -> None:
    with tap(classifier):
        classifier(inputs)
        raise fault


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_as_it_was_also_when_something_raises(
    fault: type[BaseException], training: bool, tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    classifier.feature_layer()
    tiny_cnn.requires_grad_(True).train(training)
    tiny_cnn.features[1].eval()
    before = state_of(tiny_cnn)
    with tap(classifier) as features:
        list(features.gradients_of(classifier(photo_batch)[:, :1]))
    assert state_of(tiny_cnn) == before
    with pytest.raises(fault):
        interrupt_inside(classifier, photo_batch, fault)
    assert state_of(tiny_cnn) == before
    assert torch.is_grad_enabled()


def test_a_fault_inside_the_network_leaves_it_as_it_was(tiny_cnn: nn.Module, classifier_of: ClassifierOf) -> None:
    classifier = classifier_of(tiny_cnn)
    classifier.feature_layer()
    before = state_of(tiny_cnn)
    with pytest.raises(RuntimeError), tap(classifier):
        classifier(torch.zeros(1, 4, 32, 32))
    assert state_of(tiny_cnn) == before


def test_a_layer_that_does_not_run_is_named(tiny_cnn: nn.Module, photo_batch: Tensor) -> None:
    tiny_cnn.spare = nn.Conv2d(3, 3, 1)
    with tap_many(tiny_cnn, {"spare": plain_layer(tiny_cnn, "spare", (1, 1))}) as taps:
        tiny_cnn(photo_batch)
        with pytest.raises(RunError, match="spare did not run"):
            taps["spare"].raw  # noqa: B018


def test_a_layer_without_a_path_to_the_scores_is_named(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    with tap(classifier_of(tiny_cnn)) as features:
        logits = tiny_cnn(photo_batch)
        with pytest.raises(RunError, match="no gradient reaches layer features"):
            list(features.gradients_of(logits.detach()))


def test_parameters_made_in_inference_mode_are_refused_in_words(photo_batch: Tensor) -> None:
    with torch.inference_mode():
        module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(InputError, match="inference_mode"), tap_many(module, {"0": plain_layer(module, "0", (30, 30))}):
        pass


def test_gradients_of_a_half_precision_layer_do_not_underflow() -> None:
    module = nn.Sequential(nn.Identity(), nn.Flatten()).eval()
    inputs = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float16)
    with tap_many(module, {"0": plain_layer(module, "0", (2, 2))}) as taps:
        # A factor of 2e-8 is below float16's smallest number, 6e-8.
        (gradient,) = taps["0"].gradients_of(module(inputs)[:, :1].float() * 2e-8)
    assert gradient[0, 0, 0, 0].item() == pytest.approx(2e-8, rel=0.05)


def test_autocast_of_the_caller_does_not_reach_the_tap(
    tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(tiny_cnn)
    with torch.autocast("cpu", dtype=torch.bfloat16), tap(classifier) as features:
        classifier(photo_batch)
    assert_close(features.activation, tiny_cnn.features(photo_batch))


class Checkpointed(nn.Module):
    """A network whose part runs again on the way back, to save memory."""

    def __init__(self, part: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.part, self.head = part, head

    def forward(self, inputs: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        return self.head(checkpoint(self.part, inputs, use_reentrant=False).mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["part.3", "part"])
def test_a_layer_in_a_checkpointed_part_is_read_once(
    name: str, tiny_cnn: nn.Module, photo_batch: Tensor, classifier_of: ClassifierOf
) -> None:
    classifier = classifier_of(Checkpointed(tiny_cnn.features, tiny_cnn.head).eval(), layer=name)
    with tap(classifier) as features:
        (gradient,) = features.gradients_of(classifier(photo_batch)[:, :1])
        activation = features.activation
    expected = reference(tiny_cnn, name.replace("part", "features"), photo_batch, 0)
    assert_close((activation, gradient), expected)


class Tupled(nn.Module):
    """A block that takes its tensor by name and returns it in a tuple, as many transformers do."""

    def forward(self, *, hidden_states: Tensor, scale: float) -> tuple[Tensor, None]:
        return hidden_states * scale, None


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Tupled()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.block(hidden_states=inputs, scale=3.0)[0].mean(dim=(2, 3))


@pytest.mark.parametrize(("side", "slope"), [("input", 3.0), ("output", 1.0)])
def test_tensors_given_by_name_and_returned_in_tuples_are_found(side: str, slope: float, photo_batch: Tensor) -> None:
    module = ByName().eval()
    with tap_many(module, {"block": named_layer(dry_run(module, (32, 32)), f"block:{side}")}) as taps:
        (gradient,) = taps["block"].gradients_of(module(photo_batch)[:, :1])
    assert_close(taps["block"].activation, photo_batch * (3.0 / slope))
    assert_close(gradient[:, 0], torch.full((5, 32, 32), slope / 1024))


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    yield
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
