import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import xaicli
from xaicli.errors import UsageError
from xaicli.images.view import View
from xaicli.method import Needs, Sign
from xaicli.methods.eigen_cam import EigenCAM
from xaicli.methods.grad_cam import GradCAM
from xaicli.methods.lfi.feature_importance import Importance, unit_map
from xaicli.methods.lfi.lfi_cam import LFICAM, LFITraining
from xaicli.methods.lfi.lfi_network import reading, with_branch
from xaicli.models.checkpoint import about_classifier, write_checkpoint
from xaicli.models.load import load_classifier
from xaicli.targets import DECISION, TargetRule, Targets
from xaicli.task import TaskOptions

SIZE = (32, 32)
SEEDS = torch.arange(5)


@pytest.fixture
def network(tiny_cnn):
    torch.manual_seed(4)
    return with_branch(tiny_cnn, SIZE).eval()


@pytest.fixture
def classifier(network, classifier_of):
    return classifier_of(network)


def task_for(classifier, **given):
    torch.manual_seed(0)
    return LFICAM().task(classifier, TaskOptions(parameters={key: str(value) for key, value in given.items()}))


def test_the_map_is_the_attention_that_gates_the_features(network, classifier, photo_batch):
    with reading(network.branch) as seen, torch.no_grad():
        logits = network(photo_batch)
    maps = LFICAM().attribute(classifier, photo_batch, Targets.same(DECISION, 5), SEEDS)
    assert torch.equal(maps.values[:, 0], seen[0][1])
    assert_close(maps.logits, logits)


def test_every_target_has_the_same_map(classifier, photo_batch):
    rules = [TargetRule(index=3), TargetRule(index=1, against=2), DECISION]
    first, *others = (LFICAM().attribute(classifier, photo_batch, Targets.same(rule, 5), SEEDS).values for rule in rules)
    assert all(torch.equal(first, other) for other in others)
    assert LFICAM().attribute(classifier, photo_batch, Targets.same(TargetRule(top=3), 5), SEEDS).values.shape[1] == 3


@pytest.mark.parametrize("target", ["top2", "0-1", "another"])
def test_a_run_refuses_a_target_that_is_not_the_decision(classifier, photo_batch, target):
    photo = (photo_batch[0] * 40 + 128).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    (decided,) = xaicli.explain(photo, classifier, "lfi-cam")
    decision = decided.record.target
    (again,) = xaicli.explain(photo, classifier, "lfi-cam", target=decision)
    assert (again.values == decided.values).all()
    target = str((int(decision) + 1) % 5) if target == "another" else target
    with pytest.raises(UsageError, match=r"lfi-cam explains the decision alone .* no class enters its map"):
        xaicli.explain(photo, classifier, "lfi-cam", target=target)


def test_equal_weights_show_the_mean_of_the_channels(network, classifier, photo_batch):
    with torch.no_grad():
        mean = network.network.features(photo_batch).mean(dim=1).relu()
    maps = LFICAM(weights="equal").attribute(classifier, photo_batch, Targets.same(DECISION, 5), SEEDS)
    assert_close(maps.values[:, 0], unit_map(mean))


def test_a_branch_that_says_nothing_gives_the_same_map_as_equal_weights(network, classifier, photo_batch):
    for part in network.branch.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
    targets = Targets.same(DECISION, 5)
    learned = LFICAM().attribute(classifier, photo_batch, targets, SEEDS).values
    assert_close(learned, LFICAM(weights="equal").attribute(classifier, photo_batch, targets, SEEDS).values)


def test_a_network_without_branch_is_told_of_two_ways_out(tiny_cnn, classifier_of):
    with pytest.raises(UsageError) as caught:
        LFICAM().require(dataclasses.replace(classifier_of(tiny_cnn), provides=Needs.FEATURES))
    assert "is a network of its own, and TinyCNN has no such branch" in str(caught.value)
    assert "xai train lfi-cam --model TinyCNN --data DIR -o my-lfi.safetensors" in str(caught.value)
    assert "--model tiny --method lfi-cam" in str(caught.value)


def test_a_transformer_is_told_what_it_can_have_instead(tiny_vit, classifier_of):
    with pytest.raises(UsageError) as caught:
        LFICAM().require(classifier_of(tiny_vit))
    assert "A transformer cannot have one; train t-tame for it: xai train t-tame --model" in str(caught.value)
    assert "xai train lfi-cam" not in str(caught.value)
    assert "--model tiny --method lfi-cam" in str(caught.value)


def test_a_run_refuses_such_a_network_before_it_decodes_photos(tiny_cnn, classifier_of, tmp_path):
    (tmp_path / "a.jpg").write_text("no photo")
    with pytest.raises(UsageError, match="is a network of its own"):
        xaicli.explain(tmp_path / "a.jpg", classifier_of(tiny_cnn), "lfi-cam")


def test_a_plain_head_is_refused_with_what_to_do(tiny_cnn, classifier_of, tmp_path):
    (tmp_path / "a.jpg").write_text("no photo")
    plain = with_branch(tiny_cnn, SIZE, Importance(plain=True))
    with pytest.raises(UsageError, match=r"trained with role=plain, as a control, .* Take grad-cam for it") as caught:
        xaicli.explain(tmp_path / "a.jpg", classifier_of(plain), "lfi-cam")
    assert "\n" not in str(caught.value)


