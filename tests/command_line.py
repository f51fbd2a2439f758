"""The command line as tests type it: runs in this process, and keeps what it said."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaicli.cli.main import main


class CommandLine:
    """Called with words it runs `xai` and returns the exit code; out, err: what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *words: object) -> int:
        self.capsys.readouterr()
        self.code = main([str(word) for word in words])
        self.out, self.err = self.capsys.readouterr()
        return self.code

    @property
    def error(self) -> str:
        """The one error line, after which nothing is said."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert self.err.rstrip().endswith(lines[0])
        assert "Traceback" not in self.err
        return lines[0]


def contents(folder: str) -> dict[str, bytes]:
    """All files of a folder and those below it, by path."""
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
