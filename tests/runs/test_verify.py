"""Maps and scores made again from their records: the same, or what differs and what is missing; evidence in one file."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xaicli
from xaicli.cli.main import main
from xaicli.errors import InputError, UsageError
from xaicli.progress import SILENT
from xaicli.results.store import Store
from xaicli.rows import Run
from xaicli.runs import evidence
from xaicli.runs.remade import CannotBeMade, ModelsAtHand, Remade
from xaicli.runs.remade_maps import compare_maps
from xaicli.runs.verify import Verified

METHODS = "grad-cam,rise@n_masks=16"


@pytest.fixture
def explained(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Maps of four photos by two methods of the bundled network, made and looked at from one folder."""
    monkeypatch.chdir(tmp_path)
    xaicli.explain("photos", "tiny", METHODS, output="xai-out")
    return tmp_path / "xai-out"


def results(found: xaicli.runs.verify.Verified) -> dict[str, str]:
    return {row["name"]: row["result"] for row in found.rows}


def test_what_is_made_again_is_the_same_to_the_last_bit(explained):
    found = xaicli.verify("xai-out")
    assert set(results(found).values()) == {"same bytes"}
    assert len(found.made) == 8
    assert not found.failed
    assert not found.incomplete


def test_a_map_that_was_changed_with_its_record_differs(explained):
    path = explained / "a.grad-cam.json"
    kept = xaicli.Attribution.load(path)
    forged = np.ascontiguousarray(kept.values[::-1])
    xaicli.Attribution(forged, kept.record).save(explained, "a.grad-cam")
    found = xaicli.verify("xai-out")
    assert results(found)["a.grad-cam.json"] == "differs"
    assert found.failed
    assert found.counts["same bytes"] == 7


def test_a_map_that_is_not_its_records_is_damaged(explained):
    np.save(explained / "a.grad-cam.npy", np.zeros((2, 2), dtype=np.float32))
    [first, *_] = xaicli.verify("xai-out").rows
    assert (first["name"], first["result"]) == ("a.grad-cam.json", "differs")
    assert "damaged" in first["why"]


def test_a_photo_that_changed_or_is_missing_is_named(explained, tmp_path):
    (tmp_path / "photos" / "a.jpg").write_bytes((tmp_path / "photos" / "b.jpg").read_bytes())
    (tmp_path / "photos" / "c.png").unlink()
    found = {row["image"]: row for row in xaicli.verify("xai-out").rows if row["result"] == "cannot be made"}
    assert set(found) == {"photos/a.jpg", "photos/c.png"}
    assert "photos/a.jpg has changed" in found["photos/a.jpg"]["why"]
    assert "--photos DIR" in found["photos/c.png"]["why"]


def test_photos_are_found_by_content_in_a_folder(explained, tmp_path):
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "a.jpg").rename(tmp_path / "elsewhere" / "renamed.jpg")
    assert xaicli.verify("xai-out").counts["cannot be made"] == 8
    assert xaicli.verify("xai-out", photos="elsewhere").counts["same bytes"] == 8


def test_another_model_is_named_and_nothing_of_it_is_run(explained):
    found = xaicli.verify("xai-out", "tiny-vit")
    assert found.counts["cannot be made"] == 8
    why = found.rows[0]["why"]
    tiny, other = (xaicli.load_classifier(name).fingerprint[:8] for name in ("tiny", "tiny-vit"))
    assert why == f"it is a result of the model tiny ({tiny}), not of tiny-vit ({other})"


