"""`xai baseline` and `xai check` as a team types them: exit codes, what is said, what is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

NET = Path(__file__).parents[1] / "data" / "net.py"
SUITE = 'model = "net.py:make"\nimages = ["photos/"]\nmetrics = ["insertion@steps=4"]\n'
FAULT = "\n\ndef make():\n    return xaicli.classifier(net(), resize=36, crop=32, mean=(0, 0, 0), std=(1, 1, 1))\n"


class Gate(CommandLine):
    """Runs `xai` in this process, in a folder with a suite."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        super().__init__(capsys)
        self.folder = folder

    def suite(self, text: str = "") -> None:
        (self.folder / "xai.toml").write_text(SUITE + text)

    def fault(self) -> None:
        """The input is no longer normalised."""
        path = self.folder / "net.py"
        path.write_text(path.read_text() + FAULT)

    def files(self) -> dict[str, bytes]:
        found = sorted((self.folder / ".xai").rglob("*"))
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found if path.is_file()}


@pytest.fixture
def xai(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.chdir(tmp_path)
    shutil.copy(NET, tmp_path / "net.py")
    (tmp_path / "photos").mkdir()
    for number in range(5):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(tmp_path / "photos" / f"{number}.png")
    gate = Gate(capsys, tmp_path)
    gate.suite()
    return gate


@pytest.fixture
def checked(xai: Gate) -> Gate:
    """A gate with a baseline."""
    assert xai("baseline", "--trust") == 0
    return xai


def test_a_baseline_is_written_and_said(xai: Gate) -> None:
    assert xai("baseline", "--trust") == 0
    assert xai.out == ""
    assert "5 photos x grad-cam: baseline in .xai/baseline (" in xai.err
    names = sorted(Path(name).name for name in xai.files())
    assert names[0] == "baseline.json"
    assert names[1].startswith("maps-")
    assert len(names) == 2


def test_a_baseline_says_nothing_of_the_machine(checked: Gate) -> None:
    text = checked.files()[".xai/baseline/baseline.json"].decode()
    assert str(checked.folder) not in text
    assert json.loads(text)["photos"][0]["image"] == "photos/0.png"


def test_an_unchanged_model_passes_and_nothing_is_written(checked: Gate) -> None:
    before = checked.files()
    assert checked("check", "--trust") == 0
    assert checked.out.splitlines()[-1] == "all 4 rules hold"
    assert checked.files() == before


def test_a_fault_exits_1_naming_method_metric_and_worst_photos_with_pictures(checked: Gate) -> None:
    checked.fault()
    assert checked("check", "--trust") == 1
    lines = checked.out.splitlines()
    assert lines[0].split()[:4] == ["FAIL", "grad-cam", "map", "similarity"]
    assert lines[1].strip().startswith("worst: photos/")
    assert lines[1].endswith("pictures in .xai/check/")
    pictures = [name for name in checked.files() if name.endswith(".xai-check.png")]
    assert 1 <= len(pictures) <= 3 * sum(line.startswith("FAIL") for line in lines)
    assert all(".grad-cam." in name for name in pictures)
    assert checked("check", "--trust", "-o", "elsewhere") == 1
    assert len(list((checked.folder / "elsewhere").glob("*.xai-check.png"))) == len(pictures)


def test_pictures_never_take_the_place_of_other_files(checked: Gate) -> None:
    checked.fault()
    before = {path: path.read_bytes() for path in (checked.folder / "photos").iterdir()}
    assert checked("check", "--trust", "-o", "photos") == 1
    assert all(path.read_bytes() == content for path, content in before.items())


def test_where_no_picture_can_be_written_the_verdicts_are_shown_all_the_same(checked: Gate) -> None:
    checked.fault()
    (checked.folder / ".xai").mkdir(exist_ok=True)
    (checked.folder / ".xai" / "check").write_text("")
    assert checked("check", "--trust") == 1
    assert "warning: no pictures" in checked.err
    assert checked.out.startswith("FAIL")


def test_a_folder_for_pictures_that_can_never_be_is_refused_before_any_photo(checked: Gate) -> None:
    checked.fault()
    (checked.folder / "file").write_text("")
    assert checked("check", "--trust", "-o", "file/pictures") == 3
    assert not checked.out
    assert "file/pictures" in checked.error


def test_code_of_the_suite_runs_only_with_trust(checked: Gate) -> None:
    (checked.folder / "net.py").write_text("raise SystemExit('run')")
    for command in ("check", "baseline"):
        words = [command, "--overwrite"] if command == "baseline" else [command]
        assert checked(*words) == 2
        assert "would run the code in net.py" in checked.error
        assert "--trust" in checked.error
    assert checked("check", "--model", "net.py:make") == 5


def test_a_baseline_is_not_replaced_unawares(checked: Gate) -> None:
    before = checked.files()
    assert checked("baseline", "--trust") == 2
    assert "xai check --update" in checked.error
    assert checked.files() == before
    checked.fault()
    assert checked("baseline", "--trust", "--overwrite") == 0
    assert checked.files() != before
    assert checked("check", "--trust") == 0


def test_update_shows_the_difference_and_renews(checked: Gate) -> None:
    checked.fault()
    before = checked.files()
    assert checked("check", "--trust", "--update") == 1
    assert "type xai check --update --yes" in checked.err
    assert checked.files()[".xai/baseline/baseline.json"] == before[".xai/baseline/baseline.json"]
    assert checked("check", "--trust", "--update", "--yes") == 0
    assert checked.out.startswith("FAIL")
    assert "is renewed: 5 photos" in checked.err
    assert checked.files()[".xai/baseline/baseline.json"] != before[".xai/baseline/baseline.json"]
    assert len([name for name in checked.files() if "maps-" in name]) == 1
    assert checked("check", "--trust") == 0


def test_update_takes_another_definition_and_other_photos_in(checked: Gate) -> None:
    checked.suite('methods = ["grad-cam", "center"]\n')
    assert checked("check", "--trust") == 2
    assert "made with different settings: center is new" in checked.error
    assert checked("check", "--trust", "--update") == 0
    assert "nothing to compare" in checked.err
    assert checked("check", "--trust") == 0
    (checked.folder / "photos" / "4.png").unlink()
    assert checked("check", "--trust") == 3
    assert checked("check", "--trust", "--update") == 0
    assert checked("check", "--trust") == 0


def test_another_expectation_asks_for_a_baseline_of_the_old_model(checked: Gate) -> None:
    """To renew it with the model at hand would make the model that nobody judged the measure."""
    checked.suite('expect = "retrained"\n')
    for words in (["check", "--trust"], ["check", "--trust", "--update"]):
        assert checked(*words) == 2
        assert "the baseline was made with different settings" in checked.error
        assert "expect same-model there, retrained here" in checked.error
        assert "with the old model: xai baseline --overwrite" in checked.error


def test_a_changed_mean_is_named_apart_from_changed_weights(checked: Gate) -> None:
    checked.fault()
    checked("check", "--trust")
    (line,) = [line for line in checked.out.splitlines() if line.split()[:2] == ["note", "view"]]
    assert "mean " in line
    assert "std " in line
    assert "crop" not in line


def test_without_a_baseline_or_a_suite_it_says_what_to_type(xai: Gate) -> None:
    assert xai("check", "--trust") == 2
    assert "Make one from a model that you trust: xai baseline" in xai.error
    (xai.folder / "xai.toml").unlink()
    assert xai("check") == 2
    assert "xai.toml, or [tool.xai] in pyproject.toml" in xai.error
    assert xai("check", "--suite", "nowhere.toml") == 2
    assert "there is no file nowhere.toml" in xai.error


def test_a_damaged_baseline_exits_3(checked: Gate) -> None:
    (checked.folder / ".xai/baseline/baseline.json").write_text("{")
    assert checked("check", "--trust") == 3
    assert "damaged" in checked.error


def test_inconclusive_passes_and_under_strict_does_not(checked: Gate) -> None:
    scores = json.loads(checked.files()[".xai/baseline/baseline.json"])["photos"]
    mean = np.mean([photo["scores"][0][2] for photo in scores])
    checked.suite(f'[[rule]]\nmetric = "insertion@steps=4"\nat-least = {mean}\n')
    assert checked("check", "--trust") == 0
    assert "photos cannot tell" in checked.out
    assert checked("check", "--trust", "--strict") == 1


def test_a_warning_does_not_close_the_gate(checked: Gate) -> None:
    checked.suite('[[rule]]\nmetric = "map-similarity"\nlevel = "warn"\n')
    checked.fault()
    assert checked("check", "--trust", "--strict") == 0
    assert checked.out.startswith("warn  grad-cam")


def test_a_rule_without_effect_is_a_fault_of_the_suite(checked: Gate) -> None:
    checked.suite('[[rule]]\nmetric = "deletion"\nat-most = 0.5\n')
    assert checked("check", "--trust") == 2
    assert "xai.toml, rule 1 is about the metric deletion, which the suite does not run" in checked.error


@pytest.mark.parametrize("form", ["table", "json", "markdown", "junit", "github"])
def test_every_format_leaves_stdout_to_the_verdicts(checked: Gate, form: str) -> None:
    checked.fault()
    assert checked("check", "--trust", "--format", form) == 1
    if form == "json":
        assert json.loads(checked.out)["failed"] is True
    if form == "junit":
        assert ElementTree.fromstring(checked.out).get("failures") != "0"
    if form == "github":
        assert checked.out.startswith("::error title=xai check%3A grad-cam map similarity::")
    assert "map similarity" in checked.out


def test_a_fresh_seed_of_a_stochastic_method_passes(xai: Gate) -> None:
    xai.suite('methods = ["rise@n_masks=128"]\n')
    assert xai("baseline", "--trust") == 0
    assert xai("check", "--trust", "--seed", 5) == 0
    assert "on average with other seeds" in xai.out


def test_a_suite_in_pyproject_is_found(xai: Gate) -> None:
    (xai.folder / "xai.toml").unlink()
    (xai.folder / "pyproject.toml").write_text(f"[tool.xai]\n{SUITE}")
    assert xai("baseline", "--trust") == 0
    assert xai("check", "--trust") == 0


def test_a_suite_elsewhere_has_its_paths_there(checked: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checked.folder.parent)
    assert checked("check", "--suite", checked.folder, "--trust") == 0
    assert checked("check", "--suite", checked.folder / "xai.toml", "--trust") == 0


def test_other_weights_are_held_against_the_baseline(checked: Gate) -> None:
    code = "import torch; from net import net; m = net(); m.head.weight.data *= -1; torch.save(m.state_dict(), 'w.pth')"
    subprocess.run([sys.executable, "-c", code], cwd=checked.folder, check=True)
    assert checked("check", "--trust", "--weights", "w.pth") == 1
    assert "map similarity" in checked.out.splitlines()[0]
    assert "note" in checked.out


def test_a_hostile_suite_cannot_write_outside(xai: Gate) -> None:
    (xai.folder / "inner").mkdir()
    (xai.folder / "inner" / "xai.toml").write_text('model = "resnet18"\nimages = ["../photos"]\nbaseline = "../photos/x"\n')
    for command in ("baseline", "check"):
        assert xai(command, "--suite", "inner") == 2
        assert "leads out of the suite's folder" in xai.error
    assert not (xai.folder / "photos" / "x").exists()


def test_a_page_shows_before_and_after_with_class_names_correlation_and_probabilities(checked: Gate) -> None:
    checked.fault()
    assert checked("check", "--trust") == 1
    page = checked.folder / ".xai" / "check" / "check.html"
    assert f"before and after: {page.relative_to(checked.folder)}" in checked.err
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == len(list(page.parent.glob("*.xai-check.png")))
    for wanted in ("Spearman correlation", "probability", "before", "photos/", "<title>xai check: "):
        assert wanted in text
    shutil.copy(NET, checked.folder / "net.py")
    assert checked("check", "--trust") == 0
    assert not page.exists()


def test_a_page_is_written_also_where_no_rule_names_photos(xai: Gate) -> None:
    xai.suite('[[rule]]\nmetric = "p0"\nat-most = 0.0001\n')
    assert xai("baseline", "--trust") == 0
    assert xai("check", "--trust") == 1
    page = xai.folder / ".xai" / "check" / "check.html"
    assert f"the check as a page: {page.relative_to(xai.folder)}" in xai.err
    assert "No rule that failed names single photos." in page.read_text()


def test_nothing_in_the_page_of_a_check_runs(xai: Gate) -> None:
    hostile = "<img src=x onerror=alert(1)>.png"
    (xai.folder / "photos" / "0.png").rename(xai.folder / "photos" / hostile)
    assert xai("baseline", "--trust") == 0
    xai.fault()
    assert xai("check", "--trust") == 1
    text = (xai.folder / ".xai" / "check" / "check.html").read_text()
    assert "<img src=x" not in text
    assert "default-src &#39;none&#39;" in text


def test_a_baseline_replaces_neither_a_file_of_others_nor_one_that_the_suite_reads(checked: Gate) -> None:
    record = checked.folder / ".xai" / "baseline" / "baseline.json"
    record.write_text('["cat", "dog", "hen", "pig"]')
    assert checked("baseline", "--trust") == 2
    assert "baseline.json exists already, and xai did not write it" in checked.error
    suite = checked.folder / "xai.toml"
    suite.write_text(f'classes = ".xai/baseline/baseline.json"\n{suite.read_text()}')
    assert checked("baseline", "--trust", "--overwrite") == 2
    assert record.read_text() == '["cat", "dog", "hen", "pig"]'
