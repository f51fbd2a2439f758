"""docs/trained-heads.md: heads that were trained for networks with real weights, beside methods that need no training.

python -m tools.heads_page          writes the page from the figures that are kept
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.page_words import Interval, percent, shown, wrapped
from xaicli.files import write_atomic
from xaicli.words import count

PAGE = Path("docs/trained-heads.md")
FIGURES = Path("docs/results/classic_heads.json")
INSERTION, DROP = "insertion@steps=14", "average-drop@area=50@mask=binary"
GRAD_CAM = "grad-cam"


def write_page() -> None:
    """Write the page from the figures that are kept."""
    content = page(json.loads(FIGURES.read_text(encoding="utf-8"))).encode()
    write_atomic(PAGE, lambda file: file.write(content))


def page(networks: Sequence[Mapping[str, Any]]) -> str:
    """The page in Markdown."""
    about = (
        "T-TAME, P-TAME and L-CAM were trained briefly for networks of ImageNet's 1,000 classes, with real weights. The photos "
        "are those of Tiny ImageNet, 64 x 64 pixels, resized to 256 x 256 (248 x 248 for DeiT-Ti) and cropped to 224 x 224: "
        "blurred, of 200 classes, and far fewer than the papers' million. Learning rates are first guesses. P-TAME reads the "
        "features of the bundled `tiny`, which sees 64 x 64 pixels (`auxiliary=tiny`), not those of the published ResNet-18. So "
        "this page says what minutes on a processor buy, not what the methods can do. The heads do not ship. Held-out photos are "
        "resized and cropped alike. Accuracy is over a network's 1,000 outputs. Scores are for the decided class; 95 % intervals "
        "in brackets."
    )
    parts = ["# Heads for networks with real weights", wrapped(f"{summary(networks)}{about}")]
    for network in networks:
        parts += section(network)
    return "\n\n".join([*parts, "Made by `python -m tools.classic_heads --assets DIR --data train/ --val val/`."]) + "\n"


def summary(networks: Sequence[Mapping[str, Any]]) -> str:
    """The first sentence of the page where no head is as good as Grad-CAM by insertion; nothing where one is."""
    gaps = [network["scores"][INSERTION][head][f"minus {GRAD_CAM}"] for network in networks for head in network["heads"]]
    if not gaps or not all(gap[2] is not None and gap[2] < 0 for gap in gaps):
        return ""
    return "By insertion, every head on this page is worse than Grad-CAM, which needs no training. "


def section(network: Mapping[str, Any]) -> list[str]:
    """What was trained for a network, what came of it, and the scores."""
    found = [verdict(network, name) for name in network["heads"]]
    decided = f"It decides {percent(network['accuracy'])} % of the {network['scored']:,} held-out photos rightly."
    return [
        f"## {network['network']}",
        wrapped(f"{decided} Trained for it:"),
        "\n".join(trained(name, head) for name, head in network["heads"].items()),
        "\n".join(found),
        *(table(metric, network["scores"][metric], list(network["heads"])) for metric in (INSERTION, DROP)),
    ]


def trained(name: str, head: Mapping[str, Any]) -> str:
    first, last = head["loss"]
    return wrapped(
        f"- `{name}`: {head['photos']:,} photos, {count(head['epochs'], 'epoch')}, batch {head['batch']}, {head['optimizer']} up "
        f"to lr {head['lr']:g}, {head['precision']}; mean loss {first:.3f} in the first epoch, {last:.3f} in the last."
    )


def verdict(network: Mapping[str, Any], head: str) -> str:
    """One sentence on a head: what it beats by insertion, and what it does not."""
    own = network["scores"][INSERTION][head]
    parts = []
    for name in own:
        if name.startswith("minus "):
            gap = own[name]
            better, worse = gap[1] is not None and gap[1] > 0, gap[2] is not None and gap[2] < 0
            word = "beats" if better else "is worse than" if worse else "cannot be told from"
            parts.append(f"{word} `{name.removeprefix('minus ')}` (difference {shown(gap, 3)})")
    return wrapped(f"- `{head}` {', '.join(parts[:-1])}{' and ' if len(parts) > 1 else ''}{parts[-1]} on insertion.")


def table(metric: str, scores: Mapping[str, Mapping[str, Interval]], heads: Sequence[str]) -> str:
    """Every method's mean, the best first; of heads also what they are more than the others."""
    arrow, sign = ("↓", 1) if metric == DROP else ("↑", -1)
    rivals = [name for name in scores if name not in heads]
    rows = []
    for name in sorted(scores, key=lambda name: sign * (scores[name]["mean"][0] or 0.0)):
        cells = [shown(own, 3) for own in (scores[name]["mean"], *(scores[name].get(f"minus {rival}") for rival in rivals))]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    gaps = " | ".join(f"less {rival}" for rival in rivals)
    head = [f"| {metric} {arrow} | mean | {gaps} |", "| --- |" + " ---: |" * (1 + len(rivals))]
    return "\n".join([*head, *rows])


def main() -> int:
    write_page()
    return 0


if __name__ == "__main__":
    sys.exit(main())
