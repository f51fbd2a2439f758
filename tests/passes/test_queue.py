"""The queue against the plain loop: each copy passed alone, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from xaicli.errors import RunError, UsageError
from xaicli.passes.queue import CopyJob, clean_logits, run

SHAPE = (3, 12, 10)
SIZES = (3, 10, 1, 0, 7)


@pytest.fixture
def photos() -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(size, *SHAPE, generator=generator) for size in SIZES]


class Collector:
    """Blocks that copy given photos, and the logits taken; refuses to be filled twice over or taken twice."""

    def __init__(self, photos: list[Tensor]) -> None:
        self.photos = photos
        self.taken = [torch.full((len(photo), 5), torch.nan) for photo in photos]
        self.order: list[tuple[int, int]] = []
        self.most_filled = 0

    def jobs(self) -> Iterator[CopyJob]:
        for number in range(len(self.photos)):
            yield self.job(number)

    def job(self, number: int) -> CopyJob:
        def write(out: Tensor, start: int, stop: int) -> None:
            assert out.shape == (stop - start, *SHAPE)
            self.most_filled = max(self.most_filled, stop - start)
            out.copy_(self.photos[number][start:stop])

        def receive(logits: Tensor, start: int, stop: int) -> None:
            assert logits.dtype == torch.float32
            assert self.taken[number][start:stop].isnan().all()
            self.taken[number][start:stop] = logits
            self.order.extend((number, at) for at in range(start, stop))

        return CopyJob(len(self.photos[number]), write, receive)


def one_by_one(network: nn.Module, photos: list[Tensor]) -> list[Tensor]:
    return [torch.cat([network(copy[None]) for copy in photo]) if len(photo) else torch.empty(0, 5) for photo in photos]


class Scarce:
    """A network whose device holds `room` photos at a time."""

    def __init__(self, network: nn.Module, room: int, error: Callable[[], BaseException] = torch.OutOfMemoryError) -> None:
        self.network, self.room, self.error = network, room, error
        self.passes: list[int] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        if len(inputs) > self.room:
            raise self.error()
        self.passes.append(len(inputs))
        return self.network(inputs)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 4, 8, 100])
@pytest.mark.parametrize("exact", [True, False])
def test_logits_are_those_of_each_copy_alone_whatever_the_batch_size(tiny_cnn, classifier_of, photos, batch_size, exact):
    collector = Collector(photos)
    run(classifier_of(tiny_cnn, SHAPE[1:]), collector.jobs(), SHAPE, batch_size=batch_size, exact=exact)
    for taken, expected in zip(collector.taken, one_by_one(tiny_cnn, photos), strict=True):
        assert_close(taken, expected, rtol=0, atol=1e-5)


def test_batches_are_full_across_blocks(tiny_cnn, classifier_of, photos):
    plenty = Scarce(tiny_cnn, room=100)
    run(classifier_of(plenty, SHAPE[1:]), Collector(photos).jobs(), SHAPE, batch_size=4, exact=True)
    assert plenty.passes == [4, 4, 4, 4, 4, 1]


def test_takes_come_in_order_and_cover_each_copy_once(tiny_cnn, classifier_of, photos):
    collector = Collector(photos)
    run(classifier_of(tiny_cnn, SHAPE[1:]), collector.jobs(), SHAPE, batch_size=4, exact=True)
    assert collector.order == [(number, at) for number, size in enumerate(SIZES) for at in range(size)]


@pytest.mark.parametrize("room", [7, 3, 1])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, lambda: RuntimeError("DefaultCPUAllocator: not enough memory")])
def test_batches_are_halved_until_they_fit_without_loss_or_double_take(tiny_cnn, classifier_of, photos, room, error):
    scarce, collector = Scarce(tiny_cnn, room, error), Collector(photos)
    left = run(classifier_of(scarce, SHAPE[1:]), collector.jobs(), SHAPE, batch_size=16, exact=True)
    assert left == max(size for size in (1, 2, 4, 8, 16) if size <= room)
    assert sum(scarce.passes) == sum(SIZES)
    for taken, expected in zip(collector.taken, one_by_one(tiny_cnn, photos), strict=True):
        assert_close(taken, expected, rtol=0, atol=1e-5)


def test_a_network_that_changes_its_input_in_place_and_then_fails_gets_it_anew(tiny_cnn, classifier_of, photos):
    def normalising(inputs: Tensor) -> Tensor:
        inputs.sub_(0.5).div_(2)
        if len(inputs) > 3:
            raise torch.OutOfMemoryError
        return tiny_cnn(inputs)

    expected = one_by_one(tiny_cnn, [(photo - 0.5) / 2 for photo in photos])
    for inside in (False, True):
        collector = Collector(photos)
        with torch.inference_mode(inside):
            run(classifier_of(normalising, SHAPE[1:]), collector.jobs(), SHAPE, batch_size=8, exact=True)
        for taken, wanted in zip(collector.taken, expected, strict=True):
            assert_close(taken, wanted, rtol=0, atol=1e-5)


def test_a_fill_that_runs_out_of_memory_is_asked_for_less(tiny_cnn, classifier_of, photos):
    collector = Collector(photos)

    def scarce(job: CopyJob) -> CopyJob:
        def write(out: Tensor, start: int, stop: int) -> None:
            if stop - start > 2:
                raise torch.OutOfMemoryError
            job.write(out, start, stop)

        return CopyJob(job.size, write, job.receive)

    left = run(classifier_of(tiny_cnn, SHAPE[1:]), map(scarce, collector.jobs()), SHAPE, batch_size=16, exact=True)
    assert left == 2
    assert collector.most_filled == 2
    for taken, expected in zip(collector.taken, one_by_one(tiny_cnn, photos), strict=True):
        assert_close(taken, expected, rtol=0, atol=1e-5)


def test_one_copy_that_does_not_fit_is_an_error_in_one_line(tiny_cnn, classifier_of, photos):
    with pytest.raises(RunError, match="ran out of memory on a single 12 x 10 input"):
        run(classifier_of(Scarce(tiny_cnn, 0), SHAPE[1:]), Collector(photos).jobs(), SHAPE, batch_size=8, exact=True)


def test_other_failures_of_the_network_pass_through(classifier_of, photos):
    def broken(inputs: Tensor) -> Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(classifier_of(broken, SHAPE[1:]), Collector(photos).jobs(), SHAPE, exact=True)


def test_a_network_that_returns_too_few_rows_is_refused(tiny_cnn, classifier_of, photos):
    with pytest.raises(RunError, match=r"has 1 row for 4 photos.*--batch-size"):
        run(classifier_of(lambda x: tiny_cnn(x)[:1], SHAPE[1:]), Collector(photos).jobs(), SHAPE, batch_size=4, exact=True)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(tiny_cnn, classifier_of, batch_size):
    with pytest.raises(UsageError, match="at least 1"):
        run(classifier_of(tiny_cnn), [], SHAPE, batch_size=batch_size, exact=True)


def test_the_classifier_says_how_large_a_batch_may_be(tiny_cnn, classifier_of, photos):
    plenty = Scarce(tiny_cnn, room=100)
    run(classifier_of(plenty, SHAPE[1:], batch_size=5), Collector(photos).jobs(), SHAPE, exact=True)
    assert plenty.passes == [5, 5, 5, 5, 1]


def test_blocks_are_read_as_they_are_needed(tiny_cnn, classifier_of, photos):
    read, passed = [], []

    def network(inputs: Tensor) -> Tensor:
        passed.append(len(read))
        return tiny_cnn(inputs)

    def jobs() -> Iterator[CopyJob]:
        for number in range(6):
            read.append(number)
            yield CopyJob(2, lambda out, start, stop: out.zero_(), lambda logits, start, stop: None)

    run(classifier_of(network, SHAPE[1:]), jobs(), SHAPE, batch_size=2, exact=True)
    assert passed == [2, 3, 4, 5, 6, 6]


def test_no_blocks_are_no_work(classifier_of):
    def network(inputs: Tensor) -> Tensor:
        raise AssertionError("nothing was asked")

    run(classifier_of(network), [], SHAPE, exact=True)


class Noting(nn.Module):
    """Notes mode, precision and layout of its passes; flattens as old networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.drop = nn.Dropout(0.5)
        self.seen: list[tuple[bool, bool, torch.dtype]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.conv(inputs)
        self.seen.append((self.training or self.drop.training, torch.is_grad_enabled(), hidden.dtype))
        return self.drop(hidden).flatten(1)[:, :5]


@pytest.mark.parametrize(("exact", "dtype"), [(True, torch.float32), (False, torch.bfloat16)])
def test_passes_run_in_evaluation_mode_without_gradients_at_the_precision_asked_for(classifier_of, photos, exact, dtype):
    network = Noting().train()
    classifier = classifier_of(network, SHAPE[1:], count=5).with_masked_dtype(torch.bfloat16)
    run(classifier, Collector(photos).jobs(), SHAPE, batch_size=8, exact=exact)
    assert set(network.seen) == {(False, False, dtype)}
    assert network.training
    assert network.drop.training


def test_exact_passes_are_float32_under_a_caller_who_set_autocast(classifier_of, photos):
    network = Noting()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        run(classifier_of(network, SHAPE[1:], count=5), Collector(photos).jobs(), SHAPE, exact=True)
    assert {dtype for _, _, dtype in network.seen} == {torch.float32}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_leaves_the_network_as_it_was(classifier_of, photos, error):
    network = Noting().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def receive(logits: Tensor, start: int, stop: int) -> None:
        raise error

    job = CopyJob(9, lambda out, start, stop: out.zero_(), receive)
    with pytest.raises(error):
        run(classifier_of(network, SHAPE[1:]), [job], SHAPE, batch_size=2, exact=True)
    assert network.training
    assert network.drop.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert_close(dict(network.state_dict()), before, rtol=0, atol=0)


def test_a_network_that_flattens_with_view_is_passed_in_the_layout_it_takes(classifier_of, photos):
    class Old(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.conv(inputs).view(len(inputs), -1)[:, :5]

    network, collector = Old().eval(), Collector(photos)
    run(classifier_of(network, SHAPE[1:]), collector.jobs(), SHAPE, batch_size=4, exact=True)
    for taken, expected in zip(collector.taken, one_by_one(network, photos), strict=True):
        assert_close(taken, expected, rtol=0, atol=1e-5)


def test_takers_may_keep_logits_and_use_them_with_gradients(tiny_cnn, classifier_of, photos):
    kept: list[Tensor] = []
    job = CopyJob(2, lambda out, start, stop: out.zero_(), lambda logits, start, stop: kept.append(logits))
    run(classifier_of(tiny_cnn, SHAPE[1:]), [job], SHAPE, exact=False)
    weight = torch.ones(5, requires_grad=True)
    (kept[0] * weight).sum().backward()
    assert_close(weight.grad, kept[0].sum(dim=0))


def test_blocks_may_take_gradients_while_the_queue_runs(tiny_cnn, classifier_of):
    inputs = torch.ones(1, *SHAPE, requires_grad=True)

    def jobs() -> Iterator[CopyJob]:
        for _ in range(3):
            (slope,) = torch.autograd.grad(tiny_cnn(inputs).sum(), inputs)
            assert slope.abs().sum() > 0
            yield CopyJob(1, lambda out, start, stop: out.copy_(inputs), lambda logits, start, stop: None)

    run(classifier_of(tiny_cnn, SHAPE[1:]), jobs(), SHAPE, batch_size=2, exact=True)


def test_it_runs_inside_inference_mode(tiny_cnn, classifier_of, photos):
    collector = Collector(photos)
    with torch.inference_mode():
        run(classifier_of(tiny_cnn, SHAPE[1:]), collector.jobs(), SHAPE, batch_size=4, exact=True)
    for taken, expected in zip(collector.taken, one_by_one(tiny_cnn, photos), strict=True):
        assert_close(taken, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", ["tiny_cnn", "tiny_vit"])
def test_clean_logits_are_the_networks(network, request, classifier_of, photo_batch):
    module = request.getfixturevalue(network)
    inputs = photo_batch.clone().requires_grad_()
    logits = clean_logits(classifier_of(module, batch_size=2), inputs)
    assert not logits.requires_grad
    assert_close(logits, module(photo_batch), rtol=0, atol=1e-5)


def test_clean_logits_of_no_photos_have_no_rows(tiny_cnn, classifier_of, photo_batch):
    assert clean_logits(classifier_of(tiny_cnn), photo_batch[:0]).shape == (0, 5)
