import argparse
import struct
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from xaicli.errors import InputError
from xaicli.models.weights import read_weights

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.tensor([0.5, -0.25]), "steps": torch.tensor(7)}


def saved(path, content):
    torch.save(content, path)
    return path


def same(given, wanted):
    return sorted(given) == sorted(wanted) and all(torch.equal(given[name], wanted[name]) for name in wanted)


def test_safetensors_are_read_by_name(tmp_path):
    save_file(STATE, tmp_path / "net.safetensors")
    assert same(read_weights(tmp_path / "net.safetensors"), STATE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_floating_weights_become_float32_and_whole_numbers_stay(tmp_path, dtype, ending):
    path = tmp_path / f"net.{ending}"
    stored = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in STATE.items()}
    save_file(stored, path) if ending == "safetensors" else torch.save(stored, path)
    given = read_weights(path)
    assert given["conv.weight"].dtype == torch.float32
    assert given["steps"].dtype == torch.int64
    assert same(given, STATE)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "ema", "model_ema", "state_dict_ema"])
def test_a_nested_state_dict_is_found(tmp_path, key):
    path = saved(tmp_path / "net.pth", {"epoch": 3, "lr": 0.1, "optimizer": {"state": {}}, key: STATE})
    assert same(read_weights(path), STATE)


def test_a_state_dict_two_levels_down_is_found(tmp_path):
    assert same(read_weights(saved(tmp_path / "net.pth", {"model": {"state_dict": STATE}})), STATE)


def test_the_trained_weights_count_before_their_average(tmp_path):
    average = {name: tensor + 1 for name, tensor in STATE.items()}
    assert same(read_weights(saved(tmp_path / "net.pth", {"ema": average, "model": STATE})), STATE)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers_prefixes_are_taken_off(tmp_path, prefix):
    path = saved(tmp_path / "net.pth", {prefix + name: tensor for name, tensor in STATE.items()})
    assert same(read_weights(path), STATE)


def test_a_prefix_that_only_some_names_bear_is_part_of_them(tmp_path):
    state = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert set(read_weights(saved(tmp_path / "net.pth", state))) == set(state)


def test_versions_of_modules_are_kept_under_the_names_without_prefix(tmp_path):
    state = OrderedDict({"module.bn.weight": torch.ones(1)})
    state._metadata = OrderedDict({"": {"version": 1}, "module": {"version": 1}, "module.bn": {"version": 2}})
    assert read_weights(saved(tmp_path / "net.pth", state))._metadata["bn"] == {"version": 2}


