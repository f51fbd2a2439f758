"""DAAM against numbers worked out by hand, and against the explicit S of its paper on small transformers of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from xaicli.errors import RunError, UsageError
from xaicli.method import Maps, Sign
from xaicli.methods.daam.daam import DAAM
from xaicli.models.load import load_classifier
from xaicli.network.attention import Attention, reading_attention
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.modes import attribution_mode
from xaicli.network.tokens import Axes, Layout
from xaicli.targets import DECISION, TargetRule, Targets

timm = pytest.importorskip("timm")
from timm.models.deit import VisionTransformerDistilled  # noqa: E402
from timm.models.eva import Eva  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402

TINY: dict[str, Any] = {"img_size": (24, 40), "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 5}
GRID = (3, 5)
CLASS = TargetRule(index=2)
ClassifierOf = Callable[..., Classifier]


def seeded(make_network: Callable[[], nn.Module], seed: int = 1) -> nn.Module:
    """A network with weights large enough for attention to be far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make_network()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
    return network.eval().requires_grad_(False)


def inputs_of(size: tuple[int, int] = (24, 40), count: int = 2) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(3))


def explain(method: DAAM, classifier: Classifier, inputs: Tensor, rule: TargetRule = CLASS) -> Maps:
    seeds = torch.zeros(len(inputs), dtype=torch.int64)
    return method.attribute(classifier, inputs, Targets.same(rule, len(inputs)), seeds)


def of_blocks(maps: Maps) -> Tensor:
    """Maps of single blocks (B, L, h, w), from those that are accumulated."""
    steps = maps.extras["steps"][:, 0]
    return torch.diff(steps, dim=1, prepend=torch.zeros_like(steps[:, :1]))


class Explicit:
    """A timm network's attention, written out: probabilities a, values V, the class row T of every block with its gradient C."""

    def __init__(self, network: VisionTransformer, inputs: Tensor, index: int = 2) -> None:
        self.a: list[Tensor] = []
        self.v: list[Tensor] = []
        self.t: list[Tensor] = []
        self.y: list[Tensor] = []
        hooks = []
        for block in network.blocks:
            block.attn.fused_attn = False
            hooks.append(block.attn.register_forward_pre_hook(lambda part, args: self.y.append(args[0])))
            hooks.append(block.attn.qkv.register_forward_hook(self.values(block.attn)))
            hooks.append(block.attn.attn_drop.register_forward_hook(self.keep(self.a)))
            hooks.append(block.attn.proj.register_forward_pre_hook(lambda part, args: self.t.append(args[0]) or None))
        logits = network(inputs.clone().requires_grad_())
        for hook in hooks:
            hook.remove()
        for block in network.blocks:
            block.attn.fused_attn = True
        found = torch.autograd.grad(logits[:, index].sum(), [*self.t, *self.a])
        self.gradients_of_t, self.gradients_of_a = found[: len(self.t)], found[len(self.t) :]
        self.heads = network.blocks[0].attn.num_heads

    def values(self, attention: nn.Module) -> Callable[..., None]:
        def keep(part: nn.Module, args: Any, output: Tensor) -> None:
            split = output.unflatten(2, (3, attention.num_heads, -1))
            self.v.append(split[:, :, 2].transpose(1, 2).detach())

        return keep

    @staticmethod
    def keep(place: list[Tensor]) -> Callable[..., Tensor]:
        def hook(part: nn.Module, args: Any, output: Tensor) -> Tensor:
            place.append(output * 1)
            return place[-1]

        return hook

    def s(self, block: int, row: int = 0) -> Tensor:
        """S (B, N, D): heads side by side."""
        return (self.a[block][:, :, row, :, None] * self.v[block]).transpose(1, 2).flatten(2).detach()

    def c(self, block: int, row: int = 0) -> Tensor:
        """C (B, D)."""
        return self.gradients_of_t[block][:, row]

    def map_of(self, block: int, clip: bool = True, rows: tuple[int, ...] = (0,)) -> Tensor:
        """The block's map over all tokens (B, N), before what is negative is dropped."""
        made = torch.zeros(())
        for row in rows:
            c = self.c(block, row).relu() if clip else self.c(block, row)
            made = made + (self.s(block, row) * c[:, None]).sum(dim=2)
        return made


