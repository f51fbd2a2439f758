import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.errors import InputError, UsageError
from xaicli.method import Needs, Sign
from xaicli.methods.tame.t_tame import TAME, TTAME, TTAMETraining
from xaicli.methods.ucag.ucag import UCAG
from xaicli.models.checkpoint import about_classifier, checkpoints_folder, write_checkpoint
from xaicli.models.load import load_classifier
from xaicli.runs.records import resolved_layer
from xaicli.targets import DECISION, TargetRule, Targets
from xaicli.task import TaskOptions
from xaicli.training.frozen import frozen

DATA = Path(__file__).resolve().parents[2] / "data" / "colours.py"
SEEDS = torch.arange(64)


@pytest.fixture(scope="module")
def colours():
    return load_classifier(f"{DATA}:colours")


def task_for(classifier, method=TTAME(), **given):
    torch.manual_seed(0)
    return method.task(classifier, TaskOptions(parameters={key: str(value) for key, value in given.items()}))


def train(task, squares, steps, photos=16):
    """The losses of each step."""
    rate = torch.optim.SGD(task.head.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    task.head.train()
    with frozen(task.frozen):
        for step in range(steps):
            loss = task.total(task.losses(squares(photos, step)[0], None))
            rate.zero_grad()
            loss.backward()
            rate.step()
            losses.append(loss.item())
    task.head.eval()
    return losses


def save(task, path, method="t-tame"):
    write_checkpoint(path, task.finish(), {"method": method, **about_classifier(task.classifier), **task.metadata()})
    return str(path)


@pytest.fixture(scope="module")
def trained(colours, squares, tmp_path_factory):
    task = task_for(colours)
    losses = train(task, squares, 120)
    return task, losses, save(task, tmp_path_factory.mktemp("trained") / "colours.safetensors")


# What training brings


def test_after_a_minute_of_training_maps_point_at_what_decides(colours, squares, trained):
    _, losses, path = trained
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    photos, classes, where = squares(64, 1000)
    maps = TTAME(checkpoint=path).attribute(colours, photos, Targets.same(DECISION, 64), SEEDS)
    assert maps.targets.classes[:, 0].tolist() == classes.tolist()
    shown = nn.functional.interpolate(maps.values, (32, 32), mode="bilinear")[:, 0]
    inside = (shown * where).sum(dim=(1, 2)) / shown.sum(dim=(1, 2))
    # A map that knew nothing would have the square's share of the photo, a tenth.
    assert inside.mean() > 0.3


def test_the_masked_photo_is_decided_as_the_photo_was(squares, trained):
    figures = trained[0].evaluate(squares(64, 2000)[0], None)
    assert figures["kept"].mean() > 0.95
    assert figures["probability left"].mean() > 0.8
    assert set(figures) == {"loss", "ce", "area", "variation", "kept", "probability left"}


def test_the_classifier_is_bit_identical_after_training_steps(colours, squares):
    before = {name: tensor.clone() for name, tensor in colours.module.state_dict().items()}
    gradients = [parameter.requires_grad for parameter in colours.module.parameters()]
    train(task_for(colours), squares, 3)
    assert all(torch.equal(before[name], tensor) for name, tensor in colours.module.state_dict().items())
    assert [parameter.requires_grad for parameter in colours.module.parameters()] == gradients
    assert all(parameter.grad is None for parameter in colours.module.parameters())


# The masked photo


def test_a_mask_of_ones_is_the_photo_and_a_mask_of_zeros_is_black(colours, squares):
    view = dataclasses.replace(colours.view, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    classifier = dataclasses.replace(colours, view=view)
    photos = view.normalise(squares(4, 5)[0])
    for baseline in ("black", "zero", "mean", "blur"):
        task = task_for(classifier, baseline=baseline)
        shown = task.masked(photos, torch.ones(4, 7, 7))
        assert_close(classifier(shown), classifier(photos))
    black = view.normalise(torch.zeros(4, 3, 32, 32))
    assert_close(task_for(classifier).masked(photos, torch.zeros(4, 7, 7)), black)
    assert_close(task_for(classifier, baseline="zero").masked(photos, torch.zeros(4, 7, 7)), torch.zeros(4, 3, 32, 32))


def test_the_mask_multiplies_pixels_not_what_the_network_sees(colours):
    view = dataclasses.replace(colours.view, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    task = task_for(dataclasses.replace(colours, view=view))
    seen = task.masked(torch.zeros(1, 3, 32, 32), torch.full((1, 4, 4), 0.5))
    assert_close(seen[0, 0, 0, 0], torch.tensor(-1.058952), atol=1e-5, rtol=0)


# The loss


def by_hand(task, photos):
    """The loss as it is written, from the dense maps: no classes left out, no batch other than its own."""
    classifier, head = task.classifier, task.head
    stem = classifier.module.stem(photos)
    body = classifier.module.body(stem)
    branches = [branch(part) for branch, part in zip(head.branches, (stem, body), strict=True)]
    joined = torch.cat([branches[0], nn.functional.interpolate(branches[1], stem.shape[2:], mode="bilinear")], dim=1)
    maps = nn.functional.conv2d(joined, head.fuser.weight[:, :, None, None], head.fuser.bias).sigmoid()
    wanted = classifier(photos).argmax(dim=1)
    mask = nn.functional.interpolate(maps[torch.arange(len(photos)), wanted][:, None], photos.shape[2:], mode="bilinear")
    whole = maps[:, wanted]
    inside = whole.diff(dim=2).square().sum() + whole.diff(dim=3).square().sum()
    edges = sum(part.square().sum() for part in (whole[:, :, 0], whole[:, :, -1], whole[..., 0], whole[..., -1]))
    return {
        "ce": nn.functional.cross_entropy(classifier(photos * mask), wanted),
        "area": (whole + 0.0005).pow(0.3).mean(),
        "variation": (inside + 0.3 * edges) / (2 * len(photos)),
    }


@pytest.mark.parametrize("fast", [True, False], ids=["sparse", "dense"])
def test_the_loss_is_the_published_one(colours, squares, fast):
    photos = squares(6, 3)[0]
    task = task_for(colours, reference="none", fast_fuser=fast)
    task.head.eval()
    with frozen(task.frozen):
        ours, theirs = task.losses(photos, None), by_hand(task, photos)
        found = []
        for terms in (ours, theirs):
            total = 1.5 * terms["ce"] + 2 * terms["area"] + 0.01 * terms["variation"]
            found.append([total, *torch.autograd.grad(total, list(task.head.parameters()))])
    assert_close(task.total(ours), found[0][0])
    for name in theirs:
        assert_close(ours[name], theirs[name])
    for one, other in zip(*found, strict=True):
        assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_matched_maps_are_the_photos_own_alone(colours, squares):
    photos = squares(6, 3)[0]
    for fast in (True, False):
        task = task_for(colours, maps="matched", fast_fuser=fast)
        task.head.eval()
        with frozen(task.frozen), torch.no_grad():
            whole, each = task.losses(photos, None), [task.losses(photo[None], None) for photo in photos]
        for name, value in whole.items():
            assert_close(value, torch.stack([terms[name] for terms in each]).mean())


def test_labels_may_say_which_class_is_masked_for(colours, squares):
    photos, classes, _ = squares(4, 3)
    task = task_for(colours, target="label")
    assert task.needs_labels
    other = (classes + 1) % 3
    with frozen(task.frozen), torch.no_grad():
        assert task.losses(photos, other)["ce"] > task.losses(photos, classes)["ce"]
    with pytest.raises(UsageError, match="needs labels"):
        task.losses(photos, None)


# The recipe


def test_the_recipe_is_the_published_one(colours):
    schedule = task_for(colours).schedule
    assert (schedule.epochs, schedule.batch_size, schedule.lr, schedule.weight_decay) == (8, 32, 1e-3, 5e-4)
    assert (schedule.optimizer, schedule.nesterov, schedule.shape, schedule.decay) == ("sgd", True, "one-cycle", "weights")
    assert schedule.cycle_momentum
    assert dict(task_for(colours).weights) == {"ce": 1.5, "area": 2.0, "variation": 0.01}
    assert (TTAMETraining().max_map, TTAMETraining().power, TTAMETraining().border) == (56, 0.3, 0.3)


def test_tame_has_the_recipe_of_its_year_and_is_for_convolutions(colours, tiny_vit, classifier_of):
    assert (task_for(colours, TAME()).schedule.epochs, task_for(colours, TAME()).name) == (8, "tame")
    from torchvision.models.resnet import BasicBlock, ResNet

    residual = classifier_of(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5).eval())
    assert (task_for(residual, TAME()).schedule.epochs, task_for(residual, TAME()).schedule.lr) == (4, 1e-4)
    with pytest.raises(UsageError, match="tame is for convolutional networks"):
        task_for(classifier_of(tiny_vit), TAME())


def test_layers_can_be_named(colours):
    assert task_for(colours, layers="body.0+body").metadata()["layers"] == ["body.0", "body"]
    with pytest.raises(UsageError, match='no layer "boddy"'):
        task_for(colours, layers="boddy")


def test_a_black_box_cannot_be_trained_for(classifier_of):
    with pytest.raises(UsageError, match="t-tame is trained through the network"):
        task_for(classifier_of(lambda inputs: inputs.mean(dim=(2, 3))))


def test_a_parameter_that_is_not_there_is_refused(colours):
    with pytest.raises(UsageError, match=r't-tame has no parameter "aera"\. Did you mean area'):
        task_for(colours, aera=1)


# Vision transformers


def test_patches_may_be_gated_by_the_class_token(tiny_vit, classifier_of, photo_batch, tmp_path):
    classifier = classifier_of(tiny_vit)
    plain, gated = task_for(classifier), task_for(classifier, cls_gate=True)
    with torch.no_grad():
        (features, logits), (multiplied, _) = plain.features_and_logits(photo_batch), gated.features_and_logits(photo_batch)
    tokens = []
    blocks = [tiny_vit.get_submodule(name) for name in plain.metadata()["layers"]]
    hooks = [block.register_forward_hook(lambda _, args, output: tokens.append(output[:, 0])) for block in blocks]
    with torch.no_grad():
        assert_close(tiny_vit(photo_batch), logits)
    for hook in hooks:
        hook.remove()
    for grid, token, product in zip(features, tokens, multiplied, strict=True):
        assert_close(product, grid * token[:, :, None, None])
    path = save(gated, tmp_path / "gated.safetensors")
    maps = TTAME(checkpoint=path, scaling="none").attribute(classifier, photo_batch, Targets.same(DECISION, 5), SEEDS[:5])
    gated.head.eval()
    with torch.no_grad():
        expected = gated.head(multiplied, logits.argmax(dim=1)[:, None])
    assert_close(maps.values, expected)


def test_a_convolutional_network_has_no_class_token_to_gate_by(colours):
    with pytest.raises(UsageError, match="cls_gate: layer stem has no class token"):
        task_for(colours, cls_gate=True)


# Explaining


def test_a_map_is_the_class_score_scaled_to_its_range(colours, squares, trained):
    photos = squares(3, 7)[0]
    shown = {
        scaling: TTAME(checkpoint=trained[2], scaling=scaling).attribute(
            colours, photos, Targets.same(TargetRule(index=1), 3), SEEDS[:3]
        )
        for scaling in ("minmax", "sigmoid", "none")
    }
    scores = shown["none"].values
    with torch.no_grad():
        features, _ = trained[0].features_and_logits(photos)
        assert_close(scores, trained[0].head.dense(features)[:, 1:2])
    low, high = scores.amin(dim=(2, 3), keepdim=True), scores.amax(dim=(2, 3), keepdim=True)
    assert_close(shown["minmax"].values, (scores - low) / (high - low))
    assert_close(shown["sigmoid"].values, scores.sigmoid())
    assert TTAME().sign is Sign.NONNEGATIVE
    assert TTAME(scaling="none").sign is Sign.SIGNED


def test_explaining_costs_one_pass_and_asks_for_no_gradient():
    assert TTAME().cost().forward == 1
    assert TTAME().cost().backward == 0
    assert TTAME.needs == Needs.FEATURES | Needs.CHECKPOINT


def test_a_checkpoint_counts_by_its_content_not_its_place(trained, tmp_path):
    path = Path(trained[2])
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    given = TTAME(checkpoint=str(path)).parameters_as_given()
    assert TTAME(checkpoint=str(copy)).parameters_as_given() == given
    assert given["checkpoint"].startswith("colours.safetensors ")
    assert str(path.parent) not in str(given)
    copy.write_bytes(b"other")
    assert TTAME(checkpoint=str(copy)).parameters_as_given() != given
    assert TTAME(checkpoint=str(tmp_path / "gone")).parameters_as_given()["checkpoint"] == "gone"
    assert TTAME().parameters_as_given()["checkpoint"] == "auto"


def test_an_installed_checkpoint_is_found_by_itself(colours, squares, trained):
    photos = squares(2, 7)[0]
    targets = Targets.same(DECISION, 2)
    with pytest.raises(InputError, match=r"no checkpoint of t-tame .* xai train t-tame --model"):
        TTAME().require(colours)
    save(trained[0], checkpoints_folder() / "mine.safetensors")
    found = TTAME().attribute(colours, photos, targets, SEEDS[:2]).values
    assert torch.equal(found, TTAME(checkpoint=trained[2]).attribute(colours, photos, targets, SEEDS[:2]).values)


def test_a_checkpoint_of_another_method_or_network_is_refused(colours, trained, tiny_cnn, classifier_of):
    with pytest.raises(InputError, match="was trained for t-tame, not for tame"):
        TAME(checkpoint=trained[2]).require(colours)
    with pytest.raises(InputError, match="was trained for another classifier"):
        TTAME(checkpoint=trained[2]).require(classifier_of(tiny_cnn, count=3))
    with pytest.raises(InputError, match="there is no file"):
        TTAME(checkpoint="gone.safetensors").require(colours)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda told: {**told, "layers": ["gone", "body"]}, 'no layer "gone"'),
        (lambda told: {**told, "layers": []}, "names no layers"),
        (lambda told: {**told, "layers": ["body"]}, "channels"),
        (lambda told: {**told, "attention": None}, "holds no attention"),
        (lambda told: {**told, "attention": {"channels": [8, 8]}}, "damaged"),
        (lambda told: {**told, "attention": {**told["attention"], "channels": [8, 9]}}, "damaged"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_words(colours, trained, tmp_path, damage, words):
    task = trained[0]
    told = {"method": "t-tame", **about_classifier(colours), **task.metadata()}
    write_checkpoint(tmp_path / "damaged.safetensors", task.finish(), damage(told))
    with pytest.raises((InputError, UsageError), match=words):
        TTAME(checkpoint=str(tmp_path / "damaged.safetensors")).require(colours)


def test_under_half_precision_the_loss_is_about_the_same(colours, squares):
    photos = squares(6, 3)[0]
    for fast in (True, False):
        task = task_for(colours, fast_fuser=fast)
        task.head.eval()
        with frozen(task.frozen):
            exact = task.losses(photos, None)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                half = task.losses(photos, None)
            task.total(half).backward()
        for name, value in exact.items():
            assert half[name].dtype == torch.float32
            assert_close(half[name], value, atol=0.05, rtol=0.05)
        assert all(parameter.grad.isfinite().all() for parameter in task.head.parameters())


def test_slices_can_be_explained_by_it(colours, squares, trained):
    photos = squares(2, 7)[0]
    method = UCAG(base=TTAME(checkpoint=trained[2]))
    method.require(colours)
    assert method.attribute(colours, photos, Targets.same(DECISION, 2), SEEDS[:2]).values.isfinite().all()
    with pytest.raises(InputError, match="there is no file"):
        UCAG(base=TTAME(checkpoint="gone.safetensors")).require(colours)


def test_the_record_names_the_layers_that_were_read(colours, trained):
    assert resolved_layer(TTAME(checkpoint=trained[2]), colours) == "stem+body"