def test_the_older_format_of_torch_is_read(tmp_path):
    torch.save(STATE, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    assert same(read_weights(tmp_path / "net.pth"), STATE)


def test_content_counts_and_not_the_ending(tmp_path):
    save_file(STATE, tmp_path / "net.pth")
    assert same(read_weights(tmp_path / "net.pth"), STATE)


def test_weights_that_are_not_a_number_are_said(tmp_path, notices):
    path = saved(tmp_path / "net.pth", {"a": torch.ones(3), "b": torch.tensor([1.0, float("nan"), float("nan")])})
    read_weights(path, notices.append)
    assert notices == ["net.pth holds 2 weights that are NaN, the first in b; its outputs may be too"]


def test_infinite_weights_are_taken_as_meant(tmp_path, notices):
    read_weights(saved(tmp_path / "net.pth", {"mask": torch.tensor([0.0, float("-inf")])}), notices.append)
    assert notices == []


class Marker:
    ran = False

    def __reduce__(self):
        return (mark, ())


def mark():
    Marker.ran = True


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_the_code_does_not_run(tmp_path, zipped):
    torch.save({"state_dict": STATE, "hook": Marker()}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    words = r"holds more than weights \(it names \S*mark\).*can run code: refused.*torch\.save\(model"
    with pytest.raises(InputError, match=words) as caught:
        read_weights(tmp_path / "net.pth")
    assert not Marker.ran
    assert "\n" not in str(caught.value)


def test_a_whole_pickled_network_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"it names torch\.nn\.modules\.linear\.Linear"):
        read_weights(saved(tmp_path / "net.pth", torch.nn.Linear(2, 2)))


def test_settings_saved_beside_the_weights_are_refused_too(tmp_path):
    with pytest.raises(InputError, match=r"it names argparse\.Namespace"):
        read_weights(saved(tmp_path / "net.pth", {"model": STATE, "args": argparse.Namespace(lr=1)}))


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(InputError, match=r"net\.pth"):
        read_weights(tmp_path / "net.pth")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_scripted_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "net.pt")
    with pytest.raises(InputError, match="is a TorchScript program"):
        read_weights(tmp_path / "net.pt")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, "it is an empty dict"),
        ({"epoch": 1, "loss": 0.5}, "its names are epoch, loss"),
        ([1, 2], "it is a list"),
        (torch.ones(3), "it is a Tensor"),
        ({"model": {"lr": 1.0}}, "its names are model"),
    ],
)
def test_a_file_without_weights_is_refused_saying_what_it_holds(tmp_path, content, complaint):
    with pytest.raises(InputError, match=complaint):
        read_weights(saved(tmp_path / "net.pth", content))


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path, ending, kept):
    path = tmp_path / f"net.{ending}"
    big = {"weight": torch.randn(100, 100)}
    save_file(big, path) if ending == "safetensors" else torch.save(big, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"is not a readable.*may be cut off") as caught:
        read_weights(path)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\n <html>", "is a web page"),
        (b"just some text", "is not a file of weights"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a file of weights"),
        (struct.pack("<Q", 2**60) + b"{}", "not a readable safetensors file"),
        (struct.pack("<Q", 12) + b'{"a": broken', "not a readable safetensors file"),
        (struct.pack("<Q", 2) + b"{}", "holds no weights"),
        (b"PK\x03\x04" + bytes(60), "is not a readable file of weights"),
    ],
)
def test_a_file_that_is_something_else_is_refused_saying_what(tmp_path, content, complaint):
    (tmp_path / "net.bin").write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_weights(tmp_path / "net.bin")


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_weights(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        read_weights(tmp_path / "absent.pth")


@pytest.mark.parametrize("prefix", ["model.", "net.", "module.", "model.net.", "ema_model.module.", "_orig_mod."])
@pytest.mark.parametrize("classes", [3, 7])
def test_a_lightning_checkpoint_fits_whatever_its_prefix_and_number_of_classes(prefix, classes, tmp_path):
    import torchvision

    from xaicli.models.load import load_classifier

    trained = torchvision.models.squeezenet1_1(num_classes=classes)
    state = {f"{prefix}{name}": tensor for name, tensor in trained.state_dict().items()} | {"loss.weight": torch.ones(classes)}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
    made = load_classifier("squeezenet1_1", weights=tmp_path / "last.ckpt", crop=64, resize=64)
    assert made.count == classes
    assert torch.equal(made.module.state_dict()["classifier.1.weight"], trained.state_dict()["classifier.1.weight"])


def test_plain_weights_count_before_averaged_ones_and_that_is_said(tmp_path):
    plain, averaged = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    torch.save({"state_dict": plain, "state_dict_ema": averaged}, tmp_path / "both.pth")
    said = []
    assert read_weights(tmp_path / "both.pth", said.append)["w"].sum() == 0
    assert "averaged weights too (state_dict_ema)" in said[0]


def module_of_ones():
    module = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.ones_(module.weight)
    return module


UNREAD = {
    "settings beside the weights": lambda: {
        "state_dict": {"weight": torch.ones(1, 2)},
        "hyper_parameters": argparse.Namespace(lr=1),
    },
    "settings in a dict": lambda: {"model": {"weight": torch.ones(1, 2)}, "config": {"args": argparse.Namespace(lr=1)}},
    "a whole module": module_of_ones,
    "a module in a dict": lambda: {"model": module_of_ones(), "epoch": argparse.Namespace(n=3)},
}


@pytest.mark.parametrize("what", UNREAD)
@pytest.mark.parametrize("ending", [".ckpt", ".pth"])
def test_a_file_with_more_than_weights_names_the_command_that_rewrites_it(what, ending, tmp_path):
    torch.save(UNREAD[what](), tmp_path / f"last{ending}")
    with pytest.raises(InputError) as caught:
        read_weights(tmp_path / f"last{ending}")
    code = caught.value.hint.partition('python -c "')[2].removesuffix('"')
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert read_weights(tmp_path / "last.weights.pth")["weight"].tolist() == [[1, 1]]


def test_averaged_weights_alone_are_used_as_torch_counts_and_names_them(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(module_of_ones())
    torch.save({"ema_model": averaged.state_dict()}, tmp_path / "ema.pth")
    assert list(read_weights(tmp_path / "ema.pth")) == ["weight"]
