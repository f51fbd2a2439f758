import re
import subprocess
import sys
from pathlib import Path

import pytest

from xaicli.cache import CachedFile, cache_folder, cached_files, clear_cache, weights_folder
from xaicli.errors import InputError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    return tmp_path


def fill(cache):
    (cache / "weights").mkdir()
    (cache / "weights" / "b.pth").write_bytes(b"12345")
    (cache / "weights" / "a.pth").write_bytes(b"123")


def test_the_cache_is_where_the_variable_says(cache):
    assert cache_folder() == cache
    assert weights_folder() == cache / "weights"


def test_without_the_variable_the_cache_is_the_system_s_place(monkeypatch, tmp_path):
    monkeypatch.setenv("XAI_CACHE", " ")
    assert cache_folder().name == "xaicli"


def test_a_tilde_in_the_variable_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XAI_CACHE", "~/models")
    assert cache_folder() == tmp_path / "models"


def test_a_cache_that_is_not_there_is_empty(cache):
    assert cached_files() == []
    assert clear_cache() == []


def test_files_are_listed_with_their_sizes(cache):
    fill(cache)
    assert cached_files() == [CachedFile(cache / "weights" / "a.pth", 3), CachedFile(cache / "weights" / "b.pth", 5)]


def test_clearing_removes_what_is_ours_and_nothing_else(cache):
    fill(cache)
    (cache / "thesis.tex").write_text("mine")
    (cache / "photos").mkdir()
    (cache / "photos" / "cat.jpg").write_text("mine")
    (cache / "weights" / "folder").mkdir()
    assert [removed.path.name for removed in clear_cache()] == ["a.pth", "b.pth"]
    assert (cache / "thesis.tex").exists()
    assert (cache / "photos" / "cat.jpg").exists()
    assert cached_files() == []


def test_clearing_removes_a_link_and_not_what_it_points_to(cache, tmp_path):
    fill(cache)
    other = tmp_path / "other.pth"
    other.write_bytes(b"keep")
    (cache / "weights" / "link.pth").symlink_to(other)
    clear_cache()
    assert other.read_bytes() == b"keep"
    assert cached_files() == []


def test_a_file_that_cannot_be_removed_is_named(cache, monkeypatch):
    fill(cache)

    (first, second, *_) = cached_files()
    remove = Path.unlink

    def refused(self, missing_ok=False):
        if self != first.path:
            raise PermissionError(13, "Permission denied")
        remove(self)

    monkeypatch.setattr("pathlib.Path.unlink", refused)
    told = f"{second.path.name} cannot be removed: permission denied. Removed before it: 1 file."
    with pytest.raises(InputError, match=re.escape(told)):
        clear_cache()


def test_the_cache_and_the_list_of_models_are_told_without_torch():
    code = "import sys, xaicli.cache, xaicli.models.catalogue as c; c.list_models('vit'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
