"""A head that is trained again: what was made with the one before is neither taken for its result nor mixed with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from xaicli.cli.main import main as xai
from xaicli.models.checkpoint import BUNDLED, checkpoints_folder, read_metadata, write_checkpoint
from xaicli.models.checkpoint_content import content_of
from xaicli.results.store import Store
from xaicli.results.summary import summarise
from xaicli.runs.comparison_sheet import shown
from xaicli.runs.photo_scores import score_missing
from xaicli.runs.score_request import ScoreRequest
from xaicli.runs.score_table import selection_of

HEAD = BUNDLED / "tiny.t-tame.safetensors"


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(numbers.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(name)
    return ["a.png", "b.png", "c.png"]


def install(seed):
    """The bundled head, with other weights, as one that the user trained; what it counts as."""
    path = checkpoints_folder() / "t-tame.tiny.safetensors"
    numbers = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(tensor.shape, generator=numbers).to(tensor) if tensor.ndim > 1 else tensor
        for name, tensor in safetensors.torch.load_file(HEAD).items()
    }
    write_checkpoint(path, tensors, read_metadata(HEAD))
    return content_of(str(path))


def test_maps_of_the_head_before_are_not_taken_for_those_of_the_new_one(photos, capsys):
    line = ["explain", *photos, "--method", "t-tame", "-o", "maps", "--no-progress"]
    assert xai(line) == 0
    record = json.loads(min(Path("maps").glob("*.json")).read_text())
    bundled = content_of(str(HEAD))
    assert record["parameters"]["checkpoint"] == bundled
    moved = f"checkpoint {bundled} there, {install(1)} here"
    capsys.readouterr()
    assert xai(line) == 2
    assert moved in capsys.readouterr().err
    assert xai(["verify", "maps", "--format", "json"]) == 3
    assert moved in capsys.readouterr().out
    assert xai([*line, "--overwrite"]) == 0


def test_scores_of_the_head_before_are_kept_beside_those_of_the_new_one(photos, capsys):
    line = ["score", *photos, "--method", "t-tame", "--metric", "insertion@steps=4", "-o", "s.db", "--format", "json", "--quiet"]
    assert xai(line) == 0
    first = json.loads(capsys.readouterr().out)["groups"]
    assert xai(line) == 0
    assert json.loads(capsys.readouterr().out)["groups"] == first
    install(1)
    assert xai(line) == 0
    second = json.loads(capsys.readouterr().out)["groups"]
    assert second != first
    assert all(cell["of"] == cell["n"] == 3 for [group] in (first, second) for cell in group["cells"])
    # The run's own table is of its own head; the store has both.
    for [group] in (first, second):
        assert {cell["method"] for cell in group["cells"] if not cell["control"]} == {"t-tame"}
    with Store.open(Path("s.db"), write=False) as store:
        [group] = summarise(store)
    assert {"t-tame (1 of 2)", "t-tame (2 of 2)"} <= set(group.methods)


def test_a_sheet_shows_the_maps_of_its_own_head(photos):
    with Store.in_memory() as store:
        for seed in (None, 1):
            if seed is not None:
                install(seed)
            run = ScoreRequest(images=photos, method="t-tame", metric="insertion@steps=2").run("tiny")
            assert all(isinstance(rows, list) for rows in score_missing(run, store))
        kept = {(one.subject, one.method_definition) for one in store.maps()}
        assert len(kept) == 6
        own = {recipe.method_definition for recipe in run.recipes}
        assert {one.method_definition for photo in shown(run, store) for one in photo.maps.values()} <= own
        assert {one.method_definition for one in store.maps(selection_of(run))} <= own


def test_a_head_that_is_trained_while_scores_are_made_ends_the_run(photos):
    run = ScoreRequest(images=photos, method="t-tame", metric="insertion@steps=2").run("tiny")
    with Store.in_memory() as store:
        results = score_missing(run, store)
        before = next(results)
        install(1)
        [failure] = results
        assert "t-tame is another than when the run began: checkpoint tiny.t-tame.safetensors" in failure.error.found
        assert {row.key for row in store.rows()} == {row.key for row in before}


def test_what_differs_in_a_base_is_said_without_the_rest_of_it(photos, capsys):
    line = ["explain", "a.png", "--method", "feature-cam@base=t-tame", "-o", "maps", "--no-progress"]
    assert xai(line) == 0
    moved = f"base t-tame: checkpoint {content_of(str(HEAD))} there, {install(1)} here"
    capsys.readouterr()
    assert xai(line) == 2
    assert f"another result: {moved}. Choose" in capsys.readouterr().err
