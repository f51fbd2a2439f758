"""Every command of docs/imagenet.md runs as it stands, on small networks of the same kind and a few photos."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from command_line import CommandLine
from safetensors.torch import save_file

from tools.imagenet_recipes import ALL
from xaicli.params import escape

PAGE = Path(__file__).parents[2] / "docs" / "imagenet.md"
CLASSES = 3
VGG_CHANNELS = (2, 2, "M", 3, 3, "M", 4, 4, 4, "M", 5, 5, 5, "M", 6, 6, 6, "M")
SMALL = ("--limit", "6", "--epochs", "1", "--batch-size", "2", "--report", "0", "--device", "cpu")


def blocks(kind: str) -> str:
    return "".join(part.partition("```")[0] for part in PAGE.read_text("utf-8").split(f"```{kind}\n")[1:])


COMMANDS = [line for line in blocks("sh").splitlines() if line.startswith("xai train")]
EXPLAINED = [line for line in blocks("sh").splitlines() if line.startswith("xai explain")]


def small_vgg(**given):
    vgg = torchvision.models.vgg
    made = vgg.VGG(vgg.make_layers(VGG_CHANNELS), num_classes=CLASSES)
    made.classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6 * 49, CLASSES))
    return made


def small_vit(**given):
    made = torchvision.models.VisionTransformer(32, 8, 12, 2, 8, 16, num_classes=CLASSES)
    # Its head begins with zeros, through which no gradient passes.
    torch.nn.init.normal_(made.heads.head.weight)
    return made


RESNET = torchvision.models.ResNet


def small_resnet(**given):
    return RESNET(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)


NETWORKS = {"vgg16": small_vgg, "vit_b_16": small_vit, "resnet50": small_resnet, "resnet18": small_resnet}


@pytest.fixture
def command(tmp_path, monkeypatch, capsys, toy):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        shutil.copytree(toy / split, tmp_path / "imagenet" / split)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, make in NETWORKS.items():
            save_file(make().state_dict(), tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, **given: NETWORKS[name](**given))
    return CommandLine(capsys)


def test_the_table_of_costs_has_a_line_for_each_command_of_the_page():
    page = [(words[words.index("train") + 1], words[words.index("--model") + 1]) for words in map(shlex.split, COMMANDS)]
    shown = [
        (method.replace("@auxiliary=resnet18", ""), model.replace("net.py:resnet50_stride_1", "resnet50"))
        for method, model in page
    ]
    assert shown == [(one.method, one.network) for one in ALL]


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in COMMANDS if "net.py" not in line])
def test_a_head_is_trained_as_written(line, command):
    words = shlex.split(line)[1:]
    network = words[words.index("--model") + 1]
    view = ("--resize", "32", "--crop", "32") if network == "vit_b_16" else ("--resize", "64", "--crop", "64")
    # All as written but the weights, and few and small photos.
    words[1] = words[1].replace("=resnet18", f"={escape('resnet18@weights=resnet18.safetensors')}")
    assert command(*words, "--weights", f"{network}.safetensors", *view, *SMALL, "--hold-out", "2") == 0, command.err
    assert Path(words[words.index("-o") + 1]).is_file()


@pytest.mark.slow
def test_lfi_cam_is_trained_and_explains_as_written(command, monkeypatch):
    monkeypatch.setattr(torchvision.models, "resnet50", small_resnet)
    Path("net.py").write_text(blocks("python"))
    shutil.copyfile("imagenet/val/red/0.png", "cat.jpg")
    [line] = [line for line in COMMANDS if "net.py" in line]
    view = ("--resize", "32", "--crop", "32")
    assert command(*shlex.split(line)[1:], *view, *SMALL) == 0, command.err
    [line] = EXPLAINED
    assert command(*shlex.split(line)[1:], *view) == 0, command.err
