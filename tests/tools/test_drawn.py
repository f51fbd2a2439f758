"""The pictures of drawn scenes: the command writes what it says, and scenes, targets and loss are what they are said to be."""

import numpy as np
import pytest
import torch
from PIL import Image

import xaicli
from tools.drawn import detector, text_image
from tools.drawn.__main__ import THINGS, main, shown
from tools.drawn.cell_detector import KINDS, SIDE, decode
from tools.drawn.detector import train
from tools.drawn.scenes import COLOURS, draw_scene


def hardly_trained(scenes, steps):
    """Scores above the confidence, which so few steps do not reach."""
    made = train(scenes, steps)
    torch.nn.init.zeros_(made.kinds.bias)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    few = ["--scenes", "40", "40", "--steps", "8", "10", "--masks", "8"]
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(detector, "train", hardly_trained)
        main([*few, "--folder", str(folder), "--pictures", str(folder / "pictures")])
    return folder


@pytest.mark.slow
def test_the_command_writes_two_pictures_the_networks_and_the_maps(folder):
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["drawn-detector.png", "drawn-prompts.png"]
    for picture in (folder / "pictures").iterdir():
        assert picture.stat().st_size < 150_000
        assert Image.open(picture).width > 300
    # Two methods for one box, one for each of two prompts.
    assert len(list((folder / "maps" / "detector").glob("*.npy"))) == 2
    assert len(list((folder / "maps" / "prompts").glob("*.npy"))) == 2
    assert xaicli.load_classifier(f"hf:{folder / 'clip'}", prompts=list(text_image.CAPTIONS)).count == len(KINDS)


@pytest.mark.parametrize("number", ["-1", "0", "1000000000000000000000", "9999999", "1.5", "many"])
@pytest.mark.parametrize(("option", "count"), [("--scenes", 2), ("--steps", 2), ("--masks", 1)])
def test_a_number_that_makes_no_sense_is_refused_in_one_line(tmp_path, capsys, option, count, number):
    with pytest.raises(SystemExit) as refused:
        main([option, *[number] * count, "--folder", str(tmp_path / "drawn")])
    error = capsys.readouterr().err
    assert refused.value.code == 2
    assert f"error: argument {option}: {number} is no whole number from " in error
    assert error.count("\n") == 1
    assert not (tmp_path / "drawn").exists()


@pytest.mark.slow
def test_with_the_least_numbers_the_command_still_ends_in_words(tmp_path, capfd):
    words = ["--scenes", "1", "1", "--steps", "6", "6", "--masks", "2", "--folder", str(tmp_path / "drawn")]
    with torch.random.fork_rng(), pytest.raises(SystemExit) as ended:
        main([*words, "--pictures", str(tmp_path / "pictures")])
    assert ended.value.code == 3
    assert capfd.readouterr().err.splitlines()[-1].startswith("error: ")


def test_a_thing_has_its_colour_and_fills_the_middle_of_its_box():
    scene = shown()
    pixels = np.asarray(scene.picture).astype(int)
    assert tuple(KINDS[kind] for kind in scene.kinds) == THINGS
    for kind, box in zip(scene.kinds, scene.boxes, strict=True):
        left, top, right, bottom = (place * len(pixels) for place in box)
        middle = pixels[int((top + bottom) / 2) - 3 :, int((left + right) / 2) - 3 :][:6, :6].mean(axis=(0, 1))
        assert np.abs(middle - COLOURS[KINDS[kind].split()[0]]).max() < 25


def test_what_the_detector_should_say_decodes_to_the_boxes_of_the_scene():
    scene = draw_scene(3)
    kinds, sides, inside = detector.wanted(scene)
    boxes, scores = decode((torch.logit(kinds, eps=1e-4)[None], sides[None]))
    taken = inside.flatten() > 0
    for box, score in zip(boxes[0, taken], scores[0, taken], strict=True):
        named = scene.kinds.index(int(score.argmax()))
        np.testing.assert_allclose(box, np.array(scene.boxes[named]) * SIDE, atol=1e-3)
    assert {int(kind) for kind in scores[0, taken].argmax(dim=1)} == set(scene.kinds)


def test_the_loss_is_least_where_the_captions_that_fit_share_the_probability():
    fits = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    right = text_image.loss_of(20 * fits, fits)
    # The first scene's two captions: -log(1/2) for it, 0 for the other and for each caption.
    assert right.item() == pytest.approx(np.log(2) / 4, abs=1e-5)
    assert text_image.loss_of(20 * (1 - fits), fits) > 5
