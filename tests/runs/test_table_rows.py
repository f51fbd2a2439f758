"""Which row of a table belongs to which photo."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xaicli.errors import UsageError
from xaicli.images.source import Source
from xaicli.models.load import load_classifier
from xaicli.progress import Progress
from xaicli.runs.labelled import find_labelled, labels_in
from xaicli.runs.table_rows import rows_of
from xaicli.runs.target_choice import choose_targets

NET = Path(__file__).parents[1] / "data" / "net.py"


class Told(Progress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def fitted(listed: list[str], *paths: str) -> dict[str, str]:
    rows = rows_of(listed, {Source(path): path for path in paths})
    return {source.path: name for source, name in rows.by_photo.items()}


def test_a_name_fits_the_photo_whose_path_ends_so_as_far_as_it_gives_folders() -> None:
    both = "p/a/x.jpg", "p/b/x.jpg"
    assert fitted(["a/x.jpg", "b/x.jpg"], *both) == {"p/a/x.jpg": "a/x.jpg", "p/b/x.jpg": "b/x.jpg"}
    assert fitted(["p/b/x", "c/x.jpg"], *both) == {"p/b/x.jpg": "p/b/x"}
    assert fitted(["./p/a/x.jpg"], *both) == {"p/a/x.jpg": "./p/a/x.jpg"}
    assert fitted([os.path.abspath("p/a/x.jpg"), "/a/x.jpg"], *both) == {"p/a/x.jpg": os.path.abspath("p/a/x.jpg")}
    assert fitted(["x", "y.jpg"], "p/a/x.jpg", "p/b/y.jpg") == {"p/a/x.jpg": "x", "p/b/y.jpg": "y.jpg"}


def test_a_name_that_fits_several_photos_is_the_row_of_none() -> None:
    rows = rows_of(["x.jpg", "y"], {Source(path): path for path in ("a/x.jpg", "b/x.jpg", "a/y.jpg")})
    assert {source.path for source in rows.by_photo} == {"a/y.jpg"}
    assert rows.doubt == "x.jpg fits 2 photos, a/x.jpg and b/x.jpg"


def test_a_photo_with_a_longer_name_leaves_the_short_one_to_others() -> None:
    assert fitted(["x.jpg", "a/x.jpg"], "p/x.jpg", "p/a/x.jpg") == {"p/x.jpg": "x.jpg", "p/a/x.jpg": "a/x.jpg"}
    # A whole path is that photo's, and no doubt about it.
    assert fitted(["x.jpg"], "x.jpg", "a/x.jpg") == {"x.jpg": "x.jpg"}


def test_frames_of_one_file_share_its_row() -> None:
    frames = [Source("a/m.tiff", frame) for frame in range(3)]
    rows = rows_of(["m.tiff"], {source: source.path for source in frames})
    assert rows.by_photo == dict.fromkeys(frames, "m.tiff")
    assert not rows.shared


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a/x.jpg", "b/x.jpg", "b/y.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    return tmp_path / "photos"


def test_a_table_of_bare_names_gives_two_photos_of_one_name_no_label_and_says_so(photos: Path) -> None:
    table = photos.parent / "labels.csv"
    table.write_text("image,label\nx.jpg,cat\ny.jpg,dog\n")
    told = Told()
    found = find_labelled(photos, table, progress=told)
    assert found.names == ("b/y.jpg",)
    sources = {Source.of_file(photos / name): name for name in ("a/x.jpg", "b/x.jpg", "b/y.jpg")}
    assert list(labels_in(table, sources, told).values()) == ["dog"]
    assert len(told.warnings) == 2
    assert all("x.jpg fits 2 photos" in line and "labels.csv" in line for line in told.warnings)
    table.write_text("image,label\na/x.jpg,cat\nb/x.jpg,dog\ny.jpg,dog\n")
    assert list(labels_in(table, sources).values()) == ["cat", "dog", "dog"]


def test_a_table_of_bare_targets_is_refused_where_two_photos_have_one_name(photos: Path) -> None:
    table = photos.parent / "targets.csv"
    table.write_text("image,target\nx.jpg,1\ny.jpg,2\n")
    model = load_classifier(f"{NET}:make")
    sources = [Source.of_file(photos / name) for name in ("a/x.jpg", "b/x.jpg", "b/y.jpg")]
    with pytest.raises(UsageError, match=r"x\.jpg fits 2 photos"):
        choose_targets(f"@{table}", model, sources)
    table.write_text("image,target\na/x.jpg,1\nb/x.jpg,3\ny.jpg,2\n")
    choice = choose_targets(f"@{table}", model, sources)
    assert [choice.rule_of(source).index for source in sources] == [1, 3, 2]
