"""`xai bank` as a user types it, and the maps that it is for: a transformer without head, photos in a folder a class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import xaicli
from xaicli.cli.main import main
from xaicli.errors import InputError
from xaicli.models.feature_bank import read_bank
from xaicli.runs.bank import BankRun, Part

pytest.importorskip("timm")

BACKBONE = """
import timm, torch, xaicli

def make(seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = timm.models.vision_transformer.VisionTransformer(
            img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0
        )
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return xaicli.classifier(network, resize=36, crop=32)

def other():
    return make(2)
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "backbone.py").write_text(BACKBONE)
    return f"{tmp_path / 'backbone.py'}:make"


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """Nine photos of three classes, one of them a folder deeper."""
    folder, rng = tmp_path / "train", np.random.default_rng(4)
    for at in range(9):
        place = folder / ("cat", "dog", "möwe")[at % 3] / ("deeper" if at == 8 else "")
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((40, 50), Image.Resampling.BICUBIC).save(place / f"{at}.png")
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_bank_holds_the_features_of_all_photos_and_their_classes(
    model: str, train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bank", str(train), "--model", model, "-o", "b.safetensors", "--format", "json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["photos"], row["classes"], row["features"], row["model"]) == (9, 3, 16, "backbone.py:make")
    bank, classifier = read_bank("b.safetensors"), xaicli.load_classifier(model)
    assert bank.classes == ("cat", "dog", "möwe")
    assert bank.fingerprint == classifier.weights_fingerprint
    photos = sorted(train.rglob("*.png"))
    for photo in photos:
        own = classifier(classifier.view.prepare(Image.open(photo).convert("RGB"))[None])[0].detach()
        near = (bank.features - own / own.norm()).abs().amax(dim=1)
        place = int(near.argmin())
        assert near[place] < 1e-5
        assert bank.classes[int(bank.labels[place])] == photo.relative_to(train).parts[0]
    assert not Path("b.safetensors.parts").exists()


def test_the_same_command_gives_the_same_bytes_whatever_the_batch(model: str, train: Path) -> None:
    main(["bank", str(train), "--model", model, "-o", "one.safetensors"])
    main(["bank", str(train), "--model", model, "-o", "two.safetensors"])
    main(["bank", str(train), "--model", model, "-o", "three.safetensors", "--batch-size", "2"])
    assert Path("one.safetensors").read_bytes() == Path("two.safetensors").read_bytes()
    assert_close(read_bank("one.safetensors").features, read_bank("three.safetensors").features, atol=1e-5, rtol=0)


def test_daam_explains_features_with_the_bank_and_without(model: str, train: Path) -> None:
    main(["bank", str(train), "--model", model])
    photo = str(train / "cat" / "0.png")
    methods = "daam@target=features@bank=bank.safetensors@k=3,daam@target=features"
    assert main(["explain", photo, "--model", model, "--method", methods, "-o", "out"]) == 0
    records = [json.loads(path.read_text()) for path in sorted(Path("out").glob("*.json"))]
    assert [record["status"] for record in records] == ["ok", "ok"]
    by_bank = next(record for record in records if record["parameters"]["bank"])
    assert by_bank["extras"]["bank_class"] == 0
    assert 1 <= by_bank["extras"]["neighbours_kept"] <= 3
    assert by_bank["parameters"]["bank"].startswith("bank.safetensors ")


def test_a_bank_of_another_network_is_refused(model: str, train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["bank", str(train), "--model", model])
    other = model.replace(":make", ":other")
    capsys.readouterr()
    photo = str(train / "cat" / "0.png")
    code = main(["explain", photo, "--model", other, "--method", "daam@target=features@bank=bank.safetensors"])
    assert code == 3
    assert "bank.safetensors holds features of backbone.py:make" in error_of(capsys)
    assert main(["bank", str(train), "--model", other]) == 2
    assert "bank.safetensors is the bank of another network" in error_of(capsys)
    assert main(["bank", str(train), "--model", other, "--overwrite"]) == 0
    assert read_bank("bank.safetensors").model == "backbone.py:other"


def test_labels_from_a_table(model: str, train: Path) -> None:
    Path("labels.csv").write_text("image,label\n0.png,striped\nmöwe/2.png,plain\n3,plain\n", encoding="utf-8")
    assert main(["bank", str(train), "--model", model, "--labels", "labels.csv"]) == 0
    bank = read_bank("bank.safetensors")
    assert bank.classes == ("plain", "striped")
    assert sorted(bank.labels.tolist()) == [0, 0, 1]


def test_the_first_photos_of_each_class(model: str, train: Path) -> None:
    assert main(["bank", str(train), "--model", model, "--per-class", "2"]) == 0
    assert read_bank("bank.safetensors").labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_complete_bank_is_not_made_again(model: str, train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["bank", str(train), "--model", model])
    changed = Path("bank.safetensors").stat().st_mtime_ns
    assert main(["bank", str(train), "--model", model]) == 0
    assert Path("bank.safetensors").stat().st_mtime_ns == changed
    assert "is complete" in capsys.readouterr().err
    (train / "cat" / "0.png").unlink()
    assert main(["bank", str(train), "--model", model]) == 2
    assert "another set of photos or labels" in error_of(capsys)


