"""Photos are found as typed: files, folders, globs, lists, standard input, the sample."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xaicli.errors import InputError, UsageError
from xaicli.images.find import Source, content_hash, find


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """a/ with photos, a folder in it and things that are no photos; the current folder is its parent."""
    photos = ["a/img10.jpg", "a/img2.JPG", "a/Img1.png", "a/sub/deep.webp", "b.tif"]
    for name in [*photos, "a/notes.txt", "a/.hidden.jpg", "a/.x/no.jpg"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*arguments, **options):
    return [source.path for source in find(arguments, **options)]


def test_a_folder_gives_its_photos_in_natural_order_and_nothing_else(tree):
    assert paths("a") == ["a/Img1.png", "a/img2.JPG", "a/img10.jpg"]


def test_recursive_looks_into_folders_of_folders(tree):
    assert paths("a/", recursive=True) == ["a/Img1.png", "a/img2.JPG", "a/img10.jpg", "a/sub/deep.webp"]


def test_files_keep_the_order_in_which_they_are_named(tree):
    assert paths("b.tif", "a/img2.JPG") == ["b.tif", "a/img2.JPG"]


def test_a_photo_named_twice_is_found_once(tree):
    assert paths("a/img2.JPG", "a", "./a/img2.JPG", str(tree / "a" / "img2.JPG")) == ["a/img2.JPG", "a/Img1.png", "a/img10.jpg"]


def test_any_file_that_is_named_is_taken_whatever_its_ending(tree):
    assert paths("a/notes.txt") == ["a/notes.txt"]


def test_a_glob_is_expanded_in_natural_order_without_what_is_no_photo(tree):
    assert paths("a/*") == ["a/Img1.png", "a/img2.JPG", "a/img10.jpg"]
    assert paths("**/*.webp") == ["a/sub/deep.webp"]
    assert paths("a/*", recursive=True)[-1] == "a/sub/deep.webp"


def test_a_file_whose_name_holds_glob_characters_is_taken_literally(tree):
    (tree / "x[1].jpg").touch()
    (tree / "x1.jpg").touch()
    assert paths("x[1].jpg") == ["x[1].jpg"]


def test_a_file_called_like_a_list_or_sample_is_taken_literally(tree):
    (tree / "@me.jpg").touch()
    (tree / "sample:hopper").touch()
    assert paths("@me.jpg", "sample:hopper") == ["@me.jpg", "sample:hopper"]


def test_the_sample_photo_ships_with_matplotlib(tree):
    [source] = find(["sample:hopper"])
    assert (source.path, source.name) == ("sample:hopper", "sample:hopper")
    with Image.open(source.file) as photo:
        assert photo.size == (512, 600)


def test_finding_photos_imports_neither_torch_nor_pyplot():
    code = "import sys; from xaicli.images.find import find; find(['sample:hopper']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "matplotlib" in loaded
    assert not {"torch", "matplotlib.pyplot"} & set(loaded)


def test_a_list_is_read_from_here_and_else_from_its_own_folder(tree):
    (tree / "lists").mkdir()
    (tree / "lists" / "near.jpg").touch()
    text = "\ufeff# a comment\n\n  a/img2.JPG  \r\nnear.jpg\na/sub\n"
    (tree / "lists" / "val.txt").write_text(text, encoding="utf-8")
    assert paths("@lists/val.txt") == ["a/img2.JPG", "lists/near.jpg", "a/sub/deep.webp"]


def test_a_missing_entry_names_list_and_line(tree):
    (tree / "val.txt").write_text("# photos\na/img2.JPG\na/img3.JPG\n")
    with pytest.raises(InputError, match=r"^val\.txt, line 3: a/img3\.JPG does not exist.*Did you mean a/img2\.JPG\?"):
        find(["@val.txt"])


def test_errors_may_be_collected_and_the_rest_is_found(tree):
    (tree / "val.txt").write_text("no1.jpg\na/img2.JPG\nno2.jpg\n")
    errors = []
    found = find(["gone.jpg", "@val.txt", "b.tif"], on_error=errors.append)
    assert [source.path for source in found] == ["a/img2.JPG", "b.tif"]
    named = [str(error).split(" does")[0] for error in errors]
    assert named == ["gone.jpg", "val.txt, line 1: no1.jpg", "val.txt, line 3: no2.jpg"]


def test_standard_input_names_photos_by_line_or_nul(tree):
    assert paths("-", stdin=io.BytesIO(b"b.tif\r\n\na/img2.JPG\n")) == ["b.tif", "a/img2.JPG"]
    (tree / "a\nb.jpg").touch()
    assert paths("-", stdin=io.BytesIO(b"a\nb.jpg\0b.tif\0"), null=True) == ["a\nb.jpg", "b.tif"]


def test_a_list_named_by_a_dash_is_standard_input(tree):
    assert paths("@-", stdin=io.BytesIO(b"b.tif\n")) == ["b.tif"]


def test_paths_on_standard_input_are_literal(tree):
    (tree / "*.jpg").touch()
    assert paths("-", stdin=io.BytesIO(b"*.jpg\n")) == ["*.jpg"]


def test_standard_input_errors_name_the_line(tree):
    with pytest.raises(InputError, match=r"standard input, line 2: gone\.jpg does not exist"):
        find(["-"], stdin=io.BytesIO(b"b.tif\ngone.jpg\n"))


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_a_name_that_is_no_text_is_found_and_can_be_printed(tree):
    with open(b"bad\xff.jpg", "wb"):
        pass
    [source] = find(["bad*.jpg"])
    assert source.path == "bad\\xff.jpg"
    assert source.file.is_file()
    source.path.encode()


def test_a_name_that_commands_the_terminal_is_shown_without_its_commands(tree):
    (tree / "a\x1b[2Jb.jpg").touch()
    [source] = find(["a*b.jpg"])
    assert source.name == "a\ufffd[2Jb.jpg"
    assert source.file.is_file()


def test_limit_takes_the_first(tree):
    assert paths("a", "b.tif", limit=2) == ["a/Img1.png", "a/img2.JPG"]


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": -1}, {"frame": -1}])
def test_a_limit_or_frame_that_cannot_be_is_refused(tree, wrong):
    with pytest.raises(UsageError, match="expected"):
        find(["a"], **wrong)


def test_the_frame_wanted_goes_with_each_photo(tree):
    assert {source.frame for source in find(["a"], frame=3)} == {3}


def test_the_output_folder_is_passed_over(tree):
    (tree / "a" / "out").mkdir()
    (tree / "a" / "out" / "cat.grad-cam.png").touch()
    assert "a/out/cat.grad-cam.png" in paths("a", recursive=True)
    assert "a/out/cat.grad-cam.png" not in paths("a", recursive=True, exclude=[Path("a/out")])
    assert "a/out/cat.grad-cam.png" not in paths("a/**/*.*", exclude=[Path("a/out")])
    assert paths("a/out", exclude=[Path("a/out")]) == ["a/out/cat.grad-cam.png"]


def test_links_that_lead_in_a_circle_end(tree):
    (tree / "a" / "sub" / "up").symlink_to(tree / "a", target_is_directory=True)
    assert paths("a", recursive=True) == ["a/Img1.png", "a/img2.JPG", "a/img10.jpg", "a/sub/deep.webp"]


def test_names_in_tables_are_short_and_tell_photos_apart(tree):
    (tree / "c").mkdir()
    (tree / "c" / "img2.jpg").touch()
    (tree / "img2.jpg").touch()
    names = [source.name for source in find(["a", "c/img2.jpg", "img2.jpg"])]
    assert names == ["Img1.png", "a/img2.JPG", "img10.jpg", "c/img2.jpg", f"{tree.name}/img2.jpg"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", "an empty path"),
        ("nul\0byte.jpg", "is no path"),
        ("gone.jpg", "gone.jpg does not exist; expected a photo or a folder of photos"),
        ("a/img3.JPG", "Did you mean a/img2.JPG?"),
        ("gone/x.jpg", "gone/x.jpg does not exist"),
        ("b.tif/x.jpg", "b.tif/x.jpg cannot be read: not a directory"),
        ("empty", "empty holds no photos; expected files such as .jpg"),
        ("folders", "--recursive looks into its folders."),
        ("*.zip", "*.zip matches nothing"),
        ("a/*.txt", "a/*.txt matches 1 file or folder but no photo"),
        ("folder*", "--recursive looks into folders."),
        ("[", "[ matches nothing"),
        ("@gone.txt", "there is no file gone.txt; expected a list of photos"),
        ("@a", "a is a folder; expected a list of photos"),
        ("@blank.txt", "blank.txt lists no photos"),
        ("@binary.jpg.txt", "binary.jpg.txt is no list of photos"),
        ("@", ". is a folder"),
        ("sample:hoper", 'no sample photo is called "hoper"; expected sample:hopper. Did you mean hopper?'),
        ("https://example.org/cat.jpg", "https://example.org/cat.jpg is a web address"),
        ("dangling.jpg", "dangling.jpg is a link to nowhere.jpg, which does not exist"),
        ("x" * 5000, "cannot be read: file name too long"),
    ],
)
def test_what_cannot_be_found_is_told_in_one_line(tree, argument, said):
    (tree / "empty").mkdir()
    (tree / "folders" / "in").mkdir(parents=True)
    (tree / "blank.txt").write_text("\n# nothing\n\n")
    (tree / "binary.jpg.txt").write_bytes(b"\xff\xd8\0\0")
    (tree / "dangling.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(InputError) as caught:
        find([argument])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_nothing_named_is_an_error(tree, arguments):
    with pytest.raises(InputError, match=r"no photos"):
        find(arguments, stdin=io.BytesIO(b"\n\n"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_no_photo(tree):
    os.mkfifo("pipe.jpg")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        find(["pipe.jpg"])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(tree):
    (tree / "a" / "sub").chmod(0)
    try:
        with pytest.raises(InputError, match="a/sub cannot be read: permission denied"):
            find(["a"], recursive=True)
    finally:
        (tree / "a" / "sub").chmod(0o755)


def test_sources_are_made_of_paths_and_of_photos_in_memory(tmp_path):
    assert Source("pics/cat.jpg").file == Path("pics/cat.jpg")
    assert Source("pics/cat.jpg").name == "cat.jpg"
    assert Source.of("pics/cat.jpg", frame=2) == Source("pics/cat.jpg", frame=2)
    assert Source.of(Path("cat.jpg")).path == "cat.jpg"
    for memory in (Image.new("RGB", (2, 2)), np.zeros((2, 2)), torch.zeros(3, 2, 2)):
        source = Source.of(memory, name="photo 1")
        assert source.file is None
        assert source.memory is memory
        assert source.path == source.name == "photo 1"
        hash(source)
    assert Source.of(Source.of("cat.jpg")) == Source.of("cat.jpg")


@pytest.mark.parametrize("wrong", [3, None, [1, 2], object()])
def test_what_is_no_photo_makes_no_source(wrong):
    with pytest.raises(InputError, match="is not a photo"):
        Source.of(wrong)


def test_content_is_hashed_alike_for_arrays_and_tensors_and_apart_for_shapes():
    array = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert content_hash(Source.of(array)) == content_hash(Source.of(torch.from_numpy(array.copy())))
    assert content_hash(Source.of(array)) == content_hash(Source.of(np.asfortranarray(array)))
    others = [array.reshape(2, 6), array.astype(np.int8), array.T, array + 1]
    assert len({content_hash(Source.of(other)) for other in [array, *others]}) == 5


def test_content_of_a_palette_picture_depends_on_its_colours():
    first = Image.new("P", (2, 2))
    first.putpalette([1, 2, 3])
    second = Image.new("P", (2, 2))
    second.putpalette([1, 2, 4])
    assert content_hash(Source.of(first)) != content_hash(Source.of(second))


def test_content_of_a_file_is_that_of_its_bytes_and_none_where_it_is_missing(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert content_hash(Source.of(tmp_path / "abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert content_hash(Source.of(tmp_path / "none")) is None
