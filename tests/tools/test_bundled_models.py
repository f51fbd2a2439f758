"""The command that trains the bundled networks, on a toy data set, and the page that it writes."""

from __future__ import annotations

import csv
import json

import pytest

from tools import bundled_models, card_scores, default_methods, model_card, recorded_figures, searched_heads
from tools.bundled_models import RECIPES, chosen, explainers_of, main
from xaicli.cli.main import main as xai
from xaicli.models import architecture, checkpoint, from_checkpoint
from xaicli.models.checkpoint import read_metadata
from xaicli.models.checkpoint_content import content_of
from xaicli.models.load import load_classifier
from xaicli.results.store import Store
from xaicli.runs import default_method


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in the place of the package's own, recipes of seconds, and networks of a few channels."""
    place = tmp_path / "package"
    for module in (checkpoint, from_checkpoint, model_card, card_scores, recorded_figures):
        monkeypatch.setattr(module, "BUNDLED", place)
    quick = {
        "tiny": ("classifier@branch=true", "tiny@widths=8+8@blocks=1"),
        "tiny-vit": ("classifier@teacher=tiny@share=0.7", "tiny-vit@width=16@depth=2@heads=2"),
    }
    recipes = []
    for recipe in RECIPES:
        method, model = quick.get(recipe.stem, (recipe.method, recipe.model))
        settings = {"epochs": 2 if recipe.network else 1, "batch_size": 8}
        recipes.append(bundled_models.BundledFile(recipe.stem, method, model, recipe.network, settings))
    monkeypatch.setattr(bundled_models, "RECIPES", tuple(recipes))
    monkeypatch.setattr(card_scores, "RIVALS", ("grad-cam", "rise@n_masks=8"))
    monkeypatch.setattr(card_scores, "COSTLY", 5)
    monkeypatch.setattr(card_scores, "METRICS", ("insertion@steps=2", "average-drop@area=50@mask=binary"))
    monkeypatch.setattr(default_method, "FILE", tmp_path / "defaults.json")
    monkeypatch.setattr(default_methods, "METRIC", "insertion@steps=2")
    for module in (searched_heads, recorded_figures):
        monkeypatch.setattr(module, "METRIC", "insertion@steps=2")
    return place


def test_one_command_trains_everything_and_writes_the_page(folder, toy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with open(toy / "val" / "boxes.csv", "w", newline="") as table:
        rows = [[f"{path.parent.name}/{path.name}", 0, 0, 7, 7] for path in sorted((toy / "val").glob("*/*.png"))]
        csv.writer(table).writerows([["path", "x0", "y0", "x1", "y1"], *rows])
    words = ["--data", str(toy / "train"), "--val", str(toy / "val"), "--precision", "fp32", "--device", "cpu"]
    assert main([*words, "--card", "docs/models.md", "--photos", "4"]) == 0, capsys.readouterr().err
    assert sorted(path.stem for path in folder.iterdir()) == sorted(recipe.stem for recipe in RECIPES)
    page = (tmp_path / "docs" / "models.md").read_text()
    for part in ("## tiny\n", "## tiny-vit\n", "t-tame", "p-tame", "lfi-cam@weights=equal", "energy-pointing-game", "top-1"):
        assert part in page
    assert page.count("% of masked held-out photos decided alike") == 4
    # The costly method is scored on a fifth of the photos.
    stores = list((tmp_path / "bundled-models").glob("*.db"))
    assert len(stores) == 2
    for path in stores:
        with Store.open(path, write=False) as scores:
            scored = {(row.method, row.photo) for row in scores.rows()}
        assert [sum(label == method for label, _ in scored) for method in ("grad-cam", "rise@n_masks=8")] == [4, 1]
    for network in ("tiny", "tiny-vit"):
        assert f"(pictures/{network}.curve.png)" in page
        assert (tmp_path / "docs" / "pictures" / f"{network}.curve.png").is_file()
    assert str(tmp_path) not in page
    # What was made is what the package now loads, and all of its explainers are found by themselves.
    photo = str(next((toy / "val" / "red").iterdir()))
    assert load_classifier("tiny-vit").classes == ("blue", "green", "red")
    for model, methods in (("tiny", "lfi-cam,t-tame,p-tame,grad-cam"), ("tiny-vit", "t-tame,p-tame,daam,rollout,grad-cam")):
        assert xai(["explain", photo, "--model", model, "--method", methods, "-o", model]) == 0
    # Each file holds its figures, and counts as the one that was trained.
    defaults = json.loads((tmp_path / "defaults.json").read_text())["networks"]
    for recipe in RECIPES:
        file, trained = folder / recipe.file, tmp_path / "bundled-models" / recipe.file
        figures = read_metadata(file)["measured"]
        assert figures["scored"] == 4
        own = figures["scores"] if not recipe.network else figures["scores"]["grad-cam"]
        assert 0 <= own["insertion@steps=2"]["value"] <= 1
        assert content_of(str(file)) == content_of(str(trained))
        if recipe.network:
            assert figures["accuracy"]["top-1"]["photos"] == len(list((toy / "val").glob("*/*.png")))
            assert defaults[recipe.stem]["photos"] == 4
            assert (tmp_path / "docs" / "results" / "defaults" / f"{recipe.stem}.jsonl").is_file()
            assert f"takes `{defaults[recipe.stem]['method']}` here" in page
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    assert xai(["list", "checkpoints", "tiny.t-tame"]) == 0
    assert "insertion@steps=2 0." in capsys.readouterr().out
    # What is there is neither trained nor scored again, and keeps its figures.
    assert main([*words, "--card", "docs/models.md", "--photos", "4"]) == 0
    assert "epoch" not in capsys.readouterr().err
    assert sorted((tmp_path / "bundled-models").glob("*.db")) == sorted(stores)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == written


def test_recipes_may_be_chosen_by_name():
    assert [recipe.stem for recipe in chosen("tiny-vit, tiny")] == ["tiny", "tiny-vit"]
    assert chosen("none") == []
    assert chosen("") == list(RECIPES)


def test_a_name_that_there_is_not_is_refused(toy, capsys):
    words = ["--data", str(toy / "train"), "--val", str(toy / "val")]
    assert main([*words, "--only", "huge"]) == 2
    assert "error: --only huge; expected tiny, tiny-vit" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--epochs", "huge=3"])


def test_data_that_is_not_there_is_named(folder, tmp_path, capsys):
    assert main(["--data", "nowhere", "--val", "nowhere", "--work", str(tmp_path)]) == 3
    assert "error: there is nothing at nowhere" in capsys.readouterr().err


def test_each_network_is_explained_by_what_was_trained_for_it():
    assert explainers_of("tiny") == ["lfi-cam", "lfi-cam@weights=equal", "t-tame", "p-tame"]
    assert explainers_of("tiny-vit") == ["t-tame", "p-tame"]


def test_recipes_name_networks_that_can_be_built():
    assert {recipe.stem for recipe in RECIPES if recipe.network} == set(architecture.OURS)
    assert {recipe.model for recipe in RECIPES} == set(architecture.OURS)
