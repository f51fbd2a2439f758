"""Feature layers by name, their refusals, the list of layers, and the dry run behind them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import xaicli
from xaicli.errors import InputError, UsageError, XaiError
from xaicli.network.dry_run import dry_run
from xaicli.network.embedding import class_weights
from xaicli.network.layers import default_layer, list_layers, named_layer
from xaicli.network.taps import tap_many
from xaicli.network.tokens import Axes

SIZE = (32, 32)


def in_words(error: pytest.ExceptionInfo[XaiError]) -> str:
    return error.value.line()


def test_a_dotted_path_names_a_layer(tiny_cnn: nn.Module) -> None:
    layer = named_layer(dry_run(tiny_cnn, SIZE), "features.3")
    assert layer.module is tiny_cnn.features[3]
    assert (str(layer), layer.layout.grid, layer.channels) == ("features.3", (8, 8), 8)


def test_negative_indices_count_from_the_end(tiny_cnn: nn.Module, tiny_vit: nn.Module) -> None:
    assert named_layer(dry_run(tiny_cnn, SIZE), "features.-1").name == "features.6"
    assert named_layer(dry_run(tiny_vit, SIZE), "encoder.layers.-2").name == "encoder.layers.encoder_layer_0"


def test_the_input_of_a_layer_can_be_named(tiny_cnn: nn.Module, photo_batch: Tensor) -> None:
    sides = {"before": "features.3:input", "after": "features.2:output"}
    layers = {key: named_layer(dry_run(tiny_cnn, SIZE), name) for key, name in sides.items()}
    with tap_many(tiny_cnn, layers) as taps:
        tiny_cnn(photo_batch)
    assert str(layers["before"]) == "features.3:input"
    assert_close(taps["before"].activation, taps["after"].activation)


def test_a_misspelt_layer_gets_a_suggestion(tiny_vit: nn.Module) -> None:
    with pytest.raises(UsageError) as error:
        named_layer(dry_run(tiny_vit, SIZE), "encoder.layers.encoder_layer_9.ln_1")
    assert 'no layer "encoder.layers.encoder_layer_9.ln_1"' in in_words(error)
    assert "Did you mean encoder.layers.encoder_layer_" in in_words(error)


@pytest.mark.parametrize("name", ["", "features.3:sideways", ":input", "a#b", "features.-9", "features.3.0", "features..3"])
def test_what_names_no_layer_is_refused(name: str, tiny_cnn: nn.Module) -> None:
    with pytest.raises(UsageError, match="layer"):
        named_layer(dry_run(tiny_cnn, SIZE), name)


def test_a_layer_without_a_spatial_grid_is_refused(tiny_cnn: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"head has no spatial grid: its output has shape \(1, 5\)"):
        named_layer(dry_run(tiny_cnn, SIZE), "head")


def test_a_grid_of_one_cell_is_no_grid() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(UsageError, match="no spatial grid"):
        named_layer(dry_run(module, SIZE), "1")


def test_a_layer_that_does_not_run_is_refused(tiny_cnn: nn.Module) -> None:
    tiny_cnn.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(UsageError, match="spare does not run"):
        named_layer(dry_run(tiny_cnn, SIZE), "spare")


def test_the_last_block_of_a_class_token_head_is_refused_and_its_input_offered(tiny_vit: nn.Module) -> None:
    with pytest.raises(UsageError) as error:
        named_layer(dry_run(tiny_vit, SIZE), "encoder.layers.-1")
    assert "gradient at layer encoder.layers.encoder_layer_1:output is zero" in in_words(error)
    assert "layer=encoder.layers.encoder_layer_1:input" in in_words(error)
    assert named_layer(dry_run(tiny_vit, SIZE), "encoder.layers.-1:input").layout.grid == (4, 4)


def test_a_layer_cut_off_from_the_logits_is_refused() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.aside = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            self.aside(inputs)
            return self.used(inputs).mean(dim=(2, 3))

    module = Aside().eval()
    with pytest.raises(UsageError, match="gradient at layer aside:output is zero"):
        named_layer(dry_run(module, SIZE), "aside")
    assert default_layer(dry_run(module, SIZE)).name == "used"


def test_an_unknown_network_gets_its_last_layer_with_a_grid(tiny_cnn: nn.Module) -> None:
    layer = default_layer(dry_run(tiny_cnn, (40, 64)))
    assert (layer.name, layer.layout.grid) == ("features", (10, 16))


def test_a_network_whose_logits_do_not_depend_on_its_features_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    nn.init.zeros_(module[3].weight)
    with pytest.raises(InputError, match=r"a gradient to the logits: the gradient at layer 0:output is zero.*not all zero"):
        default_layer(dry_run(module, SIZE))


class WithMirror(nn.Module):
    """A network that runs its features twice, the second time on the mirrored photo."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head((self.features(inputs) + self.features(inputs.flip(3)).flip(3)).mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["", "features", "features.0#1"])