def test_a_run_that_was_killed_goes_on(
    model: str, train: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["bank", str(train), "--model", model, "-o", "whole.safetensors", "--batch-size", "2"])
    passed: list[int] = []
    features = BankRun.features

    def killed(self: BankRun, batch, part: Part):
        if len(passed) == 2:
            raise KeyboardInterrupt
        passed.append(len(batch))
        return features(self, batch, part)

    monkeypatch.setattr(BankRun, "features", killed)
    assert main(["bank", str(train), "--model", model, "--batch-size", "2"]) == 130
    assert not Path("bank.safetensors").exists()
    monkeypatch.setattr(BankRun, "features", lambda self, batch, part: passed.append(len(batch)) or features(self, batch, part))
    capsys.readouterr()
    assert main(["bank", str(train), "--model", model, "--batch-size", "2"]) == 0
    assert "4 photos finished before" in capsys.readouterr().err
    assert sum(passed) == 9
    assert_close(read_bank("bank.safetensors").features, read_bank("whole.safetensors").features, atol=1e-6, rtol=0)
    assert torch.equal(read_bank("bank.safetensors").labels, read_bank("whole.safetensors").labels)


def test_a_photo_that_fails_stops_the_run_and_what_is_finished_is_kept(
    model: str, train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = train / "dog" / "4.png"
    broken.write_bytes(b"no photo")
    assert main(["bank", str(train), "--model", model]) == 3
    assert "4.png is not a readable photo" in error_of(capsys)
    assert not Path("bank.safetensors").exists()
    assert len(list(Path("bank.safetensors.parts").iterdir())) == 1
    assert main(["bank", str(train), "--model", model, "--keep-going"]) == 4
    assert len(read_bank("bank.safetensors").labels) == 8
    # Once the photo is gone, or mended, the run goes on from what was kept.
    Path("bank.safetensors").unlink()
    main(["bank", str(train), "--model", model])
    broken.unlink()
    capsys.readouterr()
    assert main(["bank", str(train), "--model", model]) == 0
    assert "finished before" in capsys.readouterr().err


def test_an_unfinished_bank_of_another_network_is_refused(model: str, train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (train / "möwe" / "2.png").write_bytes(b"no photo")
    main(["bank", str(train), "--model", model])
    capsys.readouterr()
    assert main(["bank", str(train), "--model", model.replace(":make", ":other")]) == 2
    assert "bank.safetensors.parts is the bank of another network" in error_of(capsys)


@pytest.mark.parametrize(
    ("prepare", "words", "code", "said"),
    [
        (lambda train: None, ["none"], 3, "none is no folder"),
        (lambda train: (train / "9.png").write_bytes(b""), ["train"], 2, "lies in no folder of a class"),
        (lambda train: Path("l.csv").write_text("x.png,cat"), ["train", "--labels", "l.csv"], 3, "labels no photo"),
        (lambda train: Path("l.csv").write_text("0.png"), ["train", "--labels", "l.csv"], 3, "row without a label"),
        (lambda train: Path("l.csv").write_text("0,a\n0,b"), ["train", "--labels", "l.csv"], 3, "0 two labels"),
        (lambda train: None, ["train", "--labels", "none.csv"], 3, "there is no file none.csv"),
        (lambda train: Path("b.safetensors").write_text("text"), ["train", "-o", "b.safetensors"], 2, "cannot be read as a bank"),
        (lambda train: Path("b").mkdir(), ["train", "-o", "b"], 2, "b is a folder"),
        (lambda train: None, ["train", "-o", "b.txt"], 2, "-o b.txt; expected a name that ends in .safetensors"),
        (lambda train: Path("b").write_text(""), ["train", "-o", "b/c.safetensors"], 3, "cannot be written"),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(
    prepare, words: list[str], code: int, said: str, model: str, train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(train)
    assert main(["bank", *words, "--model", model]) == code
    assert said in error_of(capsys)


def test_a_classifier_is_banked_with_a_warning(train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Path(__file__).parents[1] / "data" / "net.py"
    assert main(["bank", str(train), "--model", f"{net}:make"]) == 0
    assert "the bank will hold its class scores, not its features" in capsys.readouterr().err


def test_a_classifier_whose_scores_are_taken_for_features_is_explained_with_a_warning(
    model: str, train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = BACKBONE.replace("num_classes=0", "num_classes=3").replace("crop=32)", "crop=32, classes=['a', 'b', 'c'])")
    Path("named.py").write_text(named)
    words = ["explain", str(train / "cat" / "0.png"), "-q", "--model"]
    said = {}
    for spec, method in (("named.py:make", "daam@target=features"), ("named.py:make", "daam"), (model, "daam@target=features")):
        assert main([*words, spec, "--method", method, "-o", f"out{len(said)}"]) == 0
        said[spec, method] = capsys.readouterr().err
    warning = "warning: named.py:make is a classifier: its scores of classes are explained, not its features"
    assert [warning in text for text in said.values()] == [True, False, False]
    assert all(text.count("warning:") <= 1 for text in said.values())


def test_features_that_are_not_finite_are_refused(train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("nan.py").write_text(
        "import torch, xaicli\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.mean(dim=(2, 3)) * (1 if len(x) == 2 else torch.nan)\n"
        "def make():\n"
        "    return xaicli.classifier(Net(), resize=36, crop=32)\n"
    )
    assert main(["bank", str(train), "--model", "nan.py:make"]) == 5
    assert "NaN or infinite features" in error_of(capsys)


def test_python_does_what_the_command_does(model: str, train: Path) -> None:
    main(["bank", str(train), "--model", model, "-o", "by-command.safetensors"])
    classifier = xaicli.load_classifier(model)
    bank = xaicli.build_bank(train, classifier, "by-python.safetensors").bank
    assert Path("by-python.safetensors").read_bytes() == Path("by-command.safetensors").read_bytes()
    assert torch.equal(bank.features, read_bank("by-command.safetensors").features)
    assert xaicli.build_bank(train, classifier, "by-python.safetensors").bank is bank
    (train / "dog" / "1.png").write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"1\.png is not a readable photo"):
        xaicli.build_bank(train, classifier, "again.safetensors")
