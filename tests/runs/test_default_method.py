import numpy as np
import torch

import xaicli
from xaicli.methods.lfi.lfi_network import with_branch
from xaicli.runs.default_method import default_method


def test_a_network_is_explained_by_grad_cam_and_a_black_box_by_rise(tiny_cnn, classifier_of):
    assert default_method(classifier_of(tiny_cnn)) == "grad-cam"
    assert default_method(classifier_of(with_branch(tiny_cnn, (32, 32)))) == "grad-cam"
    assert default_method(classifier_of(lambda inputs: inputs.mean(dim=(2, 3)))) == "rise"


def test_python_takes_the_same_default(tiny_cnn, classifier_of):
    torch.manual_seed(0)
    photo = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    classifier = classifier_of(with_branch(tiny_cnn, (32, 32)).eval())
    assert xaicli.explain(photo, classifier)[0].record.method == "grad-cam"
