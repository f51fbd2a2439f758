"""`xai augment` as a user types it: its copies and their labels, what it says, how it fails."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine, contents
from PIL import Image

NET = Path(__file__).parents[1] / "data" / "net.py"
MODEL = ("--model", f"{NET}:make")


def test_copies_are_filled_in_one_place_and_listed_with_their_labels(xai: CommandLine) -> None:
    xai("audit", "photos", "--recursive", *MODEL)
    assert xai("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "copies") == 0
    with open("copies/labels.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert {row["label"] for row in rows} == {"tabby", "four-poster"}
    changed = []
    for row in rows:
        before, after = (np.asarray(Image.open(path).convert("RGB")) for path in (row["source"], f"copies/{row['image']}"))
        assert before.shape == after.shape
        changed.append((before != after).any(axis=2))
    # The same place in every photo, of the size that is said.
    together = np.logical_or.reduce(changed)
    assert 0 < together.mean() <= float(rows[0]["filled"]) + 1e-4 < 0.7
    assert len({row["filled"] for row in rows}) == 1


def test_copies_can_be_trained_on_and_are_written_again_the_same(xai: CommandLine) -> None:
    from xaicli.training.data import read_listing

    xai("audit", "photos", "--recursive", *MODEL)
    words = ("augment", "photos", "--recursive", "--audit", "xai-out", "--fill", "noise", "-o", "copies")
    assert xai(*words) == 0
    before = contents("copies")
    assert xai(*words) == 0
    assert contents("copies") == before
    listing = read_listing("copies/labels.csv")
    assert len(listing.sources) == 8
    assert listing.classes == ("four-poster", "tabby")
    assert len(read_listing("copies/labels.csv").sources) == len(list(Path("copies").glob("*.png")))
    # A run that was stopped leaves copies and no list yet.
    Path("copies/labels.csv").unlink()
    next(Path("copies").glob("*.png")).unlink()
    assert xai(*words) == 0
    assert contents("copies") == before


def test_a_map_and_all_but_it_fill_the_two_parts_of_a_photo(xai: CommandLine) -> None:
    xai("audit", "photos", "--recursive", *MODEL)
    shares = []
    for region in ("map", "background"):
        assert xai(
            "augment", "photos", "--recursive", "--audit", "xai-out", "--region", region, "-o", region, "--keep-going"
        ) in (0, 4)
        with open(f"{region}/labels.csv") as file:
            shares.append({row["source"]: float(row["filled"]) for row in csv.DictReader(file)})
    assert shares[0]
    assert all(shares[0][name] + shares[1][name] == pytest.approx(1, abs=1e-3) for name in shares[0])


def test_the_background_of_marked_objects_is_all_but_them(xai: CommandLine) -> None:
    xai("audit", "photos", "--recursive", *MODEL)
    lines = ["file,label,x0,y0,x1,y1", *(f"{number}.png,any,10,10,30,30" for number in range(8))]
    Path("boxes.csv").write_text("\n".join(lines))
    words = ("augment", "photos", "--recursive", "--audit", "xai-out", "--region", "background", "--truth", "boxes.csv")
    assert xai(*words, "--fill", "other", "-o", "copies") == 0
    before, after = (np.asarray(Image.open(path).convert("RGB")) for path in ("photos/tabby/0.png", "copies/0.png"))
    assert (before[11:29, 11:29] == after[11:29, 11:29]).all()
    assert (before[:8] != after[:8]).any()


def test_only_members_of_a_cluster_are_copied_where_that_is_wanted(xai: CommandLine) -> None:
    xai("audit", "photos", "--recursive", *MODEL)
    [first, *_] = json.loads(Path("xai-out/audit.json").read_text())["clusters"]
    assert xai("augment", "photos", "--recursive", "--audit", "xai-out/audit.json", "--members", "-o", "copies") == 0
    assert len(list(Path("copies").glob("*.png"))) == first["photos"]


def test_a_dry_run_of_augment_writes_nothing_and_names_the_copies(xai: CommandLine) -> None:
    xai("audit", "photos", "--recursive", *MODEL)
    before = contents(".")
    assert xai("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "copies", "--dry-run") == 0
    assert "copies/0.png" in xai.out
    assert contents(".") == before


def test_copies_never_replace_what_is_not_ours(xai: CommandLine) -> None:
    xai("audit", "photos", "--recursive", *MODEL)
    words = ("augment", "photos/tabby", "--audit", "xai-out", "-o")
    before = contents("photos")
    assert xai(*words, "photos/tabby", "--overwrite") == 2
    assert "among photos" in xai.error
    assert contents("photos") == before
    Path("copies").mkdir()
    Path("copies/labels.csv").write_text("image,label\nmine.png,1\n")
    assert xai(*words, "copies") == 2
    assert "xai did not write it" in xai.error
    assert xai(*words, "copies", "--overwrite") == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--audit", "nowhere"), 3, "there is no file nowhere"),
        (("--audit", "photos/tabby/0.png"), 3, "is not the file of an audit"),
        (("--audit", "xai-out", "--cluster", "99"), 2, "has no cluster 99"),
        (("--audit", "xai-out", "--truth", "photos"), 2, "ground truth for the region cluster"),
        (("--audit", "xai-out", "--fill", "glue"), 2, "is not one of"),
    ],
)
def test_bad_words_of_augment_are_refused_in_one_line(xai: CommandLine, words: tuple[str, ...], code: int, said: str) -> None:
    xai("audit", "photos", "--recursive", *MODEL)
    assert xai("augment", "photos", "--recursive", *words, "-o", "copies") == code
    assert said in xai.error
    assert not Path("copies").exists()


def test_a_changed_audit_file_is_refused(xai: CommandLine) -> None:
    xai("audit", "photos", "--recursive", *MODEL)
    path = Path("xai-out/audit.json")
    path.write_text(path.read_text().replace("tabby", "tubby"))
    assert xai("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "copies") == 3
    assert "its checksum is another" in xai.error


def test_an_audit_file_cannot_name_maps_outside_its_folder(xai: CommandLine) -> None:
    from xaicli.stamps import CHECKSUM, with_checksum

    xai("audit", "photos", "--recursive", *MODEL)
    path = Path("xai-out/audit.json")
    content = json.loads(path.read_text())
    for row in content["photos"]:
        row["map"] = "../photos/0"
    rest = {name: value for name, value in content.items() if name not in (CHECKSUM, "generator")}
    path.write_text(json.dumps({"generator": "xaicli", **with_checksum(rest)}))
    assert xai("augment", "photos", "--recursive", "--audit", "xai-out", "--region", "map", "-o", "copies") == 3
    assert "outside its folder" in xai.error


def test_a_photo_that_lies_under_two_labels_gets_neither(xai: CommandLine) -> None:
    one = next(iter(sorted(Path("photos/tabby").iterdir())))
    (Path("photos/four-poster") / f"again{one.suffix}").write_bytes(one.read_bytes())
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    assert xai("augment", "photos", "--recursive", "--audit", "xai-out", "--region", "map", "-o", "copies") == 0
    with open("copies/labels.csv") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert not {row["source"] for row in rows} & {str(one), f"photos/four-poster/again{one.suffix}"}
    assert all(Path(row["source"]).parent.name == row["label"] for row in rows)


def labels_of_copies(folder: str) -> dict[str, str]:
    """The label of each photo, in the list of its copies."""
    with open(f"{folder}/labels.csv") as file:
        return {row["source"]: row["label"] for row in csv.DictReader(file)}


def test_copies_without_known_labels_are_made_and_that_is_said(xai: CommandLine) -> None:
    for path in sorted(Path("photos").rglob("*.png")):
        path.rename(f"photos/{path.name}")
    assert xai("audit", "photos", *MODEL) == 0
    assert xai("augment", "photos", "--audit", "xai-out", "-o", "copies") == 0
    assert "no label of these photos is known" in xai.err
    assert Path("copies/labels.csv").read_text() == "image,label,source,filled\n"
    Path("known.csv").write_text("image,label\n" + "".join(f"{number}.png,a\n" for number in range(8)))
    assert xai("augment", "photos", "--audit", "xai-out", "-o", "copies", "--labels", "known.csv") == 0
    assert Path("copies/labels.csv").read_text().count(",a,") == 8


@pytest.mark.parametrize("named", [("photos",), ("photos/one", "photos/two"), ("photos/*/*.png",)])
def test_names_of_folders_are_labels_though_they_are_no_classes_of_the_model(xai: CommandLine, named: tuple[str, ...]) -> None:
    from xaicli.training.data import read_listing

    Path("photos/tabby").rename("photos/one")
    Path("photos/four-poster").rename("photos/two")
    (Path("photos/two/again.png")).write_bytes(Path("photos/one/0.png").read_bytes())
    assert xai("audit", *named, "--recursive", *MODEL) == 0
    assert xai("augment", *named, "--recursive", "--audit", "xai-out", "-o", "copies") == 0
    assert "labels from the names of 2 folders: one, two" in xai.err
    listed = labels_of_copies("copies")
    # A photo that lies in both has neither name.
    assert len(listed) == 7
    assert all(Path(source).parent.name == label for source, label in listed.items())
    assert read_listing("copies/labels.csv").classes == ("one", "two")
    assert xai("augment", *named, "--recursive", "--audit", "xai-out", "--members", "-o", "members") == 0
    assert labels_of_copies("members").items() <= listed.items()


def test_names_of_folders_that_are_splits_are_no_labels(xai: CommandLine) -> None:
    Path("photos/tabby").rename("photos/train")
    Path("photos/four-poster").rename("photos/val")
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    assert xai("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "copies") == 0
    assert labels_of_copies("copies") == {}


def test_photos_that_were_not_audited_have_the_names_of_their_folders_where_the_audit_has_them_too(xai: CommandLine) -> None:
    Path("new").mkdir()
    held = Path("photos/tabby/0.png").rename("new/0.png")
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    held.rename("photos/tabby/0.png")
    words = ("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "copies")
    assert xai(*words) == 0
    assert labels_of_copies("copies")["photos/tabby/0.png"] == "tabby"
    # Labels of a table are other words than the names of folders: the two are not mixed.
    Path("known.csv").write_text("image,label\n" + "".join(f"{number}.png,crane\n" for number in range(2, 8)))
    Path("names.txt").write_text("tabby\ncrane\nbird\nfour-poster\n")
    named = (*MODEL, "--classes", "names.txt", "--labels", "known.csv", "--overwrite")
    assert xai("audit", "photos", "--recursive", *named) == 0
    assert xai(*words) == 0
    assert set(labels_of_copies("copies").values()) == {"crane"}
    assert len(labels_of_copies("copies")) == 6


def test_a_table_tells_photos_of_one_name_apart_by_their_folders(xai: CommandLine) -> None:
    Path("photos/four-poster/1.png").rename("photos/four-poster/0.png")
    Path("bare.csv").write_text("image,label\n0.png,tabby\n2.png,tabby\n3.png,four-poster\n")
    words = ("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "copies", "--labels")
    assert xai("audit", "photos", "--recursive", *MODEL, "--labels", "bare.csv", "--format", "json") == 0
    assert sum(row["label"] is not None for row in json.loads(xai.out)["photos"]) == 2
    assert "0.png fits 2 photos" in xai.err
    assert xai(*words, "bare.csv") == 0
    assert "0.png fits 2 photos" in xai.err
    assert set(labels_of_copies("copies")) == {"photos/tabby/2.png", "photos/four-poster/3.png"}
    Path("full.csv").write_text("image,label\ntabby/0.png,tabby\nfour-poster/0.png,four-poster\n")
    assert xai(*words, "full.csv") == 0
    assert labels_of_copies("copies") == {"photos/four-poster/0.png": "four-poster", "photos/tabby/0.png": "tabby"}


@pytest.mark.parametrize("named", ["photos", "photos/**/*.png", "photos/*"])
def test_copies_are_no_photos_of_the_folder_around_them(xai: CommandLine, named: str) -> None:
    assert xai("audit", named, "--recursive", *MODEL) == 0
    words = ("augment", named, "--recursive", "--audit", "xai-out", "-o")
    assert xai(*words, "photos/copies") == 0
    assert xai(*words, "photos/again") == 0
    assert len(list(Path("photos/again").glob("*.png"))) == 8
    assert xai("audit", named, "--recursive", *MODEL, "--format", "json") == 0
    assert len(json.loads(xai.out)["photos"]) == 8
    # Where they are named themselves, they are photos.
    for copies in ("photos/copies", "photos/copies/*.png"):
        assert xai("audit", copies, *MODEL, "--format", "json", "-o", "of-copies") == 0
        assert len(json.loads(xai.out)["photos"]) == 8


def test_folders_of_copies_are_no_classes_to_train_on(xai: CommandLine) -> None:
    from xaicli.training.data import read_listing

    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    assert xai("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "photos/copies") == 0
    assert read_listing("photos").classes == ("four-poster", "tabby")


def test_a_run_that_makes_no_copy_leaves_all_as_it_was(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    good = Path("photos/tabby/0.png").read_bytes()
    for earlier in (False, True):
        if earlier:
            Path("photos/tabby/0.png").write_bytes(good)
            assert xai("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "copies") == 0
        before = contents("copies")
        Path("photos/tabby/0.png").write_bytes(b"no picture")
        assert xai("augment", "photos/tabby", "photos/four-poster", "--audit", "xai-out", "-o", "copies") == 3
        assert contents("copies") == before
        assert Path("copies").exists() is earlier


def test_a_run_that_ends_halfway_lists_the_copies_that_are_there(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    words = ("augment", "photos/tabby", "photos/four-poster", "--audit", "xai-out", "-o", "copies")
    assert xai(*words) == 0
    Path("photos/tabby/4.png").write_bytes(b"no picture")
    assert xai(*words) == 3
    assert set(labels_of_copies("copies")) == {"photos/tabby/0.png", "photos/tabby/2.png"}
    assert {path.name for path in Path("copies").iterdir()} == {"0.png", "2.png", "labels.csv"}


def test_copies_of_an_earlier_run_are_removed_and_nothing_else(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    Path("photos/four-poster/1.png").rename("photos/four-poster/0.png")
    words = ("augment", "photos", "--recursive", "--audit", "xai-out", "-o")
    assert xai(*words, "copies") == 0
    assert Path("copies/four-poster/0.png").exists()
    assert xai(*words, "copies/others") == 0
    Path("copies/own.txt").write_text("mine")
    assert xai("explain", "photos/tabby/0.png", *MODEL, "--method", "center", "-o", "copies") == 0
    kept = {name: content for name, content in contents("copies").items() if "others" in name or ".center." in name}
    assert xai(*words, "copies", "--limit", "1") == 0
    assert "copies of an earlier run removed" in xai.err
    now = contents("copies")
    assert set(now) - set(kept) == {"copies/0.png", "copies/labels.csv", "copies/own.txt"}
    assert kept.items() <= now.items()
    assert not Path("copies/four-poster").exists()


def test_a_cluster_that_does_not_stand_out_is_filled_with_a_warning(xai: CommandLine) -> None:
    from xaicli.stamps import CHECKSUM, with_checksum

    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    path = Path("xai-out/audit.json")
    content = json.loads(path.read_text())
    words = ("augment", "photos", "--recursive", "--audit", "xai-out", "-o", "copies")
    for low, others, said in (
        (0.1, 0.1, "cluster 1 does not stand out"),
        (0.1, 0.3, "--cluster 2"),
        (0.3, 0.1, ""),
    ):
        first = content["clusters"][0]
        clusters = [first | {"cluster": 1, "low": low}, first | {"cluster": 2, "low": others}]
        told = {name: value for name, value in content.items() if name not in (CHECKSUM, "generator")} | {"clusters": clusters}
        path.write_text(json.dumps({"generator": "xaicli", **with_checksum(told)}))
        assert xai(*words) == 0
        assert said in xai.err
        assert ("does not stand out" in xai.err) is bool(said)
    path.write_text(json.dumps(content))
    assert xai(*words, "--region", "map", "--members") == 0
    assert "stand out" not in xai.err


def test_copies_never_stand_among_the_photos(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    before = contents("photos")
    for place in ("photos/tabby", "photos", "photos/../photos/four-poster/."):
        words = ("augment", "photos", "--recursive", "--audit", "xai-out", "--region", "map")
        assert xai(*words, "--overwrite", "-o", place) == 2
        assert "among photos" in xai.err
    assert contents("photos") == before


def test_the_table_of_copies_shows_as_many_as_asked_for(xai: CommandLine) -> None:
    assert xai("audit", "photos", "--recursive", *MODEL) == 0
    words = ("augment", "photos", "--recursive", "--audit", "xai-out", "--region", "map", "-o", "copies", "--keep-going")
    assert xai(*words, "--most", "3") in (0, 4)
    copies = len(list(Path("copies").rglob("*.png")))
    assert xai.out.count("copies/") == 3
    assert xai.out.splitlines()[-1] == f"and {copies - 3} more photos (--most {copies})"
    assert xai(*words, "--most", "3", "--format", "json") in (0, 4)
    assert len(json.loads(xai.out)) == copies
