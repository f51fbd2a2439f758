"""Suites over a tiny network, run for a baseline and run again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xaicli.errors import InputError, RunError, UsageError
from xaicli.gate.baseline_file import load, save
from xaicli.gate.measure import ReadySuite, run_suite
from xaicli.gate.pictures import draw_failures
from xaicli.results.store import Store
from xaicli.runs.photo_scores import score_missing
from xaicli.runs.score_run import ScoreRun
from xaicli.runs.settings import Settings

RISE = "rise@n_masks=64"


def broken(room, source: str) -> None:
    """Change the model's file."""
    path = room.folder / "net.py"
    path.write_text(path.read_text() + source)


def states(outcome) -> dict[str, str]:
    return {f"{verdict.method} {verdict.what}".strip(): verdict.state for verdict in outcome.verdicts}


def test_the_same_suite_on_the_same_model_passes(room):
    room.suite(methods=["grad-cam", RISE], metrics=["insertion"])
    outcome = room.check(room.baseline())
    assert set(states(outcome).values()) == {"ok"}
    assert not outcome.failed(strict=True)
    assert [photo.image.rpartition("/")[2] for photo in outcome.now] == [f"{number}.png" for number in range(6)]


def test_a_baseline_from_disk_judges_as_the_one_that_was_saved(room, tmp_path):
    room.suite(methods=["grad-cam", RISE], metrics=["insertion"])
    baseline = room.baseline()
    save(baseline, tmp_path / "kept")
    there, back = (room.check(one, model="plain").verdicts for one in (baseline, load(tmp_path / "kept")))
    assert there == back


@pytest.mark.parametrize("method", ["grad-cam", RISE])
@pytest.mark.parametrize("model", ["other", "plain"])
def test_faults_are_seen_in_the_maps(room, find, method, model):
    room.suite(methods=[method])
    verdict = find(room.check(room.baseline(), model=model), "map similarity")
    assert verdict.failed
    assert len(verdict.places) == 3


def test_a_layer_within_a_wrapper_is_the_same_layer(room):
    baseline = room.baseline()
    assert "layer" not in states(room.check(baseline, model="wrapped"))
    within = room.baseline(model="wrapped")
    assert within.layers == {"grad-cam": "m.late"}
    assert "layer" not in states(room.check(within))


def test_a_layer_elsewhere_that_ends_in_the_same_name_is_another(room, find):
    verdict = find(room.check(room.baseline(), model="ensemble"), "layer")
    assert (verdict.failed, verdict.text) == (True, "late at the baseline, first.late now")


def test_another_layer_is_a_verdict_of_its_own_and_seen_in_the_maps(room, find):
    outcome = room.check(room.baseline(), model="earlier")
    assert find(outcome, "layer").failed
    assert find(outcome, "layer").text == "late at the baseline, features now"
    assert find(outcome, "map similarity").failed
    assert find(outcome, "decisions").state == "ok"


def test_metrics_may_be_none_and_then_no_score_is_judged(room):
    room.suite(metrics=[])
    assert set(states(room.check(room.baseline()))) == {"grad-cam map similarity", "decisions", "p0"}


def test_the_baselines_classes_are_explained_again_and_changed_decisions_counted(room, find):
    baseline = room.baseline()
    outcome = room.check(baseline, model="other")
    assert [photo.target for photo in outcome.now] == [photo.target for photo in baseline.photos]
    changed = sum(old.decision != new.decision for old, new in zip(baseline.photos, outcome.now, strict=True))
    assert changed > 0
    assert find(outcome, "decisions").text.startswith(f"changed on {changed} of 6 photos")


def test_photos_are_matched_by_content_wherever_they_went(room):
    baseline = room.baseline()
    moved = room.folder / "elsewhere" / "deeper"
    shutil.copytree(room.folder / "photos", moved)
    shutil.rmtree(room.folder / "photos")
    (moved / "0.png").rename(moved / "zero.png")
    room.suite(images=["elsewhere/"], recursive=True)
    outcome = room.check(baseline)
    assert set(states(outcome).values()) == {"ok"}
    assert [Path(photo.image).name for photo in outcome.now] == ["zero.png", *(f"{number}.png" for number in range(1, 6))]


