"""Local passes give the logits of whole passes, on networks with paste points and on networks without."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.errors import RunError
from xaicli.methods.occlusion.crop_plan import (
    CropAxis,
    CropStage,
    PastePoint,
    ReceptiveField,
    chain,
    cheapest,
    cost,
    end_of,
    find_paste_points,
    receptive_field,
)
from xaicli.methods.occlusion.hidden_boxes import pass_with_hidden_boxes
from xaicli.methods.occlusion.local_passes import local_passes
from xaicli.network.folding import Fused, folded

SIDE = 96


def boxes_of(side=SIDE, window=16, stride=11):
    starts = range(0, math.ceil((side - window) / stride) * stride + 1, stride)
    stretches = [(start, min(side, start + window)) for start in starts]
    return [(*rows, *columns) for rows in stretches for columns in stretches]


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(9)
        network = make()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


def block(channels, out, stride=1, **settings):
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, **settings), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def padded():
    return nn.Sequential(
        block(3, 8, 2, padding=1),
        block(8, 8, padding=1),
        block(8, 16, 2, padding=1),
        block(16, 16, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


def unpadded():
    """No padding, overlapping pooling that rounds up, as SqueezeNet's."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(block(channels, channels, padding=1), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, inputs):
        return torch.relu(inputs + self.body(inputs))


