"""The short trainings of LFI-CAM: one command trains, scores and writes the page, and goes on where it was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tools import lfi_page, lfi_trials
from tools.lfi_page import lower, mixed, page, sharper, trials_verdict
from tools.lfi_trials import TRIALS, start_file
from xaicli.models.checkpoint import BUNDLED, read_checkpoint
from xaicli.models.load import load_classifier

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A current folder with the branch's figures, and a metric of few passes."""
    (tmp_path / "docs" / "results").mkdir(parents=True)
    kept = (ROOT / lfi_page.BRANCH).read_bytes()
    (tmp_path / lfi_page.BRANCH).write_bytes(kept)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_command_trains_scores_and_writes_the_page_and_then_has_nothing_left(workplace, toy, capsys):
    words = ["--data", str(toy / "train"), "--val", str(toy / "val"), "--work", "w", "--limit", "8", "--epochs", "1"]
    words += ["--photos", "2", "--accuracy-photos", "3", "--precision", "fp32", "--only", "temperature-0.1"]
    assert lfi_trials.main(words) == 0, capsys.readouterr().err
    [figures] = json.loads(lfi_trials.FIGURES.read_text())
    assert (figures["name"], figures["scored"], figures["photos"], figures["trained_on"]) == ("temperature-0.1", 2, 3, 8)
    assert set(figures["scores"]["insertion@steps=14"]) >= {"lfi-cam", "minus grad-cam", "minus lfi-cam@weights=equal"}
    assert "temperature 0.1" in lfi_page.PAGE.read_text()
    before = (workplace / "w" / "temperature-0.1.safetensors").read_bytes()
    capsys.readouterr()
    assert lfi_trials.main(words) == 0
    assert "epoch" not in capsys.readouterr().err
    assert (workplace / "w" / "temperature-0.1.safetensors").read_bytes() == before
    assert json.loads(lfi_trials.FIGURES.read_text()) == [figures]


def test_trials_start_from_the_bundled_weights_without_a_branch(tmp_path):
    bundled = read_checkpoint(BUNDLED / "tiny.safetensors").tensors
    for network in dict.fromkeys(trial.network for trial in TRIALS if not trial.from_scratch):
        loaded = load_classifier(str(start_file(network, tmp_path)), device="cpu").torch_module.state_dict()
        assert all((bundled[f"network.network.{name}"] == tensor).all() for name, tensor in loaded.items())
        assert len(loaded) < len(bundled)


def test_a_network_that_bundled_weights_do_not_fit_is_trained_from_initial_ones(workplace, toy, capsys):
    words = ["--data", str(toy / "train"), "--val", str(toy / "val"), "--work", "w", "--limit", "8", "--epochs", "1"]
    words += ["--photos", "2", "--accuracy-photos", "3", "--precision", "fp32", "--only", "cifar-resnet-20"]
    assert lfi_trials.main(words) == 0, capsys.readouterr().err
    [figures] = json.loads(lfi_trials.FIGURES.read_text())
    assert figures["from_scratch"]
    assert figures["most"] == pytest.approx(math.log(64))
    assert not list((workplace / "w").glob("start.*"))
    assert 'ResNet-20, 64 channels of 8 x 8" begins with initial weights, and trains for 1 epoch; its first' in " ".join(
        lfi_page.PAGE.read_text().split()
    )


def trial(low: float, rival: float = -1.0, pointing: float | None = None, entropy: float = 4.0, centre: float = 0.0) -> dict:
    scores = {
        "insertion@steps=14": {
            "minus lfi-cam@weights=equal": [low + 0.1, low, low + 0.2],
            "minus grad-cam": [rival + 0.1, rival, rival + 0.2],
        }
    }
    if pointing is not None:
        scores["energy-pointing-game"] = {
            "minus lfi-cam@weights=equal": [pointing + 0.1, pointing, pointing + 0.2],
            "minus center": [centre + 0.1, centre, centre + 0.2],
        }
    about = {"entropy": [entropy, entropy, entropy], "loss_minus_own": {"of the next photo": [0.0, -0.1, 0.1]}}
    return {"what": "temperature 0.1", "scores": scores, **about}


