"""Boxes that a target names: on the clean photo, in records, and what is said where there are none."""

from __future__ import annotations

import json
from pathlib import Path

import detectors
import numpy as np
import pytest
import torch
from command_line import CommandLine
from detectors import hand_made, look_alike
from PIL import Image

import xaicli
from xaicli.errors import InputError, RunError, UsageError, XaiError
from xaicli.results.store import Store


@pytest.fixture
def photo(tmp_path):
    """16 x 8 pixels, red and green above the middle; a letterbox of 8 x 8 shows them in rows 2 to 5."""
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    pixels[:4] = (200, 100, 0)
    pixels[4:] = (0, 50, 0)
    Image.fromarray(pixels).save(tmp_path / "street.png")
    return tmp_path / "street.png"


@pytest.fixture
def square(tmp_path):
    """8 x 8 pixels, red 0.8 in the upper left quarter and green 0.4 all over."""
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:4, :4, 0] = 204
    pixels[..., 1] = 102
    Image.fromarray(pixels).save(tmp_path / "square.png")
    return tmp_path / "square.png"


def test_boxes_are_numbered_by_confidence_and_recorded_in_pixels_of_the_photo(square):
    [first] = xaicli.explain(square, hand_made(), "grad-cam")
    [second] = xaicli.explain(square, hand_made(), "grad-cam", target="box:1")
    assert (first.record.rule, first.record.target, first.record.target_name) == ("box:0", "box:0", "red (box:0)")
    assert first.record.box == {"corners": (0, 0, 4, 4), "label": "red", "score": pytest.approx(0.8)}
    assert second.record.box == {"corners": (4, 2, 8, 8), "label": "green", "score": pytest.approx(0.4)}
    assert [entry.name for entry in first.record.top] == ["red (box:0)", "green (box:1)"]
    assert first.record.target_probability == pytest.approx(0.8)


def test_boxes_of_a_letterboxed_photo_lie_where_the_photo_shows_them(photo):
    [one] = xaicli.explain(photo, hand_made(), "grad-cam", target="red@box=0")
    # Two photo pixels an input pixel; the photo begins at row 2 of the input.
    assert one.record.box["corners"] == (0, 0, 8, 4)
    assert one.record.rule == "0@box=0"
    assert one.record.target == "box:0"


def test_a_class_and_all_boxes_above_a_confidence_are_named(square):
    named = xaicli.explain(square, hand_made(), "grad-cam", target="green@box=0")
    assert [one.record.target for one in named] == ["box:1"]
    for rule, targets in {"boxes@above=0.3": ["box:0", "box:1"], "boxes": ["box:0"]}.items():
        assert [one.record.target for one in xaicli.explain(square, hand_made(), "grad-cam", target=rule)] == targets


def test_a_row_shows_its_own_box_and_score(square):
    explained = xaicli.explain(square, hand_made(), "grad-cam", target="boxes@above=0.3")
    rows = explained.records()
    assert [(row["decision"], row["p"]) for row in rows] == [
        ("red (box:0)", pytest.approx(0.8)),
        ("green (box:1)", pytest.approx(0.4)),
    ]
    assert str(explained).splitlines()[0].split() == ["image", "decision", "p", "method"]


def test_the_gradient_is_that_of_the_boxs_own_score(square):
    """The signed HiResCAM of a mean over a box is the colour inside the box over its area."""
    maps = xaicli.explain(square, hand_made(layer="backbone"), "hirescam@relu=false", target="boxes@above=0.3")
    expected = torch.zeros(2, 8, 8)
    expected[0, :4, :4] = 0.8 / 16
    expected[1, 2:, 4:] = 0.4 / 24
    torch.testing.assert_close(torch.stack([torch.from_numpy(one.values) for one in maps]), expected)


@pytest.mark.parametrize(
    ("target", "found", "expected"),
    [
        ("box:99", "no box:99: 2 found", "box:0 red 0.80, box:1 green 0.40"),
        ("boxes@above=0.9", "no box is above 0.9", "box:0 red 0.80, box:1 green 0.40"),
        ("red@box=3", "no box 3 of red: 1 found", "box:0 red 0.80"),
    ],
)
def test_a_box_that_is_not_there_is_refused_with_those_that_are(square, target, found, expected):
    with pytest.raises(InputError, match=found) as caught:
        xaicli.explain(square, hand_made(), "grad-cam", target=target)
    assert caught.value.expected == expected


def test_a_photo_without_any_box_and_a_class_without_one_are_refused(square, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="finds no box of confidence above"):
        xaicli.explain(tmp_path / "black.png", hand_made(), "grad-cam")
    with pytest.raises(InputError, match="no box of green is found") as caught:
        xaicli.explain(square, hand_made(confidence=0.5), "grad-cam", target="green@box=0")
    assert caught.value.expected == "box:0 red 0.80"


@pytest.mark.parametrize("target", ["red", "top2", "red-green", "red@region=predicted", "positive", 1])
def test_what_names_no_box_is_refused_for_a_detector(square, target):
    with pytest.raises(UsageError, match="is a detector"):
        xaicli.explain(square, hand_made(), "grad-cam", target=target)


@pytest.mark.parametrize(
    ("target", "expected"), [("cat", "box:0, CLASS@box=0"), ("cat@box=0", "an index from 0 to 1, or a class")]
)
def test_an_unknown_class_of_a_detector_is_refused_with_what_names_a_box(square, target, expected):
    with pytest.raises(UsageError, match='no class is called "cat"') as caught:
        xaicli.explain(square, hand_made(), "grad-cam", target=target)
    assert caught.value.expected.startswith(expected)


