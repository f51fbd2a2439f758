import pytest
import torch
from torch import nn
from torch.testing import assert_close

from xaicli.methods.tame.fuser import Fuser, doublings
from xaicli.methods.tame.mask_losses import area, variation

CHANNELS = (3, 4, 5)
CLASSES = 7


def features_of(photos, sizes=((8, 8), (4, 4), (2, 2))):
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(photos, channels, *size, generator=generator, dtype=torch.float64).requires_grad_()
        for channels, size in zip(CHANNELS, sizes, strict=True)
    ]


def fuser_of(**settings):
    torch.manual_seed(0)
    return Fuser(CHANNELS, CLASSES, **settings).double()


def with_rows(rows, bias):
    fuser = Fuser((1, 1), len(rows))
    with torch.no_grad():
        fuser.weight.copy_(torch.tensor(rows))
        fuser.bias.copy_(torch.tensor(bias))
    return fuser


def test_the_published_example():
    fuser = with_rows([[1.0, 0], [0, 0.5], [-1, 1]], [0.0, 0, 1])
    features = [torch.tensor([[[[1.0, 0], [0, 1]]]]), torch.tensor([[[[0.0, 2], [2, 0]]]])]
    maps = fuser(features, torch.tensor([1]), (2, 2))
    assert_close(maps, torch.tensor([[[[0.0, 1], [1, 0]]]]))
    mask = maps.sigmoid()
    assert_close(mask, torch.tensor([[[[0.5, 0.731059], [0.731059, 0.5]]]]), atol=1e-6, rtol=0)
    assert_close(2 * area(mask)[0, 0], torch.tensor(1.722985), atol=1e-6, rtol=0)
    assert_close((2 * area(mask) + 0.01 * variation(mask))[0, 0], torch.tensor(1.728759), atol=1e-6, rtol=0)


@pytest.mark.parametrize("upsampling", ["single", "doubling"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("labels", [[2, 5, 0], [4, 4, 1]], ids=["distinct", "duplicates"])
@pytest.mark.parametrize("form", ["batch", "matched"])
def test_the_sparse_form_has_the_dense_forms_loss_and_gradients(upsampling, bias, labels, form):
    labels = torch.tensor(labels)
    photos = torch.arange(3)

    def loss_of(maps):
        masks = maps.sigmoid()
        return area(masks).sum() + variation(masks).sum() + (maps * torch.arange(64.0).view(8, 8)).mean()

    def dense(fuser, features):
        whole = fuser.dense(features, (8, 8))
        return whole[photos, labels][:, None] if form == "matched" else whole[:, labels]

    def sparse(fuser, features):
        if form == "matched":
            return fuser(features, labels[:, None], (8, 8))
        classes, row = labels.unique(return_inverse=True)
        return fuser(features, classes, (8, 8))[:, row]

    found = []
    for way in (dense, sparse):
        fuser, features = fuser_of(upsampling=upsampling, bias=bias), features_of(3)
        maps = way(fuser, features)
        loss = loss_of(maps)
        loss.backward()
        found.append([maps.detach(), loss.detach(), *(part.grad for part in (*fuser.parameters(), *features))])
    for one, other in zip(*found, strict=True):
        assert_close(one, other, atol=1e-12, rtol=1e-12)
    gradient = found[1][2]
    absent = [row for row in range(CLASSES) if row not in labels.tolist()]
    assert not gradient[absent].any()
    assert gradient[labels].any(dim=1).all()


def test_absent_classes_receive_a_dense_gradient_of_zeros():
    fuser, features = fuser_of(), features_of(2)
    fuser(features, torch.tensor([3]), (8, 8)).sum().backward()
    assert fuser.weight.grad.layout == torch.strided
    assert not fuser.weight.grad[0].any()
    optimiser = torch.optim.SGD(fuser.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    before = fuser.weight[0].clone()
    optimiser.step()
    assert_close(fuser.weight[0], before * (1 - 0.1 * 0.1))


def test_upsampling_has_half_pixel_centres():
    fuser = Fuser((1,), 1)
    assert_close(fuser.resize(torch.tensor([[[[0.0, 1]]]]), (1, 4)), torch.tensor([[[[0, 0.25, 0.75, 1]]]]))
    assert_close(fuser.resize(torch.tensor([[[[0.0, 1, 0]]]]), (1, 4)), torch.tensor([[[[0, 0.625, 0.625, 0]]]]))


def test_doubling_twice_is_not_resizing_once():
    square = torch.tensor([0.0, 1]).expand(1, 1, 2, 2)
    doubled = Fuser((1,), 1, upsampling="doubling").resize(square, (8, 8))[0, 0, 0]
    once = Fuser((1,), 1, upsampling="single").resize(square, (8, 8))[0, 0, 0]
    assert_close(doubled, torch.tensor([0, 0.0625, 0.1875, 0.375, 0.625, 0.8125, 0.9375, 1]))
    assert_close(once, torch.tensor([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]))


@pytest.mark.parametrize(
    ("size", "wanted", "expected"),
    [((56, 56), (56, 56), 0), ((28, 28), (56, 56), 1), ((7, 7), (56, 56), 3), ((5, 5), (15, 15), None), ((8, 8), (4, 4), None)],
)
def test_how_often_a_size_is_doubled(size, wanted, expected):
    assert doublings(size, wanted) == expected


def test_sizes_that_no_doubling_reaches_are_resized_once():
    fuser = Fuser((1,), 1, upsampling="doubling")
    maps = torch.rand(1, 1, 5, 5)
    assert_close(fuser.resize(maps, (14, 14)), nn.functional.interpolate(maps, (14, 14), mode="bilinear"))


def test_some_classes_for_each_photo():
    fuser, features = fuser_of(), features_of(2)
    classes = torch.tensor([[0, 6], [3, 3]])
    whole = fuser.dense(features, (8, 8))
    expected = torch.stack([whole[0, [0, 6]], whole[1, [3, 3]]])
    assert_close(fuser(features, classes, (8, 8)), expected)
