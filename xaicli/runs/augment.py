"""`xaicli.augment`: copies of photos without what an audit found in them, and the list of their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xaicli.attribution import Attribution
from xaicli.claims import COPY, LIST_OF_COPIES, claim
from xaicli.description import weights_of
from xaicli.errors import InputError, UsageError, XaiError, did_you_mean
from xaicli.files import require_writable
from xaicli.images.decode_limits import SECONDS
from xaicli.images.fill import filled, refuse_unknown
from xaicli.images.photo_input import picture_of_photo
from xaicli.images.picture_file import write_png
from xaicli.images.source import Source, content_hash
from xaicli.images.truth import Truth, read_any_truth
from xaicli.images.view_region import Region, on_pixels
from xaicli.named_files import files_named
from xaicli.passes.seeds import photo_seed
from xaicli.progress import SILENT, Progress
from xaicli.runs.audit_result import FILE, StoredAudit, read_audit
from xaicli.runs.augment_copies import conclude, copy_names, labels_of, refuse_beside
from xaicli.runs.find_photos import Photos, find_photos
from xaicli.runs.records import recorded_path
from xaicli.runs.settings import colour
from xaicli.survey.mark_region import above, mark_of
from xaicli.tabular import Tabular
from xaicli.text_table import rendered
from xaicli.untrusted import is_folder
from xaicli.words import count

REGIONS = ("cluster", "map", "background")
MOST = 20


@dataclass(frozen=True, eq=False)
class Augmented(Tabular):
    """The copies, a record each: the photo, its copy, its label, and the share of the photo that was filled. most: how many the
    printed table shows."""

    copies: tuple[dict[str, Any], ...]
    most: int = MOST
    errors: tuple[XaiError, ...] = ()
    columns = ("image", "copy", "label", "filled")

    def records(self) -> list[dict[str, Any]]:
        return list(self.copies)

    def render(self, format: str = "table", *, width: int = 0) -> str:
        """The first copies as a table, or all of them in another format."""
        if format != "table":
            return super().render(format, width=width)
        left = len(self.rows) - self.most
        table = rendered(self.rows[: self.most], format, self.shown, width=width)
        return f"{table}\nand {count(left, 'more photo')} (--most {len(self.rows)})".lstrip() if left > 0 else table


@dataclass(frozen=True)
class Filling:
    """What is filled, and with what. region, threshold, fill: as in `augment`; mark: the cluster's, on the view's grid; truth:
    objects that people marked, in the place of the map, for the background."""

    audit: StoredAudit
    region: str
    fill: str
    threshold: float
    seed: int
    mark: Region | None = None
    truth: Truth | None = None

    def region_of(self, source: Source, content: str, size: tuple[int, int]) -> Region:
        """The pixels (h, w) of a photo that are filled; raises InputError where the audit has no map of it."""
        geometry = self.audit.view.geometry(*size)
        if self.mark is not None:
            return on_pixels(self.mark, geometry)
        if self.truth is not None:
            marks = self.truth.of(source.path, size, self.audit.view)
            if marks is None:
                raise InputError(f"{source.path} is not annotated", expected="marks of its object", hint="--keep-going skips it.")
            objects: Region = np.logical_or.reduce([shape.draw(self.audit.view, size) for _, shape in marks.marks])
        else:
            objects = self.salient(source, content)
        whole = on_pixels(objects, geometry)
        return ~whole if self.region == "background" else whole

    def salient(self, source: Source, content: str) -> Region:
        """The part of a photo's own map above the threshold."""
        known = self.audit.photos.get(content)
        if known is None:
            raise InputError(
                f"{source.path} is not in {self.audit.path}", expected="a photo that was audited", hint="Audit it first."
            )
        place = Path(str(known["map"]))
        if place.is_absolute() or ".." in place.parts:
            raise InputError(f"{self.audit.path} names a map outside its folder: {place}", expected="a name in that folder")
        attribution = Attribution.load(self.audit.path.parent / f"{place}.json")
        weights = weights_of(np.asarray(attribution.values, dtype=np.float64), attribution.sign)
        if attribution.status != "ok" or weights.max() <= 0:
            raise InputError(f"the map of {source.path} points nowhere", hint="--keep-going skips it.")
        return above(weights, self.threshold)


