import copy

import pytest
import torch
from torch import nn

from xaicli.errors import InputError, RunError, UsageError
from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.models.assemble import names_for
from xaicli.models.from_module import classifier
from xaicli.models.input_view import Overrides


def with_output(function, classes=3):
    """A network whose outputs are `function` of a linear layer's."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, classes)

        def forward(self, inputs):
            return function(self.linear(inputs.mean(dim=(2, 3))))

    return Net()


def test_a_module_becomes_a_classifier_with_the_usual_view(tiny_cnn):
    made = classifier(tiny_cnn)
    assert (made.view, made.count, made.name, made.classes) == (View(256, 224, "bilinear"), 5, "TinyCNN", ())
    assert made.module is tiny_cnn
    assert not made.probabilities


def test_the_module_is_as_it_was(tiny_cnn, photo_batch):
    tiny_cnn.train()
    tiny_cnn.head.weight.requires_grad_(True)
    before = copy.deepcopy(tiny_cnn.state_dict())
    made = classifier(tiny_cnn, crop=32)
    assert all(part.training for part in tiny_cnn.modules())
    assert [name for name, p in tiny_cnn.named_parameters() if p.requires_grad] == ["head.weight"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_cnn.state_dict().items())
    assert made(photo_batch).requires_grad


def test_loading_draws_nothing_from_the_caller_s_random_state(tiny_cnn):
    before = torch.random.get_rng_state()
    classifier(tiny_cnn, crop=32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_softmax_inside_is_found_undone_and_said(caplog):
    caplog.set_level("INFO", "xaicli")
    plain = with_output(lambda logits: logits)
    soft = with_output(lambda logits: logits.softmax(dim=1))
    soft.load_state_dict(plain.state_dict())
    made = classifier(soft, crop=8)
    assert made.probabilities
    assert "ends in a softmax, which is undone" in caplog.text
    inputs = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(made(inputs), plain(inputs).log_softmax(dim=1))


@pytest.mark.parametrize("function", [torch.relu, lambda x: x.log_softmax(dim=1), lambda x: x])
def test_outputs_that_are_no_probabilities_stay_as_they_are(function):
    assert not classifier(with_output(function), crop=8).probabilities


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda logits: {"features": logits[:, :, None]}, "returned no output of shape"),
        (lambda logits: logits[:, :, None, None], r"is a tensor of shape \(2, 3, 1, 1\)"),
        (lambda logits: logits[:1], "has 1 row for 2 photos"),
    ],
)
def test_outputs_that_are_no_logits_are_refused_in_words(function, words):
    with pytest.raises(RunError, match=words) as caught:
        classifier(with_output(function), crop=8)
    assert caught.value.exit_code == 5


def test_a_single_output_of_which_nothing_is_stated_is_refused_with_both_ways():
    with pytest.raises(InputError, match=r"has one output.*--outputs sigmoid for yes or no, or --outputs values"):
        classifier(with_output(lambda logits: logits, classes=1), crop=8)


def test_outputs_that_are_not_finite_are_said_and_left_to_run_time(caplog):
    caplog.set_level("INFO", "xaicli")
    made = classifier(with_output(lambda logits: logits * float("nan")), crop=8)
    assert made.count == 3
    assert "outputs that are not finite on a trial input" in caplog.text


def test_a_network_that_fails_on_its_size_is_reported_with_the_size(tiny_vit):
    with pytest.raises(RunError, match=r"VisionTransformer on inputs of 24 x 24 pixels raised .*--resize and --crop") as caught:
        classifier(tiny_vit, crop=24)
    assert "\n" not in str(caught.value)


def test_the_trial_s_size_is_the_view_s_and_need_not_be_square():
    seen = []

    class Watching(nn.Module):
        def forward(self, inputs):
            seen.append((tuple(inputs.shape), torch.is_grad_enabled()))
            return inputs.mean(dim=(2, 3))

    classifier(Watching(), crop=(24, 40))
    assert seen == [((2, 3, 24, 40), False), ((1, 3, 24, 40), False)]


def test_what_a_network_keeps_from_the_trial_is_of_use_to_gradients():
    class Keeping(nn.Module):
        kept = None

        def forward(self, inputs):
            if self.kept is None:
                self.kept = inputs.new_ones(inputs.shape[2:])
            return (inputs * self.kept).sum(dim=(2, 3))

    made = classifier(Keeping(), crop=8)
    inputs = torch.randn(1, 3, 8, 8, requires_grad=True)
    made(inputs).sum().backward()
    assert inputs.grad is not None


def test_class_names_are_a_list_or_a_file(tiny_cnn, tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    assert classifier(tiny_cnn, crop=32, classes=list("abcde")).classes == tuple("abcde")
    assert classifier(tiny_cnn, crop=32, classes=tmp_path / "classes.txt").classes == tuple("abcde")


def test_class_names_of_another_number_are_refused(tiny_cnn):
    with pytest.raises(InputError, match="2 class names for the 5 outputs of TinyCNN; expected 5 names"):
        classifier(tiny_cnn, crop=32, classes=["a", "b"])


def test_names_from_metadata_of_another_number_are_left_out_and_said(notices):
    assert names_for(5, None, ("a", "b"), "net", notices.append) == ()
    assert "net has 5 outputs and 2 class names" in notices[0]
    assert names_for(2, None, ("a", "b"), "net", notices.append) == ("a", "b")


def test_a_network_in_half_precision_is_refused_with_what_to_write(tiny_cnn):
    with pytest.raises(InputError, match=r"weights are float16; expected float32.*module\.float\(\)"):
        classifier(tiny_cnn.half(), crop=32)


def test_wrappers_for_several_devices_are_taken_off(tiny_cnn):
    assert classifier(nn.DataParallel(tiny_cnn), crop=32).module is tiny_cnn


def test_a_compiled_network_is_the_network_it_was_made_from(tiny_cnn):
    compiled = torch.compile(tiny_cnn)
    assert classifier(compiled, crop=32).module is tiny_cnn


@pytest.mark.parametrize("given", [None, "net", lambda inputs: inputs])
def test_what_is_no_module_is_refused(given):
    with pytest.raises(InputError, match=r"is not a network; expected a torch module, in xaicli\.classifier\(module\)"):
        classifier(given)


def test_a_bad_mean_is_refused(tiny_cnn):
    with pytest.raises(UsageError, match="mean"):
        classifier(tiny_cnn, mean=(0.5, 0.5))
    with pytest.raises(UsageError, match="mean"):
        classifier(tiny_cnn, mean=(0.5, 0.5, 0.5, 0.5))


def test_overrides_change_only_what_they_state():
    view = View(256, 224, "bilinear")
    assert Overrides().apply(view) is view
    assert Overrides(resize=248, mean=(0.5, 0.5, 0.5)).apply(view) == View(248, 224, "bilinear", (0.5, 0.5, 0.5))
    assert Overrides(crop=(32, 48), interpolation="bicubic", std=(1, 1, 1)).apply(view).size == (32, 48)


def test_a_network_provides_gradients_and_features_and_attention_where_it_has_some(tiny_cnn, tiny_vit):
    assert Needs.ATTENTION not in classifier(tiny_cnn, crop=32).provides
    assert Needs.GRADIENTS | Needs.FEATURES in classifier(tiny_cnn, crop=32).provides
    assert Needs.ATTENTION in classifier(tiny_vit, crop=32).provides


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_of_masked_passes(tiny_cnn, precision, dtype):
    assert classifier(tiny_cnn, crop=32, precision=precision).masked_dtype == dtype


def test_an_unknown_precision_is_refused(tiny_cnn):
    with pytest.raises(UsageError, match='no precision "fp16"; expected auto, fp32, bf16'):
        classifier(tiny_cnn, crop=32, precision="fp16")


def test_name_and_layer_are_kept(tiny_cnn):
    made = classifier(tiny_cnn, crop=32, name="mine", layer="features.3")
    assert (made.name, made.layer) == ("mine", "features.3")
