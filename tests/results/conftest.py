"""Rows and recipes of an invented run, as many as a test wants."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from xaicli.rows import Curve, Recipe, Row

MODEL = "f" * 16


def make_recipe(method: str = "grad-cam", metric: str = "deletion", **further: object) -> Recipe:
    contents = ({"name": name, "version": 1, "parameters": {}} for name in (method, metric))
    given = {"target_rule": "top1", "precision": "fp32", "passes": "1+1", "direction": "lower", **further}
    return Recipe(method, metric, *contents, **given)  # type: ignore[arg-type]


def content_of(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()


def make_row(recipe: Recipe, image: str, value: float | None = 0.5, **further: object) -> Row:
    target = str(further.get("target", "281"))
    subject = hashlib.sha256(f"{image} {further.get('model', MODEL)} {target}".encode()).hexdigest()[:16]
    given: dict[str, object] = {
        "image": image,
        "photo": content_of(image),
        "method": recipe.method,
        "target": target,
        "metric": recipe.metric,
        "value": value,
        "status": "ok" if value is not None else "constant",
        "definition": recipe.definition,
        "subject": subject,
        "seed": 0,
        "model": MODEL,
        "readouts": {"log_odds": 0.125, "p0": 0.75},
        "curve": Curve((0.0, 0.5, 1.0), (0.75, 0.5, 0.25)),
        "control": recipe.control,
    }
    return Row(**(given | further))  # type: ignore[arg-type]


@pytest.fixture
def recipe_of() -> Callable[..., Recipe]:
    return make_recipe


@pytest.fixture
def row_of() -> Callable[..., Row]:
    return make_row
