"""What the boundary costs: on a linear head one forward pass and few passes of the head."""

from __future__ import annotations

import pytest
import torch

from xaicli.methods.boundary.boundary import Boundary
from xaicli.outputs import Outputs
from xaicli.targets import TargetRule, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])


@pytest.mark.parametrize(("top", "outputs"), [(1, Outputs.SOFTMAX), (5, Outputs.SOFTMAX), (1, Outputs.SIGMOID)])
def test_on_a_linear_head_there_is_one_forward_pass_and_at_most_ten_of_the_head(
    tiny_cnn, classifier_of, photo_batch, top, outputs
):
    passes = {"network": 0, "features": 0, "head": 0}

    def counting(name):
        def count(*arguments):
            passes[name] += 1

        return count

    classifier = classifier_of(tiny_cnn, outputs=outputs)
    # Looked for once a classifier, not once a photo.
    classifier.feature_layer()
    hooks = [
        tiny_cnn.register_forward_hook(counting("network")),
        tiny_cnn.features[0].register_forward_hook(counting("features")),
        tiny_cnn.head.register_forward_hook(counting("head")),
        tiny_cnn.head.register_full_backward_hook(counting("head")),
    ]
    Boundary().attribute(classifier, photo_batch, Targets.same(TargetRule(top=top), 5, outputs), SEEDS)
    for hook in hooks:
        hook.remove()
    assert (passes["network"], passes["features"]) == (1, 1)
    assert passes["head"] == 1 + top <= 10


def test_other_spaces_count_their_passes(tiny_cnn, classifier_of, photo_batch):
    calls = 0

    def count(*arguments):
        nonlocal calls
        calls += 1

    method = Boundary(space="input", smooth=4, rounds=7, parts=True)
    classifier, targets = classifier_of(tiny_cnn), Targets.same(TargetRule(top=1), 1)
    hook = tiny_cnn.register_forward_hook(count)
    # The first call also tries out what runs the network.
    method.attribute(classifier, photo_batch[:1], targets, SEEDS[:1])
    calls = 0
    maps = method.attribute(classifier, photo_batch[:1], targets, SEEDS[:1])
    hook.remove()
    unused = method.max_steps - int(maps.extras["iterations"])
    assert calls == method.cost().forward - unused