def test_a_network_that_runs_its_features_twice_is_refused_for_that_reason(name: str) -> None:
    trace = dry_run(WithMirror().eval(), SIZE)
    with pytest.raises(XaiError, match=r"layer features(\.0)? runs 2 times in one pass") as error:
        named_layer(trace, name) if name else default_layer(trace)
    assert "not all zero" not in in_words(error)
    assert "Name a layer that runs once (NAME@layer=PATH" in in_words(error)


class TwoSizes(nn.Module):
    """A network that runs a ReLU on a map, and then on one number per channel; `cut`: the map does not reach the logits."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.features, self.relu, self.head, self.cut = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2), cut

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.features(inputs)
        shown = self.relu(features)
        return self.head(self.relu((features if self.cut else shown).mean(dim=(2, 3))))


@pytest.mark.parametrize(
    ("network", "name", "refused"),
    [
        (WithMirror(), "features.0#0", ""),
        (WithMirror(), "features#-2", ""),
        (WithMirror(), "features.0#1", "in its last run the output of layer features.0 is not a picture"),
        (TwoSizes(), "relu#0", ""),
        (TwoSizes(), "relu:input#-2", ""),
        (TwoSizes(), "relu#1", "in its last run layer relu has no spatial grid"),
        (TwoSizes(cut=True), "relu#0", "in its run #0 the gradient at layer relu:output is zero"),
    ],
)
def test_a_layer_that_runs_several_times_is_judged_by_the_run_that_is_named(network: nn.Module, name: str, refused: str) -> None:
    trace = dry_run(network.eval(), SIZE)
    if refused:
        with pytest.raises(UsageError) as error:
            named_layer(trace, name)
        assert refused in in_words(error)
    else:
        layer = named_layer(trace, name)
        assert str(layer) == name
        assert (layer.channels, layer.layout.grid) == (4, (SIZE[0] - 2, SIZE[1] - 2))


def test_a_graph_without_layers_is_named_so() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    exported = torch.export.export(module, (torch.randn(5, 3, *SIZE),), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    with pytest.raises(InputError, match=r"a graph of operations without layers, as torch.export makes it"):
        default_layer(dry_run(exported, SIZE))


class MeanPooledBlocks(nn.Module):
    """An unknown transformer: patches by a convolution, `prefix` tokens before them, a head over their mean."""

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.prefix = nn.Parameter(torch.randn(1, prefix, 8)) if prefix else None
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True) for _ in range(3)])
        self.head = nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.patches(inputs).flatten(2).transpose(1, 2)
        if self.prefix is not None:
            tokens = torch.cat([self.prefix.expand(len(tokens), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0] if self.prefix is not None else tokens.mean(dim=1))


@pytest.mark.parametrize(("prefix", "name"), [(0, "blocks.2"), (1, "blocks.2.norm1"), (5, "blocks.2.norm1")])
def test_an_unknown_transformer_is_read_where_its_head_reads_it(prefix: int, name: str) -> None:
    layer = default_layer(dry_run(MeanPooledBlocks(prefix).eval(), (24, 40)))
    assert (layer.name, layer.layout.prefix, layer.layout.grid) == (name, prefix, (3, 5))


class ConvolvedKeys(nn.Module):
    """A block of a transformer whose keys and values come from a convolution, as CvT's do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.keys = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, tokens: Tensor) -> Tensor:
        grid = self.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, (3, 5))
        keys = self.keys(grid).flatten(2).transpose(1, 2)
        return tokens + (tokens @ keys.transpose(1, 2)).softmax(dim=-1) @ keys


