"""Two tiny networks on the same photos: what agrees, what moved, what looks elsewhere, and how that is said."""

from __future__ import annotations

import json
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xaicli
from xaicli.cli.main import main
from xaicli.errors import InputError, UsageError
from xaicli.gate import pictures
from xaicli.gate.map_similarity import FLOOR, Similarity
from xaicli.gate.parity import MARGIN, Agreement
from xaicli.gate.parity_verdicts import chance_of
from xaicli.gate.pictures import scale_of_difference, scales_of, shares
from xaicli.sign import Sign

METHODS = "rise@n_masks=64,occlusion@window=8@stride=4"
QUICK = {"method": METHODS, "metric": "insertion@steps=4"}


class Corner(nn.Module):
    """Two classes: the mean of one quarter of the photo, held against a constant. Its decision and its maps are known."""

    def __init__(self, row: int, column: int, bias: float = 0.0) -> None:
        super().__init__()
        self.row, self.column, self.bias = row, column, bias

    def forward(self, inputs: Tensor) -> Tensor:
        half = inputs.shape[-1] // 2
        rows, columns = (slice(half * at, half * (at + 1)) for at in (self.row, self.column))
        seen = inputs[:, :, rows, columns].mean(dim=(1, 2, 3))
        return torch.stack([4 * seen + self.bias, torch.zeros_like(seen)], dim=1)


