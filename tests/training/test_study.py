"""`xai study` on toy data: what is compared, what is kept, and that the same call goes on."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

import xaicli
from xaicli.errors import InputError, UsageError, XaiError
from xaicli.models.checkpoint import read_metadata
from xaicli.task import Schedule
from xaicli.training import decoded, loop
from xaicli.training.study import alone_in
from xaicli.training.study_arms import BRANCH, PLAIN, arms_of, pairs, settings_of
from xaicli.training.study_result import ACCURACY, DIFFERENCE, StudiedNetwork, Study

TYPED = {
    "model": "tiny@widths=6+8@blocks=1",
    "resize": 16,
    "crop": 16,
    "epochs": 1,
    "batch_size": 8,
    "device": "cpu",
    "photos": 4,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def made(toy, folder):
    return xaicli.study("lfi-cam", toy / "train", val=toy / "val", seeds=2, output=folder, **TYPED)


def test_each_kind_is_trained_with_each_seed_under_one_schedule(made, folder):
    records = {path.stem: read_metadata(path) for path in folder.glob("*.safetensors")}
    assert set(records) == {f"{kind}.{seed}" for kind in ("branch", "plain-head", "none") for seed in (0, 1)} | {
        "branch.lr",
        "branch.decay",
    }
    same = [records[name] for name in ("branch.0", "plain-head.0", "none.0")]
    assert all(entry["schedule"] == same[0]["schedule"] and entry["data"] == same[0]["data"] for entry in same)
    varied = [entry["augmentation"] for entry in same]
    assert varied[0] == varied[1] == varied[2]
    assert same[0]["schedule"]["lr"] == 2 * records["branch.lr"]["schedule"]["lr"]


def test_the_plain_head_has_as_many_weights_as_the_branch(made):
    by_kind = {one.arm.kind: one.parameters for one in made.trained}
    assert by_kind["branch"] == by_kind["plain-head"] == by_kind["none"] + 36 * 8 * 8 + 8 * 8


def test_the_rows_hold_accuracy_differences_and_stability(made, folder):
    parts = [row["part"] for row in made.rows]
    assert parts[:5] == [ACCURACY] * 3 + [DIFFERENCE] * 2
    # Two measures of three methods between three pairs of settings, each with another photo's beside it.
    assert len(parts[5:]) == 2 * 3 * 3 * 2
    assert all(0 <= row["value"] <= 1 for row in made.rows if row["part"].startswith("iou"))
    assert json.loads((folder / "study.json").read_text())["rows"] == json.loads(json.dumps(made.rows))


class Noting(xaicli.Progress):
    """Keeps what was said, and "counted" for each training that was counted."""

    def __init__(self):
        self.noted = []

    def say(self, text):
        self.noted.append(text)

    @contextmanager
    def task(self, what, total):
        yield lambda *_, **__: self.noted.append("counted") if what == "trainings" else None


def test_the_same_call_trains_nothing_again_and_finds_the_same(made, toy, folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("a step was trained")

    opened = []
    pixels_of = decoded.pixels_of
    monkeypatch.setattr(loop.Training, "step", refuse)
    monkeypatch.setattr(decoded, "pixels_of", lambda source, *rest: opened.append(source.path) or pixels_of(source, *rest))
    progress = Noting()
    again = xaicli.study("lfi-cam", toy / "train", val=toy / "val", seeds=2, output=folder, progress=progress, **TYPED)
    assert again.rows == made.rows
    # No photo of a complete training is decoded, only the held-out ones that are mapped, by three methods in three settings.
    assert len(opened) == 3 * 3 * TYPED["photos"]
    assert not [path for path in opened if str(toy / "train") in path]
    # A training counts when it is over.
    told = [line for line in progress.noted if line == "counted" or line.endswith("is complete")]
    assert [line == "counted" for line in told] == [False, True] * 8


@pytest.mark.parametrize("content", [None, b"", b'{"run": 1', b"{}", b"[]"])
def test_a_record_that_is_lost_or_damaged_is_made_again_from_its_checkpoint(made, toy, folder, monkeypatch, content):
    record = folder / "none.1.json"
    kept = record.read_bytes()
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    monkeypatch.setattr(loop.Training, "step", None)
    xaicli.study("lfi-cam", toy / "train", val=toy / "val", seeds=2, output=folder, **TYPED)
    assert record.read_bytes() == kept


def test_other_held_out_photos_are_refused(made, toy, folder, tmp_path):
    other = tmp_path / "val"
    for photo in sorted((toy / "val").rglob("*.png"))[::2]:
        copy = other / photo.relative_to(toy / "val")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(photo.read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="has other held-out photos; expected the --val or --hold-out that it began with"):
        xaicli.study("lfi-cam", toy / "train", val=other, seeds=2, output=folder, **TYPED)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_another_setting_is_refused_by_what_differs_and_by_what_the_command_can_do(made, toy, folder):
    with pytest.raises(UsageError) as refused:
        xaicli.study("lfi-cam", toy / "train", val=toy / "val", seeds=2, output=folder, lr=0.05, **TYPED)
    assert "of another run: lr 0.1 (now 0.05). Delete it to train it again, or choose another folder" in str(refused.value)
    assert "--overwrite" not in str(refused.value)


@pytest.mark.parametrize("name", ["none.0.safetensors", "none.0.safetensors.resume"])
def test_a_damaged_file_of_a_training_is_named_with_what_to_do(made, toy, folder, tmp_path, name):
    copied = tmp_path / "study"
    shutil.copytree(folder, copied)
    (copied / "none.0.safetensors").unlink()
    (copied / name).write_bytes(b"damaged")
    with pytest.raises(XaiError) as refused:
        xaicli.study("lfi-cam", toy / "train", val=toy / "val", seeds=2, output=copied, **TYPED)
    assert name in str(refused.value)
    assert "Delete it to train it again" in str(refused.value)


def test_two_studies_never_work_in_one_folder(toy, tmp_path):
    with alone_in(tmp_path), pytest.raises(UsageError, match="another xai study is at work in"):
        xaicli.study("lfi-cam", toy / "train", val=toy / "val", seeds=1, output=tmp_path, **TYPED)
    with alone_in(tmp_path):
        pass


def test_a_folder_in_the_place_of_the_lock_is_named(tmp_path):
    (tmp_path / "study.lock").mkdir()
    with pytest.raises(InputError, match=r"study\.lock cannot be locked"), alone_in(tmp_path):
        pass


def test_held_out_photos_are_named_once_and_are_no_training_photos(toy, tmp_path):
    with pytest.raises(UsageError, match="--val and --hold-out both say which photos are held out; expected one of them"):
        xaicli.study("lfi-cam", toy / "train", val=toy / "val", hold_out=2, output=tmp_path / "s", **TYPED)
    with pytest.raises(UsageError, match="names the training photos; expected other photos"):
        xaicli.study("lfi-cam", toy / "train", val=toy / "train", output=tmp_path / "s", **TYPED)


def test_another_method_is_refused(toy, tmp_path):
    with pytest.raises(UsageError, match="a study of t-tame; expected lfi-cam"):
        xaicli.study("t-tame", toy / "train", output=tmp_path / "s")


@pytest.mark.parametrize("what", ["seeds", "photos"])
def test_a_study_of_nothing_is_refused_before_it_trains(toy, tmp_path, what):
    with pytest.raises(UsageError, match=f"a study with 0 {what}; expected at least 1"):
        xaicli.study("lfi-cam", toy / "train", output=tmp_path / "s", **{**TYPED, what: 0})
    assert not (tmp_path / "s").exists()


def test_settings_differ_from_the_published_one_in_one_number_each():
    schedule = Schedule(epochs=3, batch_size=8, lr=0.1, weight_decay=1e-4)
    first, rate, decay = settings_of(schedule)
    assert (first.overrides, rate.overrides) == ({}, {"lr": 0.05})
    assert decay.overrides == {"weight_decay": pytest.approx(5e-4)}
    assert len(pairs([first, rate, decay])) == 3
    assert len(arms_of(3, schedule)) == 11


def test_a_difference_is_paired_by_photo_over_the_mean_of_seeds():
    schedule = Schedule(epochs=1, batch_size=8, lr=0.1)
    rights = {
        "branch": (np.ones(4), np.array([1.0, 1, 0, 0])),
        "plain-head": (np.zeros(4), np.zeros(4)),
        "none": (np.ones(4),) * 2,
    }
    trained = tuple(StudiedNetwork(arm, rights[arm.kind][arm.seed], 1.0, 10) for arm in arms_of(2, schedule) if not arm.overrides)
    rows = {(row["part"], row["of"]): row for row in Study(trained, (), {}).rows}
    assert rows[ACCURACY, BRANCH]["value"] == 75
    assert rows[DIFFERENCE, f"{BRANCH} less {PLAIN}"]["value"] == 75
    assert rows[DIFFERENCE, f"{BRANCH} less none"]["value"] == -25
    assert "+0.0, -50.0" in rows[DIFFERENCE, f"{BRANCH} less none"]["note"]
