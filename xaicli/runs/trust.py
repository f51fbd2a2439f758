"""`xaicli.trust`: which methods find what is really there, in your network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xaicli.claims import claim
from xaicli.errors import UsageError, XaiError, did_you_mean
from xaicli.files import make_folder, require_writable
from xaicli.grammar import names_in
from xaicli.method import Method
from xaicli.named_files import files_named
from xaicli.needs import of_sequences
from xaicli.network.classifier import Classifier
from xaicli.passes.engine import TORCH
from xaicli.progress import SILENT, Progress
from xaicli.registry import CONTROLS, METHODS, entries, make_method
from xaicli.results.report.sections import PagePicture
from xaicli.results.report.trust_page import TrustPage, write_trust_page
from xaicli.results.store import Store
from xaicli.runs.find_photos import Photos, find_photos
from xaicli.runs.open_model import Model, open_model
from xaicli.runs.photos import Failure, LoadedPhoto, load_ahead
from xaicli.runs.planted_photos import on_exact
from xaicli.runs.request import list_methods
from xaicli.runs.settings import Settings
from xaicli.runs.trust_checks import ALL_CHECKS, CHECKS, Plan, Planned, definition_of, photos_at_size, plan_checks
from xaicli.runs.trust_pictures import picture_of
from xaicli.runs.trust_scores import measured
from xaicli.runs.trust_table import (
    BETTER,
    MEANINGS,
    PHOTOS_AND_COST,
    MethodTrust,
    as_record,
    badge,
    cells,
    estimate_of,
    ordered,
    recommendation,
    recommended,
    sentences,
)
from xaicli.stamps import stamp
from xaicli.suitability import require_fit, unfit
from xaicli.tabular import Tabular
from xaicli.text_table import aligned, in_blocks, in_markdown
from xaicli.words import count
from xaicli.writable_text import json_text

DEFAULT = ("grad-cam", "layer-cam", "integrated-gradients", "occlusion", "rise@n_masks=1000")
STORE, PAGE = "trust.db", "trust.html"
GAP = "   "


@dataclass(frozen=True, eq=False)
class Trust(Tabular):
    """Method by property, with intervals and cost.

    methods: the most trusted first, controls last; model, photos, definition, subject: what was measured, and its stamps;
    lacking: checks that could not be made, and why; remarks: what else is to be known of the checks; left_out: methods that
    failed; page: the report, if one was written.
    """

    methods: tuple[MethodTrust, ...]
    model: str
    photos: int
    definition: str
    subject: str
    lacking: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    page: Path | None = None

    columns = ("method", "property", "value", "low", "high", "n")

    def records(self) -> list[dict[str, Any]]:
        return [
            {"method": one.label, "property": name, "value": found.value, "low": found.low, "high": found.high, "n": found.n}
            for one in ordered(self.methods)
            for name, found in one.found.items()
        ]

    @property
    def sentences(self) -> list[str]:
        """One sentence a method, the most trusted first."""
        return sentences(self.methods, self.model)

    @property
    def recommended(self) -> str:
        """The label of the method to use; empty if none can be recommended."""
        chosen = recommended(self.methods)
        return "" if chosen is None else chosen.label

    @property
    def recommendation(self) -> str:
        return recommendation(self.methods)

    @property
    def badge(self) -> str:
        """The certificate in one line."""
        return badge(self.methods, self.model, self.photos, self.definition)

    @property
    def notes(self) -> list[str]:
        not_made = [f"Not checked: {why}." for why in self.lacking] + [f"Left out: {why}." for why in self.left_out]
        return [*(f"{text}." for text in self.remarks), *not_made]

    def render(self, format: str = "table", *, width: int = 0) -> str:
        """The certificate as table, markdown, json or csv."""
        if format == "csv":
            return super().render(format)
        if format == "json":
            return json_text(self.as_json(), allow_nan=False)
        head, rows = cells(self.methods)
        texts = [*self.sentences, self.recommendation, *self.notes]
        if format == "markdown":
            lines = [f"| {' | '.join(map(in_markdown, row))} |" for row in (head, *rows)]
            return "\n".join(
                [lines[0], "|---" * len(head) + "|", *lines[1:], "", *(f"- {text}" for text in texts), "", self.badge]
            )
        first, *columns = zip(head, *rows, strict=True)
        blocks = ["\n".join(aligned(block, gap=GAP)) for block in in_blocks(first, columns, width, GAP)]
        return "\n".join(["\n\n".join(blocks), "", *texts, "", self.badge])

    def as_json(self) -> dict[str, Any]:
        return {
            "summary": self.badge,
            "model": self.model,
            "photos": self.photos,
            "definition": self.definition,
            "subject": self.subject,
            "recommended": self.recommended,
            "recommendation": self.recommendation,
            "methods": [as_record(one) for one in ordered(self.methods)],
            "sentences": self.sentences,
            "remarks": list(self.remarks),
            "not_checked": list(self.lacking),
            "left_out": list(self.left_out),
        }


def trust(
    classifier: Model,
    images: Photos,
    method: str | Method | Sequence[str | Method] | None = None,
    *,
    check: str | Sequence[str] = ALL_CHECKS,
    plantings: int = 2,
    most_passes: float | None = None,
    budget: float | None = None,
    seed: int = 0,
    recursive: bool = False,
    limit: int | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    output: str | Path | None = None,
    command: str = "",
    progress: Progress = SILENT,
) -> Trust:
    """Plant faults whose truth is known in copies of a network and of photos, and measure how often each method finds them.

    classifier, images, method: as in `xaicli.explain`; most_passes: in place of named methods, all that run on the network with
    at most so many passes a photo. check: `patch` (a pasted patch decides, by a head fitted in closed form), `absence` (the head
    ignores the patch), `quarters` (four photos in one), `random` (weights turn random), `fidelity` (insertion less deletion,
    beside random maps). plantings: patches, each of its own look and size. budget: the passes that a method may explain with in
    all; a method that would need more is scored on fewer photos, at least two a check. weights: a file of weights for a network
    that is named. output: a folder for the store `trust.db`, from which a run that was stopped goes on, and the page
    `trust.html`. The network that is handed in is not changed. Raises XaiError.

        print(xaicli.trust("resnet50", "photos/", "grad-cam,rise@n_masks=1000").recommendation)
    """
    words = locals()
    checks = checks_named(check)
    if plantings < 1:
        raise UsageError(f"{plantings} plantings", expected="at least 1")
    named = list_methods(method)
    if named and most_passes is not None:
        raise UsageError("--most-passes beside --method", hint="Leave one of them out.")
    if budget is not None and not budget > 0:
        raise UsageError(f"a budget of {budget:g} passes", expected="more than 0")
    sources = find_photos(images, recursive=recursive, limit=limit, exclude=output).sources
    folder = None if output is None else Path(output)
    if folder is not None:
        claim(folder / PAGE, [*files_named(words), *(source.file for source in sources)])
        require_writable(folder)
    options: dict[str, Any] = {"engine": TORCH, "device": device} | ({} if weights is None else {"weights": weights})
    network = open_model(classifier, progress=progress, precision="fp32", **options)
    if network.view.frames:
        raise of_sequences("xai trust", network.name)
    if network.of_places:
        raise UsageError(f"{network.name} is no classifier", expected="a network that gives one number a class")
    methods = named or chosen_methods(network, most_passes)
    for one in methods:
        require_fit(one, network)
    loaded = [whole(item) for item in load_ahead(sources, network.view, picture=False)]
    photos = photos_at_size(loaded, network)
    controls = [make_method(name) for name in CONTROLS if name not in {one.name for one in methods}]
    settings = Settings(seed=seed, precision="fp32", command=command or "xai trust")
    plan = Plan(on_exact(network), (*methods, *controls), settings, plantings, budget)
    planned, lacking, remarks = plan_checks(plan, photos, checks)
    if folder is not None:
        # Only now: what was refused has made nothing.
        make_folder(folder)
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(folder / STORE) if folder is not None else Store.in_memory())
        values, failed = measured(plan, planned, store, progress)
        if methods and all(one.label in failed for one in methods):
            raise failed[methods[0].label]
        found = [
            method_trust(one, network, values[one.label], control=one in controls)
            for one in plan.methods
            if one.label not in failed
        ]
        picture = None if folder is None else picture_of(planned, found, store)
    content = stamp(sorted(photo.photo.content for photo in loaded))
    result = Trust(
        methods=tuple(ordered(found)),
        model=network.name,
        photos=len(photos),
        definition=stamp(definition_of(plan, checks)),
        subject=stamp({"photos": content, "model": network.fingerprint}),
        lacking=tuple(lacking),
        remarks=tuple(remarks),
        left_out=tuple(why_left_out(label, error, planned, network.name) for label, error in failed.items()),
    )
    return result if folder is None else with_page(result, folder / PAGE, picture, progress)


def checks_named(check: str | Sequence[str]) -> tuple[str, ...]:
    named = names_in(check, "--check") if isinstance(check, str) else list(check)
    for name in named:
        if name not in CHECKS:
            hint = did_you_mean(name, CHECKS)
            raise UsageError(f'no check "{name}"', expected=", ".join(CHECKS), hint=hint)
    if not named:
        raise UsageError("no check is named", expected=", ".join(CHECKS))
    return tuple(name for name in CHECKS if name in named)


def chosen_methods(network: Classifier, most_passes: float | None) -> list[Method]:
    """All methods of at most so many passes; without a bound, a few of different kinds."""
    if most_passes is None:
        made = [make_method(name) for name in DEFAULT]
        return [one for one in made if unfit(one, network) is None]
    found = []
    for entry in entries(METHODS):
        try:
            one = make_method(entry.name)
            cost = one.cost(network)
            if entry.name not in CONTROLS and cost.forward + cost.backward <= most_passes and unfit(one, network) is None:
                found.append(one)
        except XaiError:
            # A wrapper without a default base, or a plugin that is broken: it was not named.
            continue
    return found


def whole(item: LoadedPhoto | Failure) -> LoadedPhoto:
    if isinstance(item, Failure):
        raise item.error
    return item


def method_trust(
    method: Method, network: Classifier, values: Mapping[str, Sequence[float | None]], *, control: bool
) -> MethodTrust:
    cost = method.cost(network)
    found = {name: estimate_of(name, listed) for name, listed in values.items()}
    return MethodTrust(method.label, cost.forward + cost.backward, str(cost), found, control=control)


def why_left_out(label: str, error: XaiError, planned: Sequence[Planned], network: str) -> str:
    """Why a method gave no result, in words that name the user's network in place of the copy that it was tried on."""
    text = error.found
    for part in planned:
        text = text.replace(part.run.classifier.name, network)
    return text if text.startswith(label) else f"{label}: {text}"


def with_page(result: Trust, path: Path, picture: PagePicture | None, progress: Progress) -> Trust:
    head, rows = cells(result.methods)
    page = TrustPage(
        title=result.badge,
        lead=result.recommendation,
        head=head,
        rows=rows,
        controls={one.label for one in result.methods if one.control},
        better=BETTER,
        meanings={name: text for name, text in (MEANINGS | PHOTOS_AND_COST).items() if name in head},
        sentences=[text.removeprefix(f"On {result.model}, ") for text in result.sentences],
        notes=result.notes,
        picture=picture,
    )
    write_trust_page(path, page)
    progress.say(
        f"the certificate as a page: {path}; its scores: {path.with_name(STORE)}, {count(len(result.methods), 'method')}"
    )
    return replace(result, page=path)