def test_the_first_sentence_says_that_nothing_wins_or_what_does():
    assert trials_verdict([]) == ""
    assert trials_verdict([trial(-0.1), trial(-0.2)]) == (
        "By insertion, no recipe that was tried makes the branch's map better than the plain mean of the channels, "
        "in 2 short trainings. Grad-CAM of the same network is better than each of these maps (insertion, by 0.900 to 0.900). "
    )
    assert "Grad-CAM" not in trials_verdict([trial(-0.1), trial(-0.1, rival=-0.1)])
    said = trials_verdict([trial(-0.1), trial(0.05)])
    assert said.startswith("The branch's map has a higher insertion than the plain mean of the channels with temperature 0.1")
    assert "none of them better than Grad-CAM" in said
    assert "better than Grad-CAM too: temperature 0.1" in trials_verdict([trial(0.05, 0.01)])


@pytest.mark.parametrize(
    ("low", "pointing", "centre", "told"),
    [(-0.3, 0.1, 0.0, True), (-0.1, 0.1, 0.0, False), (-0.3, -0.1, 0.0, False), (-0.3, 0.1, -0.3, False)],
)
def test_the_first_sentence_says_which_map_points_better_and_loses_insertion(low, pointing, centre, told):
    said = trials_verdict([trial(-0.1), trial(low, pointing=pointing, centre=centre)])
    assert ('; the map of "temperature 0.1" points better (energy pointing), but loses insertion. ' in said) is told
    assert said.startswith("By insertion, no recipe")


def test_a_recipe_that_points_better_but_inserts_worse_is_told():
    assert mixed([trial(0.1, pointing=0.1)]) == []
    [one] = mixed([trial(-0.1, pointing=0.1, entropy=math.log(59))])
    assert "Its weights have the entropy of 59.0 equal weights, and the weights of another photo" in " ".join(one.split())
    assert "center" not in one
    [one] = mixed([trial(-0.1, pointing=0.1, centre=-0.3)])
    assert "though less than `center` does (difference -0.200 [-0.300, -0.100])" in " ".join(one.split())
    [one] = mixed([trial(-0.1, pointing=0.1, entropy=0.03)])
    assert "Nearly all of a photo's weight lies on one channel, and the weights of another photo" in " ".join(one.split())


@pytest.mark.parametrize(("low", "harm", "told"), [(-0.1, -0.1, True), (0.1, -0.1, False), (-0.1, 0.1, False)])
def test_sharper_weights_that_change_nothing_are_told(low, harm, told):
    cold = {"parameters": {"temperature": "0.1"}, "loss_minus_own": {"of the next photo": [harm + 0.1, harm, harm + 0.2]}}
    assert bool(sharper([trial(-0.1), {**trial(low), **cold}])) is told
    assert sharper([trial(-0.1)]) == []


def test_an_accuracy_below_the_bundled_networks_is_explained():
    figures = {"ways": {"as learned": {"accuracy": [0.5, 0.4, 0.6]}}}
    trials = [{"accuracy": [0.3, 0.2, high], "trained_on": 10_000, "schedule": {"lr": 0.1}} for high in (0.39, 0.41)]
    said = lower(trials[:1], figures)
    assert "lower than the bundled network's 50.0 %, since a few epochs of 10,000 photos at the published rate of 0.1" in said
    assert lower(trials, figures) == ""


def test_the_page_is_what_its_figures_give():
    made = page(*(json.loads(path.read_text()) if path.is_file() else other for path, other in (
        (ROOT / lfi_page.BRANCH, None), (ROOT / lfi_page.TRIALS, []), (ROOT / lfi_page.STUDY, None)
    )))  # fmt: skip
    assert (ROOT / lfi_page.PAGE).read_text() == made
