"""Run benchmarks by name, print their figures, write them down when asked."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

from benchmarks.figures import Figure, table
from tools.children import stops_raised
from xaicli.cli.allocator import keep_freed_memory
from xaicli.cli.idle_threads import sleep_while_waiting

BENCHMARKS = {
    "peers:deletion-and-insertion": "deletion and insertion of 5 maps of 16 photos against torch-cam at the same steps",
    "peers:deletion-and-insertion-by-openvino": "the same by an extra engine",
    "peers:deletion-by-quantus": "deletion of the same maps against Quantus at the same steps",
    "peers:deletion-and-insertion-of-224-steps": "deletion and insertion against the authors' loop, in full and to 0.002",
    "peers:rise-a-mask": "RISE against the loop of its specification, in float32 and bfloat16",
    "peers:rise-by-xaitk": "RISE of one set of masks against XAITK-saliency",
    "peers:score-cam": "Score-CAM against torch-cam's",
    "peers:ablation-cam": "Ablation-CAM against pytorch-grad-cam's",
    "peers:occlusion": "occlusion against captum's, by default and tuned",
    "peers:integrated-gradients": "integrated gradients against captum's, by default and tuned",
    "peers:grad-cam-of-a-folder": "Grad-CAM of a folder, whole command, against a script of pytorch-grad-cam",
    "growth:masks": "RISE of 64 to 256 masks, ours and the plain loop",
    "growth:channels": "Score-CAM of 64 and 256 channels, ours and torch-cam's",
    "growth:methods": "deletion and insertion of 1 to 10 maps, ours and torch-cam's",
    "growth:photos": "Grad-CAM of 10 to 10,000 small photos, whole commands: time, and whether memory stays constant",
    "curves": "deletion and insertion to an error of 0.002: points passed, and how often the area lies inside",
    "start-up": "seconds to `xai --help` and `xai list methods`, and that neither imports torch",
    "commands": "one photo and a folder by `xai explain`, over plain scripts that do the same",
    "engines": "RISE by each engine over the plain loop, bare passes, and the runtimes called by hand; what converting costs",
    "compile": "torch.compile over torch's own passes, what compiling costs and when it pays; on a GPU also RISE of 8,000 masks",
    "explain-folder": "decodes and records written a photo by `xai explain` with all its pictures; PNG compression",
    "fast-decode": "a large JPEG with and without --fast-decode: loading, a whole explanation, and how far the input moves",
    "grad-cam": "Grad-CAM on a batch of 16 over a bare forward and backward pass",
    "region-cam": "Grad-CAM of a region of a class map over a bare forward and backward pass",
    "daam": "DAAM of all blocks over a bare forward and backward pass of the transformer",
    "ucag": "UCAG over the bare passes of its slices",
    "bee": "BEE over the bare passes of its paths and its metric",
    "boundary": "the decision boundary on a linear head over a bare forward pass and ten of the head",
    "fovex": "FovEx over its bare passes forward and back",
    "occlusion": "occlusion over captum's tuned run, and in bfloat16 over its default",
    "score-cam": "Score-CAM of a last stage over torch-cam's, and its memory",
    "rise-time": "RISE: a plain loop over it on MobileNetV2, and it over the bare passes of its masks on ResNet-50",
    "rise-variance": "variance of RISE at equal masks, by sampling and estimate",
    "rise-memory": "memory of RISE above the network's own",
    "d-rise": "D-RISE over the bare passes of a detector",
    "scoring": "deletion and insertion over a plain loop and over torch-cam, and their memory",
    "fuser": "the class-sparse fuser of trainable attention over the dense formula: time, memory, steps of P-TAME",
    "trained": "explaining with trained methods over bare forward passes",
    "audit": "an audit with three cheap methods over explaining the same photos, and its clusters alone",
    "intervals": "whether intervals cover the truth and tests reject as often as they say, simulated",
    "parity": "faults planted in exports of real networks, and faithful exports: what `xai parity` finds of each",
    "ray": "what a run on Ray is made of: seconds a photo of ten methods, the driver's cost and the store's growth a row",
    "ray-overhead": "20,000 photos by one actor on Ray over a plain run, once its workers have begun",
    "ray-memory": "what the driver of a run on Ray keeps of photos that are done",
    "store": "a store of a million rows: what is missing, the table of means",
}
RESULTS = Path(__file__).parent / "results"


@stops_raised()
def main() -> int:
    """Exit code 0, or 1 where a limit was missed."""
    width = max(map(len, BENCHMARKS))
    known = "\n".join(f"  {name.ljust(width)}  {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Figures are medians, with quartiles; ratios are taken within one run.\n\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; all without")
    parser.add_argument("--list", action="store_true", help="names only, and end")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions (5)")
    parser.add_argument("--threads", type=int, help="processor threads; torch's own choice without")
    parser.add_argument("--write", action="store_true", help=f"write figures to {RESULTS.parent.name}/{RESULTS.name}/NAME.json")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown or given.rounds < 1:
        parser.error(f"no benchmark {unknown[0]}; known: {', '.join(BENCHMARKS)}" if unknown else "--rounds must be at least 1")
    if given.list:
        print(known)
        return 0
    if given.threads:
        # Processes that are started for a measurement inherit it.
        os.environ["OMP_NUM_THREADS"] = str(given.threads)
    # As the command itself does.
    keep_freed_memory()
    sleep_while_waiting()
    all_met = True
    for name in given.names or BENCHMARKS:
        figures = measured(name, given.rounds)
        print(f"{name}: {BENCHMARKS[name]}\n{table(figures)}\n", flush=True)
        if given.write:
            write(name, figures)
        all_met = all_met and all(figure.met for figure in figures)
    return 0 if all_met else 1


def measured(name: str, rounds: int) -> list[Figure]:
    """The figures of a benchmark, or of one job of a file of several, MODULE:JOB."""
    module, _, job = name.partition(":")
    measure = importlib.import_module(f"benchmarks.{module.replace('-', '_')}").measure
    figures: list[Figure] = measure(rounds, job) if job else measure(rounds)
    return figures


def write(name: str, figures: list[Figure]) -> None:
    import torch

    machine = {"system": platform.system(), "machine": platform.machine(), "python": platform.python_version()}
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    known = {**machine, "torch": torch.__version__, "threads": torch.get_num_threads(), "accelerator": accelerator}
    RESULTS.mkdir(exist_ok=True)
    content = {"benchmark": name, "made_on": known, "figures": [figure.as_json() for figure in figures]}
    (RESULTS / f"{name.replace(':', '-')}.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
