"""What a gate checks: `xai.toml`, or `[tool.xai]` in `pyproject.toml`.

A suite is part of a checked-out repository and as such not trusted: it names files and numbers, and model code of its own runs only
where the user says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xaicli.errors import UsageError, did_you_mean

SAME_MODEL, RETRAINED = "same-model", "retrained"
MAP_SIMILARITY, CONFIDENCE, DECISIONS, CONTROLS = "map-similarity", "p0", "decisions", "controls"
SPECIAL = (MAP_SIMILARITY, CONFIDENCE, DECISIONS, CONTROLS)
"""What a rule may name beside metrics."""

MODEL_KEYS = ("weights", "classes", "resize", "crop", "interpolation", "mean", "std", "device")
LARGEST_SUITE = 1_000_000

Level = Literal["error", "warn"]


@dataclass(frozen=True)
class Rule:
    """One demand. method: a label, or empty for all; metric: a metric's label or one of SPECIAL; at_least, at_most: on what is
    measured now; tolerance: on the change since the baseline."""

    metric: str
    method: str = ""
    at_least: float | None = None
    at_most: float | None = None
    tolerance: float | None = None
    level: Level = "error"


@dataclass(frozen=True)
class Suite:
    """A suite as read. Paths are taken from the folder of the file."""

    path: Path
    model: str
    images: tuple[str, ...]
    methods: tuple[str, ...] = ("grad-cam",)
    metrics: tuple[str, ...] = ("deletion", "insertion")
    expect: Literal["same-model", "retrained"] = "same-model"
    target: str = "top1"
    seed: int = 0
    limit: int | None = None
    recursive: bool = False
    truth: str = ""
    truth_classes: str = ""
    baseline: str = ".xai/baseline"
    rules: tuple[Rule, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.path.parent

    def place(self, text: str) -> str:
        """A path of the suite as seen from the current folder; what is no path (a glob, sample:hopper) keeps its form."""
        if text.startswith("sample:") or Path(text).is_absolute():
            return text
        if text.startswith("@"):
            return "@" + str(self.folder / text[1:])
        return str(self.folder / text)


KINDS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "images": (str, list),
    "methods": (str, list),
    "metrics": (str, list),
    "expect": str,
    "target": (str, int),
    "seed": int,
    "limit": int,
    "recursive": bool,
    "truth": str,
    "truth-classes": str,
    "baseline": str,
    "rule": list,
    "weights": str,
    "classes": str,
    "resize": (int, list),
    "crop": (int, list),
    "interpolation": str,
    "mean": list,
    "std": list,
    "device": str,
}
RULE_KINDS: dict[str, type | tuple[type, ...]] = {
    "metric": str,
    "method": str,
    "at-least": (int, float),
    "at-most": (int, float),
    "tolerance": (int, float),
    "level": str,
}


def find_suite(given: str | None) -> Path:
    """The suite's file: as given, else `xai.toml` or a `pyproject.toml` with `[tool.xai]` in the current folder."""
    if given:
        path = Path(given)
        return path / "xai.toml" if path.is_dir() else path
    for name in ("xai.toml", "pyproject.toml"):
        if Path(name).is_file() and (name == "xai.toml" or "xai" in read_toml(Path(name)).get("tool", {})):
            return Path(name)
    raise UsageError("no suite here", expected="xai.toml, or [tool.xai] in pyproject.toml", hint="Name one with --suite FILE.")


def read_suite(path: Path) -> Suite:
    """A suite from its file; raises UsageError that names what is wrong in it."""
    content = read_toml(path)
    table = content.get("tool", {}).get("xai") if path.name == "pyproject.toml" else content
    if not isinstance(table, dict):
        raise UsageError(f"{path} has no table [tool.xai]")
    check_keys(f"{path}", table, KINDS)
    for needed in ("model", "images"):
        if not table.get(needed):
            raise UsageError(f"{path} names no {needed}", hint='A suite begins with model = "…" and images = ["photos/"].')
    expect = table.get("expect", SAME_MODEL)
    if expect not in (SAME_MODEL, RETRAINED):
        raise UsageError(f'{path}: expect = "{expect}"', expected=f"{SAME_MODEL} or {RETRAINED}")
    return Suite(
        path=path,
        model=table["model"],
        images=texts(table["images"]),
        methods=texts(table.get("methods", ["grad-cam"])),
        metrics=texts(table.get("metrics", ["deletion", "insertion"])),
        expect=expect,
        target=str(table.get("target", "top1")),
        seed=table.get("seed", 0),
        limit=table.get("limit"),
        recursive=table.get("recursive", False),
        truth=table.get("truth", ""),
        truth_classes=table.get("truth-classes", ""),
        baseline=table.get("baseline", ".xai/baseline"),
        rules=tuple(rule_of(f"{path}, rule {number}", entry) for number, entry in enumerate(table.get("rule", []), 1)),
        options={key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key in MODEL_KEYS},
    )


def read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_SUITE:
            raise UsageError(f"{path} is too large for a suite")
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", expected="a TOML file", hint="See docs/ci.md.") from error


def rule_of(where: str, entry: Any) -> Rule:
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is no table", expected="[[rule]]")
    check_keys(where, entry, RULE_KINDS)
    if "metric" not in entry:
        raise UsageError(f"{where} names no metric", expected=f"a metric, or {', '.join(SPECIAL)}")
    level = entry.get("level", "error")
    if level not in ("error", "warn"):
        raise UsageError(f'{where}: level = "{level}"', expected="error or warn")
    bounds = {key.replace("-", "_"): float(entry[key]) for key in ("at-least", "at-most", "tolerance") if key in entry}
    if not bounds and entry["metric"] != CONTROLS:
        raise UsageError(f"{where} demands nothing", expected="at-least, at-most or tolerance")
    return Rule(metric=entry["metric"], method=entry.get("method", ""), level=level, **bounds)


def check_keys(where: str, table: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]]) -> None:
    for key, value in table.items():
        if key not in kinds:
            raise UsageError(f'{where} has a key "{key}" that nothing reads', hint=did_you_mean(key, kinds) or f"Known: {', '.join(kinds)}.")
        wanted = kinds[key]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            names = [kind.__name__ for kind in (wanted if isinstance(wanted, tuple) else (wanted,))]
            raise UsageError(f"{where}: {key} = {value!r}", expected=" or ".join(names).replace("str", "text"))


def texts(value: str | list[Any]) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not all(isinstance(entry, str) for entry in listed):
        raise UsageError(f"{listed!r} is no list of texts", expected='["a", "b"]')
    return tuple(listed)