def test_a_photo_that_is_missing_or_changed_never_passes(room, new_photo):
    baseline = room.baseline()
    new_photo(room.folder / "photos" / "3.png", 99)
    with pytest.raises(InputError, match=r"1 of the baseline's 6 photos is missing or changed, such as .*3\.png"):
        room.check(baseline)
    (room.folder / "photos" / "3.png").unlink()
    with pytest.raises(InputError, match="missing or changed"):
        room.check(baseline)


def test_photos_added_since_are_noted_and_not_judged(room, find, new_photo):
    baseline = room.baseline()
    new_photo(room.folder / "photos" / "new.png", 99)
    outcome = room.check(baseline)
    assert len(outcome.now) == 6
    assert find(outcome, "photos").state == "note"
    assert "1 of the suite's photos is not in the baseline" in find(outcome, "photos").text


def test_a_copy_of_a_photo_counts_once(room):
    shutil.copy(room.folder / "photos" / "0.png", room.folder / "photos" / "copy.png")
    baseline = room.baseline()
    assert len(baseline.photos) == 6
    (room.folder / "photos" / "0.png").unlink()
    assert set(states(room.check(baseline)).values()) == {"ok"}


def test_an_empty_set_of_photos_never_passes(room):
    baseline = room.baseline()
    shutil.rmtree(room.folder / "photos")
    (room.folder / "photos").mkdir()
    with pytest.raises(InputError, match="holds no photos"):
        room.check(baseline)
    with pytest.raises(InputError, match="holds no photos"):
        room.baseline()


def test_a_photo_that_cannot_be_read_stops_the_check(room):
    baseline = room.baseline()
    (room.folder / "photos" / "5.png").write_bytes(b"no photo")
    with pytest.raises(InputError, match="missing or changed"):
        room.check(baseline)
    with pytest.raises(InputError, match=r"5\.png"):
        room.baseline()


def test_nan_in_the_network_stops_both(room):
    baseline = room.baseline()
    broken(room, "\n\nNet.training_is_broken = True\n")
    with pytest.raises(RunError, match="NaN or infinite logits"):
        room.baseline()
    with pytest.raises(RunError, match="NaN or infinite logits"):
        room.check(baseline)


def test_nan_in_the_maps_fails_the_check_and_makes_no_baseline(room, find, monkeypatch, tmp_path):
    baseline = room.baseline()
    spoil(monkeypatch)
    outcome = room.check(baseline)
    assert find(outcome, "maps").failed
    assert find(outcome, "map similarity").failed
    assert len(draw_failures(room.bench(), outcome, tmp_path / "pictures")) == 3
    with pytest.raises(RunError, match="is not finite"):
        room.baseline()


