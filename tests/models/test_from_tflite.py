"""Networks in TensorFlow Lite's format: black boxes whose logits are known in closed form."""

import numpy as np
import pytest
import torch
from models.tflite_files import WEIGHT, in_eight_bits, mean_colour

from xaicli.cli.main import main
from xaicli.errors import InputError, UsageError
from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.models.load import load_classifier, says_nothing_of_photos

INPUTS = torch.from_numpy(np.random.default_rng(7).standard_normal((5, 3, 8, 8)).astype(np.float32))
LOGITS = INPUTS.mean(dim=(2, 3)) @ torch.from_numpy(WEIGHT)


@pytest.fixture
def save(tmp_path):
    def saved(content, name="net.tflite"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return saved


def test_it_gives_its_logits_with_channels_last_and_is_a_black_box(save):
    classifier = load_classifier(f"tflite:{save(mean_colour())}")
    torch.testing.assert_close(classifier(INPUTS), LOGITS)
    assert (classifier.count, classifier.name, classifier.module) == (5, "tflite:net.tflite", None)
    assert (classifier.provides, classifier.view) == (Needs.FORWARD, View(9, 8))


def test_the_ending_alone_says_what_it_is_and_that_it_has_no_view_of_its_own(save):
    file = str(save(mean_colour()))
    assert load_classifier(file).name == "tflite:net.tflite"
    assert says_nothing_of_photos(file)


@pytest.mark.parametrize(("shape", "signature"), [((2, 8, 8, 3), None), ((1, 8, 8, 3), (-1, 8, 8, 3)), ((4, 8, 8, 3), None)])
def test_batches_that_are_fixed_or_of_any_length_give_the_same(save, shape, signature):
    classifier = load_classifier(f"tflite:{save(mean_colour(shape, signature))}")
    for count in (5, 1, 3):
        torch.testing.assert_close(classifier(INPUTS[:count]), LOGITS[:count])


def test_outputs_stay_what_they_were_when_the_network_runs_again(save):
    classifier = load_classifier(f"tflite:{save(mean_colour())}")
    first = classifier(INPUTS[:1])
    classifier(-INPUTS[:1])
    torch.testing.assert_close(first, LOGITS[:1])


def test_eight_bits_are_converted_by_the_scales_in_the_file(save):
    scale, zero = 0.05, 3
    classifier = load_classifier(f"tflite:{save(in_eight_bits((scale, zero)))}", outputs="values")
    seen = ((INPUTS / scale).round() + zero).clamp(-128, 127) - zero
    torch.testing.assert_close(classifier(INPUTS), scale * seen.mean(dim=(2, 3)), atol=scale * 0.51, rtol=0)


def test_the_output_called_logits_counts_among_several(save):
    torch.testing.assert_close(load_classifier(f"tflite:{save(mean_colour(outputs=('a', 'logits')))}")(INPUTS), LOGITS)
    with pytest.raises(InputError, match=r"net\.tflite has the outputs a, b; expected one, or one called logits"):
        load_classifier(f"tflite:{save(mean_colour(outputs=('a', 'b')))}")


def test_the_fingerprint_follows_the_content_and_not_the_name(save):
    first = load_classifier(f"tflite:{save(mean_colour())}").fingerprint
    assert load_classifier(f"tflite:{save(mean_colour(), 'other.tflite')}").fingerprint == first
    assert load_classifier(f"tflite:{save(mean_colour((2, 8, 8, 3)))}").fingerprint != first


@pytest.mark.parametrize("content", [b"", b"TFL3", b"hello, world", b"\x00" * 100])
def test_files_of_another_kind_are_one_line(save, content):
    with pytest.raises(InputError, match=r"net\.tflite is not a TensorFlow Lite network"):
        load_classifier(f"tflite:{save(content)}")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_a_file_that_ends_too_soon_is_one_line_and_nothing_else_is_said(save, capfd, photo_folder, share):
    content = mean_colour()
    file = save(content[: int(share * len(content))])
    assert main(["explain", str(photo_folder), "--model", f"tflite:{file}", "--method", "occlusion"]) == 3
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert "net.tflite is not a network that TensorFlow Lite can run" in said[0]


def test_a_file_that_is_missing_and_weights_are_refused(save, tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*nowhere\.tflite.*tflite:FILE\.tflite"):
        load_classifier(f"tflite:{tmp_path / 'nowhere.tflite'}")
    with pytest.raises(UsageError, match="with a TensorFlow Lite file"):
        load_classifier(f"tflite:{save(mean_colour())}", weights=tmp_path / "w.safetensors")
