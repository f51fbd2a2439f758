"""The house: imports run one way, every folder is packaged, every file says what it is."""

from __future__ import annotations

import ast
import configparser
import functools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("xaicli", "methods", "metrics") for path in (ROOT / folder).rglob("*.py"))
INSIDE = [*SOURCES, *sorted((ROOT / "tools").glob("*.py"))]
"""All that is not a test, a benchmark or a page."""

OUTSIDE = ("tools", "benchmarks", "docs", "tests")
"""Folders that are in no wheel."""

PYTHON = sorted([*SOURCES, *(path for folder in OUTSIDE for path in (ROOT / folder).rglob("*.py"))])
TEXT = sorted(
    path
    for pattern in ("*.md", "*.toml", "*.cfg", "docs/**/*.md", ".ci/*", ".github/**/*.yml")
    for path in ROOT.glob(pattern)
    if path.is_file()
)

ROOMS = {
    "top": set(),
    "images": {"top"},
    "network": {"top", "images"},
    "interface": {"top", "images", "network"},
    "passes": {"top", "images", "network", "interface"},
    "models": {"top", "images", "network", "interface", "passes"},
    "scoring": {"top", "images", "network", "interface", "passes"},
    "methods": {"top", "images", "network", "interface", "passes", "models"},
    "metrics": {"top", "images", "network", "interface", "passes", "scoring"},
    "attribution": {"top", "images"},
    "survey": {"top", "images", "network", "interface", "passes", "scoring", "attribution"},
    "registry": {"top", "network", "interface", "scoring"},
    "suitability": {"top", "network", "interface", "scoring", "registry"},
}
"""What the files of a room may import beside their own, annotations counted."""

MIDDLE = {*ROOMS, "runs", "gate", "training", "results"} - {"methods", "metrics"}
ROOMS |= dict.fromkeys(("runs", "gate", "training", "results"), MIDDLE) | {"cli": MIDDLE}
FILES = {
    "method": "interface",
    "task": "interface",
    "judge": "interface",
    "metric": "scoring",
    "rows": "scoring",
    "description": "attribution",
    "record": "attribution",
}
"""Single files that belong to another room than the lowest: what a method is, what a metric is and what it scores, what a map
says."""

EXTRAS = ("timm", "transformers", "huggingface_hub", "onnxruntime", "openvino", "ai_edge_litert", "pyarrow", "ray", "sklearn")
"""Packages that are not always installed, imported where they are needed."""


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "xaicli" else ("xaicli", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The room a module of the package belongs to; single files are the lowest room, save those that know more."""
    name = [*module.split("."), ""][1]
    return FILES.get(name, name if name in ROOMS else "top")


def imports(path: Path, *, in_functions: bool = False) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import, `from a import b` as `a.b`; all, or those inside functions only.

    An import whose failure is an answer (`try` ... `except ImportError`) counts as one that stands on top.
    """

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[int, str]]:
        for child in ast.iter_child_nodes(node):
            if inside >= in_functions:
                yield from imported(child)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            asked = isinstance(child, ast.Try) and "ImportError" in ast.unparse(child)
            yield from walk(child, (inside or function) and not asked)

    return walk(parsed(path), False)


def imported(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.ImportFrom):
        yield from ((node.lineno, f"{'.' * node.level}{node.module}.{alias.name}") for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name) for alias in node.names)


def needs_an_extra(name: str) -> bool:
    """Whether a name is of a package that is not always installed, or of a file of ours that cannot be imported without one."""
    ours = [path for path in SOURCES if name.startswith(f"{module_of(path)}.") and path.name != "__init__.py"]
    return name.split(".")[0] in EXTRAS or any(top.split(".")[0] in EXTRAS for path in ours for _, top in imports(path))


