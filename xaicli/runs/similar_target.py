"""Targets `similar:PHOTO` and `differs:PHOTO`: the likeness of two photos' embeddings.

The network becomes one of two values before any photo is explained, so that the similarity is what a value is everywhere else.
"""

from __future__ import annotations

from pathlib import Path

from xaicli.errors import InputError, UsageError
from xaicli.images.decode import decode
from xaicli.images.photo_input import input_of, reading_of
from xaicli.images.source import Source
from xaicli.network.classifier import Classifier
from xaicli.network.embedding import likeness_to
from xaicli.progress import SILENT, Progress
from xaicli.stamps import sha256_file, stamp
from xaicli.untrusted import is_file

WORDS = ("similar:", "differs:")
"""Of the values of the network that compares, in their order."""


def compared(
    classifier: Classifier, target: str | int, progress: Progress = SILENT, folder: Path = Path()
) -> tuple[Classifier, str | int]:
    """The classifier and the target of a run.

    A target that names another photo, whose path is taken from `folder`, makes of the network one of two values: the cosine
    similarity of the two photos' embeddings, and its negative. All other targets leave both as they are. progress: told which
    embedding it is. Raises InputError where the photo cannot be read, UsageError where the network makes no embedding.
    """
    index = next((at for at, word in enumerate(WORDS) if str(target).lower().startswith(word)), None)
    if index is None:
        return classifier, target
    name = str(target)[len(WORDS[index]) :].strip()
    path = folder / name
    if not name:
        raise UsageError(f"--target {target} names no photo", hint=f"Type --target {WORDS[index]}cat.jpg")
    if not is_file(path):
        raise InputError(f"{path} is not there", expected="a photo to compare with, as in --target similar:cat.jpg")
    photo = decode(Source(str(path)), reading=reading_of(classifier.view))
    made, what = likeness_to(classifier, input_of(photo, classifier.view), path.name)
    progress.say(f"similarity to {path.name} is of {what}")
    content = sha256_file(path)
    whole, weights = (
        stamp({"network": known, "similar to": content}) for known in (classifier.fingerprint, classifier.weights_fingerprint)
    )
    return made.bound(fingerprint=whole, weights_fingerprint=weights), index
