"""The part of docs/lfi-cam.md on `xai study lfi-cam`: what it found in two sentences, then two tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from docs.page_words import Interval, shown, wrapped
from xaicli.training.study_arms import BRANCH, EPOCHS, NONE, PLAIN
from xaicli.training.study_result import ACCURACY, DIFFERENCE, MEASURES, OTHER_PHOTO

Row = Mapping[str, Any]
NAMES = {BRANCH: "with the branch", NONE: "without it", PLAIN: "with a plain head"}
RIVALS = {NONE: "without it", PLAIN: "with a plain head of as many weights"}
STABILITY = (
    "How alike the maps of two trainings are: intersection over union of what they mark, which is what lies above 100 of 255. "
    "The authors' script takes it row by row, and each map's own peak wraps to 0 there."
)
ACCURACY_HEAD = ("| network | top-1, % | |", "| --- | ---: | --- |")


def studied(study: Mapping[str, Any] | None) -> list[str]:
    """The part in Markdown, a text for each paragraph; none without a study."""
    if study is None:
        return []
    rows, about = study["rows"], study["about"]
    shared = ", ".join(f"{name} {thousands(value)}" for name, value in about.items())
    networks = [f"| {NAMES[row['of']]} | {value_of(row, 1)} | {row['note']} |" for row in rows if row["part"] == ACCURACY]
    differences = [f"| {row['of']}, points | {value_of(row, 2)} | {row['note']} |" for row in rows if row["part"] == DIFFERENCE]
    return [
        "## With the branch, without it, and with a plain head as large",
        wrapped(f"{accuracy_verdict(rows)} {stability_verdict(rows)}"),
        wrapped(
            f"What all trainings share: {shared}. In brackets 95 % intervals over photos; figures by seed show how much one "
            f"training differs from the next. The trainings with other settings are one each.{shortened(about)}"
        ),
        "\n".join([*ACCURACY_HEAD, *networks, *differences]),
        wrapped(f'{STABILITY} "{OTHER_PHOTO.capitalize()}" is the map of the next photo, which says how alike any two maps are.'),
        "\n".join(stability_table(rows)),
        wrapped(
            f"Made by `xai study lfi-cam --data train/ --val val/{options(about)} -o study/`, whose `study.json` is "
            "`docs/results/lfi_study.json`."
        ),
    ]


def shortened(about: Mapping[str, Any]) -> str:
    """A sentence on a schedule that is shorter than the command's own."""
    if about.get("epochs", EPOCHS) >= EPOCHS:
        return ""
    return (
        " A schedule as short as this leaves all networks far from the accuracy that longer ones reach; only their differences "
        "are of interest."
    )


def options(about: Mapping[str, Any]) -> str:
    """The options that gave this study its length and its arithmetic."""
    return "".join(f" --{name} {about[name]}" for name in ("epochs", "precision") if name in about)


def accuracy_verdict(rows: Sequence[Row]) -> str:
    """A sentence for each rival of the branch: which is more accurate, and by how much."""
    return " ".join(
        f"Top-1 with the branch {compared(interval(row))} {RIVALS[rival]} (difference {value_of(row, 2)} points)."
        for rival in RIVALS
        for row in rows
        if row["part"] == DIFFERENCE and row["of"] == f"{BRANCH} less {rival}"
    )


def compared(difference: Interval) -> str:
    _, low, high = difference
    if low is not None and low > 0:
        return "is higher than"
    return "is lower than" if high is not None and high < 0 else "is not shown to differ from top-1"


def stability_verdict(rows: Sequence[Row]) -> str:
    """A sentence: how alike the maps of two settings are, of one photo and of two, method by method."""
    measure = next(iter(MEASURES))
    told = []
    for method in methods_of(rows):
        same, others = (span(row["value"] for row in rows if row["part"] == measure and row["of"] == of) for of in both(method))
        told.append(f"{same} with `{method}` ({others} for two photos)")
    return f"From one setting of the training to another, maps of a photo overlap by {', '.join(told)}." if told else ""


def stability_table(rows: Sequence[Row]) -> list[str]:
    head = [name for measure in MEASURES for name in (measure, OTHER_PHOTO)]
    lines = [f"| method | settings | {' | '.join(head)} |", "| --- | --- |" + " ---: |" * len(head)]
    for method in methods_of(rows):
        for settings in dict.fromkeys(row["note"] for row in rows if row["of"] == method):
            cells = [
                value_of(next(row for row in rows if (row["part"], row["of"], row["note"]) == (measure, of, settings)), 3)
                for measure in MEASURES
                for of in both(method)
            ]
            lines.append(f"| {method} | {settings.replace(' | ', ', ')} | {' | '.join(cells)} |")
    return lines


def methods_of(rows: Sequence[Row]) -> list[str]:
    """The methods whose maps were compared, in the study's order."""
    compared_maps = [row["of"] for row in rows if row["part"] in MEASURES]
    return [of for of in dict.fromkeys(compared_maps) if not of.endswith(OTHER_PHOTO)]


def both(method: str) -> tuple[str, str]:
    """What a study calls a method's maps of one photo, and of two."""
    return method, f"{method}, {OTHER_PHOTO}"


def interval(row: Row) -> Interval:
    return [row["value"], row["low"], row["high"]]


def value_of(row: Row, digits: int) -> str:
    """`0.512 [0.501, 0.523]`; the value alone where all photos have the same."""
    return shown(interval(row), digits) or f"{row['value']:.{digits}f}"


def span(values: Any) -> str:
    low, *_, high = sorted(values) * 2
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def thousands(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
