"""The model card, and the bundled files' own records, tell the same figures."""

from pathlib import Path

import pytest

from tools.bundled_models import RECIPES, BundledFile
from xaicli.models.checkpoint import BUNDLED, read_metadata
from xaicli.models.checkpoint_content import IN_SHORT, MEASURED

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_record_holds_the_figures_that_the_page_shows(recipe: BundledFile):
    figures, section = read_metadata(BUNDLED / recipe.file)[MEASURED], SECTIONS[recipe.model]
    assert figures["scored"] >= 500
    short, _, photos = figures[IN_SHORT].rpartition(", ")
    if recipe.network:
        assert short.replace("top-1", "top-1 accuracy") in section
        assert f"on {photos.removesuffix(' photos')} held-out photos" in section
        methods = figures["scores"]
    else:
        method = recipe.stem.partition(".")[2]
        [row] = [line for line in section.splitlines() if line.startswith(f"| {method} |") and line.count("|") > 5]
        assert short.removeprefix("insertion ") in row
        assert photos == f"{figures['scored']} photos"
        methods = {method: figures["scores"]}
        for other, lead in figures["insertion less that of"].items():
            assert lead["photos"] >= 500, other
    for method, scores in methods.items():
        assert all(score["low"] <= score["value"] <= score["high"] for score in scores.values()), method
