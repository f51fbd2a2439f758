"""docs/lfi-cam.md: what the bundled branch learned, what short trainings with other recipes gave, and the study of its worth.

python -m tools.lfi_page            writes the page from the figures that are kept
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.page_words import percent, shown, wrapped
from tools.study_tables import studied
from xaicli.files import write_atomic
from xaicli.words import count

PAGE = Path("docs/lfi-cam.md")
BRANCH = Path("docs/results/lfi_branch.json")
TRIALS = Path("docs/results/lfi_trials.json")
STUDY = Path("docs/results/lfi_study.json")
EQUAL, GRAD_CAM, CENTER = "lfi-cam@weights=equal", "grad-cam", "center"
INSERTION, DROP, POINTING = "insertion@steps=14", "average-drop@area=50@mask=binary", "energy-pointing-game"
NEARLY_ONE = 1.1
"""Below this many equal weights, by entropy, nearly all weight lies on one channel."""
TRIALS_TABLE = (
    "| changed | accuracy, % | entropy of the weights, nats | rise of the loss with another photo's weights "
    "| rise with equal weights |",
    "| --- | ---: | ---: | ---: | ---: |",
)
TABLE = (
    "| weights of the channels | accuracy, % | loss | loss minus learned | correlation with the map of equal weights |",
    "| --- | ---: | ---: | ---: | ---: |",
)


def write_page() -> None:
    """Write the page from the figures that are kept."""
    content = page(read(BRANCH), read(TRIALS) or [], read(STUDY)).encode()
    write_atomic(PAGE, lambda file: file.write(content))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def page(figures: Mapping[str, Any], trials: Sequence[Mapping[str, Any]] = (), study: Mapping[str, Any] | None = None) -> str:
    """The page in Markdown: of the bundled branch, then of trials and of the study, as far as there are any."""
    parts = [*bundled(figures, trials), *tried(trials, figures), *studied(study)]
    return "\n\n".join(parts) + "\n"


def bundled(figures: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the branch of the bundled network learned; the first sentence says what came of trying other recipes."""
    channels, ways, gradient = figures["channels"], figures["ways"], figures["gradient"]
    spread, over_photos = figures["over_channels"], figures["over_photos"]
    rows = [
        f"| {name} | {percent(way['accuracy'])} | {shown(way['loss'], 3)} | "
        f"{shown(way['change'], 4)} | {shown(way['like_equal'], 3)} |"
        for name, way in ways.items()
    ]
    return [
        "# What the branch of LFI-CAM learns",
        wrapped(
            f"{trials_verdict(trials)}{verdict(ways)} Measured on the bundled `{figures['model']}` over {figures['photos']:,} "
            "held-out photos; 95 % intervals in brackets."
        ),
        wrapped(
            f"- The {channels} weights of a photo have an entropy of {shown(figures['entropy'], 3)} nats, of at most "
            f"{figures['most']:.3f}. That is the entropy of {shown(figures['effective'], 1)} equal weights. The largest "
            f"weight is {shown(figures['largest'], 4)}; 1 / {channels} is {1 / channels:.4f}."
        ),
        wrapped(
            f"- The scores before the softmax differ by {spread:.2f} from channel to channel of a photo, and by "
            f"{over_photos:.2f} from photo to photo of a channel (standard deviations). At temperature 1 a score that is higher "
            f"by {spread:.2f} makes a weight {math.exp(spread):.2f} times as large."
        ),
        wrapped(
            "- The gradient of the loss, divided by the size of the weights (root mean squares), is "
            f"{gradient['branch']:.2g} in the branch's convolutions and {gradient['network']:.2g} in the network's last one."
        ),
        *sharper(trials),
        "Each row weighs the channels in another way, in the network as it was trained:",
        "\n".join([*TABLE, *rows]),
        wrapped(
            "The rows of smaller temperatures change a network that was trained at 1. "
            "[The scores of the bundled models](models.md) have `lfi-cam@weights=equal` beside `lfi-cam`."
        ),
        "Made by `python -m tools.lfi_branch --data val/`, from `docs/results/lfi_branch.json`.",
    ]


