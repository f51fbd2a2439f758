"""Which rate, epochs and weight of the area train the best heads of T-TAME and P-TAME? Successive halving over `xai train`.

    python -m tools.head_search --data train/ --val val/ --model tiny --method t-tame

Every round trains the candidates that are left on more photos, scores them on held-out photos that the model card does not use,
and keeps the better half, by rank over insertion and average drop. Trainings and scores are kept, so a run that was stopped goes
on where it was; the figures are in docs/results/head_search.jsonl.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.bundled_models import trained
from tools.resumable_work import exit_code_of, say
from tools.searched_heads import DROP, FIGURES, INSERTION
from tools.trial_scores import Interval, kept, score
from xaicli.errors import UsageError
from xaicli.files import write_atomic
from xaicli.models.checkpoint import ENDING
from xaicli.models.load import load_classifier
from xaicli.params import escape
from xaicli.registry import make_method
from xaicli.results import stats
from xaicli.training.data import Listing, read_listing
from xaicli.training.train_request import TrainRequest

CARD_PHOTOS = 1000
"""So many held-out photos, as drawn with seed 0, are left to the model card."""
RATES = {"t-tame": (3e-3, 1e-2, 3e-2), "p-tame": (3e-4, 1e-3, 3e-3)}
AREAS = {"t-tame": (1.0, 2.0), "p-tame": (0.6, 0.838571)}
EPOCHS = (1, 2)
AUXILIARY = "tiny"
"""Whose layers P-TAME reads, as in the package."""


@dataclass(frozen=True)
class Candidate:
    """One way to train a head."""

    method: str
    model: str
    lr: float
    epochs: int
    area: float

    @property
    def name(self) -> str:
        return f"{self.model}.{self.method}.lr{self.lr:g}.epochs{self.epochs}.area{self.area:g}"

    @property
    def parameters(self) -> dict[str, str]:
        own = {"auxiliary": AUXILIARY} if self.method == "p-tame" else {}
        return {"area": f"{self.area:g}", **own}


def candidates_of(method: str, model: str) -> list[Candidate]:
    grid = itertools.product(RATES[method], EPOCHS, AREAS[method])
    return [Candidate(method, model, lr, epochs, area) for lr, epochs, area in grid]


def rounds_of(candidates: Sequence[Candidate], most: int) -> Iterator[tuple[int, int]]:
    """(candidates left, photos) of each round: twice the photos for half the candidates, `most` photos in the last."""
    left, sizes = len(candidates), []
    while left > 1:
        sizes.append(left)
        left = -(-left // 2)
    for number, left in enumerate(sizes):
        yield left, max(1, most >> (len(sizes) - 1 - number))


def searched_photos(held: Listing, photos: int) -> Listing:
    """Held-out photos of the search: none of those that the model card draws."""
    card = set(held.sample(CARD_PHOTOS, seed=0).names)
    rest = held.rows([at for at, name in enumerate(held.names) if name not in card])
    if not len(rest):
        raise UsageError(f"{len(held)} held-out photos", expected=f"more than the {CARD_PHOTOS} that the model card draws")
    return rest.sample(photos, seed=0)


def figures_of(one: Candidate, photos: int, shown: Listing, arguments: argparse.Namespace) -> dict[str, Any]:
    """A candidate trained on so many photos, and scored."""
    request = TrainRequest(
        method=one.method,
        data=arguments.data,
        model=one.model,
        output=arguments.work / f"{one.name}.{photos}{ENDING}",
        parameters=one.parameters,
        overrides={"epochs": one.epochs, "lr": one.lr},
        model_options={"device": "cpu"},
        limit=photos,
        held=0,
        bf16=arguments.precision == "bf16",
        save_every=60.0,
    )
    file = trained(request)
    classifier = load_classifier(one.model, device="cpu")
    own = make_method(f"{one.method}@checkpoint={escape(str(file))}").label
    # One store for all candidates, so that what they are compared with is scored once.
    values = score(arguments.work / f"{one.model}.db", classifier, [own, "grad-cam"], [INSERTION, DROP], shown)
    means: dict[str, Interval] = {}
    for metric, by_method in values.items():
        means[metric] = kept(stats.mean(by_method[own]))
        means[f"{metric} less grad-cam"] = kept(stats.difference(by_method[own], by_method["grad-cam"]))
    return {**vars(one), "photos": photos, "scored": len(shown), "scores": means}


def ranked(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places in `rows`, best first, by the sum of ranks over insertion and average drop; ties by insertion."""
    insertion = np.array([row["scores"][INSERTION][0] for row in rows])
    drop = np.array([row["scores"][DROP][0] for row in rows])
    places = (-insertion).argsort().argsort() + drop.argsort().argsort()
    return [int(at) for at in np.lexsort((-insertion, places))]


def search(method: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every row of a search, round by round; the last round's first is the best."""
    left = candidates_of(method, arguments.model)
    shown = searched_photos(read_listing(arguments.val), arguments.photos)
    rows: list[dict[str, Any]] = []
    for number, (count, photos) in enumerate(rounds_of(left, arguments.limit), 1):
        made = [{"round": number, **figures_of(one, photos, shown, arguments)} for one in left[:count]]
        order = ranked(made)
        rows += [made[at] for at in order]
        left = [left[at] for at in order]
        keep(rows, method, arguments.model)
        say(f"{arguments.model} {method}, round {number}: {left[0].name} is the best of {count} on {photos:,} photos")
    return rows


def keep(rows: Sequence[Mapping[str, Any]], method: str, model: str) -> None:
    """Replace the rows of this search; those of others stay."""
    lines = FIGURES.read_text(encoding="utf-8").splitlines() if FIGURES.is_file() else []
    others = [line for line in lines if (json.loads(line)["method"], json.loads(line)["model"]) != (method, model)]
    content = "".join(f"{line}\n" for line in [*others, *map(json.dumps, rows)]).encode()
    write_atomic(FIGURES, lambda file: file.write(content))


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.head_search", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="training photos")
    parser.add_argument("--val", required=True, metavar="DIR", help="held-out photos")
    parser.add_argument("--model", default="tiny", help="the network that is explained (tiny)")
    parser.add_argument("--method", action="append", choices=sorted(RATES), help="t-tame or p-tame (default: both)")
    parser.add_argument("--work", type=Path, default=Path("head-search"), metavar="DIR", help="heads and scores")
    parser.add_argument("--limit", type=int, default=10_000, metavar="N", help="photos of the last round's trainings")
    parser.add_argument("--photos", type=int, default=200, metavar="N", help="held-out photos that are scored")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    arguments = arguments_of(words)
    arguments.work.mkdir(parents=True, exist_ok=True)

    def work() -> None:
        for method in arguments.method or sorted(RATES):
            search(method, arguments)

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
