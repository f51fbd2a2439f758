"""`xai audit` as a user types it: what it writes, what it says, how it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine, contents

import xaicli
from xaicli.runs.audit_result import Audit
from xaicli.survey.class_groups import MapCluster
from xaicli.survey.finding import PhotoFinding

NET = Path(__file__).parents[1] / "data" / "net.py"
MODEL = ("--model", f"{NET}:make")


def test_an_audit_writes_maps_and_results_and_says_what_it_found(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    assert len(list(Path("xai-out").glob("*.layer-cam.json"))) == 8
    assert "labels from the names of 2 folders: four-poster, tabby" in xai.err
    assert "Decided wrongly: " in xai.out
    assert xai.out.splitlines()[0].split()[:4] == ["cluster", "class", "photos", "place"]
    content = json.loads(Path("xai-out/audit.json").read_text())
    assert len(content["photos"]) == 8
    assert sum(cluster["photos"] for cluster in content["clusters"]) == 8
    assert str(Path.cwd()) not in Path("xai-out/audit.json").read_text()


def test_running_again_makes_no_map_again_and_says_the_same(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    before, told = contents("xai-out"), xai.out
    times = {name: Path(name).stat().st_mtime_ns for name in before if "audit." not in name}
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    assert xai.out == told
    assert contents("xai-out") == before
    assert {name: Path(name).stat().st_mtime_ns for name in times} == times


def test_maps_that_explain_made_are_used(xai: CommandLine) -> None:
    assert xai("explain", "photos", "--recursive", *MODEL, "--method", "grad-cam") == 0
    made = {path: path.stat().st_mtime_ns for path in Path("xai-out").glob("*.grad-cam.npy")}
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_json_holds_photos_clusters_and_confusions(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL, "--format", "json", "--by", "border") == 0
    told = json.loads(xai.out)
    borders = [row["border"] for row in told["photos"] if row["border"] is not None]
    assert borders == sorted(borders, reverse=True)
    wrong = [row for row in told["photos"] if row["right"] is False]
    assert sum(row["photos"] for row in told["confusions"]) == len(wrong)
    assert {row["label"] for row in told["photos"]} == {"tabby", "four-poster"}


def test_the_python_function_finds_the_same_without_files(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL, "--format", "json") == 0
    before = contents(".")
    made = xaicli.audit("photos", f"{NET}:make", recursive=True)
    assert json.loads(made.render("json")) == json.loads(xai.out)
    assert contents(".") == before


def test_boxes_give_the_share_outside_and_the_quadrant(xai: CommandLine) -> None:
    lines = ["file,label,x0,y0,x1,y1", *(f"{number}.png,,4,4,40,36" for number in range(8))]
    Path("boxes.csv").write_text("\n".join(lines))
    assert xai("audit", "photos", "--recursive", *MODEL, "--truth", "boxes.csv", "--format", "json") == 0
    for row in json.loads(xai.out)["photos"]:
        known = (row["right"], row["outside"] is not None and row["outside"] <= 0.5)
        if row["outside"] is not None:
            expected = {(True, True): "fine", (True, False): "shortcut", (False, True): "suspect label", (False, False): "missed"}
            assert row["quadrant"] == expected[known]
            assert 0 < row["area"] < 1


def test_labels_may_come_from_a_table(xai: CommandLine) -> None:
    Path("labels.csv").write_text("image,label\n0.png,tabby\n1.png,four-poster\n2.png,crane\n")
    assert xai("audit", "photos", "--recursive", *MODEL, "--labels", "labels.csv") == 2
    assert '"crane", which is no class' in xai.error
    Path("labels.csv").write_text("image,label\n0.png,tabby\n1.png,3\n")
    assert xai("audit", "photos", "--recursive", *MODEL, "--labels", "labels.csv", "--format", "json") == 0
    assert sum(row["right"] is not None for row in json.loads(xai.out)["photos"]) == 2


@pytest.mark.parametrize("words", [("photos/tabby/0.png",), ("photos/tabby/0.png", "photos/tabby/2.png"), ("photos/one",)])
def test_a_folder_of_one_photo_is_refused_before_the_model_is_loaded(xai: CommandLine, words: tuple[str, ...]) -> None:
    Path("photos/one").mkdir()
    Path("photos/tabby/4.png").rename("photos/one/4.png")
    assert xai("audit", *words, "--model", "nothing.py:make") == 2
    assert "expected at least 3" in xai.error
    assert "xai explain PHOTO" in xai.error


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--target", "top2"), 2, "several maps of a photo"),
        (("--truth", "nowhere"), 3, "no ground truth at nowhere"),
        (("--labels", "nowhere.csv"), 3, "there is no file nowhere.csv"),
        (("--method", "gradcma"), 2, "Did you mean grad-cam?"),
        (("--by", "outside"), 2, "no object is marked"),
        (("--method", "t-tame@file=none.safetensors"), 2, "no parameter"),
    ],
)
def test_bad_words_are_refused_in_one_line(xai: CommandLine, words: tuple[str, ...], code: int, said: str) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL, *words) == code
    assert said in xai.error
    assert not Path("xai-out/audit.json").exists()


def test_a_photo_that_cannot_be_read_ends_the_audit_or_is_left_out(xai: CommandLine) -> None:
    Path("photos/tabby/2.png").write_bytes(b"no picture")
    assert xai("audit", "photos", "--recursive", *MODEL) == 3
    assert "2.png" in xai.error
    assert xai("audit", "photos", "--recursive", *MODEL, "--keep-going", "--format", "json") == 4
    assert len(json.loads(xai.out)["photos"]) == 7


def test_without_scikit_learn_the_audit_says_what_to_install_and_can_do_without(
    xai: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert xai("audit", "photos", "--recursive", *MODEL) == 3
    assert 'pip install "xaicli[audit]"' in xai.error
    assert xai("audit", "photos", "--recursive", *MODEL, "--no-clusters") == 0


def test_a_dry_run_writes_nothing(xai: CommandLine) -> None:
    before = contents(".")
    assert xai("audit", "photos", "--recursive", *MODEL, "--dry-run") == 0
    assert "layer-cam" in xai.out
    assert contents(".") == before


def test_results_never_replace_a_file_of_others(xai: CommandLine) -> None:
    Path("xai-out").mkdir()
    Path("xai-out/audit.json").write_text("mine")
    assert xai("audit", "photos", "--recursive", *MODEL) == 2
    assert Path("xai-out/audit.json").read_text() == "mine"
    assert xai("audit", "photos", "--recursive", *MODEL, "--overwrite") == 0


def test_a_dry_run_reads_the_ground_truth_and_the_labels(xai: CommandLine) -> None:
    for verb in ("audit", "aggregate"):
        assert xai(verb, "photos", "--recursive", *MODEL, "--truth", "nowhere", "--dry-run") == 3
        assert "no ground truth at nowhere" in xai.err
    assert xai("audit", "photos", "--recursive", *MODEL, "--labels", "nowhere.csv", "--dry-run") == 3
    assert "nowhere.csv" in xai.err


def test_the_table_of_photos_names_only_clusters_that_the_table_of_clusters_has() -> None:
    findings = tuple(PhotoFinding(f"{at}.png", str(at), 0, "cat", 0.5, "cat", "ok", border=0.1) for at in range(3))
    mean = np.full((16, 16), 1 / 256)
    of_two, of_one = (MapCluster("cat", members, mean, (0, 0), 0.1, None, None, 0.1, 2, None) for members in ((0, 1), (2,)))
    made = Audit(findings, (replace(of_two, number=1), replace(of_one, number=2)))
    assert sorted(row["cluster"] for row in made.rows) == [1, 1, 2]
    table = made.render().split("\n\n")[1].splitlines()
    assert sorted(line.split()[-1] for line in table[1:]) == ["0.10", "1", "1"]


@pytest.mark.parametrize("by", ["suspicion", "border", "doubt"])
def test_the_table_of_photos_shows_what_it_is_sorted_by(by: str) -> None:
    findings = tuple(
        PhotoFinding(f"{at}.png", str(at), 0, "cat", 0.5, "cat", "ok", border=0.1 * at, doubt=0.2 * at) for at in range(3)
    )
    head, *lines = Audit(findings, by=by).render().split("\n\n")[0].splitlines()
    assert head.count(f"{by} ↓") == 1
    assert head.replace(f"{by} ↓", "").count(by) == 0
    at = head.index(f"{by} ↓") + len(f"{by} ↓")
    shown = [float(line[:at].split()[-1]) for line in lines[:3]]
    assert shown == sorted(shown, reverse=True)
    assert len(set(shown)) == 3