def residual():
    return nn.Sequential(
        block(3, 8, 4, padding=1), Residual(8), Residual(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )


class Bypassed(nn.Module):
    """A second path from the photo to the logits leads around the features."""

    def __init__(self):
        super().__init__()
        self.features, self.side, self.head = (
            nn.Sequential(*list(padded())[:4]),
            block(3, 16, 4, padding=1),
            nn.Linear(16, 5),
        )

    def forward(self, inputs):
        return self.head((self.features(inputs) + self.side(inputs)).mean(dim=(2, 3)))


class Gated(nn.Module):
    """The mean over the whole photo acts on every pixel from the start."""

    def __init__(self):
        super().__init__()
        self.inner = padded()

    def forward(self, inputs):
        return self.inner(inputs * inputs.mean(dim=(2, 3), keepdim=True).sigmoid())


def strange():
    """Dilation, windows that round up, strides and kernels of several sizes."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, padding=1, dilation=2),
        nn.GELU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(8, 8, (3, 5), padding=(1, 0)),
        nn.LeakyReLU(),
        nn.AvgPool2d(2, 1),
        nn.Conv2d(8, 8, 1),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


def transformer():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 5)
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, inputs):
            return self.head(self.block(self.patches(inputs).flatten(2).mT).mean(dim=1))

    return Tokens()


@pytest.fixture
def photos():
    coarse = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")


def by_whole_passes(network, photos, hidden, boxes):
    found = torch.zeros(len(photos), len(boxes), 5)
    for at, (top, bottom, left, right) in enumerate(boxes):
        copies = photos.clone()
        copies[:, :, top:bottom, left:right] = hidden[:, :, top:bottom, left:right]
        found[:, at] = network(copies)
    return found


def by_boxes(classifier, photos, hidden, boxes):
    found = torch.full((len(photos), len(boxes), 5), torch.nan)

    def take(row, start, logits):
        found[row, start : start + len(logits)] = logits

    clean = pass_with_hidden_boxes(classifier, photos, hidden, boxes, take)
    return found, clean


@pytest.mark.parametrize(
    "make", [padded, unpadded, residual, strange, Bypassed, Gated, transformer], ids=lambda make: make.__name__
)
@pytest.mark.parametrize(("window", "stride"), [(16, 11), (20, 20), (9, 9)])
def test_logits_are_those_of_whole_passes(classifier_of, photos, make, window, stride):
    network, boxes, hidden = seeded(make), boxes_of(window=window, stride=stride), torch.ones_like(photos)
    found, clean = by_boxes(classifier_of(network, size=(SIDE, SIDE)), photos, hidden, boxes)
    assert_close(found, by_whole_passes(network, photos, hidden, boxes), atol=1e-5, rtol=1e-5)
    assert_close(clean, network(photos), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("make", "works"), [(padded, True), (unpadded, True), (residual, True), (strange, True), (Gated, False)])
def test_networks_with_local_early_layers_are_passed_locally(classifier_of, photos, make, works):
    classifier = classifier_of(seeded(make), size=(SIDE, SIDE))
    with local_passes(classifier, (3, SIDE, SIDE), boxes_of()) as passes:
        assert (passes is not None) == works
        if passes:
            assert cost(passes.stages) < 0.9
            assert all(stage.area < 1 for stage in passes.stages)


@pytest.mark.parametrize("make", [padded, unpadded])
def test_a_network_whose_activations_run_inside_convolutions_is_passed_locally(classifier_of, photos, make):
    _, quick = folded(classifier_of(seeded(make), size=(SIDE, SIDE)), photos[:1])
    with local_passes(quick, (3, SIDE, SIDE), boxes_of()) as passes:
        assert passes is not None
    assert not any(part.apart for part in quick.torch_module.modules() if isinstance(part, Fused))


def test_a_crop_is_all_that_the_early_layers_see(classifier_of, photos):
    network = seeded(padded)
    shapes = []
    hook = network[0][0].register_forward_pre_hook(lambda module, args: shapes.append(args[0].shape))
    by_boxes(classifier_of(network, size=(SIDE, SIDE)), photos, torch.zeros_like(photos), boxes_of())
    hook.remove()
    assert sum(shape[0] for shape in shapes if shape[-1] < SIDE / 2) == 2 * len(boxes_of()) + 3


@pytest.mark.parametrize("size", [(96, 80), (101, 67), (70, 99)], ids=str)
@pytest.mark.parametrize("make", [padded, unpadded, residual, strange], ids=lambda make: make.__name__)
def test_photos_of_any_size_are_passed_right(classifier_of, make, size):
    photos = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(4))
    boxes = [(top, min(top + 13, size[0]), left, min(left + 7, size[1])) for top in range(0, 60, 13) for left in range(0, 66, 7)]
    network = seeded(make)
    found, _ = by_boxes(classifier_of(network, size=size), photos, torch.zeros_like(photos), boxes)
    assert_close(found, by_whole_passes(network, photos, torch.zeros_like(photos), boxes), atol=1e-5, rtol=1e-5)


def test_boxes_may_have_different_sizes(classifier_of, photos):
    boxes = [(top, top + 5 + top // 3, left, left + 20 - left // 6) for top in (0, 20, 40, 66) for left in (0, 17, 30, 50, 85)]
    network = seeded(padded)
    hidden = photos.flip(0)
    found, _ = by_boxes(classifier_of(network, size=(SIDE, SIDE)), photos, hidden, boxes)
    assert_close(found, by_whole_passes(network, photos, hidden, boxes), atol=1e-5, rtol=1e-5)


def test_a_box_that_changes_nothing_has_the_clean_logits_in_half_precision_too(classifier_of, photos):
    hidden = photos.clone()
    hidden[:, :, :20, :20] = 0
    boxes = boxes_of()
    for make in (padded, transformer):
        classifier = classifier_of(seeded(make), size=(SIDE, SIDE), masked_dtype=torch.bfloat16)
        found, clean = by_boxes(classifier, photos, hidden, boxes)
        far = [at for at, box in enumerate(boxes) if box[0] > 60]
        assert_close(found[:, far], clean[:, None].expand(-1, len(far), -1), atol=0.02, rtol=0)


def test_batches_are_halved_when_memory_runs_out_and_nothing_is_lost(classifier_of, photos):
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = seeded(padded)

        def forward(self, inputs):
            if len(inputs) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.inner(inputs)

    network, boxes = Narrow(), boxes_of()
    found, _ = by_boxes(classifier_of(network, size=(SIDE, SIDE), batch_size=16), photos, photos * 0, boxes)
    assert_close(found, by_whole_passes(network, photos, photos * 0, boxes), atol=1e-5, rtol=1e-5)


def test_not_even_one_copy_fitting_is_an_error(classifier_of, photos):
    class Full(nn.Module):
        def forward(self, inputs):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises((RunError, torch.OutOfMemoryError), match="out of memory"):
        by_boxes(classifier_of(Full(), size=(SIDE, SIDE), count=5), photos, photos * 0, boxes_of())


def test_hooks_are_gone_afterwards_also_when_a_taker_raises(classifier_of, photos):
    network = seeded(unpadded)

    def take(row, start, logits):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pass_with_hidden_boxes(classifier_of(network, size=(SIDE, SIDE)), photos, photos * 0, boxes_of(), take)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_black_box_and_a_handful_of_boxes_are_passed_whole(classifier_of, photos):
    network = seeded(padded)
    with local_passes(classifier_of(lambda inputs: network(inputs)), (3, SIDE, SIDE), boxes_of()) as passes:
        assert passes is None
    with local_passes(classifier_of(network), (3, SIDE, SIDE), boxes_of()[:15]) as passes:
        assert passes is None
    found, _ = by_boxes(classifier_of(lambda inputs: network(inputs)), photos, photos * 0, boxes_of())
    assert_close(found, by_whole_passes(network, photos, photos * 0, boxes_of()), atol=1e-5, rtol=1e-5)


def test_reach_is_read_off_the_cells_that_nan_spread_to():
    cells = torch.zeros(48, dtype=torch.bool)
    cells[22:33] = True
    assert receptive_field(cells, 96, 48) == ReceptiveField(48, 2, 2, 1)
    cells[0] = True
    assert receptive_field(cells, 96, 48) is None
    assert receptive_field(torch.zeros(48, dtype=torch.bool), 96, 48) is None
    assert receptive_field(torch.tensor([False, True, False]), 96, 48) is None


def test_a_crop_lies_over_all_that_decides_the_changed_cells():
    point = ReceptiveField(cells=24, stride=4, before=2, after=1)
    assert point.changed(40, 48) == (8, 13)
    assert point.changed(0, 5) == (0, 3)
    assert point.changed(90, 96) == (20, 24)
    axis = CropAxis.between(ReceptiveField(96, 1, 0, 0), point, [(40, 48)])
    assert (axis.lead, axis.trail) == (4, 12)
    # Cells 8 to 12: from 4 pixels before 32 to 12 pixels from 48 on.
    assert axis.length == 32
    assert axis.begin(40, 48) == 28
    assert axis.begin(90, 96) == 64
    uneven = CropAxis.between(ReceptiveField(97, 1, 0, 0), point, [(40, 48)])
    assert uneven.length == 33
    assert uneven.begin(90, 97) == 64
    assert CropAxis.between(ReceptiveField(97, 1, 0, 0), point, [(0, 97)]).length == 97


def test_a_later_crop_needs_the_margin_from_the_cut_before_alone():
    """From one layer of cells of 4 pixels to the next of 8: three more pixels of 4 on either side, not nine."""
    first, second = ReceptiveField(cells=24, stride=4, before=2, after=2), ReceptiveField(cells=12, stride=8, before=2, after=2)
    from_photo = CropAxis.between(ReceptiveField(96, 1, 0, 0), second, [(40, 48)])
    onward = CropAxis.between(first, second, [(40, 48)])
    assert (from_photo.lead, from_photo.trail, from_photo.length) == (16, 24, 72)
    assert (onward.lead, onward.trail, onward.length) == (2, 4, 14)


def test_the_cheapest_choice_of_cuts_is_found():
    axes = [ReceptiveField(96 // stride, stride, spread, spread) for stride, spread in ((2, 1), (2, 1), (4, 2))]
    early, same, late = (PastePoint(nn.Identity(), axis, axis, work) for axis, work in zip(axes, (0.3, 0.301, 0.8), strict=True))
    boxes, size = [(40, 48, 40, 48)], (96, 96)
    stages = cheapest([early, same, late], size, boxes)
    assert [stage.point for stage in stages] in ([early, late], [same, late])
    small, large = (side**2 / cells**2 for side, cells in ((stages[0].size[0], 96), (stages[1].size[0], 48)))
    assert cost(stages) == pytest.approx(0.04 + 0.3 * small + 0.5 * large + 0.2, abs=2e-3)
    assert cost(stages) < cost((CropStage.between(end_of((), size), late, boxes),))
    assert cheapest([], size, boxes) == ()
    assert cost(()) == 1


def test_no_way_leads_from_large_cells_to_small_ones():
    """As in a network that enlarges its features again."""
    axes = [ReceptiveField(96 // stride, stride, 1, 1) for stride in (4, 2)]
    coarse, fine = (PastePoint(nn.Identity(), axis, axis, work) for axis, work in zip(axes, (0.4, 0.9), strict=True))
    assert [stage.point for stage in cheapest([coarse, fine], (96, 96), [(40, 48, 40, 48)])] == [fine]


def test_modules_in_a_row_are_looked_at_and_no_others():
    network = nn.Sequential(block(3, 8), Residual(8))
    wrapped = nn.ModuleDict({"model": network})
    names = [name for part in chain(wrapped) for name, module in wrapped.named_modules() if module is part]
    assert names == ["model", "model.0", "model.0.0", "model.0.1", "model.0.2", "model.1"]


def test_cuts_come_in_the_order_of_the_network(photos):
    network = seeded(padded)
    points = find_paste_points(network, network, photos[0])
    assert [point.work for point in points] == sorted(point.work for point in points)
    assert 0 < points[0].work < points[-1].work <= 1
    assert all(point.module in set(network.modules()) for point in points)


def test_a_network_on_which_noise_shows_nothing_is_passed_whole(classifier_of, photos):
    """Its first layer answers to very bright pixels alone: on noise local and whole passes agree at any paste point."""
    network = seeded(Bypassed)
    for convolution in (network.features[0][0], network.side[0]):
        convolution.weight.mul_(0.01)
        convolution.bias.fill_(-1.0)
    for norm in (network.features[0][1], network.side[1]):
        norm.running_mean.zero_()
        norm.bias.zero_()
    bright = photos.abs() * 1000
    boxes = boxes_of()
    found, _ = by_boxes(classifier_of(network, size=(SIDE, SIDE)), bright, bright * 0, boxes)
    expected = by_whole_passes(network, bright, bright * 0, boxes)
    assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-5)


def test_a_way_around_the_cut_is_noticed(classifier_of):
    """Nothing of the side path passes the features, so that pasting there cannot be right."""
    network = seeded(Bypassed)
    with local_passes(classifier_of(network, size=(SIDE, SIDE)), (3, SIDE, SIDE), boxes_of()) as passes:
        assert passes is None or not {stage.point.module for stage in passes.stages} & set(network.features.modules())
