"""Trust on a toy network of which it is known what decides: methods that find it, and one that marks it always."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xaicli
from xaicli.cli.main import main
from xaicli.errors import RunError, UsageError
from xaicli.images.view import View
from xaicli.method import Cost, Maps, Method, Sign
from xaicli.needs import Needs
from xaicli.passes.queue import clean_logits
from xaicli.progress import Progress, Step
from xaicli.runs import photo_scores
from xaicli.runs.planted_photos import MarkedPhoto, a_look, marked, mosaic, pasted
from xaicli.runs.trust import Trust
from xaicli.runs.trust_checks import groups_of_four
from xaicli.runs.trust_table import ALARM, BETTER, FOUND, MEANINGS, PROPERTIES, QUARTER, MethodTrust, estimate_of, recommended

SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Contrast(Method):
    """Marks what is unlike grey, whatever the network says: it finds every patch, and marks it also where it decides nothing."""

    name = "contrast"
    sign = Sign.NONNEGATIVE
    maps: ClassVar[list[Tensor]] = []
    """Of every photo that was explained."""

    def cost(self, classifier=None) -> Cost:
        return Cost()

    def attribute(self, classifier, inputs, targets, seeds) -> Maps:
        logits = clean_logits(classifier, inputs)
        values = (inputs - 0.5).abs().mean(dim=1, keepdim=True)
        self.maps.extend(values)
        return Maps(values.repeat(1, targets.count, 1, 1), targets.resolve(logits), logits)


class Counted(Progress):
    """How many maps are said to be done, of how many."""

    total, done = 0, 0

    @contextmanager
    def task(self, what: str, total: int | None) -> Iterator[Step]:
        self.total += total or 0
        yield self.count

    def count(self, done: int = 1, note: str = "") -> None:
        self.done += done


def test_what_decides_is_found_and_what_decides_nothing_is_told_apart(colours, grey_photos):
    found = xaicli.trust(colours, grey_photos, [xaicli.make_method("hirescam"), Contrast()], check=("patch", "absence"))
    by_label = {one.label: one for one in found.methods}
    hirescam, contrast, center = (by_label[name] for name in ("hirescam", "contrast", "center"))
    assert hirescam.value("planted patch found") == 1.0
    assert hirescam.value("patch in the top ranks") > 2 * center.value("patch in the top ranks")
    assert contrast.value("planted patch found") == 1.0
    assert contrast.value("false alarm") == 1.0
    assert hirescam.value("false alarm") < contrast.value("false alarm")
    assert center.value("planted patch found") < 1.0
    assert found.recommended == "hirescam"
    assert "contrast" in found.sentences[-1]
    assert "marks the patch also where that decides nothing" in next(text for text in found.sentences if "contrast" in text)


def test_a_network_that_is_handed_in_is_what_it_was(colours, grey_photos):
    before = {name: part.clone() for name, part in colours.module.state_dict().items()}
    xaicli.trust(colours, grey_photos, "hirescam", plantings=1)
    assert all(torch.equal(part, before[name]) for name, part in colours.module.state_dict().items())
    assert not any(part._forward_pre_hooks for part in colours.module.modules())


def test_with_few_photos_all_are_scored_and_the_certificate_says_so(colours, grey_photos):
    photos = [str(path) for path in sorted(grey_photos.glob("*.png"))]
    few, enough = (xaicli.trust(colours, photos[:count], "hirescam", check="patch", plantings=1) for count in (8, 16))
    found = [next(one for one in result.methods if one.label == "hirescam").found[FOUND] for result in (few, enough)]
    assert [one.value for one in found] == [1.0, 1.0]
    assert found[0].n > 4
    assert few.remarks[0].startswith("The heads were fitted to the photos that are scored")
    assert few.remarks[0] in few.render()
    assert few.as_json()["remarks"] == list(few.remarks)
    assert enough.remarks == ()


def test_a_network_without_a_head_is_said_and_the_other_checks_run(grey_photos):
    class Means(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.mean(dim=(2, 3))

    network = xaicli.classifier(Means(), resize=(SIDE, SIDE), crop=None, mean=(0, 0, 0), std=(1, 1, 1))
    found = xaicli.trust(network, grey_photos, "rise@n_masks=16", check="patch,fidelity")
    assert "one output a class" in found.lacking[0]
    assert {row["property"] for row in found.rows} == {"insertion less deletion"}
    assert found.recommended == ""


def test_a_patch_lies_where_its_box_says_and_depends_on_the_photos_name_alone(colours):
    look = a_look(colours.view, 0, 1)
    grey = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    photo, again, other = pasted("a.png", grey, look, 0, 1), pasted("a.png", grey, look, 0, 1), pasted("b.png", grey, look, 0, 1)
    changed = (photo.pixels != 128).any(axis=2)
    assert (photo.mask | ~changed).all()
    assert photo.mask.sum() == look.side**2
    assert (photo.pixels == again.pixels).all()
    assert photo.box != other.box


def test_a_mosaic_holds_each_photo_in_its_quarter():
    four = [np.full((SIDE, SIDE, 3), value, dtype=np.uint8) for value in (10, 20, 30, 40)]
    parts = mosaic("m", four)
    for part, value in zip(parts, (10, 20, 30, 40), strict=True):
        assert (part.pixels[part.mask] == value).all()
    assert np.sum([part.mask for part in parts], axis=0).tolist() == np.ones((SIDE, SIDE), dtype=int).tolist()


def test_groups_of_four_have_four_classes_and_use_a_photo_once():
    groups = groups_of_four([(0, 7), (1, 7), (2, 8), (3, 9), (4, 5), (5, 8), (6, 9), (7, 5)])
    assert groups == [[(0, 7), (2, 8), (3, 9), (4, 5)], [(1, 7), (5, 8), (6, 9), (7, 5)]]
    assert groups_of_four([(0, 1), (1, 1), (2, 2), (3, 3)]) == []


def trusted(label: str, found: float, passes: float) -> MethodTrust:
    hits = [1.0] * round(20 * found) + [0.0] * (20 - round(20 * found))
    return MethodTrust(label, passes, f"{passes:g} passes", {FOUND: estimate_of(FOUND, hits)})


def test_the_cheapest_of_the_good_is_recommended():
    dear, cheap, poor = trusted("dear", 0.95, 1000), trusted("cheap", 0.95, 2), trusted("poor", 0.5, 1)
    chosen = recommended([dear, cheap, poor])
    assert chosen is not None
    assert chosen.label == "cheap"
    assert recommended([trusted("blind", 0.0, 1)]) is None


@pytest.mark.parametrize(("late", "said"), [(0.5, "late"), (0.25 + 1e-9, "early")])
def test_of_equals_the_one_that_puts_more_into_the_right_quarter_is_recommended(late, said):
    quarters = {"early": 0.25, "late": late}
    equals = [
        MethodTrust(label, 2, "1+1 passes", trusted(label, 0.95, 2).found | {QUARTER: estimate_of(QUARTER, [share] * 4)})
        for label, share in quarters.items()
    ]
    chosen = recommended(equals)
    assert chosen is not None
    assert chosen.label == said


def shares(label: str, found: int, alarms: int, photos: int, *, control: bool = False) -> MethodTrust:
    counted = {FOUND: found, ALARM: alarms}
    return MethodTrust(
        label,
        2,
        "1+1 passes",
        {name: estimate_of(name, [1.0] * hits + [0.0] * (photos - hits)) for name, hits in counted.items()},
        control=control,
    )


@pytest.mark.parametrize(("photos", "said"), [(3, ""), (12, "grad-cam")])
def test_no_method_is_recommended_where_so_few_patches_tell_none_from_the_controls(photos, said):
    methods = (shares("grad-cam", photos, 0, photos), shares("random", 0, 0, photos, control=True))
    found = Trust(methods, "tiny", 2 * photos, "d" * 16, "s" * 16)
    assert found.recommended == said
    few = f"No method is recommended: with {photos} planted patches none is told from the controls."
    assert found.recommendation.startswith("Recommended: grad-cam." if said else few)
    assert "the first to try is grad-cam, which finds 100 % [29, 100]" in found.recommendation or said
    assert ("too few planted patches" in found.badge) == (not said)


def test_one_patch_is_too_few_to_say_that_no_method_finds_what_was_planted():
    found = Trust((shares("grad-cam", 1, 0, 1), shares("random", 0, 0, 1, control=True)), "tiny", 8, "d" * 16, "s" * 16)
    assert found.recommendation == "No method is recommended: one planted patch tells none from the controls. Give more photos."
    assert found.badge.startswith("trust: too few planted patches")


def test_a_costly_method_that_found_all_of_few_patches_does_not_keep_another_from_being_recommended():
    control = shares("random", 4, 1, 20, control=True)
    found = [shares("grad-cam", 17, 0, 20), shares("gradient-shap", 4, 0, 4), control]
    chosen = recommended(found)
    assert chosen is not None
    assert chosen.label == "grad-cam"


@pytest.mark.parametrize(
    ("alarms", "photos", "said"),
    [
        (0, 3, "has too few photos to say whether it marks the patch where that decides nothing"),
        (0, 40, "marks the patch in at most 9 % of photos where that decides nothing"),
        (1, 6, "has too few photos to say whether it marks the patch where that decides nothing"),
        (30, 40, "marks the patch also where that decides nothing"),
    ],
)
def test_few_photos_show_neither_that_a_method_alarms_nor_that_it_seldom_does(alarms, photos, said):
    methods = (shares("grad-cam", photos, alarms, photos), shares("random", 0, 0, photos, control=True))
    assert f"; {said} (" in Trust(methods, "tiny", photos, "d" * 16, "s" * 16).sentences[0]


def test_one_patch_of_three_is_not_more_than_chance_though_random_maps_found_none():
    methods = (shares("grad-cam", 1, 0, 3), shares("random", 0, 0, 3, control=True))
    assert "planted patches, which is not shown to be more than chance" in Trust(methods, "tiny", 3, "d", "s").sentences[0]


def test_where_nothing_was_planted_no_method_is_said_to_have_missed_it():
    one = MethodTrust("grad-cam", 2, "1+1 passes", {QUARTER: estimate_of(QUARTER, [0.25, 0.5, 0.75])})
    said = Trust((one,), "tiny", 3, "d" * 16, "s" * 16)
    assert said.recommendation == "No method is recommended, since no patch was planted that decides (--check patch)."
    assert said.badge == "trust: no patch was planted (tiny, 3 photos, dddddddd)"


def test_a_table_that_is_wider_than_the_terminal_is_several_below_each_other():
    one = MethodTrust("grad-cam", 2, "1+1 passes", {name: estimate_of(name, [0.25, 0.5, 0.75]) for name in PROPERTIES})
    table = Trust((one,), "tiny", 3, "d" * 16, "s" * 16)
    whole, narrow = (table.render(width=width).partition("\n\nOn tiny")[0] for width in (0, 80))
    assert max(map(len, whole.splitlines())) > 80 >= max(map(len, narrow.splitlines()))
    for name in [*PROPERTIES, "n", "passes"]:
        assert name in narrow
    assert narrow.count("grad-cam") == narrow.count("method") == len(narrow.split("\n\n"))


def test_every_column_of_the_page_is_explained():
    assert set(MEANINGS) == set(PROPERTIES) >= set(BETTER)


def test_a_map_without_a_value_is_a_patch_that_was_not_found():
    assert estimate_of(FOUND, [1.0, None, 1.0, None]).value == 0.5


def test_a_run_that_was_stopped_goes_on(colours, grey_photos, tmp_path, monkeypatch):
    first = xaicli.trust(colours, grey_photos, "hirescam", output=tmp_path / "out", plantings=1)

    def never(*given: object, **further: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(photo_scores, "score_photo", never)
    counted = Counted()
    again = xaicli.trust(colours, grey_photos, "hirescam", output=tmp_path / "out", plantings=1, progress=counted)
    assert counted.done == counted.total > 0
    assert again.as_json() == first.as_json()


def test_a_costly_method_is_scored_on_fewer_photos_and_says_so(colours, grey_photos):
    words = {"method": "hirescam,occlusion@window=8@stride=8", "check": "patch,absence", "plantings": 1}
    whole, bounded = (xaicli.trust(colours, grey_photos, budget=budget, **words) for budget in (None, 100))
    counted = [{(row["method"], row["property"]): row["n"] for row in found.rows} for found in (whole, bounded)]
    cheap, costly = ("hirescam", FOUND), ("occlusion@stride=8@window=8", FOUND)
    assert counted[0][cheap] == counted[0][costly] == counted[1][cheap] > counted[1][costly] >= 2
    assert whole.definition != bounded.definition
    assert f"{counted[1][costly]}/" in bounded.render()


@dataclass(frozen=True, kw_only=True)
class Refusing(Contrast):
    """Explains nothing, as methods whose rules miss a layer."""

    name = "refusing"
    class_specific = True

    def attribute(self, classifier, inputs, targets, seeds) -> Maps:
        raise UsageError(f"{self.name} cannot explain {classifier.name}: there is no rule for its layer")


def test_a_method_that_is_left_out_is_said_of_the_network_that_was_given(colours, grey_photos):
    found = xaicli.trust(colours, grey_photos, [Contrast(), Refusing()], check="patch", plantings=1)
    assert found.left_out == ("refusing cannot explain Colours: there is no rule for its layer",)


def test_one_map_of_a_photo_serves_random_weights_and_fidelity(colours, grey_photos):
    counted = []
    for check in ("random", "random,fidelity"):
        Contrast.maps.clear()
        xaicli.trust(colours, grey_photos, Contrast(), check=check)
        counted.append(len(Contrast.maps))
    assert counted[0] == counted[1] > 0


def test_mosaics_random_weights_and_fidelity_have_numbers(photo_folder, tmp_path):
    for number in range(8):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / f"{number}.png")
    found = xaicli.trust("tiny", str(tmp_path / "*.png"), "grad-cam", check="quarters,random,fidelity")
    measured = {row["property"] for row in found.rows if row["method"] == "grad-cam"}
    assert {"survives random weights", "insertion less deletion"} <= measured


def test_the_command_writes_a_page_and_says_it_in_each_format(grey_photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["trust", "tiny", "grey", "--method", "grad-cam", "--check", "patch,absence", "--plantings", "1"]
    assert main(command) == 0
    page = (tmp_path / "xai-out" / "trust" / "trust.html").read_text()
    recommendation, table, meanings = (page.index(text) for text in ("ecommended", "<table", "<dl"))
    assert recommendation < table < meanings
    assert all(f"<dt>{name}" in page[meanings:] for name in (FOUND, ALARM, "n", "passes"))
    assert page.count('class="control"') == 2
    assert '<img class="planted"' in page
    capsys.readouterr()
    assert main([*command, "--format", "json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["methods"][0]["method"] == "grad-cam"
    assert main([*command, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("| method |")


@pytest.mark.parametrize(
    "words",
    [["--check", "patches"], ["--check", ""], ["--method", "grad-cam", "--most-passes", "3"], ["--limit", "7"]],
)
def test_bad_input_is_one_line(grey_photos, tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert main(["trust", "tiny", "grey", *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()[-1:]) == 1


@pytest.mark.parametrize("check", ["patch", "fidelity"])
def test_a_network_without_finite_outputs_has_no_certificate(colours, grey_photos, check):
    with torch.no_grad():
        colours.module.head.bias.fill_(float("nan"))
    with pytest.raises(RunError, match="NaN or infinite logits"):
        xaicli.trust(colours, grey_photos, "hirescam", check=check, plantings=1)


def test_the_option_overwrite_is_named_only_where_there_is_one(grey_photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("trust.html").write_text("mine")
    assert main(["trust", "tiny", "grey", "-o", "."]) == 2
    assert "xai did not write it" in (line := capsys.readouterr().err)
    assert "--overwrite" not in line


def test_a_black_box_has_the_checks_that_need_no_layers(grey_photos):
    def forward(inputs: Tensor) -> Tensor:
        return torch.stack([inputs[:, 0].mean(dim=(1, 2)), inputs[:, 1].mean(dim=(1, 2))], dim=1)

    view = View((SIDE, SIDE), None)
    box = xaicli.Classifier(forward, None, "box", view, (), 2, Needs.FORWARD, "0" * 16)
    found = xaicli.trust(box, grey_photos, "rise@n_masks=16", check=("patch", "random", "fidelity"))
    assert len(found.lacking) == 2
    assert found.methods[0].label == "rise@n_masks=16"


def test_few_photos_and_detectors_are_refused(colours, grey_photos):
    with pytest.raises(UsageError, match="at least 8"):
        xaicli.trust(colours, grey_photos, "hirescam", limit=4)


def test_marked_photos_know_their_place():
    photo: MarkedPhoto = marked("a.png", np.zeros((4, 6, 3), dtype=np.uint8), (1, 2, 3, 4))
    assert photo.mask.nonzero()[0].tolist() == [2, 2, 3, 3]
    assert photo.mask.nonzero()[1].tolist() == [1, 2, 1, 2]
