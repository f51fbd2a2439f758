"""Rows in a folder of Parquet files: written twice they are there once, and merge, report and export read them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray_shell import METRICS, NET, RayShell, assert_same

pytest.importorskip("pyarrow")

from xaicli.errors import InputError
from xaicli.results.parquet_folder import ParquetFolder
from xaicli.results.row_table import PhotoRows, Records
from xaicli.results.store import Store
from xaicli.runs.photo_scores import NewScores, score_photos
from xaicli.runs.score_request import ScoreRequest
from xaicli.runs.score_run import ScoreRun


def run_of() -> ScoreRun:
    return ScoreRequest(images="photos", method="grad-cam", metric=METRICS).run(f"{NET}:make")


def written(run: ScoreRun, folder: ParquetFolder, size: int) -> list[Path]:
    """The files of a run, each of `size` photos."""
    with Store.in_memory() as nothing:
        todo = run.todo(nothing)
        found = list(
            score_photos(run, todo, lambda source, partner=None: nothing.missing([("", 0)], run.recipes, model="", seed=0)[0])
        )
    files = []
    for start in range(0, len(found), size):
        records = Records()
        for result in found[start : start + size]:
            assert isinstance(result, NewScores)
            photo = PhotoRows(result.source.path, run.contents[result.source], 0, result.rows, result.maps)
            records.add(photo, run.recipes)
        files.append(folder.write(records.table(), run.recipes, run.record))
    return files


def test_a_folder_reads_as_the_store_of_the_same_run(shell: RayShell) -> None:
    run, folder = run_of(), ParquetFolder(Path("rows"))
    files = written(run, folder, 3)
    assert len(files) == 3
    assert written(run, folder, 3) == files
    assert folder.files == sorted(files)
    assert shell.score("-o", "plain.db") == 0
    plain = shell.stored("plain.db")
    assert_same(shell.stored("rows"), plain)
    assert shell("merge", "rows", "-o", "all.db") == 0
    assert_same(shell.stored("all.db"), plain)
    with Store.open("all.db", write=False) as merged, Store.open("plain.db", write=False) as own:
        assert {kept.subject for kept in merged.maps()} == {kept.subject for kept in own.maps()}
        assert merged.runs()[0].fingerprint == own.runs()[0].fingerprint
    assert shell("export", "rows", "--format", "jsonl") == 0
    assert len(shell.out.splitlines()) == len(plain)
    assert shell("report", "rows", "-o", "page.html") == 0


def test_a_folder_knows_what_it_lacks_as_a_store_does(shell: RayShell) -> None:
    run, folder = run_of(), ParquetFolder(Path("rows"))
    assert run.missing(folder, run.sources).all()
    files = written(run, folder, 1)
    assert not run.missing(folder, run.sources).any()
    files[0].unlink()
    with Store.in_memory() as store:
        folder.fill(store)
        assert (run.missing(folder, run.sources) == run.missing(store, run.sources)).all()
        assert run.missing(folder, run.sources).any(axis=1).sum() == 1


def test_a_damaged_file_is_refused_in_one_line(shell: RayShell) -> None:
    [file] = written(run_of(), ParquetFolder(Path("rows")), 100)
    content = file.read_bytes()
    for damaged in (content[:100], content[:300] + bytes(50) + content[350:], b"PAR1 no PAR1"):
        file.write_bytes(damaged)
        assert shell("merge", "rows", "-o", "all.db") == 3
        assert f"rows/{file.name} cannot be read" in shell.error


def test_a_sink_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("")
    with pytest.raises(InputError, match="is a file"):
        ParquetFolder(tmp_path / "rows").require_writable()


def test_a_sink_that_cannot_be_written_is_refused_with_the_option_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written.*--sink parquet:DIR"):
        ParquetFolder(tmp_path / "file" / "rows").require_writable()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--sink", "parquet:rows"), "--sink without --ray"),
        (("--ray", "local", "--sink", "rows"), "--sink rows is no sink"),
        (("--ray", "local", "--sink", "parquet:"), "is no sink"),
        (("--ray", "local", "--sink", "parquet:rows", "-o", "s.db"), "--sink and -o are both given"),
        (("--ray", "local", "--sink", "parquet:rows", "--fail-under", "deletion@steps=4=0.1"), "--sink and a bound"),
    ],
)
def test_words_that_do_not_fit_are_refused(shell: RayShell, words: tuple[str, ...], told: str) -> None:
    assert shell.score(*words) == 2
    assert told in shell.error
