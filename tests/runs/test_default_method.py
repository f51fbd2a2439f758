import numpy as np
import torch

import xaicli
from xaicli.methods.lfi.lfi_network import with_branch
from xaicli.runs.default_method import default_method


def test_a_network_with_the_branch_is_explained_by_it(tiny_cnn, classifier_of):
    assert default_method(classifier_of(with_branch(tiny_cnn, (32, 32)))) == "lfi-cam"


def test_where_another_target_is_asked_for_a_method_that_knows_targets_is_taken(tiny_cnn, classifier_of):
    assert default_method(classifier_of(with_branch(tiny_cnn, (32, 32))), "3") == "grad-cam"


def test_other_networks_and_black_boxes_have_methods_that_run_on_them(tiny_cnn, classifier_of):
    assert default_method(classifier_of(tiny_cnn)) == "grad-cam"
    assert default_method(classifier_of(lambda inputs: inputs.mean(dim=(2, 3)))) == "rise"


def test_python_takes_the_same_default(tiny_cnn, classifier_of):
    torch.manual_seed(0)
    photo = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    classifier = classifier_of(with_branch(tiny_cnn, (32, 32)).eval())
    assert xaicli.explain(photo, classifier)[0].record.method == "lfi-cam"
    assert xaicli.explain(photo, classifier, target="top2")[0].record.method == "grad-cam"
