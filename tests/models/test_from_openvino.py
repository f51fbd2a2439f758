"""Networks in OpenVINO's format: black boxes whose logits are known in closed form."""

import shutil

import numpy as np
import pytest
import torch

from xaicli.errors import InputError, RunError, UsageError
from xaicli.images.view import View
from xaicli.method import Needs
from xaicli.models.load import load_classifier, says_nothing_of_photos

openvino = pytest.importorskip("openvino")
from openvino import opset13 as op  # noqa: E402

RNG = np.random.default_rng(4)
WEIGHT = RNG.standard_normal((3, 5)).astype(np.float32)
INPUTS = torch.from_numpy(RNG.standard_normal((5, 3, 8, 8)).astype(np.float32))
LOGITS = INPUTS.mean(dim=(2, 3)) @ torch.from_numpy(WEIGHT)


def network(shape=(-1, 3, -1, -1), *, last=False, kind=np.float32, outputs=("scores",), inputs=1):
    """Linear over the mean colour."""
    photos = [op.parameter(list(shape), kind, name=f"photos{at}") for at in range(inputs)]
    mean = op.reduce_mean(op.convert(photos[0], np.float32), np.array([1, 2] if last else [2, 3]), False)
    linear = op.matmul(mean, op.constant(WEIGHT), False, False)
    results = [op.result(linear) for _ in outputs]
    for result, name in zip(results, outputs, strict=True):
        result.output(0).get_tensor().set_names({name})
    return openvino.Model(results, photos, "net")


@pytest.fixture
def save(tmp_path):
    def saved(model, name="net.xml"):
        openvino.save_model(model, str(tmp_path / name), compress_to_fp16=False)
        return tmp_path / name

    return saved


def test_it_gives_its_logits_and_is_a_black_box(save):
    classifier = load_classifier(f"openvino:{save(network())}")
    torch.testing.assert_close(classifier(INPUTS), LOGITS)
    assert (classifier.count, classifier.name, classifier.view, classifier.module) == (5, "openvino:net.xml", View(), None)
    assert classifier.provides == Needs.FORWARD


def test_the_ending_alone_says_what_it_is_and_that_it_has_no_view_of_its_own(save):
    file = str(save(network()))
    assert load_classifier(file).name == "openvino:net.xml"
    assert says_nothing_of_photos(file)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_fixed_batch_is_filled_up_and_cut(save, batch):
    classifier = load_classifier(f"openvino:{save(network((batch, 3, 8, 8)))}")
    torch.testing.assert_close(classifier(INPUTS), LOGITS)
    torch.testing.assert_close(classifier(INPUTS[:1]), LOGITS[:1])


def test_channels_that_come_last_are_put_there(save):
    classifier = load_classifier(f"openvino:{save(network((-1, 8, 8, 3), last=True))}")
    torch.testing.assert_close(classifier(INPUTS), LOGITS)


@pytest.mark.parametrize(("shape", "view"), [((1, 3, 64, 64), View(73, 64)), ((-1, 3, 32, 48), View((37, 55), (32, 48)))])
def test_the_view_follows_the_size_that_the_network_fixes(save, shape, view):
    assert load_classifier(f"openvino:{save(network(shape))}").view == view


def test_outputs_stay_what_they_were_when_the_network_runs_again(save):
    path = save(network((1, 3, 8, 8)))
    with pytest.raises(UsageError, match=r"was exported for photos of 8 x 8 pixels"):
        load_classifier(f"openvino:{path}", crop=9)
    classifier = load_classifier(f"openvino:{path}")
    first = classifier(INPUTS)
    classifier(-INPUTS)
    torch.testing.assert_close(first, LOGITS)


