import numpy as np
import pytest
import torch
from torch import nn

from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.models.from_onnx import external_files, view_for
from xaicli.models.load import load_classifier
from xaicli.models.program_input import channels_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(4)
WEIGHT = RNG.standard_normal((3, 5)).astype(np.float32)
INPUTS = torch.from_numpy(RNG.standard_normal((5, 3, 8, 8)).astype(np.float32))
LOGITS = INPUTS.mean(dim=(2, 3)) @ torch.from_numpy(WEIGHT)


def graph(
    shape=("batch", 3, "height", "width"), *, last=False, kind=TensorProto.FLOAT, outputs=("scores",), softmax=False, name="input"
):
    """Linear over the mean colour: its logits are known in closed form."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weight = numpy_helper.from_array(WEIGHT.astype(dtype), "weight")
    axes = numpy_helper.from_array(np.array([1, 2] if last else [2, 3]), "axes")
    nodes = [
        helper.make_node("ReduceMean", [name, "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["linear"]),
    ]
    nodes += [helper.make_node("Softmax" if softmax else "Identity", ["linear"], [output]) for output in outputs]
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, kind, list(shape))],
        [helper.make_tensor_value_info(output, kind, [shape[0], 5]) for output in outputs],
        [weight, axes],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def untouched(shape):
    """A graph that gives its input."""
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, list(shape))
    made = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "net", [value], [output])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def save(tmp_path):
    def saved(model, name="net.onnx", **options):
        onnx.save(model, tmp_path / name, **options)
        return tmp_path / name

    return saved


def test_an_onnx_file_gives_its_logits_and_is_a_black_box(save):
    classifier = load_classifier(f"onnx:{save(graph())}")
    torch.testing.assert_close(classifier(INPUTS), LOGITS)
    assert (classifier.count, classifier.name, classifier.view, classifier.module) == (5, "onnx:net.onnx", View(), None)
    assert classifier.provides == Needs.FORWARD
    assert classifier.masked_dtype == torch.float32


def test_the_ending_alone_says_what_it_is(save):
    assert load_classifier(str(save(graph()))).name == "onnx:net.onnx"


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_a_fixed_batch_is_filled_up_and_cut(save, batch):
    classifier = load_classifier(f"onnx:{save(graph((batch, 3, 8, 8)))}")
    torch.testing.assert_close(classifier(INPUTS), LOGITS)
    torch.testing.assert_close(classifier(INPUTS[:1]), LOGITS[:1])


def test_channels_that_come_last_are_put_there(save):
    classifier = load_classifier(f"onnx:{save(graph(('batch', 'height', 'width', 3), last=True))}")
    torch.testing.assert_close(classifier(INPUTS), LOGITS)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_inputs_of_other_precision_are_cast_and_logits_are_float32(save, kind):
    outputs = load_classifier(f"onnx:{save(graph(kind=kind))}")(INPUTS)
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, LOGITS, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    ("shape", "view"),
    [
        (("batch", 3, 224, 224), View(256, 224)),
        (("batch", 3, 64, 64), View(73, 64)),
        ((2, 3, 32, 48), View((37, 55), (32, 48))),
        (("batch", 3, "height", "width"), View(256, 224)),
        (("batch", "channels", "height", "width"), View(256, 224)),
    ],
)
def test_the_view_follows_the_size_that_the_graph_fixes(save, shape, view):
    assert load_classifier(f"onnx:{save(graph(shape))}").view == view


def test_the_usual_share_of_224_is_256():
    assert view_for((224, 224)) == View(256, 224)


def test_overrides_and_class_names_hold_for_black_boxes_too(save, tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    made = load_classifier(f"onnx:{save(graph())}", crop=32, mean=(0, 0, 0), classes=tmp_path / "classes.txt")
    assert (made.view.size, made.view.mean, made.class_name(4)) == ((32, 32), (0.0, 0.0, 0.0), "e")


def test_a_softmax_inside_is_found(save):
    classifier = load_classifier(f"onnx:{save(graph(softmax=True))}")
    assert classifier.probabilities
    torch.testing.assert_close(classifier(INPUTS), LOGITS.log_softmax(dim=1))


def test_the_output_called_logits_counts_among_several(save):
    torch.testing.assert_close(load_classifier(f"onnx:{save(graph(outputs=('features', 'logits')))}")(INPUTS), LOGITS)
    with pytest.raises(InputError, match=r"net\.onnx has the outputs a, b; expected one, or one called logits"):
        load_classifier(f"onnx:{save(graph(outputs=('a', 'b')))}")


def test_inputs_that_ask_for_gradients_are_taken_without(save):
    assert not load_classifier(f"onnx:{save(graph())}")(INPUTS.clone().requires_grad_()).requires_grad


def test_batch_1_and_batch_5_agree_and_a_run_repeats_to_the_bit(save):
    classifier = load_classifier(f"onnx:{save(graph())}")
    torch.testing.assert_close(torch.cat([classifier(row[None]) for row in INPUTS]), classifier(INPUTS), atol=1e-5, rtol=0)
    assert torch.equal(classifier(INPUTS), classifier(INPUTS))


def test_the_fingerprint_follows_the_content_and_not_the_name(save):
    first = load_classifier(f"onnx:{save(graph())}").fingerprint
    assert load_classifier(f"onnx:{save(graph(), 'other.onnx')}").fingerprint == first
    assert load_classifier(f"onnx:{save(graph(softmax=True))}").fingerprint != first


def test_weights_in_a_file_beside_the_model_count(save, tmp_path):
    options = {"save_as_external_data": True, "location": "net.weights", "size_threshold": 64}
    path = save(graph(), **options)
    assert external_files(path.read_bytes()) == ["net.weights"]
    first = load_classifier(f"onnx:{path}")
    torch.testing.assert_close(first(INPUTS), LOGITS)
    data = tmp_path / "net.weights"
    changed = bytearray(data.read_bytes())
    changed[2] ^= 1
    data.write_bytes(bytes(changed))
    assert load_classifier(f"onnx:{path}").fingerprint != first.fingerprint


@pytest.mark.parametrize("length", [1, 127, 128, 200])
def test_names_of_weight_files_are_read_whatever_their_length(length):
    name = "w" * length
    model = graph()
    entry = onnx.StringStringEntryProto(key="location", value=name)
    model.graph.initializer[0].external_data.append(entry)
    assert external_files(model.SerializeToString()) == [name]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (untouched((1, 8, 8)), r"the input input of net\.onnx has the shape \[1, 8, 8\]; expected one input of photos"),
        (untouched(("batch", 3, 8)), r"has the shape \['batch', 3, 8\]"),
        (graph(kind=TensorProto.INT32), r"is tensor\(int32\)"),
    ],
)
def test_graphs_that_take_no_photos_are_refused(save, model, words):
    with pytest.raises(InputError, match=words):
        load_classifier(f"onnx:{save(model)}")


def test_a_graph_of_two_inputs_is_refused_by_their_names(save):
    model = graph()
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch"]))
    with pytest.raises(InputError, match=r"has 2 inputs \(input, mask\)"):
        load_classifier(f"onnx:{save(model)}")


def test_a_size_that_the_graph_cannot_take_is_reported_in_one_line(save):
    with pytest.raises(UsageError, match=r"was exported for photos of 8 x 8 pixels, and the settings make 9 x 9"):
        load_classifier(f"onnx:{save(graph((2, 3, 8, 8)))}", crop=9)


def test_channels_that_the_graph_cannot_take_are_reported_in_one_line(save):
    with pytest.raises(UsageError, match=r"was exported for 3 channels, and the settings make 2"):
        load_classifier(f"onnx:{save(graph())}", mean=(0.5, 0.5), std=1.0)


def test_a_graph_of_any_channels_takes_those_that_are_stated(save):
    pooled = untouched(("batch", "channels"))
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", "channels", "height", "width"])
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    nodes = [helper.make_node("ReduceMean", ["input", "axes"], ["output"], keepdims=0)]
    made = helper.make_graph(nodes, "net", [value], list(pooled.graph.output), [axes])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert load_classifier(f"onnx:{save(model)}", channels=2).view.channels == 2


def test_files_that_are_no_model_are_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"no protocol buffer")
    with pytest.raises(InputError, match="is not an ONNX model that onnxruntime can run") as caught:
        load_classifier(f"onnx:{tmp_path / 'net.onnx'}")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="there is no file"):
        load_classifier(f"onnx:{tmp_path / 'absent.onnx'}")
    with pytest.raises(InputError, match="is a folder"):
        load_classifier(f"onnx:{tmp_path}")


def test_weights_and_qualifiers_have_no_meaning(save):
    with pytest.raises(UsageError, match=r"--weights net\.pth with an ONNX file"):
        load_classifier(f"onnx:{save(graph())}", weights="net.pth")
    with pytest.raises(UsageError, match='"@V1" after'):
        load_classifier(f"onnx:{save(graph())}@V1")


def test_without_the_package_the_extra_is_named(save, monkeypatch):
    path = save(graph())
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *args: None)
    with pytest.raises(InputError, match=r'onnxruntime is not installed\. Type: pip install "xaicli\[onnx\]"'):
        load_classifier(f"onnx:{path}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_network_exported_by_torch_gives_the_network_s_logits(tmp_path, tiny_cnn, photo_batch):
    pytest.importorskip("onnxscript")
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        tiny_cnn, (photo_batch[:2],), tmp_path / "net.onnx", dynamo=True, dynamic_shapes=({0: batch},), verbose=False
    )
    classifier = load_classifier(f"onnx:{tmp_path / 'net.onnx'}")
    torch.testing.assert_close(classifier(photo_batch), tiny_cnn(photo_batch), atol=1e-5, rtol=1e-5)
    assert classifier.view.size == (32, 32)
    assert isinstance(tiny_cnn, nn.Module)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((3, 8), (3, False)), ((8, 3), (3, True)), ((1, 28), (1, False)), ((28, 1), (1, True)), ((13, 64), (13, False))],
)
def test_the_axis_of_channels_is_the_one_of_three_else_the_shorter(shape, channels):
    assert channels_of(*shape) == channels
    assert channels_of(None, None) == (3, False)
