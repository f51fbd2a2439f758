"""The variance head: its loss by numbers worked out by hand, its map by its gradient, and training from the command line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import main
from PIL import Image
from torch.nn import functional
from torch.testing import assert_close

from xaicli.errors import InputError, UsageError
from xaicli.methods.certainty.u_cam import UCAM
from xaicli.methods.certainty.variance_head import FIRST, VarianceHead, VarianceTask, VarianceTraining, loss_terms, noise_like
from xaicli.models.checkpoint import about_classifier, write_checkpoint
from xaicli.needs import Needs
from xaicli.outputs import Outputs
from xaicli.record import load_record
from xaicli.targets import DECISION, Targets
from xaicli.task import TaskOptions

SEEDS = torch.tensor([1, 2, 3, 4, 5])
NET = Path(__file__).parents[2] / "data" / "net.py"


def test_the_terms_of_the_loss():
    logits, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        terms = loss_terms(logits, labels, torch.ones(1), noise_like(logits, 400_000))
    assert float(functional.cross_entropy(logits, labels)) == pytest.approx(0.3132617)
    assert float(terms["distorted"]) == pytest.approx(0.491, abs=0.003)
    assert float(terms["gap"]) == pytest.approx(0.086, abs=0.003)
    assert float(terms["size"]) == pytest.approx(1.7182818)
    assert float(functional.softplus(torch.zeros(()))) == pytest.approx(0.6931472)


def test_without_variance_nothing_is_distorted():
    logits, labels = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 3])
    terms = loss_terms(logits, labels, torch.zeros(3), torch.ones(5, 3, 4))
    assert float(terms["distorted"]) == pytest.approx(float(functional.cross_entropy(logits, labels)))
    assert float(terms["gap"]) == 0
    assert float(terms["size"]) == 0


def test_before_training_every_photo_has_one_variance():
    assert_close(VarianceHead(7)(torch.randn(3, 7)), torch.full((3,), FIRST))


@pytest.fixture
def trained(classifier_of, tiny_cnn, tmp_path):
    """A classifier with the checkpoint of a head whose weights are known."""
    classifier = classifier_of(tiny_cnn)
    task = VarianceTask(classifier, VarianceTraining())
    with torch.no_grad():
        task.head.linear.weight.copy_(torch.linspace(-1, 1, classifier.count)[None])
    path = tmp_path / "head.safetensors"
    write_checkpoint(path, task.finish(), {"method": "u-cam", **about_classifier(classifier), **task.metadata()})
    return classifier, path


def test_the_map_is_the_gradient_of_the_variance(trained, tiny_cnn, photo_batch):
    classifier, path = trained
    maps = UCAM(measure="variance", show="certainty", checkpoint=str(path)).attribute(
        classifier, photo_batch, Targets.same(DECISION, 5), SEEDS
    )
    features = tiny_cnn.features(photo_batch).requires_grad_(True)
    logits = tiny_cnn.head(features.mean(dim=(2, 3)))
    weights = torch.linspace(-1, 1, classifier.count)
    variance = functional.softplus(logits @ weights + math.log(math.expm1(FIRST)))
    assert_close(maps.extras["uncertainty"], variance.detach())
    (gradient,) = torch.autograd.grad(-variance.sum(), features)
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1)
    assert_close(maps.values[:, 0], expected.detach(), atol=1e-6, rtol=1e-4)


def test_it_needs_a_checkpoint_of_its_own_classifier(trained, classifier_of, tiny_vit):
    classifier, path = trained
    method = UCAM(measure="variance", checkpoint=str(path))
    method.require(classifier)
    assert Needs.CHECKPOINT in method.needs
    assert Needs.CHECKPOINT not in UCAM().needs
    assert (method.stochastic, str(method.cost())) == (False, "1+2 passes")
    with pytest.raises(InputError, match="no checkpoint of u-cam"):
        UCAM(measure="variance").require(classifier)
    with pytest.raises(InputError, match="another classifier"):
        method.require(classifier_of(tiny_vit, count=7))
    with pytest.raises(UsageError, match="no meaning with measure=entropy"):
        UCAM(checkpoint=str(path))


def test_what_is_not_trained_says_what_is(classifier_of, tiny_cnn):
    with pytest.raises(UsageError, match="u-cam@measure=variance"):
        UCAM().task(classifier_of(tiny_cnn), TaskOptions())
    with pytest.raises(UsageError, match="trained on classes"):
        UCAM(measure="variance").task(classifier_of(tiny_cnn, outputs=Outputs.SIGMOID), TaskOptions())


def test_the_stamp_is_of_the_content_of_a_checkpoint(trained, tmp_path):
    _, path = trained
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / path.name
    copy.write_bytes(path.read_bytes())
    one, other = (UCAM(measure="variance", checkpoint=str(file)).parameters_as_given() for file in (path, copy))
    assert one == other
    assert "checkpoint" not in UCAM().parameters_as_given()


def test_it_is_trained_and_used_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    colours = np.random.default_rng(0)
    for label in range(4):
        (tmp_path / "data" / f"c{label}").mkdir(parents=True)
        for number in range(3):
            noise = colours.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "data" / f"c{label}" / f"{number}.png")
    model = ["--model", f"{NET}:make", "--device", "cpu"]
    line = [
        "train",
        "u-cam@measure=variance",
        "--data",
        "data",
        "--epochs",
        "2",
        "--batch-size",
        "5",
        "--set",
        "draws=4",
        "--report",
        "1",
    ]
    assert main([*line, *model, "-o", "head.safetensors"]) == 0
    label = "u-cam@checkpoint=head.safetensors@measure=variance"
    assert main(["explain", "data/c0/0.png", *model, "--method", label, "-o", "out"]) == 0
    record = load_record(next(Path("out").glob("*.json")))
    assert record.extras["uncertainty"] > 0