def test_what_it_declares():
    assert LFICAM().sign is Sign.NONNEGATIVE
    assert not LFICAM.class_specific
    assert LFICAM.needs == Needs.FEATURES | Needs.CHECKPOINT
    assert (LFICAM().cost().forward, LFICAM().cost().backward) == (1, 0)


def test_other_methods_explain_such_a_network_too(classifier, photo_batch):
    for method in (GradCAM(), EigenCAM()):
        maps = method.attribute(classifier, photo_batch, Targets.same(DECISION, 5), SEEDS)
        assert maps.values.shape == (5, 1, 8, 8)


# Training


def test_the_loss_is_cross_entropy_alone_and_reaches_branch_and_network(tiny_cnn, classifier_of, photo_batch):
    task = task_for(classifier_of(tiny_cnn.requires_grad_(True)))
    labels = torch.arange(5)
    losses = task.losses(photo_batch, labels)
    assert list(losses) == ["ce"]
    assert_close(losses["ce"], nn.functional.cross_entropy(task.network(photo_batch), labels))
    task.total(losses).backward()
    assert all(parameter.grad is not None for parameter in task.network.parameters())


def test_a_few_steps_lower_the_loss(tiny_cnn, classifier_of, photo_batch):
    task = task_for(classifier_of(tiny_cnn.requires_grad_(True)))
    task.network.train()
    rate = torch.optim.SGD(task.network.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(30):
        loss = task.total(task.losses(photo_batch, torch.arange(5)))
        rate.zero_grad()
        loss.backward()
        rate.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_labels_may_be_mixed(tiny_cnn, classifier_of, photo_batch):
    task = task_for(classifier_of(tiny_cnn))
    assert task.losses(photo_batch, torch.full((5, 5), 0.2))["ce"].isfinite()


def test_held_out_photos_have_a_loss_and_an_accuracy_each(tiny_cnn, classifier_of, photo_batch):
    task = task_for(classifier_of(tiny_cnn))
    decisions = task.network.eval()(photo_batch).argmax(dim=1)
    figures = task.evaluate(photo_batch, decisions)
    assert figures["accuracy"].tolist() == [1.0] * 5
    assert figures["loss"].shape == (5,)


def test_without_labels_there_is_nothing_to_train_from(tiny_cnn, classifier_of, photo_batch):
    task = task_for(classifier_of(tiny_cnn))
    assert task.needs_labels
    with pytest.raises(UsageError, match="trained from labels"):
        task.losses(photo_batch, None)


def test_parameters_of_training_shape_the_branch(tiny_cnn, classifier_of):
    network = task_for(classifier_of(tiny_cnn), fin_relu="every", fin_width=4, temperature=0.5, detach_map="true").network
    importance = network.branch.importance
    assert (importance.fin_relu, importance.fin_width, importance.temperature, importance.detach_map) == ("every", 4, 0.5, True)
    assert network.branch.fin[0].weight.shape == (4, 4, 3, 3)
    assert LFITraining() == LFITraining(fin_relu="pair", fin_width=None, temperature=1.0)


def test_the_recipe_is_the_one_for_the_size(tiny_cnn, classifier_of):
    small, large = task_for(classifier_of(tiny_cnn)), task_for(classifier_of(tiny_cnn, size=(96, 96)))
    assert (small.schedule.epochs, small.schedule.batch_size, large.schedule.batch_size) == (300, 128, 256)
    assert (small.schedule.lr, small.schedule.momentum, small.schedule.nesterov) == (0.1, 0.9, False)
    assert (small.schedule.shape, small.schedule.milestones, small.schedule.gamma) == ("step", (0.5, 0.75), 0.1)
    assert small.schedule.weight_decay == 1e-4
    assert (small.augmentation.padding, small.augmentation.margin, large.augmentation.padding) == (4, 1.0, 0)


def test_a_trained_network_is_a_model_of_its_own(tmp_path, photo_batch):
    from xaicli.models.architecture import build, record

    torch.manual_seed(1)
    built = build("tiny@widths=4+8@blocks=1", 3)
    trained = xaicli.classifier(built.module, resize=(32, 32), crop=None, name="tiny")
    task = task_for(trained, fin_width=4)
    told = {
        "method": "lfi-cam",
        **about_classifier(trained),
        "architecture": record(built.spec, 3),
        "view": View((32, 32), None).as_dict(),
        "class_names": ["a", "b", "c"],
        **task.metadata(),
    }
    write_checkpoint(tmp_path / "my-lfi.safetensors", task.finish(), told)
    loaded = load_classifier(str(tmp_path / "my-lfi.safetensors"))
    LFICAM().require(loaded)
    targets = Targets.same(DECISION, 5)
    maps = LFICAM().attribute(loaded, photo_batch, targets, SEEDS)
    with torch.no_grad():
        assert_close(maps.logits, copy.deepcopy(task.network).eval()(photo_batch))
    assert loaded.feature_layer().name == "network.stages"


def test_the_branch_alone_has_the_learning_rate_of_fin_lr(classifier):
    task = task_for(classifier, fin_lr=10)
    names = [f"network.{name}" for name, _ in task.network.named_parameters()]
    fast = {name for name in names if task.rate_of(name) == 10}
    assert fast == {name for name in names if ".branch." in name}
    assert {task.rate_of(name) for name in names} == {1, 10}
