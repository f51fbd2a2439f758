"""Targets `similar:PHOTO` and `differs:PHOTO`: the cosine similarity of two photos' embeddings."""

import hashlib
import json

import numpy as np
import pytest
import torch
from command_line import CommandLine
from PIL import Image
from text_image_models import text_image_model, tokenizer
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.network.embedding import embedder_of, likeness_to
from xaicli.outputs import Outputs
from xaicli.runs.similar_target import compared
from xaicli.targets import TargetRule, Targets


class Linear(nn.Module):
    """Three features that are a linear map of a photo of 2 x 2 pixels, and a linear head of four classes on them."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.features = nn.Conv2d(3, 3, 2, bias=False)
        self.head = nn.Linear(3, 4)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, inputs):
        return self.head(self.features(inputs).flatten(1))


def photo(seed):
    return torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_of_similarity_is_the_reference_less_its_part_along_the_embedding():
    network = Linear()
    classifier = xaicli.classifier(network, resize=None, crop=2)
    bound, what = likeness_to(classifier, photo(1), "cat.jpg")
    assert what == "what enters its head head (3 features)"
    assert bound.outputs is Outputs.VALUES
    assert bound.classes == ("similar to cat.jpg", "different from cat.jpg")
    matrix = network.features.weight.detach().flatten(1)
    reference, features = (matrix @ one.flatten() for one in (photo(1), photo(2)))
    reference, unit = functional.normalize(reference, dim=0), functional.normalize(features, dim=0)
    inputs = photo(2)[None].requires_grad_()
    for index, sign in ((0, 1), (1, -1)):
        [[score]] = Targets((TargetRule(index=index),), bound.outputs).resolve(bound(inputs)).scores
        assert_close(score, sign * reference @ unit)
        (gradient,) = torch.autograd.grad(score, inputs)
        assert_close(gradient.flatten(), sign * (reference - unit * (unit @ reference)) / features.norm() @ matrix)


def test_a_photo_is_wholly_similar_to_itself_and_has_no_gradient():
    bound, _ = likeness_to(xaicli.classifier(Linear(), resize=None, crop=2), photo(1), "cat.jpg")
    inputs = photo(1)[None].requires_grad_()
    similarity = bound(inputs)[0, 0]
    assert_close(similarity, torch.tensor(1.0))
    assert torch.autograd.grad(similarity, inputs)[0].abs().max() < 1e-6


def test_the_network_stays_as_it_was(tiny_cnn):
    classifier = xaicli.classifier(tiny_cnn, resize=32, crop=32)
    bound, _ = likeness_to(classifier, torch.randn(3, 32, 32), "cat.jpg")
    inputs = torch.randn(2, 3, 32, 32)
    assert classifier(inputs).shape == (2, 5)
    assert bound(inputs).shape == (2, 2)
    assert isinstance(tiny_cnn.head, nn.Linear)
    assert str(bound.feature_layer()) == str(classifier.feature_layer())


def test_which_embedding_it_is_depends_on_what_the_network_gives(tiny_cnn):
    values = xaicli.classifier(tiny_cnn, resize=32, crop=32, outputs="values")
    assert embedder_of(values).what == "its outputs"
    headless = xaicli.classifier(nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), crop=32)
    assert embedder_of(headless).what == "its outputs"
    named = xaicli.classifier(
        nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()), crop=32, classes=["cat", "dog"]
    )
    with pytest.raises(UsageError, match=r"has no embedding to compare.*add --outputs values"):
        embedder_of(named)
    clip = xaicli.classifier(text_image_model(), prompts="a cat,a dog", tokenizer=tokenizer(), resize=32, crop=32)
    bound, what = likeness_to(clip, torch.randn(3, 32, 32), "cat.jpg")
    assert what == "the features of its image side (16 features)"
    inputs = torch.randn(2, 3, 32, 32)
    wanted = functional.normalize(clip.torch_module.image(inputs), dim=1) @ bound.reference.features
    assert_close(bound(inputs)[:, 0], wanted)


def test_the_photo_must_be_named_and_be_there(tmp_path, tiny_cnn):
    classifier = xaicli.classifier(tiny_cnn, resize=32, crop=32)
    with pytest.raises(InputError, match=r"cat\.jpg is not there; expected a photo to compare with"):
        compared(classifier, f"similar:{tmp_path}/cat.jpg")
    with pytest.raises(UsageError, match=r"--target differs: names no photo"):
        compared(classifier, "differs:")
    with pytest.raises(InputError, match=rf"{tmp_path} is a folder; expected a photo"):
        compared(classifier, f"similar:{tmp_path}")
    with pytest.raises(InputError, match=r"no sample photo is called \"hoper\".*Did you mean hopper"):
        compared(classifier, "similar:sample:hoper")
    assert compared(classifier, "top1") == (classifier, "top1")


def test_the_fingerprint_covers_the_photo(tmp_path, tiny_cnn):
    classifier = xaicli.classifier(tiny_cnn, resize=32, crop=32)
    for number in range(2):
        Image.new("RGB", (40, 40), (200 * number, 80, 30)).save(tmp_path / f"{number}.png")
    first, second = (compared(classifier, f"similar:{tmp_path}/{number}.png")[0] for number in range(2))
    assert len({classifier.fingerprint, first.fingerprint, second.fingerprint}) == 3


def test_the_sample_photo_is_compared_with_from_any_folder(tmp_path, tiny_cnn):
    classifier = xaicli.classifier(tiny_cnn, resize=32, crop=32)
    bound, rule = compared(classifier, "differs:sample:hopper", folder=tmp_path)
    assert bound.classes == ("similar to sample:hopper", "different from sample:hopper")
    assert str(rule).startswith("differs:sample:hopper~")


@pytest.fixture
def xai(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(f"{number}.png")
    return CommandLine(capsys)


def test_two_photos_are_compared_on_the_command_line(xai, tmp_path):
    words = ("explain", "1.png", "2.png", "--method", "grad-cam,rise@n_masks=20", "--target", "similar:0.png", "-o", "out")
    assert xai(*words) == 0, xai.err
    assert xai.err.count("similarity to 0.png is of what enters its head") == 1
    records = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert len(records) == 4
    assert {record["target_name"] for record in records} == {"similar to 0.png"}
    content = hashlib.sha256((tmp_path / "0.png").read_bytes()).hexdigest()
    assert {(record["target"], record["rule"]) for record in records} == {(f"similar:0.png~{content[:6]}",) * 2}
    assert len(list((tmp_path / "out").glob("[12].grad-cam.similar_0.png_*.png"))) == 2
    assert xai(*words) == 0, xai.err
    assert "4 of 4 maps complete before" in xai.err


def test_rows_of_a_store_name_the_photo_that_is_compared_with(xai, tmp_path):
    words = ("score", "1.png", "--method", "rise@n_masks=20", "--no-controls", "--metric", "deletion@steps=2", "-o", "s.db")
    for target in ("similar:0.png", "differs:0.png", "similar:2.png", "0"):
        assert xai(*words, "--target", target) == 0, xai.err
    assert xai("export", "s.db", "--format", "jsonl") == 0
    first, other = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()[:6] for name in ("0.png", "2.png"))
    targets = [json.loads(line)["target"] for line in xai.out.splitlines()]
    assert sorted(targets) == sorted([f"similar:0.png~{first}", f"differs:0.png~{first}", f"similar:2.png~{other}", "0"])
    assert {str(TargetRule.of_name(target)) for target in targets} == set(targets)


def test_deletion_goes_over_the_similarity_as_over_a_value(xai):
    words = ("score", "1.png", "--method", "rise@n_masks=20", "--no-controls", "--format", "jsonl", "--metric")
    assert xai(*words, "deletion@steps=4", "--target", "similar:0.png") == 0, xai.err
    (similar,) = [json.loads(line) for line in xai.out.splitlines()]
    assert xai(*words, "deletion@steps=4", "--target", "differs:0.png") == 0, xai.err
    (differs,) = [json.loads(line) for line in xai.out.splitlines()]
    assert -1 < differs["value"] < 0 < similar["value"] < 1
    assert xai(*words, "average-drop", "--target", "similar:0.png") == 2
    assert "average-drop needs probabilities" in xai.error


def test_a_gate_watches_the_similarity(xai, tmp_path):
    (tmp_path / "xai.toml").write_text(
        'model = "tiny"\nimages = ["1.png", "2.png"]\nmetrics = ["deletion@steps=4"]\ntarget = "similar:0.png"\n'
    )
    assert xai("baseline") == 0, xai.err
    assert xai("check") == 0, xai.err
