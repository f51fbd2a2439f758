"""The house: imports run one way, every folder is packaged, every file says what it is."""

from __future__ import annotations

import ast
import configparser
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("xaicli", "methods", "metrics", "tests", "benchmarks")
SOURCES = sorted(path for folder in ("xaicli", "methods", "metrics") for path in (ROOT / folder).rglob("*.py"))
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
TEXT = sorted(
    path
    for pattern in ("*.md", "*.toml", "*.cfg", "docs/**/*.md", ".ci/*", ".github/**/*.yml")
    for path in ROOT.glob(pattern)
    if path.is_file()
)

BELOW = {
    "top": {"top"},
    "attribution": {"top", "images", "attribution"},
    "images": {"top", "images"},
    "compute": {"top", "compute"},
    "models": {"top", "images", "compute", "models"},
    "methods": {"top", "images", "compute", "models", "methods"},
    "metrics": {"top", "images", "compute", "models", "metrics"},
    "registry": {"top", "registry"},
}
MIDDLE = {"top", "attribution", "registry", "images", "compute", "models", "runs", "gate", "training", "results"}
BELOW |= dict.fromkeys(("runs", "gate", "training", "results"), MIDDLE) | {"cli": {*MIDDLE, "cli"}}
"""What the files of a room may import."""


EXTRAS = ("timm", "transformers", "huggingface_hub", "onnxruntime", "pyarrow", "ray")
"""Packages that are not always installed, imported where they are needed."""


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths])


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "xaicli" else ("xaicli", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The room a module of the package belongs to; single files at the top are one room, save two that know more."""
    parts = module.split(".")
    if len(parts) > 1 and parts[1] in BELOW:
        return parts[1]
    return "top"


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def without_type_checking(tree: ast.AST) -> Iterator[tuple[ast.stmt, bool]]:
    """Import statements that run, each with whether it stands inside a function."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[ast.stmt, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child, inside
            yield from walk(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    return walk(tree, False)


def imported(statement: ast.stmt) -> list[str]:
    """Dotted names that a statement imports, `from a import b` as `a.b`."""
    if isinstance(statement, ast.ImportFrom):
        return [f"{statement.module}.{alias.name}" for alias in statement.names]
    assert isinstance(statement, ast.Import)
    return [alias.name for alias in statement.names]


def needs_an_extra(name: str) -> bool:
    """Whether a name is of a package that is not always installed, or of a file of ours that cannot be imported without one."""
    if name.split(".")[0] in EXTRAS:
        return True
    tops = [s for path in SOURCES if name.startswith(module_of(path) + ".") for s, _ in without_type_checking(parsed(path))]
    return any(top.split(".")[0] in EXTRAS for statement in tops for top in imported(statement))


@each(SOURCES)
def test_imports_run_one_way(path):
    here = room(module_of(path))
    for statement, _ in without_type_checking(parsed(path)):
        for name in imported(statement):
            if name.split(".")[0] != "xaicli" or (path.name == "__init__.py" and here == "top"):
                continue
            assert room(name) in BELOW[here], f"{path.relative_to(ROOT)}:{statement.lineno} imports {name}"


@each(SOURCES)
def test_imports_are_absolute_and_none_takes_everything(path):
    for statement, _ in without_type_checking(parsed(path)):
        if isinstance(statement, ast.ImportFrom):
            assert statement.level == 0
            assert [alias.name for alias in statement.names] != ["*"]


@each(SOURCES)
def test_imports_stand_on_top_save_where_start_up_time_counts(path):
    statements = [statement for statement, inside in without_type_checking(parsed(path)) if inside]
    lazy = [statement for statement in statements if not needs_an_extra(imported(statement)[0])]
    allowed = room(module_of(path)) in ("cli", "registry") or path == ROOT / "xaicli" / "__init__.py"
    assert allowed or not lazy, f"{path.relative_to(ROOT)}:{lazy[0].lineno} imports inside a function"


@each([path for path in SOURCES if path.parent.name in ("methods", "metrics")])
def test_no_method_or_metric_takes_anothers_private_names(path):
    for statement, _ in without_type_checking(parsed(path)):
        for name in imported(statement):
            if name.startswith(("xaicli.methods.", "xaicli.metrics.")):
                assert not any(part.startswith("_") for part in name.split(".")), name


def test_the_mapping_lists_every_package_folder():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    assert listed == {module_of(path) for path in SOURCES if path.name == "__init__.py"}
    assert listed == {module_of(path.parent / "__init__.py") for path in SOURCES}
    mapping = [line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines()]
    assert dict(mapping) == {"xaicli": "xaicli", "xaicli.methods": "methods", "xaicli.metrics": "metrics"}


@each(PYTHON)
def test_a_file_is_named_after_its_subject(path):
    assert path.stem not in ("utils", "util", "helpers", "helper", "common", "misc")
    assert re.fullmatch(r"[a-z0-9_]+", path.stem)


@each(PYTHON)
def test_a_file_says_what_it_is_in_fewer_than_500_lines(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert len(text.splitlines()) < 500


@each([*PYTHON, *TEXT])
def test_no_file_knows_the_machine_it_was_written_on(path):
    home = re.compile("/(?:root|work|home|Users)/" + r"\w|[A-Z]:\\Users\\" + "|/tmp/(?:venv|bash)")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        assert not home.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


@each(PYTHON)
def test_nothing_is_marked_as_left_for_later(path):
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "Not" + "ImplementedError", "pragma: no " + "cover"]))
    assert not marks.search(path.read_text())


def test_tests_mirror_the_folders():
    rooms = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")}
    sources = {module_of(path).split(".")[1] for path in SOURCES if len(module_of(path).split(".")) > 1}
    assert rooms - {"contract", "package"} <= sources


def test_importing_the_package_and_the_command_line_loads_no_torch():
    code = """
import sys, importlib
for name in ("xaicli", "xaicli.errors", "xaicli.registry", "xaicli.builtin", "xaicli.cli.main"):
    importlib.import_module(name)
heavy = {"torch", "torchvision", "captum", "scipy", "matplotlib", "numpy"}
print(sorted({module.split(".")[0] for module in sys.modules} & heavy))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert told.stdout.strip() == "[]", told.stderr


def test_every_public_name_is_there_and_is_what_type_checkers_are_told():
    import xaicli

    assert xaicli.__version__
    for name in xaicli.__all__:
        assert getattr(xaicli, name) is not None
        assert name in dir(xaicli)
    with pytest.raises(AttributeError, match="no attribute 'explainn'"):
        _ = xaicli.explainn
    block = next(node for node in ast.parse(Path(xaicli.__file__).read_text()).body if isinstance(node, ast.If))
    told = {alias.name: statement.module for statement in block.body for alias in statement.names}
    assert told == xaicli.PLACES
