"""BEE's prior: trained by pulls, found again by its metric, refused for another."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from xaicli.errors import InputError, UsageError
from xaicli.methods.bee.bee import BEE
from xaicli.methods.bee.learned_prior import learned_prior
from xaicli.models.checkpoint import about_classifier, checkpoints_folder, write_checkpoint
from xaicli.stamps import stamp
from xaicli.targets import DECISION, Targets
from xaicli.task import TaskOptions
from xaicli.training.learner import parse_learner
from xaicli.training.plan import installed_path

SEEDS = torch.tensor([1, 2])


@pytest.fixture
def classifier(tiny_cnn, classifier_of):
    return dataclasses.replace(classifier_of(tiny_cnn), weights_fingerprint=stamp("a network"))


def task_of(classifier, method=BEE(n_steps=2), **parameters):
    given = {"context_dim": "3", "n_bank": "4", **parameters}
    return method.task(classifier, TaskOptions(parameters=given))


def trained(classifier, method=BEE(n_steps=2), steps=3):
    """A task after some batches of two photos."""
    task, photos = task_of(classifier, method), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        torch.autograd.backward(task.total(task.losses(photos, None)))
    return task


def install(task, classifier, name="bee.net.safetensors"):
    path = checkpoints_folder() / name
    write_checkpoint(path, task.finish(), {"method": "bee", **about_classifier(classifier), **task.metadata()})
    return path


def test_each_photo_is_one_pull_of_which_its_arm_alone_learns(classifier):
    task = trained(classifier, steps=1)
    assert int(task.prior.pulls) == 2
    touched = (task.prior.precisions != 1).any(dim=1)
    assert 1 <= int(touched.sum()) <= 2
    assert task.prior.means[touched].any(dim=1).all()
    assert not task.prior.means[~touched].any()


def test_the_context_learns_from_what_the_beliefs_know(classifier):
    task = trained(classifier, steps=2)
    gradient = task.prior.context.weight.grad
    assert gradient.isfinite().all()
    assert gradient.any()
    assert not any(parameter.requires_grad for parameter in classifier.torch_module.parameters())


def test_the_same_random_state_makes_the_same_prior(classifier):
    def tensors():
        torch.manual_seed(4)
        return trained(classifier).finish()

    one, other = tensors(), tensors()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_held_out_photos_change_nothing(classifier):
    task = trained(classifier)
    before = {name: tensor.clone() for name, tensor in task.finish().items()}
    with torch.no_grad():
        figures = task.evaluate(torch.rand(3, 3, 32, 32), None)
    assert 0 <= float(figures["score"]) <= 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.finish().items())


def test_features_of_training_photos_become_an_arm_of_their_own(classifier):
    task = trained(classifier)
    method = BEE(n_steps=2, n_pulls=2)
    assert method.arms_with(method.prior(classifier)) == ("normal", "uniform", "blur", "constant")
    install(task, classifier)
    prior = method.prior(classifier)
    assert method.arms_with(prior)[-1] == "train"
    assert prior.bank.shape == (4, 16, 8, 8)


def test_an_installed_prior_is_found_for_its_metric_alone_and_changes_what_is_pulled(classifier, photo_batch):
    install(trained(classifier), classifier)
    method = BEE(n_steps=2, n_pulls=3, parts=True)

    def pulls_seen(method):
        maps = method.attribute(classifier, photo_batch[:2], Targets.same(DECISION, 2), SEEDS)
        return maps.extras["trained_pulls"].unique().tolist()

    assert pulls_seen(method) == [6]
    assert pulls_seen(dataclasses.replace(method, metric="deletion")) == [0]
    assert pulls_seen(dataclasses.replace(method, checkpoint="none")) == [0]


def test_a_file_for_another_metric_or_layer_is_refused_in_words(classifier):
    path = install(trained(classifier), classifier)
    with pytest.raises(InputError, match="was trained for metric insertion, not deletion"):
        BEE(metric="deletion", checkpoint=str(path)).require(classifier)
    with pytest.raises(InputError, match="was trained for metric insertion@steps=28, not insertion@steps=14"):
        BEE(metric="insertion@steps=14", checkpoint=str(path)).require(classifier)
    with pytest.raises(InputError, match=r"was trained for layers features, not features\.3"):
        BEE(layer="features.3", checkpoint=str(path)).require(classifier)
    with pytest.raises(UsageError, match="trained for one layer"):
        BEE(layer=("features.3", "features.6")).task(classifier, TaskOptions())


def test_beliefs_are_found_by_the_name_of_the_arm(classifier):
    path = install(trained(classifier), classifier)
    wanted = {"integrand": "ig"}
    prior = learned_prior(classifier, str(path), wanted)
    both = prior.beliefs(("blur", "normal"), 2.0)
    known = prior.module.beliefs
    assert (both.means[0] == known.means[2]).all()
    assert (both.precisions[1] == known.precisions[0]).all()


def test_a_damaged_prior_is_said_to_be_one(classifier):
    task = trained(classifier)
    path = checkpoints_folder() / "bee.damaged.safetensors"
    record = {"method": "bee", **about_classifier(classifier), **task.metadata()}
    write_checkpoint(path, {"prior.means": torch.zeros(1)}, record)
    with pytest.raises(InputError, match=r"the prior in bee\.damaged\.safetensors is damaged"):
        BEE(checkpoint=str(path)).require(classifier)


def test_priors_of_two_metrics_are_installed_side_by_side(classifier):
    paths = set()
    for text in ("bee", "bee@metric=deletion"):
        learner = parse_learner(text, {})
        paths.add(installed_path(learner, classifier, learner.task(classifier, 0).variant))
    assert len(paths) == 2
