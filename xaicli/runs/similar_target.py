"""Targets `similar:PHOTO` and `differs:PHOTO`: the likeness of two photos' embeddings.

The network becomes one of two values before any photo is explained, so that the similarity is what a value is everywhere else.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from xaicli.errors import InputError, UsageError
from xaicli.images.decode import decode
from xaicli.images.find import sample
from xaicli.images.photo_input import input_of, reading_of
from xaicli.images.source import Source
from xaicli.network.classifier import Classifier
from xaicli.network.embedding import likeness_to
from xaicli.progress import SILENT, Progress
from xaicli.stamps import stamp
from xaicli.targets import COMPARED, TargetRule
from xaicli.untrusted import is_file, is_folder

DIGITS = 6
"""How many hex digits of a photo's content its name in results has."""


def compared(
    classifier: Classifier, target: str | int, progress: Progress = SILENT, folder: Path = Path()
) -> tuple[Classifier, str | int | TargetRule]:
    """The classifier and the target of a run.

    A target that names another photo, whose path is taken from `folder`, makes of the network one of two values: the cosine
    similarity of the two photos' embeddings, and its negative. All other targets leave both as they are. progress: told which
    embedding it is. Raises InputError where the photo cannot be read, UsageError where the network makes no embedding.
    """
    index = next((at for at, word in enumerate(COMPARED) if str(target).lower().startswith(word)), None)
    if index is None:
        return classifier, target
    name = str(target)[len(COMPARED[index]) :].strip()
    if not name:
        raise UsageError(f"--target {target} names no photo", hint=f"Type --target {COMPARED[index]}cat.jpg")
    source = reference(name, folder)
    photo = decode(source, reading=reading_of(classifier.view))
    made, what = likeness_to(classifier, input_of(photo, classifier.view), source.name)
    progress.say(f"similarity to {source.name} is of {what}")
    rule = TargetRule(index=index, photo=f"{source.name}~{photo.content[:DIGITS]}")
    whole, weights = (
        stamp({"network": known, "similar to": photo.content})
        for known in (classifier.fingerprint, classifier.weights_fingerprint)
    )
    return dataclasses.replace(made, fingerprint=whole, weights_fingerprint=weights), rule


def reference(name: str, folder: Path) -> Source:
    """The photo of that name, a path from `folder` or `sample:hopper`; raises InputError where it is none."""
    path = folder / name
    if is_file(path):
        return Source.of_file(path)
    if name.startswith("sample:"):
        return sample(name, 0)
    found = "is a folder" if is_folder(path) else "is not there"
    raise InputError(f"{path} {found}", expected="a photo to compare with, as in --target similar:cat.jpg")