def test_a_convolution_that_makes_keys_of_a_block_is_no_feature_layer() -> None:
    torch.manual_seed(0)
    module = MeanPooledBlocks(prefix=1)
    module.blocks = nn.ModuleList([ConvolvedKeys() for _ in range(2)])
    assert default_layer(dry_run(module.eval(), (24, 40))).name == "blocks.1.norm"


def test_channels_last_is_told_by_structure_even_where_height_equals_channels() -> None:
    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.norm, self.head = nn.Conv2d(3, 4, 8, stride=8), nn.LayerNorm(4), nn.Linear(4, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.norm(self.patches(inputs).permute(0, 2, 3, 1)).mean(dim=(1, 2)))

    layer = named_layer(dry_run(ChannelsLast().eval(), (32, 48)), "norm")
    assert (layer.layout.axes, layer.layout.grid, layer.channels) == (Axes.CHANNELS_LAST, (4, 6), 4)


def test_gradients_behind_a_functional_relu_are_those_at_the_rectified_features() -> None:
    from torchvision.models import DenseNet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = DenseNet(growth_rate=4, block_config=(1, 1), num_init_features=8, num_classes=3).eval()
        nn.init.normal_(module.features.norm5.bias)
    layer = default_layer(dry_run(module, SIZE))
    inputs = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    with tap_many(module, {"norm5": layer}) as taps:
        logits = module(inputs)
        (gradient,) = taps["norm5"].gradients_of(logits[:, 1:2])
        activation = taps["norm5"].activation
    assert layer.name == "features.norm5"
    assert (activation == 0).any()
    assert torch.equal(activation, module.features(inputs).relu())
    # Behind the features are their mean and a linear layer: the gradient is the same everywhere, also where a feature is 0.
    cells = layer.layout.grid[0] * layer.layout.grid[1]
    assert_close(gradient, (module.classifier.weight[1] / cells)[None, :, None, None].expand_as(gradient))
    assert_close(logits.detach(), module(inputs))


def test_the_list_of_layers_shows_shapes_grids_and_the_default(tiny_vit: nn.Module) -> None:
    rows = {row.name: row for row in list_layers(dry_run(tiny_vit, SIZE))}
    assert rows["conv_proj"][1:] == ("Conv2d", (1, 16, 4, 4), (4, 4), False)
    assert rows["heads.head"][1:] == ("Linear", (1, 5), None, False)
    assert rows["encoder.layers.encoder_layer_0"][1:] == ("EncoderBlock", (1, 17, 16), (4, 4), False)
    assert [name for name, row in rows.items() if row.default] == ["encoder.layers.encoder_layer_1.ln_1"]
    assert list(rows) == [name for name, _ in tiny_vit.named_modules() if name in rows]


def test_a_dry_run_leaves_a_training_network_as_it_was(tiny_cnn: nn.Module) -> None:
    tiny_cnn.train().requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in tiny_cnn.state_dict().items()}
    default_layer(dry_run(tiny_cnn, SIZE))
    assert tiny_cnn.training
    assert all(tensor.requires_grad and tensor.grad is None for tensor in tiny_cnn.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_cnn.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in tiny_cnn.modules())


def test_a_dry_run_draws_no_random_number_of_the_callers(tiny_cnn: nn.Module) -> None:
    before = torch.get_rng_state()
    default_layer(dry_run(tiny_cnn, SIZE))
    assert torch.equal(torch.get_rng_state(), before)


class WithFeatures(nn.Module):
    """Returns, before its logits, two numbers of the photo itself, to which no layer leads; `named`: under names."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.features, self.head, self.named = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), named

    def forward(self, inputs: torch.Tensor) -> object:
        logits = self.head(self.features(inputs).mean(dim=(2, 3)))
        aside = inputs.mean(dim=(2, 3))[:, :2]
        return {"aside": aside, "logits": logits} if self.named else (aside, logits)


@pytest.mark.parametrize(("named", "output"), [(True, ""), (False, "1")])
def test_gradients_begin_at_the_entry_of_the_output_that_is_read_and_not_at_the_first(named: bool, output: str) -> None:
    made = xaicli.classifier(WithFeatures(named), resize=None, crop=16, output_name=output)
    assert made.default_layer.name == "features"
    assert class_weights(made).shape == (5, 4)
