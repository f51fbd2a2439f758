"""The small commands, help, completion, and how the program starts and stops."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from xaicli.cli.main import COMMANDS, cli, main
from xaicli.errors import Terminated

NET = Path(__file__).parents[1] / "data" / "net.py"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("words", [["--help"], ["--version"], *[[name, "--help"] for name in COMMANDS]], ids=" ".join)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, out, err = run(capsys, *words)
    assert code == 0
    assert out
    assert err == ""


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")], ids=repr)
def test_memory_that_runs_out_is_no_fault_of_xai(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def escape(**_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "main", escape)
    code, out, err = run(capsys, "doctor")
    assert code == 5
    assert out == ""
    assert err == "error: ran out of memory. Give a smaller --batch-size, or a smaller --resize and --crop.\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_starts_with_three_examples_of_the_command(capsys: pytest.CaptureFixture[str], name: str) -> None:
    _, out, _ = run(capsys, name, "--help")
    examples = [line.strip() for line in out.splitlines() if line.strip().startswith(f"xai {name}") or f" xai {name}" in line]
    assert len(examples) >= 3
    assert "--debug" in out


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["list", "methods"], ["list", "metrics"], ["list", "models"], ["explain", "--help"]],
    ids=" ".join,
)
def test_torch_is_imported_only_for_a_model(words: list[str], tmp_path: Path) -> None:
    code = f"import sys; from xaicli.cli.main import main; main({words!r}); sys.exit(3 if 'torch' in sys.modules else 0)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, cwd=tmp_path).returncode == 0


def test_list_methods_shows_names_summaries_and_origin(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", "methods", "--format", "json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert {"grad-cam", "rise", "random", "center"} <= set(rows)
    assert all(row["summary"] and row["origin"] for row in rows.values())


def test_the_table_of_methods_leaves_the_width_to_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "list", "methods")
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["name", "summary"]
    assert any(line.startswith("integrated-gradients ") and "(also ig)" in line for line in lines)


def test_list_check_imports_every_built_in_and_finds_none_broken(capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("methods", "metrics"):
        code, out, _ = run(capsys, "list", what, "--check", "--format", "json")
        assert code == 0
        assert [row["name"] for row in json.loads(out) if row["fault"]] == []


def test_list_takes_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "list", "models", "resnet*", "--format", "csv")
    names = [line.split(",")[0] for line in out.splitlines()[1:]]
    assert "resnet50" in names
    assert all(name.startswith("resnet") for name in names)


@pytest.mark.parametrize("what", ["methods", "metrics", "models", "layers", "checkpoints"])
def test_list_finds_a_part_of_a_name_and_says_where_none_matches(capsys: pytest.CaptureFixture[str], what: str) -> None:
    part = {"methods": "CAM", "metrics": "delet", "models": "SqueezeNet", "layers": "stage", "checkpoints": "p-tame"}[what]
    code, text, _ = run(capsys, "list", what, part, "--format", "json")
    assert code == 0
    key = {"methods": "name", "metrics": "name"}.get(what, what.removesuffix("s"))
    names = [row[key] for row in json.loads(text)]
    assert names
    assert all(part.lower() in name.lower().replace("_", "") for name in names)
    code, text, err = run(capsys, "list", what, "no-such-thing")
    assert (code, text) == (2, "")
    assert f'error: no {what.removesuffix("s")} matches "no-such-thing"; expected a part of a name, or a glob' in err


def test_list_layers_marks_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", "layers", "--model", f"{NET}:make", "--format", "json")
    rows = json.loads(out)
    assert code == 0
    assert [row["layer"] for row in rows if row["default"]] == ["features"]
    assert {row["layer"]: row["grid"] for row in rows}["features"] == "8 x 8"


@pytest.mark.parametrize("name", ["grad-cam", "GradCAM", "rise", "ig", "deletion"])
def test_describe_tells_parameters_cost_needs_and_paper(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = run(capsys, "describe", name)
    assert code == 0
    for word in ("needs:", "paper:", "parameter", "default"):
        assert word in out


def test_describe_tells_the_parameters_of_a_methods_training(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "describe", "t-tame")
    own, training = out.split("xai train t-tame --set KEY=VALUE")
    assert code == 0
    assert "checkpoint" in own
    assert "vit_tap" in training
    assert "vit_tap" not in own


def test_describe_of_an_unknown_name_suggests_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "describe", "grad-can")
    assert code == 2
    assert "Did you mean grad-cam?" in err


def test_an_unknown_command_suggests_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "explian")
    assert code == 2
    assert err.startswith('error: no command "explian". Did you mean explain?')
    assert len(err.splitlines()) == 1


def test_doctor_looks_at_installation_and_model(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor", "--model", f"{NET}:make", "--format", "json")
    found = {row["what"]: row for row in json.loads(out)}
    assert code == 0
    assert {"python", "torch", "cpu", "cuda", "cache", "methods"} <= set(found)
    assert {"view", "classes", "softmax", "layer", "gradient", "in-place"} <= set(found)
    assert "features: 8 channels" in found["layer"]["finding"]


def test_doctor_sees_a_softmax_inside(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "doctor", "--model", f"{NET}:gives_softmax", "--format", "json")
    assert {row["what"]: row["state"] for row in json.loads(out)}["softmax"] == "note"


def test_the_cache_is_listed_and_cleared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "net.pth").write_bytes(b"12345")
    _, out, _ = run(capsys, "cache", "--format", "json")
    assert [row["file"] for row in json.loads(out)] == ["net.pth"]
    assert run(capsys, "cache", "path")[1].strip() == str(tmp_path)
    assert run(capsys, "cache", "clear", "--yes")[0] == 0
    assert not (tmp_path / "weights" / "net.pth").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    assert "_XAI_COMPLETE" in out


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("xai expl", "explain"), ("xai explain --method gr", "grad-cam"), ("xai explain --model resnet5", "resnet50")],
)
def test_completion_answers(words: str, wanted: str) -> None:
    environment = {**os.environ, "_XAI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    answer = subprocess.run([sys.executable, "-m", "xaicli.cli.main"], env=environment, capture_output=True, text=True)
    assert f"plain,{wanted}" in answer.stdout
    assert (answer.stderr, answer.returncode) == ("", 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_was_finished_and_the_same_command_goes_on(
    tmp_path: Path, photo_folder: Path, number: signal.Signals, code: int
) -> None:
    words = [sys.executable, "-m", "xaicli.cli.main", "explain", str(photo_folder), "--model", f"{NET}:make"]
    words += ["--method", "grad-cam,rise@n_masks=30000", "--batch-size", "1", "-o", str(tmp_path / "out")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    # The folder is made with the first result.
    while not (tmp_path / "out").is_dir() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "goes on from there" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "out").glob(".*.part"))
    finished = list((tmp_path / "out").glob("*.json"))
    assert finished
    assert all(sidecar.with_suffix(".npy").is_file() for sidecar in finished)


SWALLOWING = """
import signal, sys, time
from xaicli.cli import main
main.PATIENCE = 0.2
signal.signal(signal.{name}, main.{handler})
try:
    signal.raise_signal(signal.{name})
