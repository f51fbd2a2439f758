"""The checks of trust: scoring runs over photos and copies of a network in which it is known what decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xaicli.errors import InputError, UsageError
from xaicli.method import Method, content_on
from xaicli.network.classifier import Classifier
from xaicli.network.planted_head import head_of
from xaicli.outputs import Outputs
from xaicli.passes.queue import clean_logits
from xaicli.registry import make_metric
from xaicli.runs.photos import LoadedPhoto
from xaicli.runs.planted_photos import MarkedPhoto, inputs_of, mosaic, pixels_of, truth_of
from xaicli.runs.planting import FEWEST_LEFT_OUT, Planting, leaves_out, plant
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import TargetChoice
from xaicli.suitability import unfit
from xaicli.targets import DECISION, TargetRule
from xaicli.words import count

FOUND, FOUND_RANK = "planted patch found", "patch in the top ranks"
ALARM, CONTRAST = "false alarm", "marks it unaltered"
QUARTER, RANDOM, FIDELITY = "right quarter", "survives random weights", "insertion less deletion"
CHECKS = ("patch", "absence", "quarters", "random", "fidelity")
ALL_CHECKS = ",".join(CHECKS)
FEWEST = 8
"""Photos; see `planting.FEWEST_LEFT_OUT`."""
FITTED_TO_ALL = (
    "The heads were fitted to the photos that are scored, with the patch at other places, since fewer than "
    f"{FEWEST_LEFT_OUT} photos could be left out of the fit. Give {2 * FEWEST_LEFT_OUT} photos or more"
)
STEPS = 14
STAGES = 4
"""Of the randomisation from the output down; at each a method explains again."""
FEWEST_SCORED = 2
"""Photos of a check, however costly the method."""


@dataclass(frozen=True, eq=False)
class Planned:
    """A scoring run, and the properties that its metrics measure, by metric label.

    group: how many photos belong together, next to each other; maps: how many a method makes of each; shown: the photo by which
    a page shows what is planted.
    """

    run: ScoreRun
    measures: dict[str, str]
    group: int = 1
    maps: int = 1
    shown: MarkedPhoto | None = None

    def on(self, methods: Sequence[Method], share: float = 1.0) -> ScoreRun:
        """The run of some of its methods, on the first photos: a share of them, at least FEWEST_SCORED."""
        groups = max(-(-FEWEST_SCORED // self.group), int(share * len(self.run.sources) / self.group))
        return replace(self.run, methods=methods, sources=self.run.sources[: groups * self.group])


@dataclass(frozen=True)
class Plan:
    """What all checks share: the network of photos at its own size, methods, how runs are done, how many plantings, and the
    passes that a method may explain with."""

    classifier: Classifier
    methods: tuple[Method, ...]
    settings: Settings
    plantings: int = 2
    budget: float | None = None

    @property
    def of_any_class(self) -> tuple[Method, ...]:
        """The methods that explain a class that is not the decision."""
        return tuple(method for method in self.methods if method.class_specific and not method.decision_only)

    def run(
        self,
        photos: Sequence[MarkedPhoto],
        classifier: Classifier,
        methods: Sequence[Method],
        metrics: Sequence[str],
        targets: TargetChoice,
        controls: Sequence[str] = (),
    ) -> ScoreRun:
        return ScoreRun(
            [photo.source for photo in photos],
            classifier,
            [method for method in methods if unfit(method, classifier) is None],
            [make_metric(metric) for metric in metrics],
            targets,
            self.settings,
            controls=controls,
            truth=truth_of(photos),
        )

    @property
    def pointing(self) -> str:
        """The pointing game with the usual tolerance, 15 pixels of 224, by its label."""
        return make_metric(f"pointing-game@tolerance={round(min(self.classifier.view.size) * 15 / 224)}").label


def photos_at_size(loaded: Sequence[LoadedPhoto], classifier: Classifier) -> list[MarkedPhoto]:
    """The photos as the network sees them; raises UsageError if there are too few."""
    if len(loaded) < FEWEST:
        raise UsageError(count(len(loaded), "photo"), expected=f"at least {FEWEST}; some twenty give useful intervals")
    return [MarkedPhoto(photo.source, pixels_of(photo.input, classifier.view)) for photo in loaded]


def plan_checks(plan: Plan, photos: Sequence[MarkedPhoto], checks: Sequence[str]) -> tuple[list[Planned], list[str], list[str]]:
    """The runs of the checks that are wanted, why others cannot be made, and what else is to be known of them."""
    planned: list[Planned] = []
    lacking: list[str] = []
    remarks: list[str] = []
    if {"patch", "absence"} & set(checks):
        try:
            head = head_of(plan.classifier)
            for number in range(plan.plantings):
                made = plant(plan.classifier, head, photos, plan.settings.seed, number)
                planned += patch_runs(plan, made) if "patch" in checks else []
                planned += absence_runs(plan, made) if "absence" in checks else []
            remarks += [] if leaves_out(photos) else [FITTED_TO_ALL]
        except (UsageError, InputError) as error:
            lacking.append(f"no patch is planted: {error.found}")
    if "quarters" in checks:
        run, why = quarter_runs(plan, photos)
        planned += run
        lacking += why
    randomised = "random" in checks and not make_metric("randomization").needs & ~plan.classifier.provides
    if "random" in checks and not randomised:
        lacking.append(f"no weights are randomised: {plan.classifier.name} shows none")
    if randomised or "fidelity" in checks:
        planned.append(held_run(plan, photos[1::2], randomised=randomised, faithful="fidelity" in checks))
    return planned, lacking, remarks


def patch_runs(plan: Plan, made: Planting) -> list[Planned]:
    """The patch that decides, and the same photos and class in the unaltered network."""
    if not made.decided:
        return []
    metrics = [plan.pointing, "relevance-rank"]
    decides = plan.run(made.decided, made.seeing, plan.methods, metrics, TargetChoice())
    fixed = TargetChoice(str(made.target), TargetRule(index=made.target))
    unaltered = plan.run(made.decided, plan.classifier, plan.of_any_class, [plan.pointing], fixed)
    return [
        Planned(decides, {plan.pointing: FOUND, "relevance-rank": FOUND_RANK}, shown=made.decided[0]),
        Planned(unaltered, {plan.pointing: CONTRAST}),
    ]


def absence_runs(plan: Plan, made: Planting) -> list[Planned]:
    """The patch that decides nothing."""
    if not made.ignored:
        return []
    run = plan.run(made.ignored, made.blind, plan.methods, [plan.pointing], TargetChoice())
    return [Planned(run, {plan.pointing: ALARM}, shown=made.ignored[0])]


def quarter_runs(plan: Plan, photos: Sequence[MarkedPhoto]) -> tuple[list[Planned], list[str]]:
    """Mosaics of photos of four different classes; each class is explained, and its quarter is the truth."""
    classifier = plan.classifier
    if classifier.outputs is not Outputs.SOFTMAX:
        return [], ["no mosaics: the outputs are not classes of which one is right"]
    probabilities = clean_logits(classifier, inputs_of(photos, classifier.view).to(classifier.device)).softmax(dim=1).cpu()
    sure = sorted(range(len(photos)), key=lambda at: -float(probabilities[at].max()))
    groups = groups_of_four([(at, int(probabilities[at].argmax())) for at in sure])
    if not groups:
        return [], ["no mosaics: the photos have fewer than four classes"]
    parts: list[MarkedPhoto] = []
    rules: dict[str, TargetRule] = {}
    for number, group in enumerate(groups):
        quarters = mosaic(f"mosaic{number}", [photos[at].pixels for at, _ in group])
        rules |= {quarter.source.path: TargetRule(index=index) for quarter, (_, index) in zip(quarters, group, strict=True)}
        parts += quarters
    targets = TargetChoice("file", DECISION, rules, "mosaics")
    run = plan.run(parts, classifier, plan.of_any_class, ["positive-share"], targets)
    return [Planned(run, {"positive-share": QUARTER}, group=4, shown=parts[0])], []


def groups_of_four(decided: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Groups of four photos with different classes, each photo once, in the order given; (photo, class)."""
    groups: list[list[tuple[int, int]]] = []
    rest = list(decided)
    while True:
        group: list[tuple[int, int]] = []
        for one in rest:
            if one[1] not in {index for _, index in group} and len(group) < 4:
                group.append(one)
        if len(group) < 4:
            return groups
        groups.append(group)
        rest = [one for one in rest if one not in group]


def held_run(plan: Plan, photos: Sequence[MarkedPhoto], *, randomised: bool, faithful: bool) -> Planned:
    """Photos as they are, each explained once for both checks: again under random weights; insertion and deletion."""
    random = [make_metric(f"randomization@stages={STAGES}").label] if randomised else []
    fidelity = [f"{name}@steps={STEPS}" for name in ("insertion", "deletion")] if faithful else []
    controls = ("random", "center") if faithful else ()
    run = plan.run(photos, plan.classifier, plan.methods, [*random, *fidelity], TargetChoice(), controls)
    return Planned(run, dict.fromkeys(random, RANDOM) | dict.fromkeys(fidelity, FIDELITY), maps=1 + STAGES * len(random))


def definition_of(plan: Plan, checks: Sequence[str]) -> dict[str, object]:
    """How a certificate is made, for its stamp."""
    return {
        "name": "trust",
        "version": 3,
        "checks": list(checks),
        "plantings": plan.plantings,
        "seed": plan.settings.seed,
        "precision": plan.settings.precision,
        "methods": [content_on(method, plan.classifier) for method in plan.methods],
        **({} if plan.budget is None else {"budget": plan.budget}),
    }
