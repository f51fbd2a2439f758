"""The method where none is named: what the package's data say of a bundled network, else what the model allows."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import xaicli
from tools import default_methods
from xaicli.builtin import METHODS
from xaicli.cli.listing import list_layers
from xaicli.errors import UsageError
from xaicli.method import Needs
from xaicli.models.load import load_classifier
from xaicli.results import stats
from xaicli.runs.default_method import FILE, NO_GRADIENTS, OTHERWISE, default_method, reason

DATA = json.loads(FILE.read_text())
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("network", ["tiny", "tiny-vit"])
def test_a_bundled_network_is_explained_by_what_its_entry_names(network):
    classifier = load_classifier(network, device="cpu")
    default, entry = default_method(classifier), DATA["networks"][network]
    assert default.name == entry["method"]
    assert default.why == reason(entry)
    # Of other weights nothing was measured.
    other = dataclasses.replace(classifier, weights_fingerprint="0" * 16)
    assert default_method(other).name == "grad-cam"
    assert default_method(other).why == "the usual one for a network"


def test_the_first_page_names_the_file_of_the_default_network():
    assert f"`hopper.{DATA['networks']['tiny']['method']}.png`" in (ROOT / "README.md").read_text()


def test_a_reason_says_what_was_compared_and_no_more_than_was_shown():
    entry = {"among": 13, "photos": 100}
    kinds = "of layers, attention or trained heads with one or two passes a photo"
    assert reason({**entry, "ahead": True}) == (
        f"of 13 methods {kinds}, it has the highest mean insertion that is shown to beat grad-cam's (100 photos)"
    )
    # Grad-CAM is one of those that were compared.
    assert reason({**entry, "ahead": False}) == f"none of 12 other methods {kinds} is shown to beat it on insertion (100 photos)"


@pytest.mark.parametrize("network", [name for name, entry in DATA["networks"].items() if not entry["ahead"]])
def test_where_grad_cam_stays_no_candidate_is_shown_to_beat_it(network):
    columns = default_methods.read(ROOT / default_methods.SCORES / f"{network}.jsonl")
    photos = sorted(set.intersection(*map(set, columns.values())))
    assert (len(columns), len(photos)) == (DATA["networks"][network]["among"], DATA["networks"][network]["photos"])
    own = {name: np.array([column[photo] for photo in photos]) for name, column in columns.items()}
    for name in own.keys() - {"grad-cam"}:
        gain = stats.difference(own[name], own["grad-cam"])
        assert gain.value <= 0 or gain.p * (len(own) - 1) >= 0.05, name


def test_a_network_without_gradients_is_told_why_and_what_it_costs(tiny_cnn, classifier_of):
    classifier = classifier_of(tiny_cnn)
    default = default_method(dataclasses.replace(classifier, provides=classifier.provides & ~Needs.GRADIENTS))
    assert (default.name, default.why) == ("recipro-cam", NO_GRADIENTS)
    assert "needs no gradients" in default.why
    assert "once for each place" in default.why


def test_a_program_without_layers_is_explained_by_a_method_that_needs_none(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 32, 32)), str(tmp_path / "net.pt"))
    [attribution] = xaicli.explain("sample:hopper", load_classifier(str(tmp_path / "net.pt"), resize=16, crop=16))
    assert attribution.record.method == "rise"
    with pytest.raises(UsageError, match=r"net\.pt shows no layers"):
        list_layers("", "table", SimpleNamespace(open=lambda: load_classifier(str(tmp_path / "net.pt"))))


def test_the_line_says_which_method_and_why():
    class Listener(xaicli.Progress):
        said: list[str] = []

        def say(self, text):
            self.said.append(text)

    photo = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    [attribution] = xaicli.explain(photo, "tiny-vit", progress=Listener())
    default = default_method(load_classifier("tiny-vit"))
    assert attribution.record.method == default.name
    assert f"method {default.name}: {default.why}; others: --method, xai list methods" in Listener.said


def test_the_data_name_methods_that_there_are_and_follow_from_the_stored_scores():
    assert {entry["method"] for entry in DATA["networks"].values()} | set(DATA["otherwise"].values()) <= METHODS.keys()
    assert DATA["otherwise"] == OTHERWISE
    for network, entry in DATA["networks"].items():
        file = ROOT / default_methods.SCORES / f"{network}.jsonl"
        assert entry == default_methods.measured(file)
        # All candidates of today were scored, on as many photos as the card says.
        named = {method.label for method in default_methods.candidates(load_classifier(network, device="cpu"))}
        assert set(default_methods.read(file)) == named
        scored = {photo for column in default_methods.read(file).values() for photo in column}
        assert len(scored) >= 500
        # A map that is constant has no score.
        assert entry["photos"] >= 0.99 * len(scored)


def scores(by_method):
    return {name: {str(at): value for at, value in enumerate(values)} for name, values in by_method.items()}


def test_the_best_wins_if_the_interval_says_so_and_else_grad_cam_stays():
    low = np.random.default_rng(2).random(40)
    noise = np.random.default_rng(3).normal(0, 0.5, 40)
    noise -= noise.mean()
    clear = scores({"grad-cam": low, "gae": low + 0.1 + 0.01 * noise, "daam": low - 0.1})
    unclear = scores({"grad-cam": low, "gae": low + 0.01 + noise})
    entry = default_methods.chosen(clear)
    assert (entry["method"], entry["ahead"], entry["among"], entry["photos"]) == ("gae", True, 3, 40)
    assert entry["value"][0] == pytest.approx(low.mean() + 0.1)
    entry = default_methods.chosen(unclear)
    assert (entry["method"], entry["ahead"]) == ("grad-cam", False)
    assert entry["value"][0] == pytest.approx(low.mean())


def test_a_candidate_with_a_better_mean_that_is_not_shown_does_not_hide_one_that_is():
    low = np.random.default_rng(2).random(40)
    noise = np.random.default_rng(3).normal(0, 1, 40)
    noise -= noise.mean()
    values = scores({"grad-cam": low, "gae": low + 0.1 + 0.01 * noise, "daam": low + 0.11 + noise})
    entry = default_methods.chosen(values)
    assert (entry["method"], entry["ahead"]) == ("gae", True)


def test_a_gain_that_one_test_shows_is_not_shown_where_many_are_made():
    low = np.random.default_rng(2).random(40)
    noise = np.random.default_rng(3).normal(0, 1, 40)
    gain = (noise - noise.mean()) / noise.std() + 0.4
    assert default_methods.chosen(scores({"grad-cam": low, "gae": low + gain}))["ahead"]
    others = {f"other{at}": low - at - 1.0 for at in range(12)}
    assert not default_methods.chosen(scores({"grad-cam": low, "gae": low + gain, **others}))["ahead"]


def test_photos_that_a_candidate_lacks_count_for_none():
    values = scores({"grad-cam": [0.5] * 30, "gae": [0.6] * 30})
    values["gae"].pop("3")
    assert default_methods.chosen(values)["photos"] == 29


def test_a_candidate_is_cheap_explains_any_class_and_is_no_map_of_pixels():
    classifier = load_classifier("tiny", device="cpu")
    known = {name: default_methods.is_candidate(xaicli.make_method(name), classifier) for name in METHODS if name != "other"}
    assert known["grad-cam"]
    assert known["t-tame"]
    # feature-cam draws the photo's edges, pixel by pixel.
    assert not any(known[name] for name in ("lfi-cam", "input-x-gradient", "rise", "daam", "ucag", "feature-cam"))