def sharper(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """An item on the trial of the smallest temperature: whether sharper weights alone would matter; none where they do."""
    colder = [trial for trial in trials if set(trial.get("parameters", {})) == {"temperature"}]
    if not colder:
        return []
    trial = min(colder, key=lambda one: float(one["parameters"]["temperature"]))
    change = trial["loss_minus_own"]["of the next photo"]
    if above_zero(change) or above_zero(gain(trial, INSERTION, EQUAL)):
        return []
    return [
        wrapped(
            f"- Sharper weights alone do not help. Trained with {trial['what']} (below), the weights have an entropy of "
            f"{trial['entropy'][0]:.2f} nats, but those of another photo are not shown to serve worse: they change the loss by "
            f"{shown(change, 4)}."
        )
    ]


def trials_verdict(trials: Sequence[Mapping[str, Any]]) -> str:
    """One sentence, the first of the page: whether a recipe makes the branch's map better than equal weights do."""
    if not trials:
        return ""
    better = [trial for trial in trials if above_zero(gain(trial, INSERTION, EQUAL))]
    if not better:
        tried = f"{len(trials)} short trainings" if len(trials) > 1 else "one short training"
        return (
            "By insertion, no recipe that was tried makes the branch's map better than the plain mean of the channels, "
            f"in {tried}{pointing_better(trials)}. {below_grad_cam(trials)}"
        )
    names = ", ".join(f"{trial['what']} (by {shown(gain(trial, INSERTION, EQUAL), 3)})" for trial in better)
    rival = [trial for trial in better if above_zero(gain(trial, INSERTION, GRAD_CAM))]
    also = ", ".join(trial["what"] for trial in rival)
    than = f"better than Grad-CAM too: {also}" if rival else "none of them better than Grad-CAM"
    return f"The branch's map has a higher insertion than the plain mean of the channels with {names}; {than}. "


def below_grad_cam(trials: Sequence[Mapping[str, Any]]) -> str:
    """A sentence where Grad-CAM of the same network beats every recipe's map by insertion; nothing where it does not."""
    if not all(below_zero(gain(trial, INSERTION, GRAD_CAM)) for trial in trials):
        return ""
    found = [-(gain(trial, INSERTION, GRAD_CAM)[0] or 0.0) for trial in trials]
    return (
        f"Grad-CAM of the same network is better than each of these maps (insertion, by {min(found):.3f} to {max(found):.3f}). "
    )


def pointing_better(trials: Sequence[Mapping[str, Any]]) -> str:
    """The recipes whose map beats that of equal weights in energy pointing, is no worse than `center` there, and is worse by
    insertion; nothing without any."""
    names = [
        f'"{trial["what"]}"'
        for trial in trials
        if points_better(trial) and not below_zero(gain(trial, POINTING, CENTER)) and below_zero(gain(trial, INSERTION, EQUAL))
    ]
    if not names:
        return ""
    maps = f"the map of {names[0]} points" if len(names) == 1 else f"the maps of {' and '.join(names)} point"
    return f"; {maps} better (energy pointing), but {'loses' if len(names) == 1 else 'lose'} insertion"


def points_better(trial: Mapping[str, Any]) -> bool:
    """Whether the map holds more of its energy in the object than that of equal weights."""
    return POINTING in trial["scores"] and above_zero(gain(trial, POINTING, EQUAL))


def above_zero(interval: Sequence[float | None]) -> bool:
    return interval[1] is not None and interval[1] > 0


def below_zero(interval: Sequence[float | None]) -> bool:
    return interval[2] is not None and interval[2] < 0


def gain(trial: Mapping[str, Any], metric: str, rival: str) -> Sequence[float | None]:
    found: Sequence[float | None] = trial["scores"][metric][f"minus {rival}"]
    return found


def tried(trials: Sequence[Mapping[str, Any]], figures: Mapping[str, Any]) -> list[str]:
    """The trials: how they were trained, and two tables."""
    if not trials:
        return []
    first = trials[0]
    schedule, metrics = first["schedule"], [name for name in (INSERTION, DROP, POINTING) if name in first["scores"]]
    about = (
        f"Each begins with the weights of the bundled network without its branch, and trains {first['trained_on']:,} photos for "
        f"{schedule['epochs']} epochs by LFI-CAM's published recipe (SGD, batch {schedule['batch_size']}, lr "
        f"{schedule['lr']:g} in steps, weight decay {schedule['weight_decay']:g}, no mixup, no mean of weights; shortened, in "
        f"bf16), with one thing changed. Accuracy is on {first['photos']:,} held-out photos, scores on {first['scored']:,}; 95 % "
        f"intervals in brackets.{lower(trials, figures)}{from_scratch(trials)}"
    )
    network = [
        f"| {trial['what']} | {percent(trial['accuracy'])} | {shown(trial['entropy'], 2)} of {trial['most']:.2f} | "
        f"{shown(trial['loss_minus_own']['of the next photo'], 4)} | {shown(trial['loss_minus_own']['all equal'], 4)} |"
        for trial in trials
    ]
    return [
        "## Other recipes, briefly",
        wrapped(about),
        "\n".join([*TRIALS_TABLE, *network]),
        wrapped(
            "Scores of the branch's map, and its difference, paired by photo, from the map of equal weights, from Grad-CAM of "
            "the same network, and from `center`, which knows nothing of the photo:"
        ),
        *(table_of(metric, trials) for metric in metrics),
        *mixed(trials),
        "Made by `python -m tools.lfi_trials --data train/ --val val/`, from `docs/results/lfi_trials.json`.",
    ]


def mixed(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """A paragraph on each trial whose map beats that of equal weights in energy pointing, but not in insertion, the judge."""
    found = []
    for trial in trials:
        if points_better(trial) and not above_zero(gain(trial, INSERTION, EQUAL)):
            loss = shown(trial["loss_minus_own"]["of the next photo"], 4)
            inserted = shown(gain(trial, INSERTION, EQUAL), 3)
            found.append(
                f'The map of "{trial["what"]}" holds more of its energy in the object than the map of equal weights (by '
                f"{shown(gain(trial, POINTING, EQUAL), 3)}){less_than_center(trial)}, but its insertion differs by {inserted}. "
                f"{concentration(trial)}, and the weights of another photo change the loss by {loss}. "
                "Recipes are judged by insertion, so the bundled branch stays."
            )
    return [wrapped(text) for text in found]


def less_than_center(trial: Mapping[str, Any]) -> str:
    """Half a sentence on a map that points worse than `center`, which knows nothing of the photo; nothing where it does not."""
    against = gain(trial, POINTING, CENTER)
    return f", though less than `center` does (difference {shown(against, 3)})" if below_zero(against) else ""


def concentration(trial: Mapping[str, Any]) -> str:
    """On how many channels the weight lies, by the entropy of a photo's weights."""
    equal = math.exp(trial["entropy"][0])
    # The largest weight is at least exp(-entropy).
    if equal < NEARLY_ONE:
        return "Nearly all of a photo's weight lies on one channel"
    return f"Its weights have the entropy of {equal:.1f} equal weights"


def lower(trials: Sequence[Mapping[str, Any]], figures: Mapping[str, Any]) -> str:
    """A sentence on why accuracy is below that of the bundled network, whose weights were the first; nothing where it is not."""
    value, low, _ = figures["ways"]["as learned"]["accuracy"]
    own = [trial for trial in trials if not trial.get("from_scratch")]
    if not own or any(trial["accuracy"][2] >= low for trial in own):
        return ""
    return (
        f" Accuracy is lower than the bundled network's {100 * value:.1f} %, since a few epochs of "
        f"{own[0]['trained_on']:,} photos at the published rate of {own[0]['schedule']['lr']:g} move the weights away from those "
        "of the long training; recipes are compared with each other, not with the bundled network."
    )


def from_scratch(trials: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on networks that the bundled weights do not fit."""
    return "".join(
        f' Only "{trial["what"]}" begins with initial weights, and trains for {count(trial["schedule"]["epochs"], "epoch")}; '
        "its first convolution halves the photos to CIFAR's 32 x 32."
        for trial in trials
        if trial.get("from_scratch")
    )


def table_of(metric: str, trials: Sequence[Mapping[str, Any]]) -> str:
    arrow = "↓" if metric == DROP else "↑"
    head = [
        f"| {metric} {arrow} | of the branch's map | less equal weights | less Grad-CAM | less center |",
        "| --- |" + " ---: |" * 4,
    ]
    rows = [
        f"| {trial['what']} | {shown(trial['scores'][metric]['lfi-cam'], 3)} | "
        + " | ".join(shown(gain(trial, metric, rival), 3) for rival in (EQUAL, GRAD_CAM, CENTER))
        + " |"
        for trial in trials
    ]
    return "\n".join([*head, *rows])


def verdict(ways: Mapping[str, Any]) -> str:
    """One sentence: whether weights of another photo serve the network as well as the photo's own."""
    change = ways["of the next photo"]["change"]
    range_of = f"by {shown(change, 4)}"
    if change[1] is not None and change[1] > 0:
        return f"The branch weighs channels by the photo: with the weights of another photo the loss is higher {range_of}."
    alike = ways["as learned"]["like_equal"][0]
    return (
        f"The branch's weights are not shown to matter: those of another photo change the loss {range_of}, and its map "
        f"correlates by {alike:.3f} with the one of equal weights."
    )


def main() -> int:
    write_page()
    return 0


if __name__ == "__main__":
    sys.exit(main())