except BaseException:
    pass
try:
    time.sleep(30)
except BaseException as error:
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("name", "handler", "raised"), [("SIGINT", "interrupt", "KeyboardInterrupt"), ("SIGTERM", "terminate", "Terminated")]
)
def test_a_signal_that_code_of_others_swallows_is_raised_again(name: str, handler: str, raised: str) -> None:
    code = SWALLOWING.format(name=name, handler=handler)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == raised


DROPPING = """
import os, signal, time, weakref
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2)

    def forward(self, photos):
        held = torch.nn.Identity()
        # Python only reports what is raised in such a callback.
        reference = weakref.ref(held, lambda dead: [signal.raise_signal(signal.{name}), None])
        del held
        time.sleep(1)
        return self.head(self.conv(photos).mean((2, 3)))

def make():
    return Net()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_python_drops_is_raised_again_at_once(
    tmp_path: Path, photo_folder: Path, number: signal.Signals, code: int
) -> None:
    (tmp_path / "net.py").write_text(DROPPING.format(name=number.name))
    words = [
        sys.executable,
        "-m",
        "xaicli.cli.main",
        "explain",
        str(photo_folder),
        "--model",
        "net.py:make",
        "--method",
        "center",
    ]
    done = subprocess.run([*words, "--crop", "32", "--resize", "32"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (Terminated(143), 143)])
def test_a_stop_counts_although_clearing_up_fails(
    stop: BaseException,
    code: int,
    photo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A zip cannot be closed while a member is being written."""

    class Stopping:
        def read(self, size: int) -> bytes:
            raise stop

    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(photo_folder), "--model", f"{NET}:make", "--method", "center"]) == 0
    monkeypatch.setattr("xaicli.runs.evidence.opened", lambda *words: contextlib.nullcontext(Stopping()))
    ended = pytest.raises(Terminated) if code == 143 else contextlib.nullcontext()
    with ended:
        assert main(["bundle", "xai-out"]) == code
    assert "cannot be written" not in capsys.readouterr().err
    assert not list(tmp_path.glob("*evidence*"))


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m xaicli.cli.main list models | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["check", "ci/xai.toml"], "Write --suite ci/xai.toml if that is the suite (xai check --help)"),
        (["baseline", "."], "Write --suite . if that is the suite"),
        (["doctor", "my net.py:make"], "Write --model 'my net.py:make' if that is the model"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_an_argument_that_an_option_takes_is_answered_with_that_option(
    words: list[str], instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert f"error: xai {words[0]} takes no argument. {instead}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "--against"], "Option '--against' requires an argument (xai check --help)"),
        (["explain", "cat.jpg", "--limit", "abc"], "'abc' is not a whole number (xai explain --help)"),
        (["train", "t-tame", "--data", "photos", "--lr", "abc"], "'abc' is not a number (xai train --help)"),
        (["explain", "cat.jpg", "--format", "jsn"], "Type --format json (xai explain --help)"),
        (["explain", "cat.jpg", "--engine", "onnx"], "Type --engine onnxruntime (xai explain --help)"),
        (["list", "metohds"], "Did you mean methods? (xai list --help)"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_a_wrong_value_is_answered_in_plain_words_with_the_help_of_its_command(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_every_command_without_arguments_says_which_option_takes_one() -> None:
    commands = {verb: importlib.import_module(f"xaicli.cli.{entry.module}").command for verb, entry in COMMANDS.items()}
    without = {verb: made for verb, made in commands.items() if not any(isinstance(one, click.Argument) for one in made.params)}
    bare = {verb: made for verb, made in without.items() if not isinstance(made, click.Group)}
    assert set(bare) == {"check", "baseline", "doctor"}
    for made in bare.values():
        assert made.meant[1] in {name for one in made.params for name in one.opts}


def test_a_command_that_is_stopped_says_whether_it_goes_on_or_starts_again(
    tmp_path: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    verbs = {"parity": ["tiny", "tiny", "photos"], "verify": ["xai-out"], "score": ["photos"], "explain": ["photos"]}
    for verb, words in verbs.items():
        monkeypatch.setattr(f"xaicli.runs.{verb}.{verb}", stopped)
        assert main([verb, *words]) == 130
        told = capsys.readouterr().err
        assert ("goes on from there" in told) == (verb == "explain")
        assert ("starts from the beginning" in told) == (verb != "explain")
    for words in (["-o", "s.db"], ["-os.db"], ["--output=s.db"], ["--sink", "parquet:rows"]):
        assert main(["score", "photos", *words]) == 130
        assert "goes on from there" in capsys.readouterr().err
    for words in (["--outputs", "sigmoid"], ["--output-name", "logits"]):
        assert main(["score", "photos", *words]) == 130
        assert "starts from the beginning" in capsys.readouterr().err


def test_commands_that_keep_nothing_do_not_promise_to_go_on() -> None:
    goes_on = {verb for verb, entry in COMMANDS.items() if entry.goes_on}
    assert goes_on == {"explain", "compare", "audit", "aggregate", "score", "trust", "train", "study", "bank"}


@pytest.mark.parametrize(
    "words",
    [
        ["score", "sample:hopper", "--controls", ","],
        ["score", "sample:hopper", "--controls", "random,,center"],
        ["score", "sample:hopper", "--metric", "deletion,"],
        ["explain", "sample:hopper", "--method", ","],
        ["compare", "sample:hopper", "--model", "tiny,"],
        ["explain", "sample:hopper", "--mean", "0.5,,0.5"],
        ["trust", "tiny", "photos", "--check", ","],
    ],
    ids=" ".join,
)
def test_an_empty_name_in_a_list_is_refused_before_any_work(
    words: list[str], photo_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photo_folder.parent)
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search("has an empty name|names nothing|is not numbers|is empty", shown.err)
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["train", "tiny"], "Type xai train classifier --model tiny"),
        (["train", "resnet18@IMAGENET1K_V1"], "Type xai train classifier --model resnet18@IMAGENET1K_V1"),
        (["train", "timm:resnet18"], "Type xai train classifier --model timm:resnet18"),
        (["study", "tiny-vit"], "Type xai study lfi-cam --model tiny-vit"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_a_model_where_a_method_is_expected_is_answered_with_what_to_type(
    words: list[str], instead: str, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--data", str(photo_folder), "-o", str(tmp_path / "out")]) == 2
    assert instead in capsys.readouterr().err
