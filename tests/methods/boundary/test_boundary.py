"""Projections on the boundary against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.errors import RunError, UsageError
from xaicli.methods.boundary.boundary import Boundary
from xaicli.methods.boundary.head import project, third_class
from xaicli.methods.boundary.input_space import nearest_boundary
from xaicli.methods.grad_cam import GradCAM
from xaicli.outputs import Outputs
from xaicli.targets import DECISION, TargetRule, Targets

SEEDS = torch.tensor([1, 2, 3, 4, 5])


def head_of(weights, bias):
    head = nn.Linear(len(weights[0]), len(weights))
    with torch.no_grad():
        head.weight.copy_(torch.tensor(weights))
        head.bias.copy_(torch.tensor(bias))
    return head


def point(*numbers):
    return torch.tensor(numbers).view(-1, 1, 1)


def test_a_linear_boundary_is_reached_in_one_step():
    arrival = nearest_boundary(lambda x: (3 * x[0, 0] + 4 * x[0, 1] - 5).flatten(), point(3.0, 4.0), [1], 5, 1e-4)
    assert_close(arrival.point, point(0.6, 0.8), atol=1e-5, rtol=0)
    assert (arrival.rival, arrival.steps, arrival.arrived) == (1, 1, True)
    importance = arrival.slope * (point(3.0, 4.0) - arrival.point)
    assert_close(importance, point(7.2, 12.8), atol=1e-4, rtol=0)


def test_a_curved_boundary_is_reached_by_repeated_steps():
    def margin(x):
        a, b = x[0, 0], x[0, 1]
        first = a + 0.5 * b
        return (first + b + first**2 - 4).flatten()

    one = nearest_boundary(margin, point(1.0, 2.0), [0], 1, 1e-4)
    assert_close(one.point, point(0.463087, 1.624161), atol=1e-5, rtol=0)
    assert float(margin(one.point[None])) == pytest.approx(0.525382, abs=1e-4)
    last = nearest_boundary(margin, point(1.0, 2.0), [0], 20, 1e-6)
    assert_close(last.point, point(0.368217, 1.549939), atol=1e-4, rtol=0)
    assert float((last.point - point(1.0, 2.0)).norm()) == pytest.approx(0.7756964, abs=1e-4)
    assert (last.arrived, one.arrived) == (True, False)


def test_the_nearest_rival_is_by_distance_and_not_by_margin():
    head = head_of([[2.0, 0.0], [0.0, 2.0], [-1.0, -1.0]], [0.0, 0.0, 1.0])
    logits = head(torch.tensor([[2.0, 1.0]])).detach()
    assert logits.tolist() == [[4, 2, -2]]
    found = project(head, logits, torch.tensor([[0, 0]]), torch.tensor([[-1, 2]]), labels=False)
    assert found.rival.tolist() == [[1, 2]]
    assert_close(found.distance, torch.tensor([[0.7071068, 1.8973666]]))


def test_a_flat_network_is_left_where_it_is():
    arrival = nearest_boundary(lambda x: (0 * x).sum().view(1) + 1, point(1.0, 2.0), [0], 5, 1e-4)
    assert not arrival.arrived
    assert torch.equal(arrival.point, point(1.0, 2.0))


def test_in_feature_space_the_map_is_the_change_of_features_through_their_channels(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn)
    maps = Boundary().attribute(classifier, photo_batch, Targets.same(TargetRule(top=2), 5), SEEDS)
    weights, logits = tiny_cnn.head.weight, tiny_cnn(photo_batch)
    for row in range(5):
        for at in range(2):
            index = int(maps.targets.classes[row, at])
            distances = [
                (float((logits[row, index] - logits[row, j]).abs() / (weights[index] - weights[j]).norm()), j)
                for j in range(5)
                if j != index
            ]
            distance, rival = min(distances)
            assert int(maps.extras["rival"][row, at]) == rival
            assert float(maps.extras["distance"][row, at]) == pytest.approx(distance, rel=1e-4)
            apart = weights[index] - weights[rival]
            delta = (logits[row, index] - logits[row, rival]) * apart / apart.square().sum()
            expected = (delta[:, None, None] * tiny_cnn.features(photo_batch[row : row + 1])[0]).sum(dim=0)
            assert_close(maps.values[row, at], expected, atol=1e-5, rtol=1e-4)


def test_in_feature_space_the_map_is_the_grad_cam_of_the_contrast_but_for_scale(tiny_cnn, classifier_of, photo_batch):
    classifier, targets = classifier_of(tiny_cnn), Targets.same(TargetRule(index=1, against=3), 5)
    maps = Boundary().attribute(classifier, photo_batch, targets, SEEDS)
    assert (maps.extras["rival"] == 3).all()
    cams = GradCAM(relu=False).attribute(classifier, photo_batch, targets, SEEDS).values
    for one, other in zip(maps.values[:, 0], cams[:, 0], strict=True):
        assert_close((one / one.abs().max()).abs(), (other / other.abs().max()).abs(), atol=1e-5, rtol=1e-4)


def test_of_labels_the_boundary_is_where_the_logit_is_zero(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn, outputs=Outputs.SIGMOID)
    targets = Targets.same(TargetRule(index=2), 5, Outputs.SIGMOID)
    maps = Boundary().attribute(classifier, photo_batch, targets, SEEDS)
    assert (maps.extras["rival"] == -1).all()
    expected = tiny_cnn(photo_batch)[:, 2].abs() / tiny_cnn.head.weight[2].norm()
    assert_close(maps.extras["distance"][:, 0], expected, atol=1e-5, rtol=1e-4)


def test_in_input_space_two_classes_are_as_likely_at_the_point_that_is_reached(tiny_cnn, classifier_of, photo_batch):
    classifier = classifier_of(tiny_cnn)
    maps = Boundary(space="input", parts=True).attribute(
        classifier, photo_batch.clamp(0.3, 0.7), Targets.same(DECISION, 5), SEEDS
    )
    assert maps.extras["reached"].all()
    assert maps.values.shape == (5, 1, 32, 32)
    start, there = tiny_cnn(photo_batch.clamp(0.3, 0.7)), tiny_cnn(maps.extras["counterfactual"][:, 0])
    for row in range(5):
        index, rival = int(maps.targets.classes[row, 0]), int(maps.extras["rival"][row, 0])
        assert abs(float(there[row, index] - there[row, rival])) <= 0.02 * float(start[row, index] - start[row, rival])


class Coupled(nn.Module):
    """An invertible network: the coupling x2 + F(x1) over a photo's two halves, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head_of([[1.0, 1.0, 0.5], [0.0, 0.0, 0.0]], [-4.0, 0.0])

    def forward(self, inputs):
        first, second, third = inputs.flatten(1).unbind(dim=1)
        one = first + 0.5 * second
        return self.head(torch.stack([one, second + one**2, third], dim=1))

    def inverse(self, features):
        one, two, third = features.unbind(dim=1)
        second = two - one**2
        return torch.stack([one - 0.5 * second, second, third], dim=1).view(-1, 3, 1, 1)