@pytest.fixture
def vit() -> VisionTransformer:
    return seeded(lambda: VisionTransformer(**TINY))


@pytest.fixture
def vit_classifier(vit: VisionTransformer, classifier_of: ClassifierOf) -> Classifier:
    return classifier_of(vit, size=(24, 40))


# The toy: one head, three tokens, attention and values given.

A, V, C = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 4.0]]), torch.tensor([3.0, -1.0])


class Toy(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        tokens = torch.zeros(len(inputs), 1, 3, 2)
        mixed = functional.scaled_dot_product_attention(tokens, tokens, V.expand(len(inputs), 1, 3, 2), A.log().expand(3, 3))
        score = mixed[:, 0, 0] @ C
        return torch.stack([score, torch.zeros_like(score)], dim=1)


@pytest.fixture
def toy(classifier_of: ClassifierOf) -> Classifier:
    network = Toy()
    classifier = classifier_of(network, size=(4, 4), count=2)
    classifier.layers_known.default = FeatureLayer("", network, "output", Layout(Axes.TOKENS, (1, 2), 1), 2)
    return classifier


@pytest.mark.parametrize(
    ("method", "patches"),
    [
        (DAAM(), [3.0, 0.0]),
        (DAAM(clip_coeff=False), [3.5, 0.0]),
        (DAAM(clip_coeff=False, clip_map=False), [3.5, -1.2]),
        (DAAM(block_norm="minmax"), [1.0, 0.0]),
        (DAAM(clip_coeff=False, clip_map=False, block_norm="sum"), [3.5 / 4.7, -1.2 / 4.7]),
    ],
    ids=lambda value: value.label if isinstance(value, DAAM) else "",
)
def test_check_1_and_2_the_toy(method: DAAM, patches: list[float], toy: Classifier) -> None:
    maps = explain(method, toy, torch.zeros(1, 3, 4, 4), TargetRule(index=0))
    assert_close(maps.values[0, 0], torch.tensor([patches]))
    assert_close(maps.extras["steps"][0, 0], torch.tensor([[patches]]))


def test_check_2_the_sum_over_tokens_is_the_gradient_times_t(toy: Classifier) -> None:
    extras = explain(DAAM(diagnostics=True), toy, torch.zeros(1, 3, 4, 4), TargetRule(index=0)).extras
    assert extras["contribution"].flatten().tolist() == pytest.approx([2.9])
    assert extras["prefix_mass"].flatten().tolist() == pytest.approx([0.2])
    assert extras["identity_error"].max() < 1e-6


def test_check_3_the_sum_over_all_tokens_is_the_class_row_in_every_block(
    vit: VisionTransformer, vit_classifier: Classifier
) -> None:
    explicit = Explicit(vit, inputs_of())
    for block in range(3):
        assert_close(explicit.s(block).sum(dim=1), explicit.t[block][:, 0], atol=1e-6, rtol=0)
    extras = explain(DAAM(diagnostics=True), vit_classifier, inputs_of()).extras
    assert extras["identity_error"].shape == (2, 1, 3)
    assert extras["identity_error"].max() < 1e-5
    expected = [(explicit.c(block) * explicit.t[block][:, 0]).sum(dim=1) for block in range(3)]
    assert_close(extras["contribution"][:, 0], torch.stack(expected, dim=1))
    shares = [explicit.a[block][:, :, 0, 0].mean(dim=1) for block in range(3)]
    assert_close(extras["prefix_mass"][:, 0], torch.stack(shares, dim=1))


def test_check_4_without_clipping_it_is_attention_times_its_gradient(vit: VisionTransformer, vit_classifier: Classifier) -> None:
    explicit = Explicit(vit, inputs_of())
    found = of_blocks(explain(DAAM(clip_coeff=False, clip_map=False), vit_classifier, inputs_of()))
    for block in range(3):
        a, gradient = explicit.a[block][:, :, 0], explicit.gradients_of_a[block][:, :, 0]
        assert_close(found[:, block].flatten(1), (a * gradient).sum(dim=1)[:, 1:], atol=1e-5, rtol=1e-4)


def test_check_5_the_memory_light_form_equals_the_explicit_one(vit: VisionTransformer, vit_classifier: Classifier) -> None:
    explicit = Explicit(vit, inputs_of())
    found = of_blocks(explain(DAAM(), vit_classifier, inputs_of()))
    for block in range(3):
        assert_close(found[:, block].flatten(1), explicit.map_of(block)[:, 1:].relu(), atol=1e-5, rtol=1e-4)
        # Through the weights of the values, without values: p_h[n] = y[n] . (W_v^T c) + b_v . c.
        qkv, heads = vit.blocks[block].attn.qkv, 2
        w, b = qkv.weight[32:].unflatten(0, (heads, -1)), qkv.bias[32:].unflatten(0, (heads, -1))
        c = explicit.c(block).relu().unflatten(1, (heads, -1))
        p = explicit.y[block] @ torch.einsum("hdk,bhd->bkh", w, c) + (b * c).sum(dim=2)[:, None]
        light = (explicit.a[block][:, :, 0].transpose(1, 2) * p).sum(dim=2)
        assert_close(found[:, block].flatten(1), light[:, 1:].relu(), atol=1e-5, rtol=1e-4)


def test_check_6_behind_the_last_block_other_rows_have_no_gradient(vit: VisionTransformer) -> None:
    gradients = Explicit(vit, inputs_of()).gradients_of_t
    assert not gradients[-1][:, 1:].any()
    assert gradients[0][:, 1:].any()


def test_check_9_a_constant_added_to_the_value_bias_adds_its_share_to_each_token(vit: VisionTransformer) -> None:
    def attention() -> Attention:
        found: list[Attention] = []
        with attribution_mode(vit), torch.no_grad(), reading_attention(vit, found.append):
            vit(inputs_of())
        return found[1]

    before, shift = attention(), torch.arange(16.0) / 8
    vit.blocks[1].attn.qkv.bias[32:] += shift
    after = attention()
    a = after.probabilities(slice(0, 1))
    assert_close(a, before.probabilities(slice(0, 1)))
    grown = a.transpose(-1, -2) * (after.value - before.value)
    by_head = shift.unflatten(0, (2, 8))[None, :, None]
    assert_close(grown, a.transpose(-1, -2) * by_head.expand_as(after.value))
    assert_close((after.output - before.output)[:, :, 0], by_head[:, :, 0].expand(2, 2, 8))


def test_check_10_permuted_patches_permute_all_maps(vit: VisionTransformer, vit_classifier: Classifier) -> None:
    inputs, order = inputs_of(), torch.randperm(15, generator=torch.Generator().manual_seed(8))
    before = explain(DAAM(), vit_classifier, inputs).extras["steps"].flatten(3)
    patches = functional.unfold(inputs, 8, stride=8)[:, :, order]
    vit.pos_embed[:, 1:] = vit.pos_embed[:, 1:][:, order]
    after = explain(DAAM(), vit_classifier, functional.fold(patches, (24, 40), 8, stride=8)).extras["steps"].flatten(3)
    assert_close(after, before[..., order], atol=1e-5, rtol=1e-4)


def distilled() -> nn.Module:
    return seeded(lambda: VisionTransformerDistilled(**TINY))


def registers() -> nn.Module:
    return seeded(lambda: VisionTransformer(**TINY, reg_tokens=4, init_values=0.5, qk_norm=True))


@pytest.mark.parametrize(
    ("network", "prefix", "rows"),
    [(lambda: seeded(lambda: VisionTransformer(**TINY)), 1, (0,)), (distilled, 2, (0, 1)), (registers, 5, (0,))],
    ids=["class", "class and distillation", "class and four registers"],
)
def test_check_11_grids_that_are_not_square_and_prefix_tokens(
    network: Callable[[], VisionTransformer], prefix: int, rows: tuple[int, ...], classifier_of: ClassifierOf
) -> None:
    made = network()
    maps = explain(DAAM(), classifier_of(made, size=(24, 40)), inputs_of())
    assert maps.values.shape == (2, 1, *GRID)
    assert maps.extras["steps"].shape == (2, 1, 3, *GRID)
    assert torch.equal(maps.values, maps.extras["steps"][:, :, -1])
    assert (torch.diff(maps.extras["steps"], dim=2) >= 0).all()
    explicit = Explicit(made, inputs_of())
    found = of_blocks(maps)
    for block in range(3):
        expected = explicit.map_of(block, rows=rows)[:, prefix:].relu().unflatten(1, GRID)
        assert_close(found[:, block], expected, atol=1e-5, rtol=1e-4)


@contextmanager
def unfused(network: nn.Module) -> Iterator[None]:
    parts = [part for part in network.modules() if hasattr(part, "fused_attn")]
    for part in parts:
        part.fused_attn = False
    yield
    for part in parts:
        part.fused_attn = True


def test_check_12_fused_and_written_out_attention_give_equal_maps(classifier_of: ClassifierOf) -> None:
    network = registers()
    classifier = classifier_of(network, size=(24, 40))
    fused = explain(DAAM(diagnostics=True), classifier, inputs_of())
    with unfused(network):
        written_out = explain(DAAM(diagnostics=True), classifier, inputs_of())
    for maps in (fused, written_out):
        assert maps.extras["identity_error"].max() < 1e-5
    assert_close(fused.extras["steps"], written_out.extras["steps"], atol=1e-5, rtol=1e-5)


def test_check_12_without_the_norm_of_queries_the_identity_fails_and_is_refused(
    classifier_of: ClassifierOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = registers()
    for block in network.blocks:
        block.attn.q_norm.weight.fill_(2)
    raw: list[Tensor] = []
    hooks = [block.attn.qkv.register_forward_hook(lambda part, args, out: raw.append(out.detach())) for block in network.blocks]
    found: list[Attention] = []
    with attribution_mode(network), torch.no_grad(), reading_attention(network, found.append):
        network(inputs_of())
    for hook in hooks:
        hook.remove()
    q, k, v = raw[0].unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)
    skipped = ((q[:, :, :1] @ k.transpose(-1, -2)) * 8**-0.5).softmax(dim=-1) @ v
    output = found[0].output[:, :, :1]
    assert float((skipped - output).abs().max() / output.abs().max()) > 0.05
    true = Attention.probabilities
    monkeypatch.setattr(Attention, "probabilities", lambda self, rows=None: (2 * true(self, rows).log()).softmax(dim=-1))
    with pytest.raises(RunError, match=r"attention read from .* is off"):
        explain(DAAM(), classifier_of(network, size=(24, 40)), inputs_of())


class InHalf(nn.Module):
    """A network whose weights and activations are float16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs.half())


@pytest.mark.parametrize(("error", "accepted"), [(2e-6, [True, True]), (2e-4, [False, True]), (4e-3, [False, False])])
def test_how_far_attention_may_be_off_follows_from_the_precision(
    error: float, accepted: list[bool], classifier_of: ClassifierOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 by 1e-5 of the largest value, in half precision, whose rounding is larger, by 1e-3."""
    true = Attention.probabilities
    monkeypatch.setattr(Attention, "probabilities", lambda self, rows=None: true(self, rows) * (1 + error))
    for network, kept in zip((registers(), InHalf(registers())), accepted, strict=True):
        classifier = classifier_of(network, size=(24, 40))
        if kept:
            assert explain(DAAM(), classifier, inputs_of()).values.isfinite().all()
        else:
            with pytest.raises(RunError, match=r"attention read from .* is off"):
                explain(DAAM(), classifier, inputs_of())


# Networks of other makes.


def test_rotary_embedding_is_part_of_the_attention_that_is_read(classifier_of: ClassifierOf) -> None:
    network = seeded(lambda: Eva(**TINY, use_rot_pos_emb=True, global_pool="token", swiglu_mlp=True, mlp_ratio=2))
    maps = explain(DAAM(diagnostics=True), classifier_of(network, size=(24, 40)), inputs_of())
    assert maps.extras["identity_error"].max() < 1e-5
    assert (maps.values.flatten(1).amax(dim=1) > 0).all()


def test_torchvisions_attention_equals_the_same_weights_in_timm(tiny_vit: nn.Module, classifier_of: ClassifierOf) -> None:
    twin = VisionTransformer(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=5, mlp_ratio=2)
    state = {"cls_token": tiny_vit.class_token, "pos_embed": tiny_vit.encoder.pos_embedding}
    for part in ("weight", "bias"):
        state[f"patch_embed.proj.{part}"] = getattr(tiny_vit.conv_proj, part)
        state[f"norm.{part}"] = getattr(tiny_vit.encoder.ln, part)
        state[f"head.{part}"] = getattr(tiny_vit.heads.head, part)
        for at, block in enumerate(tiny_vit.encoder.layers):
            state[f"blocks.{at}.norm1.{part}"] = getattr(block.ln_1, part)
            state[f"blocks.{at}.norm2.{part}"] = getattr(block.ln_2, part)
            state[f"blocks.{at}.attn.qkv.{part}"] = getattr(block.self_attention, f"in_proj_{part}")
            state[f"blocks.{at}.attn.proj.{part}"] = getattr(block.self_attention.out_proj, part)
            state[f"blocks.{at}.mlp.fc1.{part}"] = getattr(block.mlp[0], part)
            state[f"blocks.{at}.mlp.fc2.{part}"] = getattr(block.mlp[3], part)
    twin.load_state_dict({key: tensor.detach() for key, tensor in state.items()})
    twin.eval().requires_grad_(False)
    inputs = inputs_of((32, 32))
    own = explain(DAAM(), classifier_of(tiny_vit), inputs)
    assert_close(own.extras["steps"], explain(DAAM(), classifier_of(twin), inputs).extras["steps"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("written_out", [False, True], ids=["fused", "eager"])
@pytest.mark.parametrize("kind", ["ViT", "Dinov2WithRegisters", "DeiT"])
def test_transformers_networks(kind: str, written_out: bool, classifier_of: ClassifierOf) -> None:
    transformers = pytest.importorskip("transformers")
    from xaicli.models.from_hf import LogitsOnly

    config = getattr(transformers, f"{kind}Config")(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, mlp_ratio=2, num_labels=5,
        image_size=32, patch_size=8,
    )  # fmt: skip
    cls = getattr(transformers, f"{kind}ForImageClassification")
    attention = "eager" if written_out else "sdpa"
    network = LogitsOnly(seeded(lambda: cls._from_config(config, attn_implementation=attention)), False)
    maps = explain(DAAM(diagnostics=True), classifier_of(network), inputs_of((32, 32)))
    assert maps.extras["steps"].shape == (2, 1, 3, 4, 4)
    assert maps.extras["identity_error"].max() < 1e-5
    assert (maps.values.flatten(1).amax(dim=1) > 0).all()


def test_a_head_that_averages_patches_is_refused_unless_their_attention_is_asked_for(classifier_of: ClassifierOf) -> None:
    for tokens in ({"class_token": False, "global_pool": "avg"}, {"global_pool": "avg"}):
        classifier = classifier_of(seeded(lambda tokens=tokens: VisionTransformer(**TINY, **tokens)), size=(24, 40))
        with pytest.raises(UsageError, match=r"averages patches.*daam@rows=patches"):
            explain(DAAM(), classifier, inputs_of())
        maps = explain(DAAM(rows="patches", diagnostics=True), classifier, inputs_of())
        explicit = Explicit(classifier.torch_module, inputs_of())
        prefix = 1 if tokens.get("class_token", True) else 0
        expected = explicit.map_of(2, rows=tuple(range(prefix, prefix + 15)))[:, prefix:].relu().unflatten(1, GRID)
        assert_close(of_blocks(maps)[:, 2], expected, atol=1e-5, rtol=1e-4)


def test_patches_that_nobody_reads_are_not_followed(vit_classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="reads no patches"):
        explain(DAAM(rows="patches"), vit_classifier, inputs_of())


def test_convolutional_and_windowed_networks_are_refused_in_words(tiny_cnn: nn.Module, classifier_of: ClassifierOf) -> None:
    from torchvision.models.swin_transformer import SwinTransformer

    swin = seeded(lambda: SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=5))
    for network in (tiny_cnn, swin):
        with pytest.raises(UsageError, match=r"daam cannot be used with .* Try grad-cam"):
            explain(DAAM(), classifier_of(network), inputs_of((32, 32)))


def test_it_is_said_once_how_many_of_the_blocks_count(classifier_of: ClassifierOf, caplog: pytest.LogCaptureFixture) -> None:
    from timm.models.pit import PoolingVisionTransformer

    shape = {"base_dims": (8, 8, 8), "depth": (1, 2, 2), "heads": (1, 2, 2), "mlp_ratio": 2, "num_classes": 5}
    pit = seeded(lambda: PoolingVisionTransformer(img_size=64, patch_size=16, stride=8, **shape))
    classifier = classifier_of(pit, (64, 64))
    for _ in range(2):
        explain(DAAM(), classifier, inputs_of((64, 64)))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "daam counts 2 of the 5 blocks of" in told[0]
    assert told[0].endswith("on its last grid, 2 x 2")


# Parameters.


def test_blocks_that_are_named_are_added_up_alone(vit_classifier: Classifier) -> None:
    single = of_blocks(explain(DAAM(), vit_classifier, inputs_of()))
    some = explain(DAAM(blocks=(-1, 0)), vit_classifier, inputs_of())
    assert some.extras["steps"].shape == (2, 1, 2, *GRID)
    assert_close(some.values[:, 0], single[:, 0] + single[:, 2])
    with pytest.raises(UsageError, match="no block 3"):
        explain(DAAM(blocks=(3,)), vit_classifier, inputs_of())


def test_several_targets_share_one_forward_pass(vit: VisionTransformer, vit_classifier: Classifier) -> None:
    assert vit_classifier.default_layer  # looked for beforehand
    passes: list[int] = []
    hook = vit.patch_embed.register_forward_hook(lambda part, args, output: passes.append(len(output)))
    top = explain(DAAM(), vit_classifier, inputs_of(), TargetRule(top=3))
    hook.remove()
    assert sum(passes) == 2
    for place, index in enumerate(top.targets.classes[0].tolist()):
        single = explain(DAAM(), vit_classifier, inputs_of()[:1], TargetRule(index=index))
        assert_close(top.extras["steps"][:1, place], single.extras["steps"][:, 0], atol=1e-5, rtol=1e-4)


def test_the_sign_says_whether_anything_may_be_negative() -> None:
    assert DAAM().sign is Sign.NONNEGATIVE
    assert DAAM(clip_map=False).sign is Sign.SIGNED
    assert DAAM(clip_map=False, block_norm="minmax").sign is Sign.NONNEGATIVE


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bank": "b.safetensors"}, "bank has no meaning with target=class"),
        ({"weights": "self"}, "weights has no meaning with target=class"),
        ({"target": "features", "weights": "sum"}, "needs a bank"),
        ({"target": "features", "weights": "self", "bank": "b"}, "reads no bank"),
    ],
)
def test_parameters_that_forbid_each_other(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        DAAM(**given)


# The real network.


@pytest.mark.real
def test_the_identity_holds_on_the_real_deit(assets: Path) -> None:
    weights = assets / "weights/deit_tiny_patch16_224.safetensors"
    classifier = load_classifier("timm:deit_tiny_patch16_224", weights=weights, device="cpu")
    from PIL import Image

    photo = Image.open(assets / "classics/both.png").convert("RGB")
    inputs = classifier.view.prepare(photo)[None]
    maps = explain(DAAM(diagnostics=True), classifier, inputs, DECISION)
    assert maps.extras["steps"].shape == (1, 1, 12, 14, 14)
    assert maps.extras["identity_error"].max() < 1e-5
    assert maps.values.max() > 0
