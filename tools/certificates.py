"""The certificates of docs/trust.md: `python -m tools.certificates --assets FOLDER --output build/trust`.

Each network is measured with all methods of at most 1,000 passes, none of them with more than its budget in all: first with those
of few passes, on all networks, then with costlier ones, and after each step its certificate is written. A run that was stopped
goes on from its stores. `python -m docs.measured` then makes the page.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import xaicli
from xaicli.cli.command_progress import CommandProgress

NETWORKS = {
    "tiny": ("tiny", 20),
    "tiny-vit": ("tiny-vit", 20),
    "mobilenet_v2": ("torchvision:mobilenet_v2", 20),
    "squeezenet1_0": ("torchvision:squeezenet1_0", 8),
    "deit_tiny_patch16_224": ("timm:deit_tiny_patch16_224", 8),
}
"""Specification and number of photos by name; specifications with a prefix take their weights from the folder of assets."""
STEPS = (8, 110, 250, 1000)
"""The most passes of a method, of step after step."""
STORED = Path(__file__).parent.parent / "docs" / "results" / "trust"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True, help="folder with weights/ and photos/")
    parser.add_argument("--output", type=Path, required=True, help="folder of the stores")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="networks")
    parser.add_argument("--photos", type=int, help="how many, spread evenly over the classes (those of docs/trust.md)")
    parser.add_argument("--most-passes", type=float, nargs="+", default=STEPS, help="of a method, a photo, step by step")
    parser.add_argument("--budget", type=float, default=2000, help="passes of a method in all (2000)")
    given = parser.parse_args()
    photos = sorted((given.assets / "photos").glob("*.jpg"))
    for most_passes, name in product(given.most_passes, given.only):
        spec, own = NETWORKS[name]
        many = given.photos or own
        chosen = [str(photos[at * len(photos) // many]) for at in range(many)]
        certificate = xaicli.trust(
            spec,
            chosen,
            most_passes=most_passes,
            budget=given.budget,
            weights=given.assets / "weights" / f"{name}.safetensors" if ":" in spec else None,
            output=given.output / name,
            progress=CommandProgress(),
        )
        STORED.mkdir(exist_ok=True)
        (STORED / f"{name}.json").write_text(certificate.render("json") + "\n", "utf-8")
        print(certificate.badge, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
