"""Maps that another program wrote, scored instead of a method's: `xai score --maps DIR`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaicli.attribution import load_array
from xaicli.errors import InputError
from xaicli.images.source import Source
from xaicli.method import Maps
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import clean_logits
from xaicli.runs.binding import bind
from xaicli.runs.photos import LoadedPhoto
from xaicli.runs.target_choice import TargetChoice
from xaicli.scoring.explanation import Explainer
from xaicli.sign import Sign
from xaicli.stamps import sha256_file
from xaicli.untrusted import entries_of, is_file, is_folder

PLAIN = "maps"
"""The label of maps whose files have none."""


@dataclass(frozen=True)
class GivenMaps:
    """Maps of one label, one file per photo (h, w) or sequence (t, h, w): they cover what the model sees, at any resolution."""

    label: str
    files: Mapping[Source, Path] = field(repr=False)
    sign: Sign
    digest: str

    @property
    def content(self) -> dict[str, Any]:
        """The content of the definition stamp: other files make another definition."""
        return {"name": PLAIN, "version": 1, "parameters": {"label": self.label, "files": self.digest}}

    def explainer(self, target_rule: str, precision: str, outputs: str) -> Explainer:
        kind: dict[str, Any] = {"name": PLAIN, "passes": "0 passes", "outputs": outputs}
        return Explainer(self.label, self.content, self.sign, target_rule, precision, **kind)

    def read(self, loaded: LoadedPhoto, classifier: Classifier, targets: TargetChoice) -> Maps:
        """The map of one photo, for the target that is resolved on the clean photo."""
        bound = bind(classifier, loaded, targets.rule_of(loaded.source))
        logits = clean_logits(bound.classifier, loaded.input[None].to(classifier.device))
        resolved = bound.targets.resolve(logits)
        read, frames = read_map(self.files[loaded.source]), classifier.view.frames
        if (read.ndim == 3) != bool(frames):
            shape = "(frames, height, width)" if frames else "(height, width)"
            raise InputError(f"{self.files[loaded.source]} holds a map of shape {tuple(read.shape)}", expected=shape)
        values = read[None, None].repeat(1, resolved.classes.shape[1], *[1] * read.ndim)
        return Maps(values, resolved, logits)


def given_maps(folder: Path, sources: Sequence[Source]) -> list[GivenMaps]:
    """The maps of a folder, one entry for each label.

    Files are named STEM.npy or STEM.LABEL.npy. Raises InputError if a photo's map is missing, or if a file does not hold a map.
    """
    if not is_folder(folder):
        raise InputError(f"{folder} is no folder", expected="a folder of maps, STEM.npy or STEM.LABEL.npy")
    names = sorted(path for path in entries_of(folder, "a folder of maps") if path.suffix == ".npy")
    found = {source: beside(names, source) for source in sources}
    labels = sorted({label for files in found.values() for label in files}, key=lambda label: (label != PLAIN, label))
    for source, files in found.items():
        missing = [label for label in labels if label not in files]
        if missing or not files:
            label = "" if missing in ([], [PLAIN]) else f".{missing[0]}"
            stem = Path(source.name).stem
            raise InputError(
                f"{source.path} has no map in {folder}",
                expected=f"{stem}{label}.npy",
                hint="Every photo needs a map of each label.",
            )
    return [of_label(label, {source: files[label] for source, files in found.items()}) for label in labels]


def of_label(label: str, files: Mapping[Source, Path]) -> GivenMaps:
    lowest = min(
        float(values[values.isfinite()].min()) if bool(values.isfinite().any()) else 0.0
        for values in map(read_map, files.values())
    )
    hashes = "".join(sorted(sha256_file(path) for path in files.values()))
    digest = hashlib.sha256(hashes.encode()).hexdigest()[:16]
    return GivenMaps(label, files, Sign.SIGNED if lowest < 0 else Sign.NONNEGATIVE, digest)


def beside(files: Sequence[Path], source: Source) -> dict[str, Path]:
    """The map files of one photo by label."""
    stem = Path(source.name).stem
    found = {}
    for path in files:
        if path.name == f"{stem}.npy":
            found[PLAIN] = path
        elif path.name.startswith(f"{stem}.") and not is_part_of_result(path):
            found[path.name.removeprefix(f"{stem}.").removesuffix(".npy")] = path
    return found


def is_part_of_result(path: Path) -> bool:
    """Whether a file of `xai explain` is not a map but a further array of one, such as its steps or its region."""
    return is_file(path.with_name(f"{path.name.removesuffix('.npy').rpartition('.')[0]}.json"))


def read_map(path: Path) -> Tensor:
    """Read one map, (h, w) or of a sequence (t, h, w), float32; raises InputError if the file holds something else."""
    values = load_array(path)
    if values.ndim not in (2, 3) or not values.size or values.dtype.kind not in "fiub":
        raise InputError(
            f"{path} holds an array of shape {values.shape} and type {values.dtype}", expected="one map (height, width)"
        )
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
