"""A suite, which says what the gate checks: `xai.toml`, or `[tool.xai]` in `pyproject.toml`.

A suite is part of a checked-out repository and so not trusted: its own model code runs only if the user allows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xaicli.errors import UsageError
from xaicli.gate.rules import RETRAINED, SAME_MODEL, Expect, Rule, read_rule
from xaicli.gate.toml_file import check_keys, read_toml, texts
from xaicli.kinds import show
from xaicli.registry import is_own_file
from xaicli.untrusted import is_file, is_folder

MODEL_KEYS = ("weights", "classes", "prompts", "template", "resize", "crop", "interpolation", "mean", "std", "device", "channels")
VIEW_KEYS = ("window", "input-scale", "input-order", "fast-decode")
LARGEST_SEED = 2**63 - 1
PICTURES = "check"
BLACK_BOX = ["rise@n_masks=1000", "occlusion"]
"""The methods that compare two models, if a suite names none: they run on any."""


@dataclass(frozen=True)
class Suite:
    """A suite as read. Its paths start from the folder of its file. compare: another model, with which the suite's own is
    compared in place of a baseline; options: of loading the model."""

    path: Path
    model: str
    images: tuple[str, ...]
    methods: tuple[str, ...] = ("grad-cam",)
    metrics: tuple[str, ...] = ("deletion", "insertion")
    expect: Expect = "same-model"
    target: str = "top1"
    seed: int = 0
    limit: int | None = None
    recursive: bool = False
    truth: str = ""
    truth_classes: str = ""
    baseline: str = ".xai/baseline"
    rules: tuple[Rule, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    compare: str = ""

    @property
    def folder(self) -> Path:
        return self.path.parent

    def from_here(self, text: str) -> str:
        """A path of the suite as seen from the current folder; `sample:hopper` and globs keep their form."""
        if text.startswith("sample:") or Path(text).is_absolute():
            return text
        if text.startswith("@"):
            return "@" + str(self.folder / text[1:])
        return str(self.folder / text)

    def placed(self, name: str) -> str:
        """A method or metric that the suite names; the path of a file starts from the suite's folder."""
        return self.from_here(name) if is_own_file(name) else name

    @property
    def definitions(self) -> tuple[str, ...]:
        """The methods and metrics that the suite and its rules name."""
        return (*self.methods, *self.metrics, *(name for rule in self.rules for name in (rule.metric, rule.method)))

    @property
    def baseline_folder(self) -> Path:
        """The folder of the baseline, beside the folder of pictures.

        Raises UsageError unless both are inside the suite's folder: an untrusted suite must not choose where on this machine
        files are written.
        """
        folder = self.folder / self.baseline
        try:
            inside = self.folder.resolve()
            places = [folder.resolve(), folder.parent.resolve(), (folder.parent / PICTURES).resolve()]
            fits = places[0] != inside and all(place.is_relative_to(inside) for place in places)
        except (OSError, RuntimeError):
            # A circle of symbolic links.
            fits = False
        if not fits:
            raise UsageError(
                f'{self.path}: baseline = "{show(self.baseline)}" leads out of the suite\'s folder',
                expected="a folder beside or below the suite's file, such as .xai/baseline",
            )
        return folder

    @property
    def pictures_folder(self) -> Path:
        """Where the pictures of a check go, beside the baseline."""
        return self.baseline_folder.parent / PICTURES


KINDS = {
    "model": "text",
    "images": "text or a list",
    "compare": "text",
    "methods": "text or a list",
    "metrics": "text or a list",
    "expect": "text",
    "target": "text or a whole number",
    "seed": "a whole number",
    "limit": "a whole number",
    "recursive": "true or false",
    "truth": "text",
    "truth-classes": "text",
    "baseline": "text",
    "rule": "a list",
    "weights": "text",
    "classes": "text",
    "prompts": "text or a list",
    "template": "text or a list",
    "resize": "a whole number or a list",
    "crop": "a whole number or a list",
    "interpolation": "text",
    "mean": "a list",
    "std": "a list",
    "device": "text",
    "channels": "a whole number",
    "window": "text",
    "input-scale": "a number",
    "input-order": "text",
    "fast-decode": "true or false",
}