def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Grad-CAM give NaN."""
    import xaicli.methods.grad_cam as module

    attribute = module.GradCAM.attribute

    def spoiled(self, *args):
        maps = attribute(self, *args)
        maps.values[...] = torch.nan
        return maps

    monkeypatch.setattr(module.GradCAM, "attribute", spoiled)


# Another definition


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"methods": ["grad-cam", "random"]}, "random is new"),
        ({"methods": ["random"]}, "random is new; grad-cam is gone"),
        ({"methods": ["grad-cam@relu=false"]}, "grad-cam@relu=false is new; grad-cam is gone"),
        ({"metrics": ["insertion"]}, "insertion is new"),
        ({"target": 2}, "target top1 there, 2 here"),
        ({"expect": "retrained", "metrics": ["deletion"]}, "expect same-model there, retrained here"),
    ],
)
def test_another_definition_is_refused_and_what_differs_is_named(room, table, words):
    baseline = room.baseline()
    room.suite(**table)
    with pytest.raises(UsageError) as caught:
        room.check(baseline)
    assert words in caught.value.found
    # Another expectation: what is judged must not become the measure.
    assert ("xai baseline --overwrite" if "expect" in table else "xai check --update") in caught.value.hint


def test_another_version_of_a_method_is_another_definition(room, monkeypatch):
    import xaicli.methods.grad_cam as module

    baseline = room.baseline()
    monkeypatch.setattr(module.GradCAM, "version", module.GradCAM.version + 1)
    with pytest.raises(UsageError, match=f"grad-cam: version {module.GradCAM.version - 1} there, {module.GradCAM.version} here"):
        room.check(baseline)


def test_a_default_that_changed_is_another_definition(room):
    baseline = room.baseline()
    kept = {**baseline.definitions["grad-cam"], "parameters": {"layer": "auto", "relu": "perhaps"}}
    baseline.definitions["grad-cam"] = kept
    with pytest.raises(UsageError, match="grad-cam: relu perhaps there, True here"):
        room.check(baseline)


def test_a_model_of_fewer_classes_is_refused_in_words(room):
    room.suite(target=3)
    baseline = room.baseline()
    room.suite(target=1)
    with pytest.raises(UsageError, match="target 3 there, 1 here"):
        room.check(baseline)
    room.suite()
    baseline = room.baseline()
    assert max(photo.decision for photo in baseline.photos) > 1
    with pytest.raises(InputError, match=r"the baseline explains class \d of .*, and net.py:fewer has 2 classes"):
        room.check(baseline, model="fewer")


def test_contrasts_and_targets_from_a_file_are_explained_again(room):
    for target in ("1-3", "@targets.csv"):
        rows = "".join(f"{number}.png,{number % 4}\n" for number in range(6))
        (room.folder / "targets.csv").write_text(f"image,target\n{rows}")
        room.suite(target=target, metrics=["insertion"])
        baseline = room.baseline()
        assert [photo.target for photo in baseline.photos][1] == ("1-3" if target == "1-3" else "1")
        assert set(states(room.check(baseline)).values()) == {"ok"}


def test_several_targets_a_photo_are_refused(room):
    room.suite(target="top3")
    with pytest.raises(UsageError, match="one target per photo"):
        room.bench()


# Stochastic methods


def test_another_seed_is_held_against_what_seeds_do_and_the_same_seed_against_rounding(room, find):
    room.suite(methods=[RISE])
    baseline = room.baseline()
    assert baseline.noise.keys() == {RISE}
    same, other = room.check(baseline), room.check(baseline, seed=77)
    assert find(same, "map similarity").value == pytest.approx(1.0)
    assert "at least 0.98" in find(same, "map similarity").text
    assert find(other, "map similarity").value < 0.98
    assert "on average with other seeds" in find(other, "map similarity").text
    assert not other.failed()


def test_the_largest_seed_has_others_beside_it(room):
    room.suite(methods=["rise@n_masks=8"], seed=2**63 - 1, limit=2)
    assert room.baseline().noise


# A retrained model


def retrained(room, **table: object) -> None:
    room.suite(expect="retrained", metrics=["insertion"], **table)


def test_of_a_retrained_model_maps_may_move(room):
    retrained(room)
    outcome = room.check(room.baseline(), model="other")
    found = states(outcome)
    assert "grad-cam map similarity" not in found
    controls = {f"grad-cam beats {control}" for control in ("random", "center", "other")}
    assert controls | {"grad-cam insertion", "decisions", "p0"} <= set(found)


def test_a_retrained_model_is_watched_by_ground_truth(room, find):
    """Truth is a square in the middle: the pointing game of a map that points there is won."""
    truth = np.zeros((32, 32), dtype=np.uint8)
    truth[8:24, 8:24] = 255
    for number in range(6):
        path = room.folder / "masks" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(truth).save(path)
    rule = {"metric": "pointing-game", "at_least": 0.5}
    room.suite(expect="retrained", methods=["center"], metrics=["pointing-game"], truth="masks/", rules=[rule])
    outcome = room.check(room.baseline())
    assert find(outcome, "pointing-game").state == "ok"
    assert find(outcome, "pointing-game").value == pytest.approx(1.0)


def test_ground_truth_metrics_without_truth_are_refused_before_any_work(room):
    room.suite(metrics=["pointing-game"])
    with pytest.raises(UsageError, match="needs ground truth"):
        room.bench()


def test_controls_are_scored_only_where_a_rule_asks_for_them(room):
    room.suite(metrics=["insertion"])
    assert room.bench().controls == ()
    retrained(room)
    assert [control.name for control in room.bench().controls] == ["random", "center"]
    baseline = room.baseline()
    assert set(baseline.photos[0].maps) == {"grad-cam"}
    assert {method for method, _ in baseline.photos[0].scores} == {"grad-cam", "random", "center", "other@base=grad-cam"}
    retrained(room, methods=["grad-cam", "random"])
    assert [control.name for control in room.bench().controls] == ["center"]


def test_controls_are_those_of_a_scoring_run_whatever_the_batch(room, new_photo):
    for number in range(6, 11):
        new_photo(room.folder / "photos" / f"{number}.png", number)
    retrained(room)
    bench = room.bench()
    photos = run_suite(bench, seed=0)
    assert [photo.image for photo in photos] == [f"photos/{name}.png" for name in range(11)]
    run = ScoreRun(bench.sources, bench.classifier, bench.methods, bench.metrics, settings=Settings(precision="fp32"))
    with Store.in_memory() as store:
        rows = {(row.photo, row.method): row.value for rows in score_missing(run, store) for row in rows}
    assert len(rows) == 11 * 4
    for photo in photos:
        for (method, _), score in photo.scores.items():
            assert score.value == pytest.approx(rows[photo.content, method], abs=1e-5)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 10, 17])
def test_every_photo_has_another_however_many_there_are(room, new_photo, find, count):
    for number in range(6, 17):
        new_photo(room.folder / "photos" / f"{number}.png", number)
    retrained(room, limit=count)
    outcome = room.check(room.baseline())
    scored = [("other@base=grad-cam", "insertion") in photo.scores for photo in outcome.now]
    assert len(scored) == count
    assert all(scored) is (count > 1)
    if count > 1:
        assert find(outcome, "beats other").value == pytest.approx(
            np.mean(
                [
                    photo.scores["grad-cam", "insertion"].value - photo.scores["other@base=grad-cam", "insertion"].value
                    for photo in outcome.now
                ]
            )
        )


# Pictures, threads, trust


def test_the_worst_photos_are_drawn_and_only_pictures_of_earlier_checks_are_removed(room, tmp_path):
    room.suite(methods=["grad-cam", RISE], metrics=["insertion"])
    baseline, folder = room.baseline(), tmp_path / "pictures"
    folder.mkdir()
    (folder / "mine.png").write_bytes(b"precious")
    (folder / "old.grad-cam.xai-check.png").write_bytes(b"old")
    outcome = room.check(baseline, model="other")
    paths = draw_failures(room.bench(model="other"), outcome, folder)
    assert {path.name.partition(".")[2] for path in paths} == {"grad-cam.xai-check.png", f"{RISE}.xai-check.png"}
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size[0] == 1600
    assert {path.name for path in folder.iterdir()} == {*(path.name for path in paths), "mine.png"}
    assert draw_failures(room.bench(), room.check(baseline), folder) == []
    assert [path.name for path in folder.iterdir()] == ["mine.png"]


def test_one_thread_and_two_give_the_same_verdicts(room):
    room.suite(methods=["grad-cam", RISE], metrics=["deletion", "insertion"])
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            baseline = room.baseline()
            found.append([(v.what, v.method, v.state, v.text) for v in room.check(baseline, model="other").verdicts])
            found.append([(v.what, v.method, v.state) for v in room.check(baseline).verdicts])
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[2]
    assert found[1] == found[3]


def test_a_baseline_made_on_one_thread_is_checked_on_two(room):
    room.suite(methods=["grad-cam", RISE], metrics=["deletion", "insertion"])
    baseline, before = room.baseline(), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert set(states(room.check(baseline)).values()) == {"ok"}
    finally:
        torch.set_num_threads(before)


def test_a_suites_own_model_runs_only_where_it_is_trusted(room, make_ready: Callable[..., ReadySuite]):
    with pytest.raises(UsageError, match=r"would run the code in net\.py.*--trust"):
        make_ready(trust=False)
    assert make_ready(trust=True).classifier.name == "net.py:make"
    assert make_ready(trust=False, model=f"{room.folder}/net.py:make").classifier.name == "net.py:make"


@pytest.mark.parametrize("rule", [{"metric": "own.py:Own", "at_least": 0}, {"metric": "map-similarity", "method": "own.py:Own"}])
def test_code_that_a_rule_names_runs_only_where_the_suite_is_trusted(room, make_ready: Callable[..., ReadySuite], rule):
    room.suite(model="tiny", rules=[rule])
    (room.folder / "own.py").write_text("raise AssertionError('it ran')")
    with pytest.raises(UsageError, match=r"would run the code in own\.py.*--trust"):
        make_ready(trust=False)
    with pytest.raises(RunError, match="it ran"):
        make_ready(trust=True)


def test_a_file_that_a_rule_names_is_looked_for_beside_the_suite(room):
    (room.folder / "own.py").write_text(
        "from xaicli.methods.center import Center\n\n\nclass Middle(Center):\n    name = 'middle'\n"
    )
    room.suite(methods=["own.py:Middle"], rules=[{"metric": "map-similarity", "method": "own.py:Middle"}])
    assert [rule.method for rule in room.bench().rules] == ["middle"]


@pytest.fixture
def make_ready(room) -> Callable[..., ReadySuite]:
    from xaicli.gate.measure import make_ready
    from xaicli.gate.suite import read_suite

    return lambda **given: make_ready(read_suite(room.folder / "xai.toml"), **given)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"methods": ["grad-cma"]}, 'xai.toml: no method "grad-cma". Did you mean grad-cam'),
        ({"methods": ["grad-cam", "GradCAM"]}, "named twice"),
        ({"metrics": ["inserton"]}, 'xai.toml: no metric "inserton". Did you mean insertion'),
        ({"model": "net.py:nothing"}, "has no function nothing"),
        ({"model": "missing.py:make"}, "there is no file"),
        ({"resize": [1, 2, 3]}, "is not a size"),
        ({"crop": 0}, "is not a size"),
        ({"mean": ["a", "b", "c"]}, "is not a list of numbers"),
        ({"interpolation": "best"}, "no interpolation"),
        ({"device": "toaster"}, "no device"),
        ({"target": "zebra"}, 'xai.toml: no class is called "zebra"'),
        ({"target": 99}, "out of range"),
        ({"images": ["nowhere/"]}, "does not exist"),
        ({"weights": "nowhere.pth"}, "nowhere.pth"),
        ({"truth": "nowhere/"}, "nowhere"),
        ({"rules": [{"metric": "insertion", "tolerance": 1}]}, "which the suite does not run"),
        ({"rules": [{"metric": "inserton", "tolerance": 1}]}, 'xai.toml, rule 1: no metric "inserton". Did you mean insertion'),
        ({"rules": [{"metric": "p0", "tolerance": 1}, {"metric": "map-similarity", "method": "rose"}]}, "rule 2: no method"),
    ],
)
def test_what_a_suite_names_wrongly_is_refused_in_one_line(room, table, words):
    room.suite(**table)
    with pytest.raises((UsageError, InputError)) as caught:
        room.bench()
    assert words in caught.value.line()
