"""The README's pictures of a detector and of a text-image model: both small, trained here on drawn scenes.

    python -m tools.drawn

trains the two from seed 0 on scenes 0 to 2499, in about two minutes of one core, writes them into build/drawn/, explains a new
scene by the command lines that it prints, and draws docs/pictures/drawn-detector.png and drawn-prompts.png.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from PIL import Image
from safetensors.torch import save_file

from tools.children import run, stops_raised
from tools.drawn import cell_detector, detector, text_image
from tools.drawn.cell_detector import KINDS
from tools.drawn.scenes import Scene, draw_scene

HELD = range(100_000, 100_300)
"""Seeds of scenes that are not learned."""
SHOWN, SHOWN_SIDE = 200_000, 256
THINGS = ("red circle", "blue square", "yellow triangle")
PROMPTS = ("a red circle", "a blue square")


SCENES, STEPS, MASKS = range(1, 20_001), range(6, 100_001), range(2, 100_001)
"""Numbers that make sense: scenes are kept in memory, the schedule of learning rates needs six steps, d-rise two masks."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} ({self.prog} --help)\n")


def whole(known: range) -> Callable[[str], int]:
    """What reads a whole number in a range from a command line."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) in known):
            raise argparse.ArgumentTypeError(f"{text} is no whole number from {known[0]:,} to {known[-1]:,}")
        return int(text)

    return read


@stops_raised()
def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="python -m tools.drawn", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scenes", type=whole(SCENES), nargs=2, default=(1500, 2500), help="that the detector and the text-image model learn"
    )
    parser.add_argument("--steps", type=whole(STEPS), nargs=2, default=(250, 600), help="of the one and of the other")
    parser.add_argument("--masks", type=whole(MASKS), default=1000, help="of d-rise and rise")
    parser.add_argument("--folder", type=Path, default=Path("build/drawn"), help="for weights and maps")
    parser.add_argument("--pictures", type=Path, default=Path("docs/pictures"))
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    train(given.folder, given.scenes, given.steps)
    explain(given.folder, given.pictures, given.masks)


def train(folder: Path, scenes: Sequence[int], steps: Sequence[int]) -> None:
    """Writes the two networks and the scene that is shown, and says how well they do on scenes that they have not learned."""
    learned, held = ([draw_scene(seed) for seed in seeds] for seeds in (range(max(scenes)), HELD))
    start = time.perf_counter()
    finder = detector.train(learned[: scenes[0]], steps[0])
    save_file(finder.state_dict(), folder / "detector.safetensors")
    share = detector.found(finder, held)
    print(f"detector: {time.perf_counter() - start:.0f} s, finds {share:.0%} of the things of {len(held)} new scenes")
    start = time.perf_counter()
    model = text_image.train(learned[: scenes[1]], steps[1])
    text_image.save(model, folder / "clip")
    share = text_image.named(model, held)
    print(f"text-image model: {time.perf_counter() - start:.0f} s, its best caption fits {share:.0%} of {len(held)} new scenes")
    shown().picture.save(folder / "scene.png")


def shown() -> Scene:
    return draw_scene(SHOWN, SHOWN_SIDE, kinds=tuple(map(KINDS.index, THINGS)), noise=0)


def explain(folder: Path, pictures: Path, masks: int) -> None:
    """Runs the two command lines, and puts their sheets into `pictures`."""
    pictures.mkdir(parents=True, exist_ok=True)
    scene, out = str(folder / "scene.png"), folder / "maps"
    found = ["--model", f"{os.path.relpath(cell_detector.__file__)}:make", "--weights", str(folder / "detector.safetensors")]
    found += ["--target", "box:0", "--method", f"d-rise@n_masks={masks},grad-cam"]
    explained(["explain", scene, *found], out / "detector", pictures / "drawn-detector.png")
    texts = ["--model", f"hf:{folder / 'clip'}", "--prompts", ",".join(PROMPTS)]
    texts += ["--target", "top2", "--method", f"rise@n_masks={masks}"]
    explained(["explain", scene, *texts], out / "prompts", pictures / "drawn-prompts.png")


def explained(words: list[str], out: Path, picture: Path) -> None:
    words = [*words, "--sheet", "--overwrite", "-o", str(out)]
    print(shlex.join(["xai", *words]))
    try:
        run([sys.executable, "-m", "xaicli.cli.main", *words])
    except subprocess.CalledProcessError as error:
        # It has said why itself: a detector that learned too little finds no box, say.
        sys.exit(error.returncode)
    small = Image.open(out / "sheet.png").convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)


if __name__ == "__main__":
    main()
