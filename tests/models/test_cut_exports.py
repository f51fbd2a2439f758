"""Exported networks that are cut at a tensor give the maps of the network that they were exported from."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.method import Needs
from xaicli.methods.ablation_cam import AblationCAM
from xaicli.methods.eigen_cam import EigenCAM
from xaicli.methods.grad_cam import GradCAM
from xaicli.methods.recipro_cam import ReciproCAM
from xaicli.methods.rise.rise import RISE
from xaicli.methods.score_cam import ScoreCAM
from xaicli.models.load import load_classifier
from xaicli.network.layers import list_layers
from xaicli.runs.default_method import default_method
from xaicli.suitability import require_fit
from xaicli.targets import DECISION, Targets

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

BATCH = {0: torch.export.Dim("batch")}


class Skipping(nn.Module):
    """Features, and a branch that passes them by; an in-place ReLU follows the features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3, stride=4, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.past = nn.Conv2d(3, 6, 4, stride=4)
        self.head = nn.Linear(6, 5)

    def forward(self, inputs):
        past = self.past(inputs)
        return self.head((self.relu(self.features(inputs)) * past).mean(dim=(2, 3)))


@pytest.fixture
def skipping():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Skipping().eval().requires_grad_(False)


def to_onnx(module, file, photos, *, fixed=False, names=("features",)):
    axes = None if fixed else {name: {0: "batch"} for name in (*names, "logits")}
    torch.onnx.export(
        module, (photos,), str(file), input_names=[names[0]], output_names=["logits"], dynamic_axes=axes, dynamo=False
    )
    return file


def to_program(module, file, photos, *, fixed=False):
    torch.export.save(torch.export.export(module, (photos,), dynamic_shapes=None if fixed else (BATCH,)), file)
    return file


EXPORTS = {"onnx": (to_onnx, "net.onnx"), "pt2": (to_program, "net.pt2")}


def maps(method, classifier, photos):
    targets = Targets.same(DECISION, len(photos), classifier.outputs)
    return method.attribute(classifier, photos, targets, torch.arange(len(photos)))


def exported(kind, module, folder, photos, **settings):
    export, name = EXPORTS[kind]
    return export(module, folder / name, photos, **settings)


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize("method", [ReciproCAM(), ScoreCAM(), EigenCAM(), AblationCAM()], ids=lambda one: one.name)
def test_the_maps_are_those_of_the_network(kind, method, tiny_cnn, photo_batch, tmp_path):
    file = exported(kind, tiny_cnn, tmp_path, photo_batch[:2])
    cut, whole = load_classifier(f"{file}@layer=auto"), xaicli.classifier(tiny_cnn, resize=37, crop=32)
    whole = whole.with_masked_dtype(torch.float32)
    assert_close(cut(photo_batch), whole(photo_batch), atol=1e-5, rtol=1e-5)
    found, wanted = (maps(method, classifier, photo_batch) for classifier in (cut, whole))
    assert found.values.shape[2:] == (8, 8)
    assert_close(found.values, wanted.values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize("fixed", [False, True])
def test_what_passes_the_cut_by_keeps_the_photo(kind, fixed, skipping, photo_batch, tmp_path):
    file = exported(kind, skipping, tmp_path, photo_batch[: 1 if fixed else 2], fixed=fixed)
    layers = load_classifier(str(file)).layers()
    (features,) = (row.name for row in layers if row.shape == (1, 6, 8, 8) and "onv" in row.kind and row is first_of(layers))
    cut = load_classifier(f"{file}@layer={features}")
    whole = xaicli.classifier(skipping, resize=37, crop=32, layer="past")
    found, wanted = (maps(ReciproCAM(score="logit"), classifier, photo_batch) for classifier in (cut, whole))
    assert_close(found.extras["scores"], wanted.extras["scores"], atol=1e-5, rtol=1e-5)


def first_of(rows):
    """The first convolution: it is the branch that passes the features by."""
    return next(row for row in rows if "onv" in row.kind)


@pytest.mark.parametrize("kind", EXPORTS)
def test_a_transformer_is_cut_at_its_tokens(kind, tiny_vit, photo_batch, tmp_path):
    if kind == "onnx":
        file = tmp_path / "net.onnx"
        torch.onnx.export(tiny_vit, (photo_batch[:2],), file, dynamo=True, dynamic_shapes=(BATCH,), verbose=False)
    else:
        file = to_program(tiny_vit, tmp_path / "net.pt2", photo_batch[:2])
    with pytest.raises(UsageError, match=r"is a transformer, and layer=auto finds no place to cut it.* xai list layers"):
        load_classifier(f"{file}@layer=auto")
    norms = [row for row in load_classifier(str(file)).layers() if "ormalization" in row.kind or "layer_norm" in row.kind]
    # Of two blocks: each has a norm before its attention and one before its multilayer perceptron; the last norm is the head's.
    cut = load_classifier(f"{file}@layer={norms[2].name}")
    whole = xaicli.classifier(tiny_vit, resize=37, crop=32)
    found, wanted = (maps(ReciproCAM(), classifier, photo_batch) for classifier in (cut, whole))
    assert found.values.shape[2:] == (4, 4)
    assert_close(found.extras["scores"], wanted.extras["scores"], atol=1e-5, rtol=1e-5)


def test_two_files_are_one_network(tiny_cnn, photo_batch, tmp_path):
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), tiny_cnn.head)
    features = tiny_cnn.features(photo_batch[:2])
    whole = xaicli.classifier(tiny_cnn, resize=37, crop=32)
    wanted = maps(ReciproCAM(), whole, photo_batch)
    for kind in EXPORTS:
        export, name = EXPORTS[kind]
        first, second = (tmp_path / f"{part}-{name}" for part in ("features", "head"))
        export(tiny_cnn.features, first, photo_batch[:2])
        export(head, second, features)
        cut = load_classifier(f"{first}+{second}")
        assert_close(maps(ReciproCAM(), cut, photo_batch).values, wanted.values, atol=1e-5, rtol=1e-5)
        assert cut.name.endswith(f"features-{name}+head-{name}")
        with pytest.raises(UsageError, match="is cut already"):
            load_classifier(f"{first}+{second}@layer=auto")