def find_suite(given: str | None) -> Path:
    """The suite's file: the one named, or else `xai.toml` or a `pyproject.toml` with `[tool.xai]` in the current folder."""
    if given:
        path = Path(given)
        return (suite_in(path) or path / "xai.toml") if is_folder(path) else path
    found = suite_in(Path())
    if found is None:
        expected = "xai.toml, or [tool.xai] in pyproject.toml"
        hint = """Name one with --suite FILE, or write two lines into xai.toml: model = "resnet50" and images = ["photos/"]."""
        raise UsageError("no suite here", expected=expected, hint=hint)
    return found


def suite_in(folder: Path) -> Path | None:
    """The file of the suite in a folder, if there is one."""
    own, shared = folder / "xai.toml", folder / "pyproject.toml"
    if is_file(own):
        return own
    return shared if is_file(shared) and table_of(shared, read_toml(shared)) is not None else None


def table_of(path: Path, content: dict[str, Any]) -> dict[str, Any] | None:
    """The suite in a file's content, or None."""
    if path.name != "pyproject.toml":
        return content
    tools = content.get("tool")
    table = tools.get("xai") if isinstance(tools, dict) else None
    return table if isinstance(table, dict) else None


def read_suite(path: Path) -> Suite:
    """Read a suite; raises UsageError that names what is wrong in it."""
    table = table_of(path, read_toml(path))
    if table is None:
        raise UsageError(f"{path} has no table [tool.xai]")
    check_keys(f"{path}", table, KINDS)
    for needed in ("model", "images"):
        if not table.get(needed):
            raise UsageError(f"{path} names no {needed}", hint='A suite begins with model = "…" and images = ["photos/"].')
    check_values(f"{path}", table)
    return Suite(
        path=path,
        model=table["model"],
        images=texts(f"{path}", "images", table["images"]),
        methods=texts(f"{path}", "methods", table.get("methods", BLACK_BOX if table.get("compare") else ["grad-cam"])),
        metrics=texts(f"{path}", "metrics", table.get("metrics", ["deletion", "insertion"])),
        expect=table.get("expect", SAME_MODEL),
        target=str(table.get("target", "top1")),
        seed=table.get("seed", 0),
        limit=table.get("limit"),
        recursive=table.get("recursive", False),
        truth=table.get("truth", ""),
        truth_classes=table.get("truth-classes", ""),
        baseline=table.get("baseline", ".xai/baseline"),
        compare=table.get("compare", ""),
        rules=tuple(read_rule(f"{path}, rule {number}", entry) for number, entry in enumerate(table.get("rule", []), 1)),
        options={
            key.replace("-", "_"): tuple(value) if isinstance(value, list) else value
            for key, value in table.items()
            if key in MODEL_KEYS + VIEW_KEYS
        },
    )


def check_values(where: str, table: Mapping[str, Any]) -> None:
    """Raise UsageError for values of the right type that make no sense."""
    if table.get("expect", SAME_MODEL) not in (SAME_MODEL, RETRAINED):
        raise UsageError(f'{where}: expect = "{show(table["expect"])}"', expected=f"{SAME_MODEL} or {RETRAINED}")
    if not 0 <= table.get("seed", 0) <= LARGEST_SEED:
        raise UsageError(f"{where}: seed = {show(table['seed'])}", expected="a whole number from 0 to 2**63 - 1")
    if table.get("limit", 1) < 1:
        raise UsageError(f"{where}: limit = {table['limit']}", expected="at least 1")
    if any(isinstance(value, str) and "\0" in value for value in [*table.values(), *texts(where, "images", table["images"])]):
        raise UsageError(f"{where} holds a NUL", expected="text")
    if {"-", "@-"} & set(texts(where, "images", table["images"])):
        raise UsageError(f'{where}: images = "-"', expected="files, folders, globs or @list.txt: a suite reads no standard input")
    if "methods" in table and not table["methods"]:
        raise UsageError(f"{where} names no methods", expected='methods = ["grad-cam"], or no such line')
    for key in ("seed", "limit", "resize", "crop"):
        # TOML's integers have no limit; those of arrays do.
        listed = table[key] if isinstance(table.get(key), list) else [table.get(key, 0)]
        if any(isinstance(entry, int) and abs(entry) > LARGEST_SEED for entry in listed):
            raise UsageError(f"{where}: {key} = {show(table[key])}", expected="a smaller number")
