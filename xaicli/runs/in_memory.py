"""`xaicli.explain`: explain photos and keep the attributions in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from xaicli.attribution import Attribution
from xaicli.images.names import with_names
from xaicli.images.source import Source
from xaicli.method import Method
from xaicli.models.load import load_classifier
from xaicli.network.classifier import Classifier
from xaicli.registry import make_methods, require_fit
from xaicli.runs.default_method import default_method
from xaicli.runs.explain import explain_photos
from xaicli.runs.photos import Failure
from xaicli.runs.settings import Settings
from xaicli.runs.target_choice import choose_targets

Photos = Any
"""A path, PIL image, array (h, w, 3) or (h, w), tensor (3, h, w), or an iterable of these."""


def explain(
    images: Photos,
    classifier: Classifier | str,
    method: str | Method | Sequence[str | Method] | None = None,
    *,
    target: str | int = "top1",
    seed: int = 0,
    batch_size: int | None = None,
    precision: str = "auto",
) -> list[Attribution]:
    """Explain photos: one Attribution for each photo, method and target, in that order; the same as `xai explain` writes.

    images: one photo or several; classifier: loaded, or a specification such as "resnet50"; method: a specification such as
    "rise@n_masks=2000", a method, or several, by default the classifier's own best; target: "top1", "top5", a class index or
    name, "A-B". Raises XaiError where a photo, the target or the method cannot be used.
    """
    model = load_classifier(classifier, precision=precision) if isinstance(classifier, str) else classifier
    methods = list_methods(default_method(model, str(target)) if method is None else method)
    for one in methods:
        require_fit(one, model)
    sources = sources_of(images)
    targets = choose_targets(str(target), model, sources)
    settings = Settings(seed=seed, precision=precision, batch_size=batch_size)
    made: list[Attribution] = []
    for result in explain_photos(sources, model, methods, targets, settings):
        if isinstance(result, Failure):
            raise result.error
        made += [attribution for one in methods for attribution in result.made[one.label]]
    return made


def list_methods(method: str | Method | Sequence[str | Method]) -> list[Method]:
    given = [method] if isinstance(method, str | Method) else list(method)
    return [made for one in given for made in ([one] if isinstance(one, Method) else make_methods([one]))]


def sources_of(images: Photos) -> list[Source]:
    """Sources of what Python users hand in; photos in memory are called photo-1, photo-2, … in their order."""
    if isinstance(images, Iterable) and not is_photo(images):
        photos = list(images)
    else:
        photos = [images]
    if len(photos) == 1:
        return [Source.of(photos[0])]
    return with_names([Source.of(photo, name=f"photo-{number}") for number, photo in enumerate(photos, 1)])


def is_photo(images: Photos) -> bool:
    """Whether something that can be iterated over is one photo: a path, a picture, an array of two or three dimensions."""
    return isinstance(images, str) or getattr(images, "ndim", 4) <= 3 or not hasattr(images, "__iter__")
