"""A network that was exported is a black box, and RISE explains it as it explains the network itself."""

import pytest
import torch

from xaicli.images.decode import decode
from xaicli.methods.rise.rise import RISE
from xaicli.models.load import load_classifier
from xaicli.scoring.similarity import spearman
from xaicli.targets import DECISION, Targets

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

pytestmark = pytest.mark.real


@pytest.mark.parametrize("spec", ["mobilenet_v2", "timm:deit_tiny_patch16_224"])
def test_an_onnx_file_gets_the_map_of_the_network(assets, tmp_path, spec):
    # In the precision of the export: bfloat16 moves the map of a MobileNetV2 more than the export does.
    network = load_classifier(spec, precision="fp32", weights=assets / "weights" / f"{spec.removeprefix('timm:')}.safetensors")
    photo = network.view.prepare(decode(assets / "classics" / "goldfish.jpg").image)[None]
    file = tmp_path / "network.onnx"
    two, batch = photo.expand(2, -1, -1, -1), ({0: torch.export.Dim("batch")},)
    torch.onnx.export(network.torch_module, (two,), file, dynamo=True, dynamic_shapes=batch, verbose=False)
    exported = load_classifier(f"onnx:{file}", classes=assets / "classes" / "imagenet1k.csv")

    def explained(classifier):
        return RISE(n_masks=100).attribute(classifier, photo, Targets.same(DECISION, 1), torch.tensor([3]))

    own, other = explained(network), explained(exported)
    assert torch.equal(own.targets.classes, other.targets.classes)
    assert float(spearman(own.values[:, 0], other.values[:, 0])) > 0.999