def corner(row: int = 0, column: int = 0, bias: float = 0.5) -> xaicli.Classifier:
    return xaicli.classifier(Corner(row, column, bias), resize=(32, 32), crop=None, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture
def photos(room) -> Path:
    return room.folder / "photos"


def verdicts(found: xaicli.runs.parity.Parity) -> dict[str, str]:
    return {f"{one.method} {one.what}".strip(): one.state for one in found.outcome.verdicts}


def test_a_network_agrees_with_itself_to_the_last_bit(photos):
    found = xaicli.parity(corner(), corner(), photos, **QUICK)
    assert {row["outcome"] for row in found.rows} == {"agrees"}
    assert all(maps["spearman"] == 1.0 for row in found.rows for maps in row["maps"].values())
    assert not found.failed
    assert set(verdicts(found).values()) == {"ok"}
    assert found.outcome.seconds > 0


def test_a_comparison_of_too_few_photos_says_that_it_can_hardly_fail(photos):
    for shown, hardly in ((photos / "0.png", True), (photos, False)):
        found = xaicli.parity(corner(), corner(), shown, **QUICK)
        texts = [one.text for one in found.outcome.verdicts if one.what == "map agreement"]
        assert ["this rule can hardly fail here: random maps pass it in 5 of 5 draws" in text for text in texts] == [hardly] * 2


def test_a_network_that_looks_at_another_quarter_is_found_although_it_decides_the_same(photos):
    found = xaicli.parity(corner(0, 0), corner(1, 1), photos, **QUICK)
    assert {row["outcome"] for row in found.rows} == {"looks elsewhere"}
    assert all(len(set(row["decisions"])) == 1 for row in found.rows)
    assert found.failed
    assert verdicts(found)["rise@n_masks=64 map agreement"] == "fail"
    assert verdicts(found)["occlusion@stride=4@window=8 map agreement"] == "fail"
    assert verdicts(found)["decisions"] == "ok"
    [model] = [one.text for one in found.outcome.verdicts if one.what == "model"]
    assert found.outcome.models[0] in model
    assert "at the baseline" not in model


def test_maps_of_the_other_are_scored_on_the_original(photos, tmp_path):
    """As `xai score --maps` scores the same maps, written by another program."""
    found = xaicli.parity(corner(0, 0), corner(1, 1), photos, **QUICK)
    method, metric = "occlusion@stride=4@window=8", "insertion@steps=4"
    for side, kept in (("original", found.outcome.baseline.photos), ("other", found.outcome.now)):
        (tmp_path / side).mkdir()
        for photo in kept:
            np.save(tmp_path / side / f"{Path(photo.image).stem}.npy", photo.maps[method])
        rows = xaicli.score(photos, corner(0, 0), maps=tmp_path / side, metric=metric, controls="", precision="fp32").rows
        expected = {Path(row["image"]).name: row["value"] for row in rows}
        scores = {Path(photo.image).name: photo.scores[method, metric].value for photo in kept}
        assert scores == pytest.approx(expected, abs=1e-6)


def test_another_decision_comes_before_another_place(photos):
    found = xaicli.parity(corner(0, 0), corner(1, 1, bias=-100.0), photos, **QUICK)
    assert {row["outcome"] for row in found.rows} == {"decision moved"}
    assert verdicts(found)["decisions"] == "fail"
    assert verdicts(found)["p0"] == "fail"


def test_photos_are_listed_worst_first(photos):
    found = xaicli.parity(corner(0, 0, 0.0), corner(0, 0, -2.0), photos, **QUICK)
    order = [("decision moved", "looks elsewhere", "agrees").index(row["outcome"]) for row in found.rows]
    assert order == sorted(order)


def test_a_floor_lies_below_what_two_maps_of_one_network_reach_and_never_asks_more_than_rounding_leaves():
    noise = Similarity(0.6, 0.5)
    assert Agreement(noise, noise).floor == Similarity(0.6 - MARGIN.spearman, 0.5 - MARGIN.overlap)
    perfect = Agreement(noise, Similarity(1.0, 1.0))
    assert perfect.floor == Similarity(FLOOR.spearman - MARGIN.spearman, FLOOR.overlap - MARGIN.overlap)
    assert not perfect.holds
    assert not Agreement(Similarity(float("nan"), 0.0), noise).holds


def test_one_map_of_twenty_below_its_floor_is_chance_and_four_are_not():
    shift = np.full(20, 0.1)
    assert chance_of(1, shift) > 0.05
    # 1 - (the binomial probabilities of 0 to 3 of 20 at a rate of 0.05), doubled.
    assert chance_of(4, shift) == pytest.approx(2 * 0.01590153, abs=1e-6)


def test_an_export_gets_the_view_and_the_names_of_the_original(photos, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    export(Corner(0, 0, 0.5), tmp_path / "net.onnx")
    original = xaicli.classifier(
        Corner(0, 0, 0.5), resize=(32, 32), crop=None, mean=(0, 0, 0), std=(1, 1, 1), classes=["bright", "dark"]
    )
    found = xaicli.parity(original, f"onnx:{tmp_path / 'net.onnx'}", photos, **QUICK)
    assert not found.failed
    assert {row["outcome"] for row in found.rows} == {"agrees"}
    assert not [one for one in found.outcome.verdicts if one.what == "view"]


def export(module: nn.Module, path: Path, side: int = 32) -> None:
    torch.onnx.export(module.eval(), (torch.rand(1, 3, side, side),), path, dynamo=False, input_names=["x"],
                      output_names=["logits"], dynamic_axes={"x": {0: "b"}, "logits": {0: "b"}})  # fmt: skip


def test_networks_of_other_classes_are_refused(room):
    make, fewer = (xaicli.load_classifier(f"{room.folder}/net.py:{name}") for name in ("make", "fewer"))
    with pytest.raises(InputError, match=r"has 4 outputs \(softmax\), .* has 2"):
        xaicli.parity(make, fewer, room.folder / "photos", **QUICK)


def test_several_targets_a_photo_and_detectors_are_refused(photos):
    with pytest.raises(UsageError, match="top2"):
        xaicli.parity(corner(), corner(), photos, target="top2", **QUICK)


def test_values_are_compared_without_a_tolerance_that_suits_probabilities(photos):
    class Brightness(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return 1000 * inputs[:, :, :16, :16].mean(dim=(1, 2, 3))[:, None]

    view = {"resize": (32, 32), "crop": None, "mean": (0, 0, 0), "std": (1, 1, 1), "outputs": "values"}
    found = xaicli.parity(xaicli.classifier(Brightness(), **view), xaicli.classifier(Brightness(), **view), photos, **QUICK)
    assert not found.failed
    assert "decisions" not in verdicts(found)


def test_no_photo_is_an_error(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(xaicli.XaiError):
        xaicli.parity(corner(), corner(), tmp_path / "none", **QUICK)


@pytest.fixture
def here(room, monkeypatch) -> Path:
    monkeypatch.chdir(room.folder)
    return room.folder


COMMAND = ["parity", "net.py:make", "net.py:other", "photos", "--method", METHODS, "--metric", "insertion@steps=4"]


def test_no_line_is_wider_than_the_terminal(here, capsys, monkeypatch):
    monkeypatch.setattr("xaicli.cli.printing.terminal_width", lambda: 70)
    assert main([*COMMAND, "-o", "out"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 70
    assert any(line.startswith("  ") for line in lines)


def test_the_command_exits_1_with_a_page_of_pairs(here, capsys):
    assert main([*COMMAND, "-o", "out"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("agrees")
    assert "of 6" in shown
    assert "map agreement" in shown
    page = (here / "out" / "parity.html").read_text()
    assert page.count("<img") == len(list((here / "out").glob("*.xai-check.png"))) > 0
    assert "net.py:other" in page
    net, other = (xaicli.load_classifier(spec).fingerprint[:8] for spec in COMMAND[1:3])
    assert f"model {net} on {COMMAND[1]}, {other} on net.py:other" in page


def test_rounding_does_not_look_like_a_change_in_the_picture_of_a_pair():
    before = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    after = before + 1e-6
    assert scale_of_difference(before, after, after - before).high >= before.max()
    assert scale_of_difference(before, -before, -2 * before).high == pytest.approx(2 * before.max())


@pytest.mark.parametrize("sign", [Sign.NONNEGATIVE, Sign.SIGNED])
def test_maps_of_another_size_have_scales_of_their_own(sign):
    before = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    after = 100 * before
    scales = scales_of(before, after, sign)
    assert [scale.high for scale in scales] == [before.max(), after.max()]
    first, second = (shares(values, scale, sign) for values, scale in zip((before, after), scales, strict=True))
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert first.max() == 1
    together = scales_of(before, 1.5 * before, sign)
    assert together[0] == together[1]


def test_a_constant_map_keeps_the_scale_of_the_other():
    one = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    first, second = scales_of(one, np.zeros_like(one), Sign.NONNEGATIVE)
    assert first == second


def test_the_picture_of_a_network_with_larger_logits_shows_both_maps(room, monkeypatch):
    room.suite(methods=["grad-cam"])
    baseline = room.baseline()
    photos = [replace(one, maps={"grad-cam": one.maps["grad-cam"] / 100}) for one in baseline.photos]
    outcome = room.check(replace(baseline, photos=tuple(photos)))
    drawn = {}
    monkeypatch.setattr(pictures, "sheet", lambda rows, columns, **words: drawn.update(words, cells=rows[0].cells))
    pictures.draw(room.bench(), outcome, 0, "grad-cam")
    before, after = (drawn["cells"][name].values.max() for name in ("before", "after"))
    assert 0 < before < after / 50
    assert (drawn["scales"]["before"].high, drawn["scales"]["after"].high) == (before, after)
    np.testing.assert_allclose(drawn["cells"]["difference"].values, 0, atol=1e-5)
    assert "its own scale" in drawn["title"]


def test_the_command_exits_0_where_a_wrapped_network_is_the_same(here, capsys):
    assert main([*COMMAND[:2], "net.py:wrapped", *COMMAND[3:], "--format", "json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["outcomes"] == {"agrees": 6, "looks elsewhere": 0, "decision moved": 0}
    assert read["failed"] is False
    assert {photo["outcome"] for photo in read["photos"]} == {"agrees"}


@pytest.mark.parametrize("form", ["markdown", "junit", "github"])
def test_each_format_says_which_rule_failed(here, capsys, form):
    assert main([*COMMAND, "--format", form]) == 1
    shown = capsys.readouterr().out
    assert "map agreement" in shown
    if form == "junit":
        suite = xml.etree.ElementTree.fromstring(shown)
        assert suite.get("name") == "xai parity"
        assert int(suite.get("failures", "0")) >= 1


def test_a_method_that_one_of_both_cannot_run_is_refused_before_any_work(here, capsys, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    export(Corner(0, 0), here / "net.onnx")
    assert main(["parity", "net.py:make", "net.onnx", "photos", "--method", "grad-cam"]) == 2
    assert "grad-cam needs" in capsys.readouterr().err


def test_a_page_is_never_written_over_a_file_of_others(here, capsys):
    (here / "out").mkdir()
    (here / "out" / "parity.html").write_text("mine")
    assert main([*COMMAND, "-o", "out"]) == 2
    assert (here / "out" / "parity.html").read_text() == "mine"


def test_a_suite_compares_two_models_in_place_of_a_baseline(room, here, capsys):
    room.suite(compare="net.py:wrapped", methods=METHODS.split(","))
    assert main(["check", "--trust"]) == 0
    assert "agrees" in capsys.readouterr().out
    assert main(["check", "--trust", "--against", "net.py:other"]) == 1
    assert "looks elsewhere" in capsys.readouterr().out


def test_the_rules_of_a_suite_judge_the_comparison(room, here):
    room.suite(compare="net.py:other", methods=["grad-cam"], rules=[{"metric": "map-similarity", "at_least": -1.0}])
    found = xaicli.check("xai.toml", trust=True)
    assert not found.failed
    room.suite(compare="net.py:wrapped", methods=["grad-cam"], rules=[{"metric": "map-similarity", "at_least": 0.99}])
    assert not xaicli.check("xai.toml", trust=True).failed


def test_the_model_of_compare_is_code_that_runs_only_where_the_suite_is_trusted(room, here, capsys):
    room.suite(model="tiny", compare="net.py:other", methods=["grad-cam"])
    assert main(["check"]) == 2
    assert "--trust" in capsys.readouterr().err


def test_update_has_no_meaning_in_a_comparison(room, here, capsys):
    room.suite(compare="net.py:wrapped", methods=["grad-cam"])
    assert main(["check", "--trust", "--update"]) == 2
    assert "comparison" in capsys.readouterr().err


def test_paths_in_a_comparison_do_not_say_where_the_machine_keeps_them(here, capsys):
    assert main([*COMMAND, "--format", "json"]) == 1
    assert str(here) not in capsys.readouterr().out
