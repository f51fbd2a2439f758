import torch
from torch.testing import assert_close

from xaicli.method import Cost, Sign
from xaicli.methods.random_map import RandomMap
from xaicli.passes.seeds import stream
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])


def test_each_photo_has_noise_of_its_own_that_is_the_same_for_all_its_targets(tiny_cnn, classifier_of, photo_batch):
    maps = RandomMap().attribute(classifier_of(tiny_cnn), photo_batch, Targets.same(TargetRule(top=2), 5), SEEDS)
    assert maps.values.shape == (5, 2, 7, 7)
    assert torch.equal(maps.values[:, 0], maps.values[:, 1])
    assert len(torch.unique(maps.values[:, 0])) == 5 * 49
    assert_close(maps.logits, tiny_cnn(photo_batch), rtol=0, atol=1e-5)


def test_the_noise_depends_on_the_photos_seed_alone(tiny_cnn, classifier_of, photo_batch):
    together = RandomMap().attribute(classifier_of(tiny_cnn), photo_batch, Targets.same(DECISION, 5), SEEDS)
    alone = RandomMap().attribute(classifier_of(tiny_cnn), photo_batch[3:4], Targets.same(DECISION, 1), SEEDS[3:4])
    assert torch.equal(together.values[3], alone.values[0])
    assert torch.equal(together.values[3, 0], torch.from_numpy(stream(4, "noise").random((7, 7), dtype="float32")))


def test_values_lie_between_0_and_1():
    values = torch.stack([torch.from_numpy(stream(seed, "noise").random((7, 7), dtype="float32")) for seed in range(200)])
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(float(values.mean()) - 0.5) < 0.02


def test_what_it_declares():
    assert RandomMap().cost() == Cost()
    assert RandomMap().sign is Sign.NONNEGATIVE
    assert not RandomMap.class_specific
    assert RandomMap.stochastic
    assert RandomMap.name == "random"
