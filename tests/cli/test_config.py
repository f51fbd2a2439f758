"""What the configuration file and the environment set, and how a wrong setting is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xaicli.cli.main import main

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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("offline = 1", "offline = 1 in"),
        ("offline = [true]", "expected true or false"),
        ('offline = "maybe"', "expected true or false"),
        ("output = 5", "output = 5 in"),
        ('output = ""', "expected text in quotes"),
        ("model = 3", "expected text in quotes"),
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