def augment(
    images: Photos,
    audit: str | Path,
    *,
    cluster: int = 1,
    region: str = "cluster",
    fill: str = "inpaint",
    members: bool = False,
    threshold: float = 0.5,
    grow: int = 1,
    truth: str | Path | None = None,
    labels: str | Path | None = None,
    seed: int = 0,
    recursive: bool = False,
    null: bool = False,
    limit: int | None = None,
    frame: int = 0,
    background: str | tuple[int, int, int] = "white",
    decode_timeout: float = SECONDS,
    output: str | Path = "xai-augmented",
    overwrite: bool = False,
    keep_going: bool = False,
    dry_run: bool = False,
    most: int = MOST,
    progress: Progress = SILENT,
) -> Augmented:
    """Copy photos with a region filled, and list their labels beside them, ready for `xaicli.train`.

    images: those of the audit, or others; audit: the folder of an audit, or its audit.json; region: "cluster", the place at which
    the maps of the cluster of that number lie, the same in every photo; "map", where each photo's own map is strong;
    "background", all but that, or all but what `truth` marks. threshold: how strong, as a share of the largest value; grow: cells
    (of 16 per side) around a cluster's mark; fill: "inpaint", "blur", "mean", "noise" or "other"; members: only photos of that
    cluster. All photos are filled by default, those of other classes too: if only one class were, the fill itself would become a
    mark of that class.

    labels: a CSV with the columns image and label, by default those of the audit, then the names of the folders. output: a folder
    for the copies (PNG) and labels.csv, not one that holds the photos; copies of an earlier run there are removed, and files that
    xai did not write are never replaced, unless `overwrite`. most: how many photos the printed table shows. Raises XaiError at
    the first photo that cannot be used, unless `keep_going`.

        xaicli.augment("photos/", "xai-out", cluster=1, output="photos-without-mark")
    """
    words = dict(locals())
    inputs, folder = files_named(words), Path(output)
    check(region, fill, threshold, grow, truth)
    found = find_photos(images, recursive=recursive, null=null, limit=limit, frame=frame, exclude=output, keep_going=keep_going)
    filling = filling_of(words)
    hashes = {source: content_hash(source) or "" for source in found.sources}
    chosen = [source for source in found.sources if not members or hashes[source] in filling.audit.members[cluster]]
    if not chosen:
        raise UsageError(f"no photo is of cluster {cluster}", expected="the photos that were audited, unchanged")
    named = labels_of(images, found.sources, hashes, filling.audit, labels, progress)
    copies = copy_names(chosen)
    inputs += [source.file for source in chosen if source.file is not None]
    refuse_beside(images, chosen, folder, copies)
    for target in (*(folder / copies[source] for source in chosen), folder / LIST_OF_COPIES):
        claim(target, inputs, overwrite=overwrite)
    if filling.mark is not None and cluster not in filling.audit.striking:
        progress.warn(no_mark(filling.audit, cluster))
    errors: list[XaiError] = list(found.errors)
    if dry_run:
        planned = tuple(
            {"image": recorded_path(one), "copy": str(folder / copies[one]), "label": named.get(one)} for one in chosen
        )
        return Augmented(planned, most, tuple(errors))
    require_writable(folder)
    made: list[dict[str, Any]] = []
    look = {"background": colour(background), "seconds": decode_timeout}
    copied = copied_photos(chosen, hashes, filling, folder, copies, look)
    try:
        for one in progress.track(copied, "copying", len(chosen)):
            if isinstance(one, XaiError):
                errors.append(one)
                if not keep_going:
                    break
                progress.warn(one.found)
                continue
            source, share = one
            path = str(folder / copies[source])
            made.append({"image": recorded_path(source), "copy": path, "label": named.get(source), "filled": share})
    finally:
        # Of a run that was stopped too, so that the list and the copies are of one run.
        earlier = conclude(folder, made, inputs) if made else 0
    if earlier:
        progress.say(f"{count(earlier, 'copy', 'copies')} of an earlier run removed")
    return finished(Augmented(tuple(made), most, tuple(errors)), folder, progress, keep_going=keep_going)


