"""Text prompts as classes on the command line and in a suite."""

import json

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image
from text_image_models import save_text_image_model

pytest.importorskip("transformers")

PROMPTS = ("--prompts", "a photo of a cat,a photo of a dog,a red bee")


@pytest.fixture
def xai(capsys, tmp_path, monkeypatch):
    """Runs `xai` in a folder that holds the model clip and photos/0.png to photos/2.png."""
    monkeypatch.chdir(tmp_path)
    save_text_image_model(tmp_path / "clip")
    (tmp_path / "photos").mkdir()
    for number in range(3):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(tmp_path / "photos" / f"{number}.png")
    return CommandLine(capsys)


def test_a_contrast_of_two_prompts_is_explained(xai, tmp_path):
    words = ("explain", "photos/0.png", "--model", "hf:clip", *PROMPTS, "--method", "grad-cam", "-o", "out")
    assert xai(*words, "--target", "a photo of a cat-a photo of a dog") == 0
    record = json.loads((tmp_path / "out" / "0.grad-cam.0-1.json").read_text())
    assert record["target"] == "0-1"
    assert record["model"] == "hf:clip"


def test_deletion_and_insertion_go_over_the_prompts_softmax(xai):
    words = ("score", "photos", "--model", "hf:clip", *PROMPTS, "--method", "grad-cam,rise@n_masks=20", "--format", "jsonl")
    assert xai(*words, "--metric", "deletion@steps=4,insertion@steps=4", "--no-controls") == 0
    rows = [json.loads(line) for line in xai.out.splitlines()]
    assert len(rows) == 12
    assert all(0 <= row["value"] <= 1 for row in rows)


def test_a_suite_names_prompts_and_its_gate_sees_others(xai, tmp_path):
    suite = 'model = "hf:clip"\nimages = ["photos/"]\nmethods = ["grad-cam"]\nmetrics = ["deletion@steps=4"]\n{}\n'
    (tmp_path / "xai.toml").write_text(suite.format('prompts = ["cat", "dog"]\ntemplate = "a photo of a {}"'))
    assert xai("baseline") == 0
    assert xai("check") == 0
    (tmp_path / "xai.toml").write_text(suite.format('prompts = ["bee", "dog"]\ntemplate = "a photo of a {}"'))
    assert xai("check") != 0


SUITE = """
model = "hf:clip"
images = ["photos/"]
methods = ["grad-cam", "rise@n_masks=8"]
metrics = ["deletion@steps=4"]
prompts = ["cat", "dog", "red bee"]
template = ["a photo of a {}", "a {}"]
"""


def test_a_command_reads_the_texts_once_whatever_photos_methods_and_controls_it_has(xai, tmp_path, monkeypatch):
    """Six sentences, all in one pass of the text side; a command that opens two models reads them once for each."""
    from transformers.models.clip.modeling_clip import CLIPTextModel

    sentences = []
    own = CLIPTextModel.forward

    def counted(self, input_ids, *args, **kwargs):
        sentences.append(len(input_ids))
        return own(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(CLIPTextModel, "forward", counted)
    (tmp_path / "xai.toml").write_text(SUITE)
    texts = ("--prompts", "cat,dog,red bee", "--template", "a photo of a {}", "--template", "a {}")
    model = ("photos", "--model", "hf:clip", *texts, "--method", "grad-cam,gae,rise@n_masks=8", "--target", "top1")
    read = {}
    for name, *line in (
        ("explain", "explain", *model, "-o", "maps"),
        ("score", "score", *model, "--metric", "deletion@steps=4", "-o", "scores.db"),
        ("compare", "compare", *model, "--metric", "deletion@steps=4", "-o", "compared"),
        ("baseline", "baseline"),
        ("check", "check"),
        ("against", "check", "--against", "hf:clip"),
    ):
        sentences.clear()
        assert xai(*line) == 0, (name, xai.error)
        read[name] = list(sentences)
    assert read == {name: [6] if name != "against" else [6, 6] for name in read}


def test_prompts_are_refused_in_one_line_with_their_exit_codes(xai):
    base = ("explain", "photos/0.png", "-o", "out")
    assert xai(*base, "--model", "hf:clip") == 2
    assert "compares photos with texts, but none are given" in xai.error
    assert xai(*base, "--model", "tiny", *PROMPTS) == 2
    assert "tiny reads no texts" in xai.error
    assert xai(*base, "--model", "hf:clip", "--prompts", "cat,dog", "--template", "a photo") == 2
    assert xai(*base, "--model", "hf:clip", "--classes", "absent.txt") == 3
