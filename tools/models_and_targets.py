"""Which method runs on which kind of model: the table of docs/models-and-targets.md.

    python -m tools.models_and_targets docs/models-and-targets.md

Every built-in method is run over one small network of each kind (`tools.model_kinds`). A cell runs, or refuses in one line, which
the page shows below the table; anything else is a fault, and ends the command.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

import xaicli
from tools.model_kinds import KINDS, ModelKind
from xaicli.builtin import METHODS
from xaicli.errors import InputError, RunError, UsageError, XaiError
from xaicli.files import write_atomic
from xaicli.network.classifier import Classifier

BEGIN, END = "<!-- table: python -m tools.models_and_targets -->\n", "<!-- end of table -->\n"
CHEAP = {
    "rise": "n_masks=8",
    "d-rise": "n_masks=8",
    "integrated-gradients": "n_steps=2",
    "smoothgrad": "n_samples=2",
    "gradient-shap": "n_samples=2",
    "shapley-sampling": "n_samples=1@n_segments=4",
    "feature-ablation": "n_segments=4",
    "lime": "n_samples=8@n_segments=4",
    "kernel-shap": "n_samples=8@n_segments=4",
    "occlusion": "window=16@stride=16",
    "ucag": "slices=2",
    "fovex": "n_fixations=1@n_steps=1",
}
"""Parameters that make a method cheap; whether it runs does not depend on them."""


KERNEL = re.compile(r"_?scaled_dot_product_\w+")
"""torch's own attention, which has a name on every processor."""
NEEDS_MET = re.compile(r"Methods whose needs it meets: [^.]*\.")
"""What a refusal ends with that differs from network to network: the page says it by the whole table."""


@dataclass(frozen=True)
class KindCell:
    """What came of a method on a kind of model: it ran, or the line that refused it; fault: the line of anything else."""

    method: str
    kind: str
    refusal: str = ""
    fault: str = ""


def photo(folder: Path, channels: int, side: int = 80) -> Path:
    """Smooth noise, larger than any network sees: a picture, or an array where a network takes more bands than one has."""
    coarse = np.random.default_rng(0).random((channels, 10, 10), dtype=np.float32)
    bands = functional.interpolate(torch.from_numpy(coarse)[None], size=side, mode="bilinear")[0]
    if channels not in (1, 3):
        np.save(folder / "photo.npy", bands.numpy())
        return folder / "photo.npy"
    colours = (255 * bands.expand(3, -1, -1)).byte().permute(1, 2, 0).numpy()
    Image.fromarray(colours).save(folder / "photo.png")
    return folder / "photo.png"


def table(kinds: Sequence[ModelKind] = KINDS) -> Iterator[KindCell]:
    """Every method on every kind, kind by kind."""
    for kind in kinds:
        with kind.made() as classifier, tempfile.TemporaryDirectory() as folder:
            given = photo(Path(folder), classifier.view.channels)
            for method in METHODS:
                yield cell(method, kind, classifier, given)


def cell(method: str, kind: ModelKind, classifier: Classifier, given: Path) -> KindCell:
    label = f"{method}@{CHEAP[method]}" if method in CHEAP else method
    try:
        xaicli.explain(given, classifier, label, target=kind.target)
    except XaiError as error:
        line = error.line().replace(label, method).replace(classifier.name, "the model")
        line = KERNEL.sub("scaled_dot_product_attention", NEEDS_MET.sub("", line)).strip()
        return KindCell(method, kind.name, refusal=line) if is_refusal(error) else KindCell(method, kind.name, fault=line)
    # What is no XaiError is a fault of ours, whatever it is.
    except Exception as error:
        return KindCell(method, kind.name, fault=f"{type(error).__name__}: {error}")
    return KindCell(method, kind.name)


def is_refusal(error: XaiError) -> bool:
    """Whether an error is a method's own word, and not that of an exception which was caught on its way."""
    cause = error.__cause__
    caught = isinstance(error, RunError) and cause is not None and not isinstance(cause, XaiError)
    return isinstance(error, UsageError | InputError | RunError) and not caught


def page(text: str, cells: Sequence[KindCell]) -> str:
    """The page with the table and its footnotes in their place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "".join([before, BEGIN, "\n", columns(), "\n\n", "\n".join(lines_of(cells)), "\n\n", END, after])


def columns() -> str:
    """What the columns are, by what the models give."""
    by_outputs: dict[str, list[str]] = {}
    for kind in KINDS:
        by_outputs.setdefault(kind.outputs, []).append(kind.name)
    return "; ".join(f"{outputs}: {', '.join(names)}" for outputs, names in by_outputs.items()) + "."


def lines_of(cells: Sequence[KindCell]) -> list[str]:
    """The table in Markdown, and the refusals it refers to by number."""
    kinds = list(dict.fromkeys(one.kind for one in cells))
    by_method: dict[str, dict[str, KindCell]] = {}
    for one in cells:
        by_method.setdefault(one.method, {})[one.kind] = one
    notes: dict[str, int] = {}
    lines = [f"| method | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for method, row in by_method.items():
        shown = [mark(row[kind], notes) for kind in kinds]
        lines.append(f"| {method} | {' | '.join(shown)} |")
    return [*lines, "", *(f"{number}. {escaped(line)}" for line, number in notes.items())]


def mark(one: KindCell, notes: dict[str, int]) -> str:
    if not one.refusal:
        return "yes"
    return f"[{notes.setdefault(one.refusal, len(notes) + 1)}]"


def escaped(line: str) -> str:
    """A line as text of Markdown."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|" else char for char in line)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.models_and_targets", description="Run every method on every kind.")
    parser.add_argument("page", type=Path, nargs="?", default=Path("docs/models-and-targets.md"))
    given = parser.parse_args(words)
    cells = list(table())
    faults = [one for one in cells if one.fault]
    for one in faults:
        print(f"{one.method} on {one.kind}: {one.fault}", file=sys.stderr)
    if faults:
        return 1
    content = page(given.page.read_text("utf-8"), cells)
    write_atomic(given.page, lambda file: file.write(content.encode()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
