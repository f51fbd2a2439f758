"""What commands write, by the hash of its bytes: maps, overlays, records, sheets, trained checkpoints, a memory bank, an export.

Good for a comparison of two trees on one machine only (`record_results.py --digest`): training enlarges what processors round.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from contract.fixed_inputs import photo_paths, workplace
from contract.results_now import xai

ENDINGS = (".npy", ".png", ".gif", ".json", ".jsonl", ".safetensors")
CPU = ("--device", "cpu", "--no-progress")
FP32 = (*CPU, "--precision", "fp32")
TRAIN = ("--data", "data", "--epochs", 2, "--batch-size", 2, "--report", 0, *FP32)

COMMANDS = (
    ("explain", "photos", "--model", "tiny-vit", "--method", "daam,grad-cam", "--steps", "--sheet", *FP32, "-o", "explained"),
    ("explain", "photos", "--model", "tiny", "--target", "top2", "--scale", "shared", *FP32, "-o", "explained"),
    ("explain", "photos", "--method", "rise@n_masks=64", "--precision", "bf16", *CPU, "-o", "half"),
    ("compare", "photos", "--method", "grad-cam,lfi-cam", "--metric", "insertion@steps=4", *FP32, "-o", "compared"),
    ("export", "compared/compare.db", "-o", "rows.jsonl"),
    ("bank", "data", "--model", "tiny", *CPU, "-o", "bank.safetensors"),
    ("train", "t-tame", "--model", "tiny", "--hold-out", 1, *TRAIN, "-o", "t-tame.safetensors"),
    ("train", "p-tame", "--model", "tiny-vit", "--hold-out", 1, *TRAIN, "-o", "p-tame.safetensors"),
    ("train", "lfi-cam", "--model", "tiny", "--val", "data", *TRAIN, "-o", "lfi-cam.safetensors"),
    ("train", "classifier", "--model", "tiny-vit", "--val", "data", *TRAIN, "-o", "classifier.safetensors"),
)


def files_now() -> dict[str, str]:
    """SHA-256 of each file by its name, and of what each command printed."""
    found = {}
    with workplace():
        for number, path in enumerate(photo_paths()):
            folder = Path("data", f"class-{number % 2}")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
        before = set(Path().rglob("*"))
        for number, words in enumerate(COMMANDS):
            found[f"{number} xai {words[0]}"] = hashlib.sha256(xai(*words).encode()).hexdigest()
        for path in sorted(set(Path().rglob("*")) - before):
            if path.suffix in ENDINGS:
                found[path.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
