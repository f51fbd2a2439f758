"""Methods and metrics in a file of the user's own, `FILE.py:NAME`; in Python a class or an instance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import xaicli
from xaicli.cli.main import main
from xaicli.errors import RunError, UsageError, XaiError
from xaicli.gate.measure import make_ready
from xaicli.gate.suite import read_suite
from xaicli.methods.center import Center
from xaicli.params import as_json
from xaicli.registry import make_method, make_metric
from xaicli.stamps import definition_stamp

TESTS = Path(__file__).resolve().parent
MODEL = f"{TESTS / 'data' / 'net.py'}:make"
METHOD = (TESTS / "data" / "brightness.py").read_text()
METRIC = '''
"""A metric of one's own."""
from dataclasses import dataclass
from xaicli.metric import Direction, Metric, Scores
@dataclass(frozen=True, kw_only=True)
class Peak(Metric):
    """The largest value of a map."""
    name = "peak"
    direction = Direction.HIGHER
    def score(self, case):
        return Scores(case.maps.amax(dim=(1, 2)))
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(METHOD)
    (tmp_path / "peak.py").write_text(METRIC)
    return tmp_path


def test_a_method_and_a_metric_in_files_run_from_the_command_line(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--method", "my.py:Brightness@gain=2", "--score", "--metric", "peak.py:Peak", "--format", "json")
    assert main(["explain", "sample:hopper", "--model", MODEL, *words]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["method"] == "brightness@gain=2"
    assert "peak" in row


def test_they_are_found_by_specification_in_python_too(own: Path) -> None:
    assert make_method("my.py:Brightness").label == "brightness"
    assert make_metric(f"{own / 'peak.py'}:Peak").label == "peak"


@pytest.mark.parametrize("method", [Center, Center(), "center", [Center, "random"]])
def test_python_takes_classes_instances_and_names(method: object, own: Path) -> None:
    made = xaicli.explain("sample:hopper", MODEL, method)  # type: ignore[arg-type]
    assert made[0].record.method == "center"


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        (METHOD, "Brigthness", "has no Brigthness.*Did you mean Brightness"),
        (METHOD.replace("(Method)", ""), "Brightness", "is no method"),
        ("raise SystemExit(0)", "Brightness", r"bad.py:1 raised SystemExit: 0"),
        (METHOD.replace('name = "brightness"', 'name = "grad-cam"'), "Brightness", "is called grad-cam, as a built-in method is"),
    ],
)
def test_what_is_no_method_is_refused_in_one_line(code: str, name: str, words: str, own: Path) -> None:
    (own / "bad.py").write_text(code)
    with pytest.raises(XaiError, match=words):
        make_method(f"bad.py:{name}")


@pytest.mark.parametrize("way", ["", ".data", ".numpy()"])
@pytest.mark.parametrize("what", ["inputs", "seeds"])
def test_a_method_that_writes_to_what_it_is_given_is_refused_in_one_line(what: str, way: str, own: Path) -> None:
    """Its maps would be of another photo than its record says, or of other random numbers."""
    (own / "my.py").write_text(METHOD.replace("logits = ", f"{what}{way}[:] *= 2\n        logits = "))
    with pytest.raises(RunError, match=rf"changed its {what} in place; expected a copy to work on, such as {what}\.clone\(\)"):
        xaicli.explain("sample:hopper", MODEL, "my.py:Brightness")


@pytest.mark.parametrize("parameter", ["gain=-1", "gian=2", "base=grad-cam"])
def test_a_wrong_parameter_points_to_the_description_that_can_be_typed(parameter: str, own: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_method(f"my.py:Brightness@{parameter}")
    assert "xai describe my.py:Brightness" in caught.value.hint


def test_a_metric_without_a_direction_is_refused_in_one_line(own: Path) -> None:
    (own / "peak.py").write_text(METRIC.replace("direction =", "directions ="))
    with pytest.raises(RunError, match=r"has no direction; expected a line direction = Direction\.HIGHER in the class"):
        make_metric("peak.py:Peak")


def test_a_suite_runs_code_of_its_own_only_where_it_is_trusted(own: Path) -> None:
    (own / "my.py").write_text("raise RuntimeError('ran')")
    (own / "xai.toml").write_text('model = "tiny"\nimages = ["sample:hopper"]\nmethods = ["my.py:Brightness"]\n')
    suite = read_suite(own / "xai.toml")
    with pytest.raises(UsageError, match="--trust"):
        make_ready(suite, trust=False)
    with pytest.raises(RunError, match=r"my.py:1 raised RuntimeError: ran"):
        make_ready(suite, trust=True)


def test_what_is_edited_in_the_file_is_another_definition(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "sample:hopper", "--model", MODEL, "--method", "my.py:Brightness", "-o", "out"]
    before = make_method("my.py:Brightness"), make_metric("peak.py:Peak")
    assert main(words) == 0
    assert main(words) == 0
    assert "complete before" in capsys.readouterr().err
    for name in ("my.py", "peak.py"):
        (own / name).write_text((own / name).read_text() + "\n# edited\n")
    after = make_method("my.py:Brightness"), make_metric("peak.py:Peak")
    assert all(
        definition_stamp(one, "top1", "fp32") != definition_stamp(two, "top1", "fp32")
        for one, two in zip(before, after, strict=True)
    )
    assert main(words) == 2
    assert "the code in its file" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_the_file_of_a_base_counts_for_its_wrapper(own: Path) -> None:
    def made() -> str:
        return definition_stamp(make_method("ucag@crop=64@base=my.py:Brightness"), "top1", "fp32")

    code = METHOD.replace("needs = Needs.FORWARD", "needs = Needs.FEATURES")
    (own / "my.py").write_text(code)
    before = made()
    (own / "my.py").write_text(code + "\n# edited\n")
    assert made() != before


def test_methods_that_are_installed_have_no_hash_in_their_definition() -> None:
    assert set(as_json(make_method("ucag@base=grad-cam"))) == {"name", "version", "parameters"}


def test_a_baseline_of_code_that_was_edited_is_of_another_definition(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = f'model = "{MODEL}"\nimages = ["sample:hopper"]\nmethods = ["my.py:Brightness"]\n'
    (own / "xai.toml").write_text(suite)
    assert main(["baseline", "--trust"]) == 0
    assert main(["check", "--trust"]) == 0
    (own / "my.py").write_text(METHOD + "\n# edited\n")
    capsys.readouterr()
    assert main(["check", "--trust"]) == 2
    assert "brightness: file" in capsys.readouterr().err