@pytest.mark.parametrize("target", ["box:0", "boxes", "0@box=0"])
def test_boxes_of_a_classifier_are_refused(square, tiny_cnn, target):
    with pytest.raises(UsageError, match="needs a detector, but"):
        xaicli.explain(square, xaicli.classifier(tiny_cnn, resize=16, crop=16), "grad-cam", target=target)


@pytest.mark.parametrize("target", ["box:", "box:-1", "box:x", "red@box=", "blue@box=0", "boxes@above=2", "boxes@above=x"])
def test_what_is_no_box_is_refused_in_words(square, target):
    with pytest.raises(XaiError):
        xaicli.explain(square, hand_made(), "grad-cam", target=target)


def test_deletion_follows_the_similarity(square):
    """Without objectness the similarity of the clean photo is 1, and without the object 0."""
    table = xaicli.score(square, hand_made(), "grad-cam", metric="deletion@steps=4", controls=False)
    [row] = table.records()
    assert row["target"] == "box:0"
    assert row["p0"] == pytest.approx(1, abs=1e-5)
    assert row["p_baseline"] == pytest.approx(0, abs=1e-5)


def test_where_nothing_is_marked_the_box_is_the_ground_truth(square):
    """The map of the red box is its red, all of which lies inside: of the green one too."""
    detector = hand_made(layer="backbone")
    words = {"metric": "energy-pointing-game", "controls": False}
    for target, area in {"box:0": 16 / 64, "box:1": 24 / 64}.items():
        [row] = xaicli.score(square, detector, "hirescam", target=target, **words).records()
        assert (row["value"], row["area"]) == (pytest.approx(1), pytest.approx(area))


def test_ground_truth_that_is_given_is_of_the_boxs_class(square, tmp_path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "boxes.csv").write_text("file,x0,y0,x1,y1,label\nsquare.png,4,2,6,8,green\nsquare.png,0,0,8,8,red\n")
    words = {"metric": "energy-pointing-game", "controls": False, "truth": tmp_path / "truth"}
    [row] = xaicli.score(square, hand_made(layer="backbone"), "hirescam", target="box:1", **words).records()
    assert row["value"] == pytest.approx(0.5)


def test_a_classifier_still_needs_marked_ground_truth(square, tiny_cnn):
    with pytest.raises(UsageError, match="needs ground truth"):
        xaicli.score(square, xaicli.classifier(tiny_cnn, resize=16, crop=16), "grad-cam", metric="energy-pointing-game")


def test_a_store_keeps_where_the_box_is_for_reports(square, tmp_path):
    xaicli.score(square, hand_made(), "grad-cam", metric="deletion@steps=2", output=tmp_path / "scores.db", controls=False)
    with Store.open(tmp_path / "scores.db", write=False) as store:
        [kept] = store.maps()
    assert kept.region.shape == (8, 8)
    assert kept.region.sum() == 16
    assert kept.region[:4, :4].all()


def test_a_network_as_ultralytics_gives_it_is_explained(square):
    made = xaicli.explain(square, look_alike(), ["grad-cam", "rise@n_masks=16"], target="boxes@above=0.59")
    assert len(made) > 2
    assert {one.record.status for one in made} == {"ok"}


def test_a_decode_function_of_one_photo_is_called_photo_by_photo(square):
    def of_one(output):
        return output["boxes"][0], output["scores"][0]

    [one] = xaicli.explain(square, hand_made(decode=of_one), "hirescam")
    [same] = xaicli.explain(square, hand_made(), "hirescam")
    np.testing.assert_array_equal(one.values, same.values)


@pytest.mark.parametrize(
    "decode", [lambda output: output["boxes"], lambda output: (output["scores"], output["boxes"]), lambda output: None]
)
def test_a_decode_function_that_returns_something_else_is_refused(decode):
    with pytest.raises(XaiError, match="decode function of HandMade returned"):
        hand_made(decode=decode)


def test_scores_that_are_logits_are_refused():
    with pytest.raises(InputError, match="the scores of HandMade run from"):
        hand_made(decode=lambda output: (output["boxes"], output["scores"] * 9 - 4))


def test_the_command_line_takes_a_file_that_makes_a_detector(square, tmp_path, capsys):
    (tmp_path / "street.py").write_text(
        f"import sys\nsys.path.insert(0, {str(Path(detectors.__file__).parent)!r})\nfrom detectors import hand_made as make\n"
    )
    xai = CommandLine(capsys)
    model = f"{tmp_path / 'street.py'}:make"
    assert xai("explain", square, "--model", model, "--target", "box:1", "--method", "grad-cam", "-o", tmp_path / "out") == 0
    assert "boxes of 2 classes" in xai.err
    [record] = (tmp_path / "out").glob("*.json")
    assert json.loads(record.read_text())["box"]["label"] == "green"
    assert xai("explain", square, "--model", model, "--target", "box:7", "-o", tmp_path / "other") == 3
    assert "there is no box:7: 2 found" in xai.error


def test_boxes_that_are_not_finite_are_an_error_of_the_model(square):
    detector = look_alike()
    with torch.no_grad():
        detector.module.cls.weight.fill_(torch.nan)
    with pytest.raises(RunError, match="NaN or infinite boxes"):
        xaicli.explain(square, detector, "grad-cam")


def test_what_a_folder_holds_of_boxes_is_not_made_again(square, tmp_path):
    words = {"output": tmp_path / "maps", "target": "boxes@above=0.3"}
    xaicli.explain(square, hand_made(), "grad-cam", **words)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()}
    again = xaicli.explain(square, hand_made(), "grad-cam", **words)
    assert [one.record.target for one in again] == ["box:0", "box:1"]
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()} == before
    assert len([name for name in before if name.endswith(".json")]) == 2