def finished(result: Augmented, folder: Path, progress: Progress, *, keep_going: bool) -> Augmented:
    """Say how it went; without `keep_going` the first error is raised, with the result as its `partial`."""
    labels, table = sum(row["label"] is not None for row in result.copies), folder / LIST_OF_COPIES
    if result.copies:
        progress.say(f"{count(len(result.copies), 'copy', 'copies')} in {folder}/, {count(labels, 'label')} in {table}")
    if result.copies and not labels:
        progress.warn("no label of these photos is known, so the list is empty; name them with --labels FILE.csv")
    if result.errors and not keep_going:
        error = result.errors[0]
        error.partial = result
        raise error
    return result


def no_mark(audit: StoredAudit, cluster: int) -> str:
    """A warning of a cluster that does not stand out."""
    others = ", ".join(map(str, audit.striking[:4]))
    hint = f"those that do: --cluster {others}" if others else "no cluster of this audit does"
    return f"cluster {cluster} does not stand out, so what is filled may be the objects, not a mark; {hint}"


def check(region: str, fill: str, threshold: float, grow: int, truth: str | Path | None) -> None:
    """Raise UsageError for parameters that make no sense."""
    refuse_unknown(fill)
    if region not in REGIONS:
        raise UsageError(f'no region "{region}"', expected=", ".join(REGIONS), hint=did_you_mean(region, REGIONS))
    if not 0 < threshold <= 1:
        raise UsageError(f"a threshold of {threshold:g}", expected="above 0, up to 1")
    if not 0 <= grow <= 8:
        raise UsageError(f"a mark that grows by {grow} cells", expected="0 to 8, of 16 per side")
    if truth is not None and region != "background":
        raise UsageError(f"ground truth for the region {region}", expected="the region background, which is all but the objects")


def filling_of(words: Mapping[str, Any]) -> Filling:
    """The filling in the parameters of `augment`; raises UsageError where the audit has no cluster of that number."""
    place, cluster, region = Path(words["audit"]), words["cluster"], words["region"]
    audit = read_audit(place / FILE if is_folder(place) else place)
    if (region == "cluster" or words["members"]) and cluster not in audit.means:
        known = f"1 to {len(audit.means)}" if audit.means else "an audit with clusters"
        raise UsageError(f"{audit.path} has no cluster {cluster}", expected=known)
    mark = mark_of(audit.means[cluster], words["threshold"], words["grow"]) if region == "cluster" else None
    truth = None if words["truth"] is None else read_any_truth(words["truth"])
    return Filling(audit, region, words["fill"], words["threshold"], words["seed"], mark, truth)


def copied_photos(
    sources: Sequence[Source],
    hashes: Mapping[Source, str],
    filling: Filling,
    folder: Path,
    copies: Mapping[Source, str],
    look: Mapping[str, Any],
) -> Iterator[tuple[Source, float] | XaiError]:
    """Write the copies one by one; yields each photo with the share of it that was filled, or its error."""
    for at, source in enumerate(sources):
        try:
            photo = picture_of_photo(source, filling.audit.view, **look)
            region = filling.region_of(source, hashes[source], photo.size)
            following = sources[(at + 1) % len(sources)]
            other = None
            if filling.fill == "other" and following != source:
                other = picture_of_photo(following, filling.audit.view, **look)
            random = np.random.default_rng(photo_seed(filling.seed, hashes[source], source.frame, "augment") % 2**63)
            write_png(folder / copies[source], filled(photo, region, filling.fill, random, other), COPY)
            yield source, float(f"{region.mean():.4g}")
        except XaiError as error:
            yield error.about(source.path)