def at(path: Path, line: int, found: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {found}"


def test_imports_run_one_way():
    wrong = [
        at(path, line, name)
        for path in SOURCES
        if path != ROOT / "xaicli" / "__init__.py"
        for line, name in imports(path)
        if name.split(".")[0] == "xaicli" and room(name) not in {room(module_of(path)), *ROOMS[room(module_of(path))]}
    ]
    assert not wrong


def test_imports_are_absolute_and_none_takes_everything():
    assert not [at(path, line, name) for path in SOURCES for line, name in imports(path) if name[0] == "." or name[-1] == "*"]


def test_imports_stand_on_top_save_where_start_up_time_counts():
    # Pytest loads the plugin in every project where the package is installed.
    free = {ROOT / "xaicli" / "__init__.py", ROOT / "xaicli" / "gate" / "pytest_plugin.py"}
    free |= {path for path in SOURCES if room(module_of(path)) in ("cli", "registry")}
    early = [path for path in SOURCES if path not in free]
    lazy = [at(path, *found) for path in early for found in imports(path, in_functions=True) if not needs_an_extra(found[1])]
    assert not lazy


def test_no_method_or_metric_takes_anothers_private_names():
    others = ("xaicli.methods.", "xaicli.metrics.")
    files = [path for path in SOURCES if path.parent.name in ("methods", "metrics")]
    assert not [at(path, *found) for path in files for found in imports(path) if found[1].startswith(others) and "._" in found[1]]


def test_what_one_method_alone_uses_lies_beside_it():
    def family(path: Path) -> str:
        module = module_of(path)
        return ".".join(module.split(".")[:3]) if module.startswith(("xaicli.methods.", "xaicli.metrics.")) else "xaicli"

    for path in SOURCES:
        module = module_of(path)
        if room(module) in ("network", "passes", "scoring") and path.name != "__init__.py":
            users = {family(other) for other in SOURCES for _, name in imports(other) if name.startswith(f"{module}.")}
            assert "xaicli" in users or len(users) > 1, f"{path.relative_to(ROOT)} serves {users} alone"


def test_the_mapping_lists_every_package_folder():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    assert listed == {module_of(path) for path in SOURCES if path.name == "__init__.py"}
    assert listed == {module_of(path.parent / "__init__.py") for path in SOURCES}
    mapping = [line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines()]
    assert dict(mapping) == {"xaicli": "xaicli", "xaicli.methods": "methods", "xaicli.metrics": "metrics"}


def test_the_package_needs_no_tool_of_its_maintainers():
    assert not [at(path, *found) for path in SOURCES for found in imports(path) if found[1].split(".")[0] in OUTSIDE]


def test_a_file_is_named_after_its_subject():
    vague = ("utils", "util", "helpers", "helper", "common", "misc")
    assert not [path for path in PYTHON if path.stem in vague or not re.fullmatch(r"[a-z0-9_]+", path.stem)]


def test_no_two_classes_bear_one_name():
    named = [node.name for path in INSIDE for node in parsed(path).body if isinstance(node, ast.ClassDef)]
    assert not [name for name, count in Counter(named).items() if count > 1]


def test_no_two_files_bear_one_name_save_those_of_one_command():
    # A command's own files are called after it in each room: the line, the run, what it reads and writes.
    commands = {path.stem for path in SOURCES if room(module_of(path)) == "cli"}
    named = [path.stem for path in INSIDE if path.stem not in {"__init__", *commands}]
    assert not [name for name, count in Counter(named).items() if count > 1]


def test_a_file_says_what_it_is():
    assert not [path for path in PYTHON if not path.is_relative_to(ROOT / "tests") and not ast.get_docstring(parsed(path))]


def test_a_file_has_one_subject_and_so_fewer_than_500_lines():
    assert not [path for path in PYTHON if len(path.read_text().splitlines()) >= 500]


def test_no_file_knows_the_machine_it_was_written_on():
    home = re.compile("/(?:root|work|home|Users)/" + r"(?!someone/)\w|[A-Z]:\\Users\\" + "|/tmp/(?:venv|bash)")
    assert not list(matches(home, [*PYTHON, *TEXT]))


def test_nothing_is_marked_as_left_for_later():
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "Not" + "ImplementedError", "pragma: no " + "cover"]))
    assert not list(matches(marks, PYTHON))


def matches(pattern: re.Pattern[str], paths: list[Path]) -> Iterator[str]:
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if pattern.search(line):
                yield at(path, number, line.strip())


def test_tests_mirror_the_folders():
    rooms = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")}
    assert rooms - {"contract", "benchmarks", "docs", "tools", "torture"} <= {path.parent.name for path in SOURCES}


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


def test_explaining_a_photo_imports_neither_torchvision_nor_the_compiler_of_torch():
    code = """
import sys, xaicli
xaicli.explain("sample:hopper", "tiny", "grad-cam")
print(sorted({"torchvision", "torch._dynamo", "sympy", "triton"} & set(sys.modules)))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert told.stdout.strip() == "[]", told.stderr


def test_every_public_name_is_there_and_is_what_type_checkers_are_told():
    import xaicli

    assert xaicli.__version__
    for name in xaicli.__all__:
        assert getattr(xaicli, name) is not None
        assert name in dir(xaicli)
    with pytest.raises(AttributeError, match="no attribute 'explainn'"):
        _ = xaicli.explainn
    block = next(node for node in parsed(ROOT / "xaicli" / "__init__.py").body if isinstance(node, ast.If))
    told = {alias.name: statement.module for statement in block.body for alias in statement.names}
    assert told == xaicli.PLACES
