"""`xai explain --links`: pairs of segments in the record, and as links over the photo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import main
from PIL import Image

from xaicli.attribution import Attribution
from xaicli.errors import InputError

NET = Path(__file__).parents[1] / "data" / "net.py"
LABEL = "lime@interactions=top@n_samples=200@n_segments=9@top_m=4"


@pytest.fixture
def line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.effect_mandelbrot((60, 40), (-2, -1, 1, 1), 20).convert("RGB").save("a.png")
    return ["explain", "a.png", "--model", f"{NET}:make", "-o", "out", "-q"]


def test_the_record_lists_pairs_and_a_picture_shows_them_on_request(line):
    assert main([*line, "--method", f"{LABEL},grad-cam"]) == 0
    stem = Path(f"out/a.{LABEL}")
    assert not stem.with_name(f"{stem.name}.links.png").exists()
    record = json.loads(Path(f"{stem}.json").read_text())
    assert "pairs" not in json.loads(Path("out/a.grad-cam.json").read_text())
    strengths = [abs(pair["weight"]) for pair in record["pairs"]]
    assert len(strengths) == 6
    assert strengths == sorted(strengths, reverse=True)
    assert len({segment for pair in record["pairs"] for segment in pair["segments"]}) == 4
    assert all(0 < part < 1 for pair in record["pairs"] for place in pair["places"] for part in place)
    assert {"r2_additive", "r2_pairwise", "r2_held_out", "r2_gain"} <= set(record["extras"])
    assert "pairs" not in record["arrays"]
    # Of a map that is complete the picture alone is made, and the map's files stay.
    before = Path(f"{stem}.npy").read_bytes(), Path(f"{stem}.json").read_bytes()
    assert main([*line, "--method", f"{LABEL},grad-cam", "--links"]) == 0
    assert (Path(f"{stem}.npy").read_bytes(), Path(f"{stem}.json").read_bytes()) == before
    with Image.open(f"out/a.{LABEL}.links.png") as picture:
        assert picture.width > 720
    assert not Path("out/a.grad-cam.links.png").exists()


def test_links_of_methods_without_pairs_are_refused(line, capfd):
    assert main([*line, "--method", "grad-cam,lime@n_samples=10", "--links"]) == 2
    assert "no pairs to draw as links" in capfd.readouterr().err
    assert not Path("out").exists()


def test_a_links_picture_replaces_no_file_of_others(line):
    Path("out").mkdir()
    Image.new("RGB", (3, 3)).save(f"out/a.{LABEL}.links.png")
    assert main([*line, "--method", LABEL, "--links"]) == 2
    assert main([*line, "--method", LABEL, "--links", "--overwrite"]) == 0


@pytest.mark.parametrize(
    "pairs", [[{}], [3], "x", [{"segments": [1], "places": [[0, 0], [1, 1]], "weight": 1}], [{"segments": [1, 2], "places": []}]]
)
def test_pairs_that_are_none_are_refused(line, pairs):
    assert main([*line, "--method", LABEL]) == 0
    sidecar = Path(f"out/a.{LABEL}.json")
    content = json.loads(sidecar.read_text()) | {"pairs": pairs, "schema_version": 1}
    sidecar.write_text(json.dumps(content))
    with pytest.raises(InputError, match="not a record"):
        Attribution.load(sidecar)
