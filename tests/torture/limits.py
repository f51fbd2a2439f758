"""What every run that met a limit or a fault has to show."""

from __future__ import annotations

from pathlib import Path


def assert_tidy(folder: Path) -> None:
    """Nothing is there that only a run in work needs. A store whose disk is full keeps its log, which holds what was finished."""
    assert [path.name for path in folder.rglob("*") if path.name.endswith((".part", "-wal", "-shm", "-journal"))] == []


def told_in(path: Path) -> str:
    """The error of a command; there is one, and nothing that a user should not see."""
    text = path.read_text()
    assert "Traceback" not in text, text
    assert "a fault in xai itself" not in text, text
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    return errors[0]