def test_the_fingerprint_follows_description_and_weights_and_not_the_name(save, tmp_path):
    file = save(network())
    first = load_classifier(f"openvino:{file}").fingerprint
    for ending in (".xml", ".bin"):
        shutil.copy(file.with_suffix(ending), tmp_path / f"other{ending}")
    assert load_classifier(f"openvino:{tmp_path / 'other.xml'}").fingerprint == first
    content = bytearray((tmp_path / "other.bin").read_bytes())
    content[-1] ^= 1
    (tmp_path / "other.bin").write_bytes(content)
    assert load_classifier(f"openvino:{tmp_path / 'other.xml'}").fingerprint != first


def test_the_output_called_logits_counts_among_several(save):
    torch.testing.assert_close(load_classifier(f"openvino:{save(network(outputs=('a', 'logits')))}")(INPUTS), LOGITS)
    with pytest.raises(InputError, match=r"net\.xml has the outputs a, b; expected one, or one called logits"):
        load_classifier(f"openvino:{save(network(outputs=('a', 'b')))}")


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda: network((-1, 3, 8, 8), inputs=2), "net.xml has 2 inputs"),
        (lambda: network((-1, 3, 8, 8), kind=np.uint8), "the input of net.xml is u8"),
    ],
)
def test_networks_of_anything_but_photos_are_refused(save, made, found):
    with pytest.raises(InputError, match=found):
        load_classifier(f"openvino:{save(made())}")


@pytest.mark.parametrize("content", [b"", b"<net>", b"hello", b"\x00" * 100, b'<?xml version="1.0"?><a/>'])
def test_files_of_another_kind_are_one_line(tmp_path, content):
    (tmp_path / "net.xml").write_bytes(content)
    with pytest.raises(InputError, match=r"net\.xml is not an OpenVINO network"):
        load_classifier(f"openvino:{tmp_path / 'net.xml'}")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("part", [".xml", ".bin"])
def test_a_file_that_ends_too_soon_is_one_line(save, part, share):
    file = save(network()).with_suffix(part)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as caught:
        load_classifier(f"openvino:{file.with_suffix('.xml')}")
    assert "\n" not in caught.value.line()
    assert "net.xml" in caught.value.line()


def test_weights_that_are_elsewhere_are_said(save, tmp_path):
    (tmp_path / "alone").mkdir()
    shutil.copy(save(network()), tmp_path / "alone" / "net.xml")
    with pytest.raises(InputError, match=r"Its weights belong beside it, in net\.bin"):
        load_classifier(f"openvino:{tmp_path / 'alone' / 'net.xml'}")


def test_a_file_that_is_missing_weights_and_devices_that_do_not_fit_are_refused(save, tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*nowhere\.xml.*openvino:FILE\.xml"):
        load_classifier(f"openvino:{tmp_path / 'nowhere.xml'}")
    with pytest.raises(UsageError, match="with an OpenVINO file"):
        load_classifier(f"openvino:{save(network())}", weights=tmp_path / "w.safetensors")


def test_photos_that_a_network_cannot_take_are_said(save):
    path = save(network((1, 3, 8, 8)))
    with pytest.raises(UsageError, match=r"was exported for photos of 8 x 8 pixels"):
        load_classifier(f"openvino:{path}", crop=9)
    classifier = load_classifier(f"openvino:{path}")
    with pytest.raises(RunError, match=r"net\.xml failed on inputs of shape 1x3x9x9"):
        classifier(torch.zeros(1, 3, 9, 9))


def test_a_network_that_holds_the_number_of_photos_as_a_constant_is_refused(save):
    # OpenVINO runs it all the same, and reads beyond its memory.
    photos = op.parameter([-1, 3, 8, 8], np.float32, name="photos0")
    linear = op.matmul(op.reduce_mean(photos, np.array([2, 3]), False), op.constant(WEIGHT), False, False)
    two_rows = op.concat([op.constant(np.ones((2, 1), np.float32)), linear], 1)
    result = op.result(two_rows)
    result.output(0).get_tensor().set_names({"scores"})
    file = save(openvino.Model([result], [photos], "net"))
    with pytest.raises(InputError, match=r"net\.xml says that it takes any number of photos, and holds another number"):
        load_classifier(f"openvino:{file}")