def test_code_that_a_record_names_runs_only_where_it_is_trusted(photo_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "import torch, xaicli\nopen('ran', 'a').close()\n"
        "def make():\n    torch.manual_seed(0)\n"
        "    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),\n"
        "                              torch.nn.Flatten(), torch.nn.Linear(4, 3))\n"
        "    return xaicli.classifier(net, resize=32, crop=32)\n"
    )
    xaicli.explain("photos", "net.py:make", "rise@n_masks=16", output="xai-out")
    (tmp_path / "ran").unlink()
    found = xaicli.verify("xai-out")
    assert found.counts["cannot be made"] == 4
    assert "--trust" in found.rows[0]["why"]
    assert not (tmp_path / "ran").exists()
    assert xaicli.verify("xai-out", trust=True).counts["same bytes"] == 4
    assert xaicli.verify("xai-out", "net.py:make").counts["same bytes"] == 4
    code = (tmp_path / "net.py").read_text()
    (tmp_path / "net.py").write_text(code.replace("torch.manual_seed(0)", "raise ValueError('no such table')"))
    failed = xaicli.verify("xai-out", trust=True)
    assert failed.counts["cannot be made"] == 4
    assert "raised ValueError: no such table" in failed.rows[0]["why"]
    (tmp_path / "net.py").write_text(code.replace("manual_seed(0)", "manual_seed(1)"))
    assert "the model net.py:make has changed" in xaicli.verify("xai-out", "net.py:make").rows[0]["why"]


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("name", ["net.py:make", "onnx:net.onnx", "net.pt2", "net.pt", "resnet18@weights=net.pth"])
def test_for_a_model_whose_file_is_elsewhere_its_path_is_asked_for_and_no_trust(monkeypatch, tmp_path, name, trust):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CannotBeMade, match=r"there is no file net\.\w+; name it with its path: --model SPEC$"):
        ModelsAtHand(None, trust, {}, SILENT).classifier(name, "0" * 16, "fp32")


def test_for_a_folder_of_transformers_that_is_elsewhere_its_path_is_asked_for(monkeypatch, tmp_path):
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CannotBeMade, match=r"if that is a folder, name it with its path: --model hf:FOLDER$"):
        ModelsAtHand(None, False, {}, SILENT).classifier("hf:vit", "0" * 16, "fp32")


def test_values_within_a_hundredth_of_the_range_are_another_processors():
    old = np.linspace(-1, 1, 100, dtype=np.float32).reshape(10, 10)
    assert compare_maps(old, old.copy()) == ("same bytes", "", 0)
    result, _, off = compare_maps(old, old + np.float32(0.015))
    assert result == "same within tolerance"
    assert off == pytest.approx(0.015 / 2, rel=1e-4)
    assert compare_maps(old, old + np.float32(0.03))[0] == "differs"
    assert compare_maps(old, old[:5])[0] == "differs"
    nothing = np.zeros((3, 3), dtype=np.float32)
    assert compare_maps(nothing, nothing + 1)[0] == "differs"
    assert compare_maps(nothing, nothing * np.nan)[0] == "differs"
    assert compare_maps(nothing, -nothing)[::2] == ("same within tolerance", 0)