def test_an_invertible_network_gives_the_photo_on_the_boundary(classifier_of):
    classifier = classifier_of(Coupled().eval(), (1, 1), count=2)
    photo = torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1)
    maps = Boundary(space="invertible", parts=True).attribute(classifier, photo, Targets.same(TargetRule(index=0), 1), SEEDS[:1])
    # y = (2, 6, 0), f = 4, w = (1, 1, 1/2): y_p = y - 4/2.25 w.
    features = torch.tensor([[2.0, 6.0, 0.0]]) - 4 / 2.25 * torch.tensor([[1.0, 1.0, 0.5]])
    there = Coupled().inverse(features)
    assert float(Coupled()(there)[0, 0].detach()) == pytest.approx(0, abs=1e-5)
    assert float(maps.extras["distance"][0, 0]) == pytest.approx(float((photo - there).norm()), rel=1e-5)
    slope = torch.autograd.functional.jacobian(lambda x: Coupled()(x)[0, 0], photo)
    assert_close(maps.values[0, 0, 0, 0], (slope * (photo - there)).sum())


def test_the_specifications_coupling_is_inverted_by_hand():
    """F(u) = u/2, G(u) = u^2, head y1 + y2 - 4, x = (1, 2): y_p = (0, 4), x_p = (-2, 4)."""
    head = head_of([[1.0, 1.0], [0.0, 0.0]], [-4.0, 0.0])
    features = torch.tensor([[2.0, 6.0]])
    found = project(head, head(features).detach(), torch.tensor([[0]]), torch.tensor([[1]]), labels=False)
    there = features - (found.margin / found.steepness**2) * (head.weight[0] - head.weight[1])
    assert_close(there.detach(), torch.tensor([[0.0, 4.0]]))
    second = there[0, 1] - there[0, 0] ** 2
    assert_close(torch.stack([there[0, 0] - 0.5 * second, second]).detach(), torch.tensor([-2.0, 4.0]))


def test_what_cannot_be_projected_is_refused(tiny_cnn, classifier_of, photo_batch):
    with pytest.raises(UsageError, match=r"has no method inverse\(features\)"):
        Boundary(space="invertible").require(classifier_of(tiny_cnn))
    with pytest.raises(UsageError, match="gives values"):
        Boundary().require(classifier_of(tiny_cnn, outputs=Outputs.VALUES))
    without = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(UsageError, match="do not come from a linear layer"):
        Boundary().require(classifier_of(without))
    with pytest.raises(UsageError, match="do not come from a linear layer"):
        Boundary().attribute(classifier_of(without), photo_batch, Targets.same(DECISION, 5), SEEDS)


def test_an_inverse_that_is_none_is_refused(classifier_of):
    class Wrong(Coupled):
        def inverse(self, features):
            return super().inverse(features) * 1.5

    photo = torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1)
    with pytest.raises(RunError, match="does not give the photo back"):
        Boundary(space="invertible").attribute(
            classifier_of(Wrong().eval(), (1, 1), count=2), photo, Targets.same(TargetRule(index=0), 1), SEEDS[:1]
        )


def test_a_third_class_above_both_is_told():
    targets, rival = torch.tensor([[0]]), torch.tensor([[1]])
    assert third_class(torch.tensor([[[3.0, 3.0, -2.0]]]), targets, rival).tolist() == [[0]]
    assert third_class(torch.tensor([[[3.0, 3.0, 3.5]]]), targets, rival).tolist() == [[1]]


def test_in_feature_space_a_third_class_is_looked_for_at_the_projection(tiny_cnn, classifier_of, photo_batch):
    maps = Boundary().attribute(classifier_of(tiny_cnn), photo_batch, Targets.same(TargetRule(top=5), 5), SEEDS)
    features = tiny_cnn.features(photo_batch).mean(dim=(2, 3))
    weights, bias = tiny_cnn.head.weight, tiny_cnn.head.bias
    for row in range(5):
        for at in range(5):
            one, other = int(maps.targets.classes[row, at]), int(maps.extras["rival"][row, at])
            apart = weights[one] - weights[other]
            margin = (apart * features[row]).sum() + bias[one] - bias[other]
            there = weights @ (features[row] - margin * apart / apart.square().sum()) + bias
            above = [index for index in range(5) if index not in (one, other) and float(there[index]) > float(there[one]) + 1e-4]
            assert bool(maps.extras["third"][row, at]) == bool(above)
