import copy
import re

import pytest
import torch
from torch import nn

from xaicli.images.view import View
from xaicli.models.fingerprint import file_fingerprint, module_fingerprint


def test_a_fingerprint_is_16_hex_digits_and_the_same_every_time(tiny_cnn):
    first = module_fingerprint(tiny_cnn, View())
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert module_fingerprint(copy.deepcopy(tiny_cnn), View()) == first


def test_training_mode_gradients_and_layout_in_memory_do_not_count(tiny_cnn):
    before = module_fingerprint(tiny_cnn, View())
    tiny_cnn.train().requires_grad_(True).to(memory_format=torch.channels_last)
    assert module_fingerprint(tiny_cnn, View()) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_and_their_cast_are_one(tiny_cnn, dtype):
    half = copy.deepcopy(tiny_cnn).to(dtype)
    assert module_fingerprint(half, View()) == module_fingerprint(copy.deepcopy(half).float(), View())


def test_one_weight_changes_it(tiny_cnn):
    before = module_fingerprint(tiny_cnn, View())
    with torch.no_grad():
        tiny_cnn.head.bias[0] += 1e-6
    assert module_fingerprint(tiny_cnn, View()) != before


def test_a_buffer_changes_it(tiny_cnn):
    before = module_fingerprint(tiny_cnn, View())
    tiny_cnn.features[1].running_mean += 1
    assert module_fingerprint(tiny_cnn, View()) != before


@pytest.mark.parametrize("view", [View(crop=192), View(resize=248), View(interpolation="bicubic"), View(mean=(0.5, 0.5, 0.5))])
def test_the_view_changes_it(tiny_cnn, view):
    assert module_fingerprint(tiny_cnn, view) != module_fingerprint(tiny_cnn, View())
    assert file_fingerprint("ab", view) != file_fingerprint("ab", View())


def test_the_class_of_the_network_the_names_and_the_shapes_change_it():
    class Other(nn.Linear):
        pass

    weight = torch.arange(4.0)
    shapes = [(2, 2), (1, 4), (4, 1)]
    linears = [kind(columns, rows, bias=False) for rows, columns in shapes for kind in (nn.Linear, Other)]
    for linear in linears:
        linear.weight.data = weight.reshape(linear.weight.shape)
    named = nn.Module()
    named.other = nn.Parameter(weight.reshape(2, 2))
    assert len({module_fingerprint(module, View()) for module in [*linears, named]}) == 7


def test_the_content_of_a_file_changes_it():
    assert file_fingerprint("ab", View()) != file_fingerprint("cd", View())
