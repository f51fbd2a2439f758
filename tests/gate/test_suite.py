"""Suites as somebody wrote them, in good and in bad faith."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaicli.errors import UsageError
from xaicli.gate.rules import Rule, settle
from xaicli.gate.suite import find_suite, read_suite
from xaicli.gate.toml_file import LARGEST
from xaicli.registry import make_metrics

LEAST = 'model = "tiny"\nimages = ["photos/"]\n'


def read(folder: Path, text: str, name: str = "xai.toml"):
    path = folder / name
    path.write_text(text)
    return read_suite(path)


def test_a_suite_needs_a_model_and_photos_and_has_defaults_for_all_else(tmp_path):
    suite = read(tmp_path, LEAST)
    assert suite.methods == ("grad-cam",)
    assert suite.metrics == ("deletion", "insertion")
    assert suite.expect == "same-model"
    assert suite.target == "top1"
    assert suite.rules == ()
    assert suite.baseline_folder == tmp_path / ".xai/baseline"
    assert suite.pictures_folder == tmp_path / ".xai/check"


def test_a_list_of_one_may_be_written_as_a_text(tmp_path):
    suite = read(tmp_path, 'model = "tiny"\nimages = "photos/"\nmethods = "rise"\nmetrics = []\ntarget = 3\n')
    assert (suite.images, suite.methods, suite.metrics, suite.target) == (("photos/",), ("rise",), (), "3")


def test_rules_are_read_with_their_bounds(tmp_path):
    text = LEAST + '[[rule]]\nmetric = "insertion"\nmethod = "grad-cam"\nat-least = 1\ntolerance = 0.5\nlevel = "warn"\n'
    rule = Rule("insertion", "grad-cam", at_least=1.0, tolerance=0.5, level="warn")
    assert read(tmp_path, text).rules == (rule,)


def test_a_suite_may_be_part_of_pyproject(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.xai]\nmodel = "tiny"\nimages = ["p"]\n')
    assert read_suite(find_suite(None)).images == ("p",)
    (tmp_path / "xai.toml").write_text(LEAST)
    assert find_suite(None) == Path("xai.toml")
    assert find_suite(str(tmp_path)) == tmp_path / "xai.toml"


@pytest.mark.parametrize("text", ["", "tool = 3", "[tool]\nxai = 3", "[tool.other]\nx = 1"])
def test_a_pyproject_without_a_suite_is_none(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=r'no suite here; .* write two lines into xai\.toml: model = "resnet50" and images = '):
        find_suite(None)
    with pytest.raises(UsageError, match=r"no table \[tool.xai\]"):
        read_suite(tmp_path / "pyproject.toml")


def test_paths_are_taken_from_the_suites_folder(tmp_path):
    suite = read(tmp_path, LEAST)
    assert suite.from_here("photos/*.jpg") == str(tmp_path / "photos/*.jpg")
    assert suite.from_here("@list.txt") == f"@{tmp_path / 'list.txt'}"
    assert suite.from_here("sample:hopper") == "sample:hopper"
    assert suite.from_here("/photos") == "/photos"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("metods = []", 'unknown key "metods". Did you mean methods'),
        ("methods = 3", "methods = 3; expected text or a list"),
        ("methods = []", "names no methods"),
        ("methods = [1]", "expected texts"),
        ('methods = [""]', "expected texts"),
        ("metrics = [[]]", "expected texts"),
        ("seed = true", "seed = True; expected a whole number"),
        ("seed = -1", "expected a whole number from 0"),
        ("seed = 99999999999999999999999", "expected a whole number from 0"),
        ("limit = 0", "at least 1"),
        ("recursive = 1", "true or false"),
        ('expect = "better"', "same-model or retrained"),
        ("expect = 1", "expected text"),
        ("crop = 999999999999999999999999", "a smaller number"),
        ('truth = "a\\u0000b"', "NUL"),
        ("rule = [3]", "rule 1 is not a table"),
        ("[rule]\nmetric = 'x'", "expected a list"),
        ("[[rule]]", "rule 1 names no metric"),
        ('[[rule]]\nmetric = "insertion"', "rule 1 demands nothing"),
        ('[[rule]]\nmetric = "insertion"\nat-leats = 1', "Did you mean at-least"),
        ('[[rule]]\nmetric = "insertion"\nat-least = "1"', "expected a number"),
        ('[[rule]]\nmetric = "insertion"\nat-least = true', "expected a number"),
        ('[[rule]]\nmetric = "insertion"\nat-least = nan', "expected a finite number"),
        ('[[rule]]\nmetric = "insertion"\ntolerance = inf', "expected a finite number"),
        ('[[rule]]\nmetric = "insertion"\ntolerance = ' + "9" * 400, "expected a finite number"),
        ('[[rule]]\nmetric = "insertion"\ntolerance = -0.1', "0 or more"),
        ('[[rule]]\nmetric = "insertion"\nat-least = 2\nat-most = 1', "no number is at least 2 and at most 1"),
        ('[[rule]]\nmetric = "insertion"\ntolerance = 1\nlevel = "fatal"', "error or warn"),
        ('[[rule]]\nmetric = "insertion"\ntolerance = 1\n[[rule]]\nmetric = 4', "rule 2: metric = 4"),
    ],
)
def test_what_is_wrong_is_named_when_it_is_read(tmp_path, line, words):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, LEAST + line + "\n")
    assert words in caught.value.line()
    assert len(caught.value.line()) < 1000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no model"),
        ('model = "tiny"', "names no images"),
        ('model = "tiny"\nimages = []', "names no images"),
        ('model = ""\nimages = ["x"]', "names no model"),
        ('model = ["tiny"]\nimages = ["x"]', "expected text"),
        ('model = "tiny"\nimages = "-"', "reads no standard input"),
        ('model = "tiny"\nimages = ["a", "-"]', "reads no standard input"),
        ('model = "tiny"\nimages = ["a\\u0000"]', "NUL"),
        ("model = ", "cannot be read"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "9" * 5000, "cannot be read"),
        ("#" * (LARGEST + 1), "larger than it can be"),
    ],
)
def test_files_that_are_no_suites_are_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert words in caught.value.line()
    assert "\n" not in caught.value.line()


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no"):
        read_suite(tmp_path / "xai.toml")
    (tmp_path / "xai.toml").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        read_suite(tmp_path / "xai.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_suite(tmp_path / "b.toml")


@pytest.mark.parametrize("place", ["../out", "/tmp", "..", ".", "", "a/../..", ".xai/../../b"])
def test_a_suite_cannot_have_files_written_outside_its_folder(tmp_path, place):
    (tmp_path / "own").mkdir()
    suite = read(tmp_path / "own", LEAST + f'baseline = "{place}"\n')
    with pytest.raises(UsageError, match="leads out of the suite's folder"):
        _ = suite.baseline_folder


def test_nor_through_a_link(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "own" / ".xai").symlink_to(tmp_path / "elsewhere")
    suite = read(tmp_path / "own", LEAST)
    with pytest.raises(UsageError, match="leads out"):
        _ = suite.baseline_folder
    (tmp_path / "own" / ".xai").unlink()
    (tmp_path / "own" / ".xai").mkdir()
    (tmp_path / "own" / ".xai" / "check").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="leads out"):
        _ = suite.baseline_folder


def test_the_suites_in_the_documentation_are_suites(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "ci.md").read_text()
    shown = [block.partition("```")[0] for block in page.split("```toml\n")[1:]]
    assert len(shown) == 3
    suites = [read(tmp_path, text) for text in shown]
    for suite in suites:
        settle(suite.rules, suite.expect, list(suite.methods), make_metrics(suite.metrics))
    assert suites[2].compare == "onnx:net.onnx"
    assert suites[1].rules == (Rule("map-similarity", at_least=0.95), Rule("insertion", "grad-cam", tolerance=0.03, level="warn"))
