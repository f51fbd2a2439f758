"""Baselines on disk: whole or not at all, and nothing that is read is believed unchecked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from xaicli.claims import is_own
from xaicli.errors import InputError, UsageError, XaiError
from xaicli.gate import baseline_file
from xaicli.gate.baseline import Baseline
from xaicli.gate.baseline_file import load, save
from xaicli.gate.map_similarity import Noise, Similarity
from xaicli.gate.photo_result import PhotoResult, Score
from xaicli.stamps import CHECKSUM, with_checksum


def made(value: float = 0.25, seed: int = 0) -> Baseline:
    rng = np.random.default_rng(seed)
    photos = tuple(
        PhotoResult(
            image=f"photos/{name}",
            content=f"{at:064x}",
            frame=at,
            target="3-1" if at else "3",
            decision=3,
            probability=0.5,
            maps={"grad-cam": rng.normal(size=(2 + at, 3)).astype(np.float32), "rise": np.zeros((4, 4), np.float32)},
            scores={("grad-cam", "insertion"): Score(value, "ok"), ("rise", "insertion"): Score(None, "constant")},
        )
        for at, name in enumerate(["a.png", "ü b|c.png"])
    )
    return Baseline(
        photos=photos,
        definitions={"grad-cam": {"name": "grad-cam", "version": 1, "parameters": {"relu": True, "layer": "auto"}}},
        layers={"grad-cam": "features.7"},
        places={"grad-cam": "8 x 4 x 4, 0.1250 behind"},
        model="net.py:make",
        fingerprint="f" * 16,
        target_rule="top1",
        expect="same-model",
        seed=7,
        noise={"rise": Noise(Similarity(0.5, 0.25), (0.75, 0.625))},
        versions={"torch": "2.6"},
    )


def assert_same(one: Baseline, other: Baseline) -> None:
    for old, new in zip(one.photos, other.photos, strict=True):
        assert old.maps.keys() == new.maps.keys()
        for label, values in old.maps.items():
            np.testing.assert_array_equal(values, new.maps[label])
            assert values.dtype == new.maps[label].dtype
        for key, score in old.scores.items():
            assert (score.value, score.status) == (new.scores[key].value, new.scores[key].status)
        for name in ("image", "content", "frame", "target", "decision", "probability"):
            assert getattr(old, name) == getattr(new, name)
    for name in ("definitions", "layers", "places", "model", "fingerprint", "target_rule", "expect", "seed", "noise", "versions"):
        assert getattr(one, name) == getattr(other, name)


def test_what_is_saved_is_loaded_again(tmp_path):
    save(made(), tmp_path)
    assert_same(load(tmp_path), made())


def test_saving_says_how_many_bytes_it_wrote_and_leaves_two_files(tmp_path):
    save(made(seed=1), tmp_path)
    size = save(made(seed=2), tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) == size


def test_the_same_baseline_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save(made(), tmp_path / name)
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert one == other


@pytest.mark.parametrize("stops", [1, 2])
def test_when_writing_stops_the_old_baseline_is_there_whole(tmp_path, monkeypatch, stops):
    save(made(), tmp_path)
    write, calls = baseline_file.write_atomic, []

    def interrupted(path, content):
        calls.append(path)
        if len(calls) == stops:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(baseline_file, "write_atomic", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(made(value=0.75, seed=5), tmp_path)
    assert_same(load(tmp_path), made())


def test_when_tidying_up_stops_the_new_baseline_is_there_whole(tmp_path, monkeypatch):
    save(made(), tmp_path)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: (_ for _ in ()).throw(PermissionError))
    save(made(seed=5), tmp_path)
    assert_same(load(tmp_path), made(seed=5))


@pytest.mark.parametrize("name", ["maps-of-mine.safetensors", "maps-0123456789abcdef.safetensors"])
def test_other_files_of_the_folder_are_left_alone(tmp_path, name):
    kept = tmp_path / name
    kept.write_bytes(b"x")
    save(made(), tmp_path)
    assert kept.read_bytes() == b"x"


def test_a_baseline_is_known_as_ours(tmp_path):
    save(made(), tmp_path)
    assert is_own(tmp_path / baseline_file.RECORD)


def test_where_there_is_none_that_is_said(tmp_path):
    with pytest.raises(UsageError, match="no baseline in"):
        load(tmp_path / "nowhere")


def test_a_newer_one_is_told_from_a_damaged_one(tmp_path):
    save(made(), tmp_path)
    change(tmp_path, lambda record: record.update(schema=99))
    with pytest.raises(InputError, match="newer version"):
        load(tmp_path)


def change(folder: Path, edit) -> None:
    path = folder / "baseline.json"
    record = json.loads(path.read_text())
    edit(record)
    # By somebody who knows of the checksum.
    path.write_text(json.dumps(with_checksum(without(record))))


def without(record: dict) -> dict:
    return {name: value for name, value in record.items() if name != CHECKSUM}


def test_a_record_that_changed_is_refused(tmp_path):
    save(made(), tmp_path)
    record = json.loads((tmp_path / "baseline.json").read_text())
    record["photos"][0]["probability"] += 0.001
    (tmp_path / "baseline.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"is damaged .*its checksum is another"):
        load(tmp_path)


def test_maps_that_changed_by_a_bit_are_refused(tmp_path):
    save(made(), tmp_path)
    content = maps_file(tmp_path).read_bytes()
    maps_file(tmp_path).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="is not what was written"):
        load(tmp_path)


def test_a_baseline_of_before_checksums_is_read(tmp_path):
    save(made(), tmp_path)
    record = json.loads((tmp_path / "baseline.json").read_text())
    (tmp_path / "baseline.json").write_text(json.dumps({**without(record), "schema": 1}))
    assert load(tmp_path).model == made().model


def maps_file(folder: Path) -> Path:
    return next(folder.glob("maps-*.safetensors"))


EDITS = {
    "no schema": lambda r: r.pop("schema"),
    "schema of text": lambda r: r.update(schema="1"),
    "schema is yes": lambda r: r.update(schema=True),
    "maps elsewhere": lambda r: r.update(maps="../../maps-0123456789abcdef.safetensors"),
    "maps absolute": lambda r: r.update(maps="/etc/passwd"),
    "maps missing": lambda r: r.update(maps="maps-0123456789abcdef.safetensors"),
    "maps a number": lambda r: r.update(maps=3),
    "photos a table": lambda r: r.update(photos={}),
    "photos of text": lambda r: r.update(photos=["a"]),
    "a photo less": lambda r: r["photos"][0].pop("content"),
    "no maps": lambda r: r["photos"][0].update(methods=["lime"]),
    "methods of text": lambda r: r["photos"][0].update(methods="grad-cam"),
    "target no class": lambda r: r["photos"][0].update(target="tabby"),
    "target negative": lambda r: r["photos"][0].update(target="-3"),
    "target huge": lambda r: r["photos"][0].update(target="9" * 40),
    "target a number": lambda r: r["photos"][0].update(target=3),
    "decision huge": lambda r: r["photos"][0].update(decision=10**30),
    "decision of text": lambda r: r["photos"][0].update(decision="3"),
    "probability NaN": lambda r: r["photos"][0].update(probability=float("nan")),
    "probability none": lambda r: r["photos"][0].update(probability=None),
    "score infinite": lambda r: r["photos"][0].update(scores=[["a", "b", float("inf"), "ok"]]),
    "score huge": lambda r: r["photos"][0].update(scores=[["a", "b", 10**400, "ok"]]),
    "score short": lambda r: r["photos"][0].update(scores=[["a", "b"]]),
    "score of lists": lambda r: r["photos"][0].update(scores=[[[], [], 1, "ok"]]),
    "seed negative": lambda r: r.update(seed=-1),
    "seed yes": lambda r: r.update(seed=True),
    "definitions a list": lambda r: r.update(definitions=[]),
    "definitions of text": lambda r: r.update(definitions={"grad-cam": "1234"}),
    "definition without version": lambda r: r["definitions"]["grad-cam"].pop("version"),
    "definition with parameters of text": lambda r: r["definitions"]["grad-cam"].update(parameters="x"),
    "layers a list": lambda r: r.update(layers=[]),
    "layer a number": lambda r: r.update(layers={"grad-cam": 3}),
    "floor NaN": lambda r: r["noise"]["rise"]["floor"].update(spearman=float("nan")),
    "floor short": lambda r: r["noise"]["rise"]["floor"].pop("overlap"),
    "noise of other photos": lambda r: r["noise"]["rise"]["expected"].append(0.5),
    "noise infinite": lambda r: r["noise"]["rise"].update(expected=[0.5, float("inf")]),
    "noise a list": lambda r: r.update(noise=[]),
    "versions gone": lambda r: r.pop("versions"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_record_that_was_tampered_with_is_refused_in_one_line(tmp_path, edit):
    save(made(), tmp_path)
    change(tmp_path, edit)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert "damaged" in caught.value.found
    assert len(caught.value.line()) < 500


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"schema": ' + b"9" * 10_000 + b"}"],
    ids=["empty", "cut", "list", "number", "null", "binary", "deep", "long"],
)
def test_a_record_that_is_none_is_refused(tmp_path, content):
    save(made(), tmp_path)
    (tmp_path / "baseline.json").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)


def test_maps_that_were_cut_off_or_swapped_for_something_else_are_refused(tmp_path):
    save(made(), tmp_path)
    path = maps_file(tmp_path)
    whole = path.read_bytes()
    for content in (b"", whole[:4], whole[:60], whole[:-1], b"\x80\x04\x95" * 40, b"\xff" * 100, b"PK\x03\x04" + whole):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            load(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 3), np.float64),
        np.zeros((2, 3), np.int32),
        np.zeros(6, np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros((1, 2, 3), np.float32),
    ],
    ids=["doubles", "integers", "one-dimensional", "empty", "three-dimensional"],
)
def test_maps_of_another_kind_are_refused(tmp_path, values):
    save(made(), tmp_path)
    arrays = safetensors.numpy.load_file(maps_file(tmp_path))
    safetensors.numpy.save_file({**arrays, "0/grad-cam": values}, maps_file(tmp_path))
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)


def test_maps_in_bf16_are_refused(tmp_path):
    save(made(), tmp_path)
    arrays = safetensors.torch.load_file(maps_file(tmp_path))
    safetensors.torch.save_file({**arrays, "0/grad-cam": torch.zeros(2, 3, dtype=torch.bfloat16)}, maps_file(tmp_path))
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)


def test_a_pickle_in_place_of_the_maps_is_never_run(tmp_path):
    save(made(), tmp_path)
    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self):
            return Path.touch, (witness,)

    torch.save({"0/grad-cam": Evil()}, maps_file(tmp_path))
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)
    assert not witness.exists()


def test_files_too_large_are_not_read(tmp_path, monkeypatch):
    save(made(), tmp_path)
    for name in ("LARGEST_RECORD", "LARGEST_MAPS"):
        with monkeypatch.context() as patch:
            patch.setattr(baseline_file, name, 100)
            with pytest.raises(InputError, match="larger than it can be"):
                load(tmp_path)


def test_text_that_would_command_a_terminal_is_made_harmless(tmp_path):
    save(made(), tmp_path)
    change(tmp_path, lambda record: record.update(layers={"grad-cam": "\x1b[31mred\ud800"}))
    assert load(tmp_path).layers == {"grad-cam": "?[31mred\\ud800"}


def test_a_folder_that_takes_nothing_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XaiError, match="cannot be written"):
        save(made(), tmp_path / "file" / "baseline")