def test_two_files_that_do_not_fit_are_refused(tiny_cnn, photo_batch, tmp_path):
    first = to_onnx(tiny_cnn.features, tmp_path / "features.onnx", photo_batch[:2])
    with pytest.raises(InputError, match=r"there is no file .*head\.onnx"):
        load_classifier(f"onnx:{first}+{tmp_path / 'head.onnx'}")


@pytest.mark.parametrize("kind", EXPORTS)
def test_the_cut_changes_no_fingerprint_and_gives_features_alone(kind, tiny_cnn, photo_batch, tmp_path):
    file = exported(kind, tiny_cnn, tmp_path, photo_batch[:2])
    whole, cut = load_classifier(str(file)), load_classifier(f"{file}@layer=auto")
    assert (whole.fingerprint, whole.provides) == (cut.fingerprint, Needs.FORWARD)
    assert cut.provides == Needs.FORWARD | Needs.FEATURES
    assert (default_method(whole).name, default_method(cut).name) == ("rise", "recipro-cam")
    require_fit(RISE(), cut)
    with pytest.raises(UsageError, match="grad-cam needs gradients"):
        require_fit(GradCAM(), cut)
    with pytest.raises(UsageError, match=r"recipro-cam reads features, and .* --model .*@layer=auto"):
        require_fit(ReciproCAM(), whole)


@pytest.mark.parametrize("kind", EXPORTS)
def test_the_tensors_of_an_export_are_listed(kind, tiny_cnn, photo_batch, tmp_path):
    rows = load_classifier(str(exported(kind, tiny_cnn, tmp_path, photo_batch[:2]))).layers()
    assert [row.grid for row in rows if row.default] == [(8, 8)]
    assert {row.grid for row in rows} == {(16, 16), (8, 8)}
    assert [row.shape for row in rows][-1] == (1, 16, 8, 8)


@pytest.mark.parametrize("kind", EXPORTS)
def test_a_tensor_that_is_not_there_is_refused_with_the_nearest(kind, tiny_cnn, photo_batch, tmp_path):
    file = exported(kind, tiny_cnn, tmp_path, photo_batch[:2])
    *_, last = load_classifier(str(file)).layers()
    with pytest.raises(UsageError, match=r'has no tensor ".*"\. Did you mean') as caught:
        load_classifier(f"{file}@layer=x{last.name}".replace("x/", "/x"))
    assert last.name in caught.value.line()


def test_a_network_with_layers_takes_no_cut():
    with pytest.raises(UsageError, match=r'"@layer=auto" with tiny; .* --method grad-cam@layer=NAME'):
        load_classifier("tiny@layer=auto")


def test_the_layer_is_named_after_the_tensor(tiny_cnn, photo_batch, tmp_path):
    cut = load_classifier(f"{to_onnx(tiny_cnn, tmp_path / 'net.onnx', photo_batch[:2])}@layer=auto")
    (layer,) = ReciproCAM().layers_read(cut)
    (row,) = (row for row in cut.layers() if row.default)
    assert layer.rstrip("_") == row.name.replace(".", "_").replace(":", "_")
    assert next(one.name for one in list_layers(cut.trace)) == layer
