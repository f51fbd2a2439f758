"""What the configuration file and the environment set, and how a wrong setting is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest

from xaicli.cli.defaults import COMMANDS, EXPORTED, SETTINGS
from xaicli.cli.main import cli, main

NET = Path(__file__).parents[1] / "data" / "net.py"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_configuration_comes_from_file_then_environment(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XAI_OUTPUT", str(tmp_path / "from-environment"))
    (tmp_path / "xaicli").mkdir()
    (tmp_path / "xaicli" / "config.toml").write_text(f'model = "{NET}:make"\noutput = "from-file"\n')
    _, out, _ = run(capsys, "config", "show", "--format", "json")
    rows = {row["setting"]: row for row in json.loads(out)}
    assert rows["model"]["value"] == f"{NET}:make"
    assert rows["output"]["from"] == "$XAI_OUTPUT"
    assert run(capsys, "explain", "sample:hopper")[0] == 0
    assert (tmp_path / "from-environment" / "hopper.grad-cam.png").is_file()


def test_a_configuration_file_with_a_typing_error_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "xaicli").mkdir()
    (tmp_path / "xaicli" / "config.toml").write_text('modle = "resnet50"\n')
    code, _, err = run(capsys, "explain", "sample:hopper")
    assert code == 2
    assert "Did you mean model?" in err


def test_each_setting_is_the_default_of_the_options_of_its_name() -> None:
    context = click.Context(cli)
    found: dict[str, set[str]] = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and option.name in SETTINGS:
                found.setdefault(option.name, set()).add(name)
    # A suite or records name the model; a study compares networks in the precision that it is told; other outputs are files.
    apart = {"model": {"check", "baseline", "verify", "study"}, "precision": {"study"}, "output": found["output"] - {"explain"}}
    assert {name: set(commands) for name, commands in COMMANDS.items()} == {
        name: commands - apart.get(name, set()) for name, commands in found.items()
    }
    assert SETTINGS.keys() == COMMANDS.keys() | EXPORTED.keys()


def test_settings_of_the_process_reach_what_it_does_and_end_with_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("XAI_CACHE", raising=False)
    monkeypatch.delenv("XAI_OFFLINE", raising=False)
    (tmp_path / "xaicli").mkdir()
    (tmp_path / "xaicli" / "config.toml").write_text(f'cache = "{tmp_path}/mine"\noffline = true\noutput = "maps"\n')
    assert run(capsys, "cache", "path")[1].strip() == f"{tmp_path}/mine"
    # A command without an option --offline downloads nothing either.
    code, _, err = run(capsys, "trust", "resnet18", "sample:hopper")
    assert (code, "forbids the download" in err) == (3, True)
    assert "XAI_CACHE" not in os.environ
    assert "XAI_OFFLINE" not in os.environ
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "other"))
    assert run(capsys, "cache", "path")[1].strip() == str(tmp_path / "other")


def test_the_folder_of_maps_is_no_place_for_scores(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XAI_OUTPUT", "maps")
    line = ("score", "sample:hopper", "--model", f"{NET}:make", "--method", "grad-cam", "--metric", "insertion@steps=2")
    assert run(capsys, *line)[0] == 0
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("offline = 1", "offline = 1 in"),
        ("offline = [true]", "expected true or false"),
        ('offline = "maybe"', "expected true or false"),
        ("output = 5", "output = 5 in"),
        ('output = ""', "expected text in quotes"),
        ("model = 3", "expected text in quotes"),
        ('cache = "\\u0000x"', "expected text in quotes, without null characters"),
        ('device = "foo"', "config.toml; expected auto, cpu, cuda, cuda:INDEX or mps"),
        ('precision = "fp33"', "config.toml; expected auto, fp32, bf16. Did you mean fp32?"),
        ('engine = "foo"', "config.toml; expected auto, torch, compile, openvino, onnxruntime"),
        ('colormap = "foo"', "config.toml; expected a name that matplotlib knows"),
    ],
)
@pytest.mark.parametrize("words", [("explain", "sample:hopper"), ("config",)])
def test_a_setting_of_another_kind_is_refused_by_every_command(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    said: str,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "xaicli").mkdir()
    (tmp_path / "xaicli" / "config.toml").write_text(line + "\n")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert said in err


def test_a_folder_in_place_of_the_configuration_file_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "xaicli" / "config.toml").mkdir(parents=True)
    code, _, err = run(capsys, "config")
    assert code == 2
    assert err.endswith(
        'config.toml is a folder; expected a TOML file of settings. A line of it is, for example, model = "resnet50".\n'
    )


def test_offline_in_the_environment_is_true_or_false(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XAI_OFFLINE", "maybe")
    code, _, err = run(capsys, "explain", "sample:hopper")
    assert code == 2
    assert "offline = 'maybe' in $XAI_OFFLINE; expected true or false" in err
