"""From a request to a run that is ready: data, network, task, loop."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from xaicli.containment import contained
from xaicli.errors import UsageError, XaiError
from xaicli.images.names import safe_label
from xaicli.models.checkpoint import ENDING, checkpoints_folder
from xaicli.models.classes import read_classes
from xaicli.models.load import load_classifier
from xaicli.models.model_request import Notice
from xaicli.needs import Needs
from xaicli.network.classifier import Classifier
from xaicli.passes.seeds import digest
from xaicli.task import Schedule, Task
from xaicli.training import schedule as schedules
from xaicli.training.batches import Batches, held_out
from xaicli.training.data import Listing, read_listing
from xaicli.training.decoded import Photos, open_photos, stored_view
from xaicli.training.learner import Learner, parse_learner
from xaicli.training.loop import Training
from xaicli.training.new_network import fresh_classifier, pretrained_classifier, to_train
from xaicli.training.processes import ALONE, Processes
from xaicli.training.run import TrainRun, run_stamp
from xaicli.training.snapshot import snapshot_path
from xaicli.training.train_request import TrainRequest, is_complete, require_output
from xaicli.untrusted import is_there
from xaicli.words import count as counted

SHARE_HELD = 0.02
MOST_HELD = 2000
"""Maximum photos that are held out if none are named; it is one in fifty up to this number."""


def prepare(
    request: TrainRequest,
    *,
    notice: Notice = lambda text: None,
    on_error: Callable[[XaiError], None] = lambda error: None,
    report: Callable[[int, int], None] = lambda done, total: None,
    processes: Processes = ALONE,
    decode: bool = True,
) -> TrainRun:
    """Read the data, build or load the network, make the task. Anything that cannot work is refused before training starts.

    notice: called with lines for the user; on_error: called under `keep_going` for each photo that cannot be decoded; report:
    called with the numbers of photos decoded and of all; processes: those that train together; decode: False for a run
    that is looked at but not carried out, whose photos are decoded only if they are needed, as are those of a run that is
    complete. Raises XaiError.
    """
    learner = parse_learner(request.method, request.parameters)
    require_output(request, learner.name, network=learner.trains_network)
    listing = read_listing(request.data)
    # Initial weights depend on the seed alone; the caller's random state is restored.
    with torch.random.fork_rng():
        torch.manual_seed(digest(request.seed, "initial weights") >> 1)
        classifier, spec = the_classifier(request, learner, listing, notice)
        refuse_without_gradients(classifier)
        classifier.refuse_places(learner.label)
        with contained(f"{learner.label} for {classifier.name}"):
            task = learner.task(classifier, request.seed)
    if task.needs_labels:
        listing.require_labels(learner.name, request.data)
        if len(listing.classes) != classifier.count:
            raise UsageError(
                f"{counted(len(listing.classes), 'class', 'classes')} of the data, but {classifier.name} has {classifier.count}"
            )
    schedule = dataclasses.replace(task.schedule, **request.overrides)
    schedules.check(schedule)
    output = request.output or installed_path(learner, classifier, task.variant)
    if request.resume and not is_there(snapshot_path(output)):
        raise UsageError(f"there is no snapshot {snapshot_path(output).name} to continue from", hint="Leave --resume out.")
    listing, held = divide(request, listing, needs_labels=task.needs_labels)
    for module in task.modules.values():
        to_train(module, classifier.device)
    complete = False
    if not request.keep_going:
        # Known, or refused, before photos are decoded. If photos may be left out, the identity of the run is known only later.
        whose = identity(request, learner, task, schedule, listing, processes)
        complete = is_complete(request, output, run_stamp(request, whose), whose)
    budget = None if decode and not complete else 0
    training = make_training(request, learner, task, schedule, listing, held, output, on_error, report, processes, budget)
    if request.keep_going:
        complete = is_complete(request, output, run_stamp(request, training.identity), training.identity)
    return TrainRun(request, learner, task, training, output, listing, held, spec, complete)


def refuse_without_gradients(classifier: Classifier) -> None:
    """Raise UsageError for an exported network that was cut, which gives no gradients to learn by."""
    if classifier.module is not None and Needs.GRADIENTS not in classifier.provides:
        raise UsageError(
            f"{classifier.name} is an exported network, without gradients", expected="the network it was exported from"
        )


def make_training(
    request: TrainRequest,
    learner: Learner,
    task: Task,
    schedule: Schedule,
    listing: Listing,
    held: Listing | None,
    output: Path,
    on_error: Callable[[XaiError], None],
    report: Callable[[int, int], None],
    processes: Processes = ALONE,
    budget: int | None = None,
) -> Training:
    """The loop with its data opened; budget: bytes that decoded photos may take, None for what memory allows."""
    classifier, view = task.classifier, task.classifier.view
    skip_with = on_error if request.keep_going else None
    larger = stored_view(view, task.augmentation.margin)
    used, photos = open_photos(listing, larger, budget=budget, on_error=skip_with, report=report)
    held_used, held_photos = (None, None) if held is None else open_photos(held, view, budget=budget, on_error=skip_with)
    labels = used.labels if task.needs_labels else None
    size = processes.batch_size(schedule.batch_size, len(used))
    batches = Batches(
        photos=photos,
        labels=labels,
        total=len(used),
        view=view,
        augmentation=task.augmentation,
        batch_size=size,
        seed=request.seed,
        device=classifier.device,
        count=classifier.count,
        epochs=schedule.epochs,
        processes=processes,
    )
    shown = held_used if processes.leads else None
    return Training(
        task=task,
        batches=batches,
        schedule=schedule,
        snapshot=snapshot_path(output),
        identity=identity(request, learner, task, schedule, used, processes),
        held=None if shown is None else held_batches(task, shown, held_photos, size),
        bf16=request.bf16,
        save_every=request.save_every,
        resume=request.resume is not False,
        processes=processes,
        again=request.again,
    )


def held_batches(task: Task, held: Listing, photos: Photos | None, size: int) -> Callable[[], Any]:
    assert photos is not None
    view, device = task.classifier.view, task.classifier.device
    labels = held.labels if task.needs_labels else None
    return lambda: held_out(photos, labels, len(held), view, size, device)


def identity(
    request: TrainRequest, learner: Learner, task: Task, schedule: Schedule, listing: Listing, processes: Processes = ALONE
) -> dict[str, Any]:
    """What must agree for a run to continue from a snapshot."""
    # One process is not named, so that its runs are what they were before several could train.
    together = {} if processes.count == 1 else {"processes": processes.count}
    return {
        **together,
        "method": learner.label,
        "parameters": dict(sorted(learner.parameters.items())),
        "model": task.classifier.name,
        "fingerprint": task.classifier.weights_fingerprint,
        "data": listing.fingerprint(),
        "seed": request.seed,
        "precision": request.precision,
        "device": task.classifier.device.type,
        **{key.replace("_", " "): value for key, value in dataclasses.asdict(schedule).items()},
        **dataclasses.asdict(task.augmentation),
    }


def installed_path(learner: Learner, classifier: Classifier, variant: str = "") -> Path:
    """The path where methods find the checkpoint by themselves."""
    name = safe_label(".".join(filter(None, (classifier.name.removesuffix(ENDING), variant))))
    return checkpoints_folder() / f"{learner.name}.{name}.{classifier.weights_fingerprint[:8]}{ENDING}"


def the_classifier(request: TrainRequest, learner: Learner, listing: Listing, notice: Notice) -> tuple[Classifier, str]:
    """The classifier to explain, or the one to train with the specification that builds its network."""
    options = {key: value for key, value in request.model_options.items() if value is not None}
    if not learner.trains_network:
        if request.pretrained:
            raise UsageError(f"--pretrained with {learner.name}, which trains no network", hint="Leave it out.")
        return load_classifier(request.model, notice=notice, **options), ""
    listing.require_labels(learner.name, request.data)
    names = listing.classes
    if options.get("classes"):
        names = read_classes(Path(options["classes"]))
        if len(names) != len(listing.classes):
            raise UsageError(f"{len(names)} class names for {counted(len(listing.classes), 'class', 'classes')} of the data")
    if options.get("weights") and not request.pretrained:
        raise UsageError("--weights for a network that is trained from the start", hint="Write --pretrained to start from them.")
    make = pretrained_classifier if request.pretrained else fresh_classifier
    made = make(request.model, names, options, notice)
    return made.classifier, made.spec


def divide(request: TrainRequest, listing: Listing, *, needs_labels: bool) -> tuple[Listing, Listing | None]:
    """Photos to train on and held-out photos: those of `val`, or some of the training photos."""
    if request.val is not None:
        if request.held is not None:
            raise UsageError("--val and --hold-out both say which photos are held out", expected="one of them")
        if os.path.realpath(request.val) == os.path.realpath(request.data):
            raise UsageError(
                f"--val {request.val} names the training photos",
                expected="other photos",
                hint="--hold-out N takes some of --data.",
            )
        held = read_listing(request.val, listing.classes if needs_labels else ())
        if needs_labels:
            held.require_labels(request.method, request.val)
        return listing.sample(request.limit, request.seed), held
    listing = listing.sample(request.limit, request.seed)
    count = min(int(len(listing) * SHARE_HELD), MOST_HELD) if request.held is None else request.held
    if count >= len(listing):
        raise UsageError(f"{counted(count, 'photo')} held out of {len(listing)}", expected="some left to train on")
    if count == 0:
        return listing, None
    return listing.split(count, request.seed)