@pytest.fixture
def scored(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    xaicli.score("photos", "tiny", METHODS, metric="deletion@steps=4,sparseness", output="scores.db")
    return tmp_path / "scores.db"


def test_the_rows_of_a_store_are_made_again(scored):
    found = xaicli.verify("scores.db")
    assert set(results(found).values()) == {"same bytes"}
    # Two methods and two controls under deletion; sparseness of the methods and controls; `other` belongs to other photos.
    assert {row["method"] for row in found.rows} == {"grad-cam", "rise@n_masks=16", "random", "center"}


def test_a_sample_is_as_large_as_asked_and_the_same_each_time(scored):
    first, again, other = (xaicli.verify("scores.db", sample=5, seed=seed) for seed in (0, 0, 1))
    assert len(first.made) == 5
    assert sorted(results(first)) == sorted(results(again))
    assert first.rows != other.rows
    assert len(xaicli.verify("scores.db", sample=10_000).made) > 5


def test_a_number_that_was_changed_in_a_store_differs(scored):
    with Store.open("scores.db", write=False) as store, Store.open("forged.db") as forged:
        rows, recipes = list(store.rows()), store.recipes()
        changed = next(row for row in rows if row.method == "grad-cam" and row.metric == "sparseness")
        wrong = [dataclasses.replace(row, value=row.value / 2) if row is changed else row for row in rows]
        forged.add(wrong, recipes, run=Run("tiny", changed.model))
    found = [row for row in xaicli.verify("forged.db").rows if row["result"] == "differs"]
    assert [(row["image"], row["metric"]) for row in found] == [(changed.image, "sparseness")]


def test_evidence_is_one_file_from_which_all_is_made_again(explained, scored, tmp_path):
    assert main(["bundle", "xai-out", "scores.db", "-o", "evidence.zip"]) == 0
    shutil.rmtree(explained)
    scored.unlink()
    assert main(["verify", "evidence.zip", "--photos", "photos", "--sample", "6"]) == 0
    with zipfile.ZipFile("evidence.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert not [name for name in archive.namelist() if name.endswith((".jpg", ".png"))]
    assert len({photo["sha256"] for photo in manifest["photos"]}) == 4
    assert manifest["versions"]
    assert manifest["machine"]["python"]


def test_the_same_results_are_the_same_evidence_whatever_its_file_is_called(explained):
    assert main(["bundle", "xai-out", "-o", "one.zip"]) == 0
    assert main(["bundle", "xai-out/", "-o", "two.zip", "--overwrite"]) == 0
    assert Path("one.zip").read_bytes() == Path("two.zip").read_bytes()


def remade(result, why="", off=0.0, metric=""):
    return Remade("a.json", "a.jpg", "grad-cam", "1", metric, result, why, off)


def test_results_within_tolerance_are_one_line_unless_all_are_asked_for():
    near = [remade("same within tolerance", "…", off) for off in (1e-5, 2e-4)]
    near += [remade("same within tolerance", "…", 3e-6, "deletion")]
    found = Verified((*near, remade("same bytes"), remade("differs", "up to 0.5 of its range")))
    table = found.render()
    assert table.count("a.jpg") == 1
    assert table.splitlines()[-1].endswith("1 differs (maps by up to 2.0e-04 of their range, scores by up to 3.0e-06)")
    assert dataclasses.replace(found, every=True).render().count("a.jpg") == 5
    assert len(json.loads(found.render("json"))["results"]) == 5


def test_results_that_cannot_be_made_for_one_reason_are_one_line():
    found = Verified((*[remade("cannot be made", "no model")] * 7, remade("cannot be made", "no photo")))
    lines = found.render().splitlines()
    assert [line.split("  ")[1] for line in lines if line.startswith("cannot be made")] == ["7 results", "a.jpg"]
    assert "no model" in found.render()


def test_rows_of_trust_say_why_they_are_not_made_again(photo_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    xaicli.score("photos", "tiny", "center", metric="sparseness", controls=False, output="plain.db")
    with Store.open("plain.db", write=False) as store, Store.open("trust.db") as planted:
        [run] = store.runs()
        planted.add(list(store.rows()), store.recipes(), run=dataclasses.replace(run, command="xai -q trust tiny photos"))
    assert main(["verify", "trust.db"]) == 3
    assert "the same xai trust command measures it again" in capsys.readouterr().out


def test_in_a_store_merged_of_both_only_the_rows_of_trust_are_not_made_again(photo_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    xaicli.score("photos", "tiny", "center,random", metric="sparseness", controls=False, output="plain.db")
    with Store.open("plain.db", write=False) as store, Store.open("both.db") as both:
        [run], rows, recipes = store.runs(), list(store.rows()), store.recipes()
        planted = dataclasses.replace(run, command="xai trust tiny photos")
        both.add([row for row in rows if row.method == "center"], recipes, run=planted)
        both.add([row for row in rows if row.method == "random"], recipes, run=run)
    found = xaicli.verify("both.db")
    assert {row["method"]: row["result"] for row in found.rows} == {"center": "cannot be made", "random": "same bytes"}


def test_trust_leaves_its_command_in_its_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"photos/{number}.png")
    net = f"{Path(__file__).parents[1] / 'data' / 'net.py'}:make"
    xaicli.trust(net, "photos", "center", check="fidelity", output="out")
    found = xaicli.verify("out/trust.db", net)
    assert {row["why"] for row in found.rows} == {
        "xai trust altered its photo and its network; the same xai trust command measures it again"
    }


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes")
def test_photos_whose_names_are_no_text_are_found_again(photo_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"photos/caf\xe9.png")
    Path("photos/c.png").rename(odd)
    xaicli.explain([odd], "tiny", "center", output="xai-out")
    xaicli.score([odd], "tiny", "center", metric="sparseness", controls=False, output="s.db")
    xaicli.bundle(["xai-out", "s.db"], "evidence.zip")
    for place in ("xai-out", "s.db", "evidence.zip"):
        assert set(results(xaicli.verify(place)).values()) == {"same bytes"}


def test_evidence_is_not_written_over_a_file_of_others(explained, capsys):
    Path("mine.zip").write_bytes(b"mine")
    assert main(["bundle", "xai-out", "-o", "mine.zip"]) == 2
    assert Path("mine.zip").read_bytes() == b"mine"
    assert main(["bundle", "xai-out", "-o", "evidence.zip"]) == 0
    assert main(["bundle", "xai-out", "-o", "evidence.zip"]) == 0


@pytest.mark.parametrize("name", ["../out.json", "/tmp/out.json", "maps/../../out.json", "c:\\out.json", "a\\..\\out"])
def test_a_zip_whose_names_lead_out_of_it_is_refused(tmp_path, name):
    path = tmp_path / "evidence.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr(name, "{}")
    with pytest.raises(InputError, match="leads out of it"):
        xaicli.verify(path)


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "evidence.zip"
    link = zipfile.ZipInfo("maps/a.json")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="leads out of it"):
        xaicli.verify(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 and nothing of a zip", b"PK", b"", b"plain text"])
def test_a_file_that_is_no_evidence_is_an_error_in_one_line(tmp_path, content, capsys):
    (tmp_path / "evidence.zip").write_bytes(content)
    assert main(["verify", str(tmp_path / "evidence.zip")]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_zip_without_a_manifest_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "evidence.zip", "w") as archive:
        archive.writestr("maps/a.json", "{}")
    with pytest.raises(InputError, match=r"manifest\.json"):
        xaicli.verify(tmp_path / "evidence.zip")


def test_a_member_that_holds_more_than_its_header_says_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "MOST_TIMES", 2)
    path = tmp_path / "evidence.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("maps/a.npy", bytes(1 << 16))
    with pytest.raises(InputError, match="more than it can hold"):
        xaicli.verify(path)


@pytest.mark.parametrize("manifest", ["[1]", "{}", "no json", '{"generator": "xaicli", "schema": 99}', "[" * 100_000])
def test_a_zip_with_another_manifest_is_refused(explained, manifest):
    xaicli.bundle("xai-out", "evidence.zip")
    with zipfile.ZipFile("evidence.zip") as whole, zipfile.ZipFile("other.zip", "w") as other:
        for entry in whole.infolist():
            other.writestr(entry.filename, manifest if entry.filename == "manifest.json" else whole.read(entry))
    with pytest.raises(InputError, match="manifest"):
        xaicli.verify("other.zip")


def test_what_is_damaged_in_a_zip_is_named_by_its_place_in_it(explained):
    (explained / "a.grad-cam.npy").write_bytes(b"\x93NUMPY")
    xaicli.bundle("xai-out", "evidence.zip", overwrite=True)
    whys = [row["why"] for row in xaicli.verify("evidence.zip").rows if row["result"] == "differs"]
    assert [why.split()[3] for why in whys] == ["maps/a.grad-cam.npy"]


def test_a_name_twice_in_a_zip_is_an_error_without_a_folder_that_is_gone(tmp_path):
    with zipfile.ZipFile(tmp_path / "evidence.zip", "w") as archive:
        archive.writestr("maps", "a file")
        archive.writestr("maps/a.json", "{}")
    with pytest.raises(InputError, match="cannot be unpacked") as caught:
        xaicli.verify(tmp_path / "evidence.zip")
    assert "xai-evidence-" not in str(caught.value)


def test_an_error_without_a_text_is_named_by_its_kind(explained, monkeypatch):
    def cut_short(*words: object) -> None:
        raise EOFError

    xaicli.bundle("xai-out", "evidence.zip")
    monkeypatch.setattr(evidence, "unpack", cut_short)
    with pytest.raises(InputError, match=r"evidence\.zip cannot be unpacked: EOFError"):
        xaicli.verify("evidence.zip")


def test_a_folder_without_records_is_an_error(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["verify", str(tmp_path / "empty")]) == 3
    assert main(["verify", str(tmp_path / "missing")]) == 3
    assert main(["bundle", str(tmp_path / "empty"), "-o", str(tmp_path / "e.zip")]) == 3
    with pytest.raises(UsageError):
        xaicli.verify(tmp_path / "empty", sample=0)


@pytest.mark.parametrize("paths", [["nosuch"], ["xai-out", "nosuch"]])
@pytest.mark.parametrize(("verb", "more"), [("bundle", "or a store of xai score"), ("verify", "or a zip of xai bundle")])
def test_where_nothing_is_the_error_says_so_and_what_may_be_given(explained, capsys, verb, more, paths):
    assert main([verb, *paths]) == 3
    error = capsys.readouterr().err
    assert "there is no nosuch; expected a folder of xai explain, " in error
    assert more in error
    assert not Path("evidence.zip").exists()


def test_the_command_tells_apart_what_differs_and_what_is_missing(explained, tmp_path, capsys):
    assert main(["verify", "xai-out"]) == 0
    (tmp_path / "photos" / "a.jpg").unlink()
    assert main(["verify", "xai-out", "--format", "json"]) == 3
    read = json.loads(capsys.readouterr().out.partition("checked: 8 same bytes")[2])
    assert read["counts"] == {"differs": 0, "cannot be made": 2, "same within tolerance": 0, "same bytes": 6}
    kept = xaicli.Attribution.load(explained / "b.grad-cam.json")
    xaicli.Attribution(-kept.values, kept.record).save(explained, "b.grad-cam")
    assert main(["verify", "xai-out"]) == 1
    assert "b.jpg" in capsys.readouterr().out


def test_a_zip_that_lost_a_file_is_damaged(explained):
    xaicli.bundle("xai-out", "evidence.zip")
    with zipfile.ZipFile("evidence.zip") as whole, zipfile.ZipFile("less.zip", "w") as less:
        for entry in whole.infolist():
            if not entry.filename.startswith("maps/a.grad-cam."):
                less.writestr(entry.filename, whole.read(entry))
    with pytest.raises(InputError, match=r"less\.zip is damaged: 'maps/a\.grad-cam\.json' is not as its manifest\.json says"):
        xaicli.verify("less.zip")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--model", "nonsense"], 2, 'no model "nonsense"'),
        (["--device", "nonsense"], 2, 'no device "nonsense"'),
        (["--model", "net.py:make"], 3, "there is no file net.py"),
        (["--weights", "missing.pth"], 3, "there is no file missing.pth"),
        (["--photos", "missing"], 3, "there is no folder missing; expected a folder of photos"),
        (["--photos", "xai-out/a.grad-cam.npy"], 3, "a.grad-cam.npy is no folder"),
    ],
)
def test_what_the_user_names_wrongly_ends_in_one_line_and_blames_no_record(explained, capsys, words, code, said):
    assert main(["verify", "xai-out", *words]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1
