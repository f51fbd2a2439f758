"""The maps of many photos, one photo at a time: made in memory, or made and kept in a folder as `xai explain` keeps them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from xaicli.attribution import Attribution
from xaicli.errors import UsageError, XaiError
from xaicli.images.names import stems
from xaicli.images.source import Source
from xaicli.method import Method
from xaicli.network.classifier import Classifier
from xaicli.progress import Progress
from xaicli.runs.default_method import default_method
from xaicli.runs.folder import FolderRun
from xaicli.runs.output import OutputFolder
from xaicli.runs.photo_maps import explain_photos
from xaicli.runs.photos import Failure
from xaicli.runs.request import RunRequest, list_methods
from xaicli.runs.similar_target import compared
from xaicli.runs.target_choice import choose_targets
from xaicli.suitability import require_fit
from xaicli.targets import TargetRule


@dataclass(frozen=True, eq=False)
class MappedPhoto:
    """One photo and its maps, method by method; stems: their files without endings, by method, if they are kept."""

    source: Source
    maps: list[Attribution]
    stems: dict[str, Path]


def folder_run(
    request: RunRequest, methods: Sequence[Method], model: Classifier, inputs: Sequence[Path], *, overwrite: bool
) -> FolderRun:
    """The run that makes the maps of a request; raises UsageError where a target means several maps per photo, and where a method
    does not fit."""
    classifier, target = compared(model, request.target)
    targets = choose_targets(target, classifier, request.photos.sources)
    if targets.count != 1:
        named = target if isinstance(target, TargetRule) else request.target
        raise UsageError(f"--target {named} asks for several maps of a photo", expected="one, such as top1 or a class")
    for method in methods:
        require_fit(method, classifier)
    return FolderRun(
        sources=request.photos.sources,
        classifier=classifier,
        methods=methods,
        targets=targets,
        settings=request.settings,
        output=OutputFolder(Path(request.output or ""), stems(request.photos.sources)),
        overwrite=overwrite,
        keep_going=request.keep_going,
        inputs=inputs,
    )


def cheap_methods(request: RunRequest, classifier: Classifier, names: Sequence[str], progress: Progress) -> list[Method]:
    """The methods that are named; without any those of `names`, and `rise` for a black box."""
    if request.methods:
        return request.methods
    methods = list_methods(default_method(classifier).name if classifier.module is None else names)
    progress.say(f"methods {', '.join(method.label for method in methods)} (others: --method, xai list methods)")
    return methods


def mapped_photos(run: FolderRun, errors: list[XaiError], progress: Progress, *, on_disk: bool) -> Iterator[MappedPhoto]:
    """The photos with their maps, in order; errors: where those of photos go that failed, the last one without `keep_going`."""
    results = kept(run) if on_disk else made(run)
    with closing(results):
        for result in progress.track(results, "explaining", len(run.sources)):
            if isinstance(result, MappedPhoto):
                yield result
                continue
            errors.append(result.error)
            if not run.keep_going:
                return
            progress.warn(result.error.found)


def made(run: FolderRun) -> Generator[MappedPhoto | Failure, None, None]:
    """Maps that nothing keeps."""
    for result in explain_photos(run.sources, run.classifier, run.methods, run.targets, run.settings):
        if isinstance(result, Failure):
            yield result
        else:
            yield MappedPhoto(result.loaded.source, [result.made[one.label][0] for one in run.methods], {})


def kept(run: FolderRun) -> Generator[MappedPhoto | Failure, None, None]:
    """Maps in the run's folder, of which only the missing ones are made."""
    complete = run.find()
    run.check()
    with closing(run.run(complete)) as results:
        for result in results:
            if isinstance(result, Failure):
                yield result
                continue
            by_method = {written.method: written for written in result}
            ordered = [by_method[one.label] for one in run.methods]
            maps = [Attribution.load(written.path(".json")) for written in ordered]
            yield MappedPhoto(ordered[0].source, maps, {written.method: written.stem for written in ordered})
