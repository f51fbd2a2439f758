"""`xaicli.train`: an explainer, or a network, from photos."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaicli.errors import XaiError
from xaicli.images.truth import read_truth
from xaicli.models.catalogue import DEFAULT
from xaicli.passes.engine import AUTO
from xaicli.progress import SILENT, Progress
from xaicli.results.summary import Group
from xaicli.results.tables import cell_json, render
from xaicli.runs.open_model import describe_model
from xaicli.tabular import Tabular
from xaicli.training.curve import curve_path
from xaicli.training.held_out_scores import score_held_out
from xaicli.training.learner import parse_learner
from xaicli.training.loop import Epoch, Step
from xaicli.training.plan import prepare
from xaicli.training.processes import ALONE, Processes, joined
from xaicli.training.run import TrainRun
from xaicli.training.train_request import TrainRequest
from xaicli.untrusted import is_there
from xaicli.words import count, span

Size = int | tuple[int, int]


@dataclass(frozen=True)
class Trained(Tabular):
    """A checkpoint, and its scores on held-out photos beside those of other methods.

    path: the checkpoint; groups: the scores, empty if there was nothing to score; errors: of photos left out.
    """

    path: Path
    groups: tuple[Group, ...] = ()
    errors: tuple[XaiError, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        return [cell_json(*names, cell) for group in self.groups for names, cell in group.cells.items()]

    def __str__(self) -> str:
        return render(self.groups, "table").removesuffix("\n")


def train(
    method: str,
    data: str | Path,
    *,
    val: str | Path | None = None,
    hold_out: int | None = None,
    limit: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    schedule: str | None = None,
    optimizer: str | None = None,
    ema: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    pretrained: bool = False,
    seed: int = 0,
    model: str | None = None,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    prompts: str | Sequence[str] | None = None,
    template: str | Sequence[str] | None = None,
    resize: Size | None = None,
    crop: Size | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: int | None = None,
    window: str | None = None,
    input_scale: float | None = None,
    input_order: str | None = None,
    fast_decode: bool | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    offline: bool = False,
    outputs: str | None = None,
    output_name: str | None = None,
    output: str | Path | None = None,
    half: bool = False,
    overwrite: bool = False,
    report: int = 16,
    truth: str | Path | None = None,
    truth_classes: str | Path | None = None,
    resume: bool | None = None,
    save_every: float = 300.0,
    keep_going: bool = False,
    on_event: Callable[[Step | Epoch], None] = lambda event: None,
    progress: Progress = SILENT,
) -> Trained:
    """Train `method` (`t-tame`, `tame`, `p-tame`, `l-cam`, `bee`, `lfi-cam` or `classifier`, as a specification), and score it on
    held-out photos.

    data, val: folders of photos, `FILE.csv` or `@list.txt`; hold_out: how many photos of `data` to hold out if `val` is None;
    epochs to ema: entries of the schedule, by default the method's own; parameters: of training, by name; pretrained: start from
    the model's weights; model to output_name: of `load_classifier`; output: the checkpoint, None for the folder in which methods
    find it; half: weights in float16; report: how many held-out photos to score afterwards; truth: their ground truth; resume:
    True demands a snapshot to continue from, False ignores one; save_every: seconds between snapshots; on_event: called after
    each step and epoch. The same call continues a run that was stopped. Raises XaiError.

        xaicli.train("t-tame", "photos/", model="resnet50").path
    """
    failed: list[XaiError] = []

    def leave_out(error: XaiError) -> None:
        failed.append(error)
        progress.warn(error.found)

    entries = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay, "shape": schedule}
    entries |= {"optimizer": optimizer, "ema": ema}
    view: dict[str, Any] = {"resize": resize, "crop": crop, "interpolation": interpolation, "mean": mean, "std": std}
    view |= {"channels": channels, "window": window, "input_scale": input_scale, "input_order": input_order}
    view |= {"fast_decode": fast_decode}
    options = {"weights": weights, "classes": classes, **view, "device": device, "offline": offline}
    options |= {"outputs": outputs, "output_name": output_name, "engine": engine if engine != AUTO else None}
    typed = {key: str(value) for key, value in (parameters or {}).items()}
    texts = {"prompts": prompts, "template": template}
    request = TrainRequest(
        method=method,
        data=str(data),
        model=model or ("tiny" if parse_learner(method, typed).trains_network else DEFAULT),
        output=None if output is None else Path(output),
        val=None if val is None else str(val),
        parameters=typed,
        overrides={key: value for key, value in entries.items() if value is not None},
        model_options={key: value for key, value in (options | texts).items() if value is not None},
        limit=limit,
        held=hold_out,
        seed=seed,
        bf16=precision == "bf16",
        half=half,
        pretrained=pretrained,
        resume=resume,
        overwrite=overwrite,
        keep_going=keep_going,
        save_every=save_every,
    )
    with joined() as processes:
        # Of several processes the first one tells what is done, and scores.
        told = progress if processes.leads else SILENT
        run = prepared(request, leave_out, told, processes)
        carry_out(run, on_event, told)
    groups = scores_of(run, report, truth, truth_classes, progress) if processes.leads else ()
    return Trained(run.output, groups, tuple(failed))


def prepared(
    request: TrainRequest, leave_out: Callable[[XaiError], None], progress: Progress, processes: Processes = ALONE
) -> TrainRun:
    """Prepare the run, and report how many photos are decoded."""
    with progress.task("decoding", None) as step:
        seen = 0

        def decoded(done: int, total: int) -> None:
            nonlocal seen
            step(done - seen, total=total)
            seen = done

        return prepare(request, notice=progress.say, on_error=leave_out, report=decoded, processes=processes)


def carry_out(run: TrainRun, on_event: Callable[[Step | Epoch], None], progress: Progress) -> None:
    """Train, and report every step, and every epoch in a line."""
    if run.complete:
        progress.say(f"{run.output} is complete: this command has trained it before (--overwrite trains it again)")
        return
    start, training, schedule = time.monotonic(), run.training, run.schedule
    progress.say(f"model {describe_model(run.task.classifier)}")
    held = 0 if run.held is None else len(run.held)
    progress.say(
        f"{run.learner.label}: {count(len(run.listing), 'photo')}, {held} held out; {count(schedule.epochs, 'epoch')} of "
        f"{count(training.batches.steps, 'step')}, batch {training.batches.batch_size}, lr {schedule.lr:g}"
    )
    if training.resume and is_there(training.snapshot):
        progress.say(f"going on from {training.snapshot.name}")
    done, means = 0, dict[str, float]()
    with progress.task("training", training.total) as step:
        for event in run.events():
            on_event(event)
            if isinstance(event, Step):
                # A running mean: the losses of single batches vary too much to be readable.
                means = {name: 0.95 * means.get(name, value) + 0.05 * value for name, value in event.terms.items()}
                step(event.done - done, note=f"epoch {event.epoch}  {terms_line(means)}")
                done = event.done
            else:
                progress.say(f"epoch {event.number}/{event.total}  {terms_line(event.row)}")
    progress.say(f"{run.output} in {span(time.monotonic() - start)}; curves in {curve_path(run.output).name}")


def terms_line(terms: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in terms.items())


def scores_of(
    run: TrainRun, photos: int, truth: str | Path | None, truth_classes: str | Path | None, progress: Progress
) -> tuple[Group, ...]:
    """Scores of the trained explainer on held-out photos, with other methods and the controls."""
    classifier, read = run.task.classifier, None
    if truth:
        read = read_truth(str(truth), classifier.classes, classifier.count, None if truth_classes is None else str(truth_classes))
    made = score_held_out(run, photos, truth=read, seed=run.request.seed)
    if made is None:
        if photos and run.learner.method is not None:
            progress.say("no scores, since no photo was held out; --val DIR or --hold-out N gives some")
        return ()
    with made.store:
        for _ in progress.track(made.rows(), "scoring", len(made.run.sources)):
            pass
        return tuple(made.groups)
