"""Methods and metrics by name: the built-in table, plugins, and what a broken plugin may not do."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

from xaicli.cli.main import cli
from xaicli.containment import apart
from xaicli.errors import InputError, RunError, UsageError
from xaicli.grammar import parse_specs
from xaicli.method import Method, Needs
from xaicli.metric import Metric
from xaicli.params import Definition, Spec, fold, parameters
from xaicli.registry import (
    METHODS,
    METRICS,
    Kind,
    definition_class,
    describe,
    entries,
    find,
    load,
    make,
    make_method,
    make_methods,
)
from xaicli.suitability import refuse_unmet, require_fit

ROOT = Path(__file__).resolve().parents[1]
BUILTIN = [(kind, entry) for kind in (METHODS, METRICS) for entry in entries(kind) if entry.origin == "built in"]
EACH_BUILTIN = pytest.mark.parametrize(("kind", "entry"), [pytest.param(k, e, id=f"{k.word}-{e.name}") for k, e in BUILTIN])
FOLDERS = [(METHODS, "methods", Method), (METRICS, "metrics", Metric)]
EACH_FILE = pytest.mark.parametrize(
    ("kind", "path", "base"),
    [
        pytest.param(kind, path, base, id=f"{folder}/{path.name}")
        for kind, folder, base in FOLDERS
        for path in sorted((ROOT / folder).glob("*.py"))
        if path.name != "__init__.py"
    ],
)

PLUGIN = (Path(__file__).parent / "data" / "brightness.py").read_text()
NAME = 'name = "brightness"'


def plugins(kind: Kind, *, check: bool = False):
    return [entry for entry in entries(kind, check=check) if entry.origin != "built in"]


# The table against the classes


@EACH_BUILTIN
def test_a_line_of_the_table_says_what_its_class_says(kind, entry):
    cls = load(kind, entry)
    assert (entry.name, entry.aliases, entry.summary) == (cls.name, cls.aliases, cls.summary())


@EACH_BUILTIN
def test_a_built_in_class_documents_itself_and_its_parameters(kind, entry):
    cls = load(kind, entry)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(\+\+)?", cls.name)
    assert 10 <= len(cls.summary()) <= 120
    assert isinstance(cls.version, int)
    for row in describe(cls):
        assert row["help"], f"{cls.name}: {row['name']} has no help"
        assert row["type"]
        assert row["default"] == "" or row["default"].isprintable()


@EACH_BUILTIN
def test_a_built_in_class_says_how_it_is_defined_and_ends_in_a_command_that_can_be_typed(kind, entry):
    *told, last = (inspect.getdoc(load(kind, entry)) or "").split("\n\n")
    words = shlex.split(last.strip("`"))
    assert words[0] == "xai"
    context = cli.get_command(click.Context(cli), words[1]).make_context(words[1], words[2:])
    assert entry.name in {make(kind, spec).name for text in context.params[kind.word] for spec in parse_specs(text)}
    assert re.search(r"`[^`]+`", " ".join(told)), f"{entry.name}: no formula"


@EACH_BUILTIN
def test_a_built_in_class_stands_with_its_defaults_and_is_then_called_by_its_name_alone(kind, entry):
    made = make(kind, Spec(entry.name))
    assert made.label == entry.name
    assert made == type(made)()


@EACH_BUILTIN
def test_only_a_parameter_called_base_holds_another_definition(kind, entry):
    for parameter in parameters(load(kind, entry)):
        typed = isinstance(parameter.kind, type) and issubclass(parameter.kind, Definition)
        assert (typed or isinstance(parameter.default, Definition)) == (parameter.name == "base")


@EACH_FILE
def test_every_class_of_a_file_is_in_the_table(kind, path, base):
    module = importlib.import_module(f"xaicli.{path.parent.name}.{path.stem}")
    own = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    named = {f"{path.stem}:{cls.__name__}" for cls in own if issubclass(cls, base) and "name" in vars(cls)}
    listed = {row.target for row in kind.table.values() if row.target.partition(":")[0] == path.stem}
    # A file without a name of its own is a part that several share, such as a base class.
    assert named == listed, f"{path} has no line in builtin.py"


@pytest.mark.parametrize("kind", [METHODS, METRICS], ids=lambda kind: kind.word)
def test_names_and_aliases_are_unique_when_folded(kind):
    folded = [fold(name) for entry in entries(kind) for name in (entry.name, *entry.aliases)]
    assert sorted(folded) == sorted(set(folded))


def test_listing_imports_neither_torch_nor_any_method_or_metric():
    code = """
        import sys
        from xaicli.registry import METHODS, METRICS, entries
        listed = entries(METHODS) + entries(METRICS)
        heavy = [name for name in sys.modules if name.split(".")[0] in ("torch", "torchvision", "captum", "numpy", "scipy")]
        assert not heavy, heavy
        assert not [name for name in sys.modules if name.startswith(("xaicli.methods.", "xaicli.metrics."))]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


# Names


def test_names_are_found_ignoring_case_dashes_and_underscores(install):
    install(PLUGIN, {"bright-ness": "xai_brightness:Brightness"})
    for spelling in ("bright-ness", "BrightNess", "bright_ness", "BRIGHTNESS"):
        assert find(METHODS, spelling).name == "bright-ness"


def test_an_unknown_name_gets_the_nearest(install):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    with pytest.raises(UsageError) as caught:
        find(METHODS, "brihgtness")
    assert str(caught.value) == 'no method "brihgtness". Did you mean brightness? (xai list methods)'


def test_an_unknown_name_with_none_near_says_where_to_look():
    with pytest.raises(UsageError, match=r'no metric "q9z"\. \(xai list metrics\)'):
        find(METRICS, "q9z")


# Plugins


def test_a_plugin_is_listed_with_its_origin_without_being_imported(install):
    install("raise RuntimeError", {"brightness": "xai_brightness:Brightness"})
    (entry,) = plugins(METHODS)
    assert (entry.name, entry.origin, entry.fault) == ("brightness", "xai-brightness 1.2", "")
    assert entry.summary == "Explains by brightness"
    assert "xai_brightness" not in sys.modules


def test_a_plugin_is_made_from_its_specification(install):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    made = make_method("Brightness@GAIN=2")
    assert isinstance(made, Method)
    assert made.label == "brightness@gain=2"
    assert plugins(METHODS, check=True)[0].fault == ""


def test_a_plugin_may_be_installed_under_an_alias_too(install):
    code = PLUGIN.replace('name = "brightness"', 'name = "brightness"\n    aliases = ("luma",)')
    install(code, {"brightness": "xai_brightness:Brightness", "luma": "xai_brightness:Brightness"})
    assert make_method("luma") == make_method("brightness")
    assert make_method("luma").label == "brightness"


BROKEN = {
    "raises": ("raise ValueError('no licence')", "xai_brightness:Brightness", "ValueError: no licence"),
    "exits": ("raise SystemExit(3)", "xai_brightness:Brightness", "SystemExit: 3"),
    "imports what is not there": ("import a_module_that_is_not_there", "xai_brightness:Brightness", "a_module_that_is_not_there"),
    "does not parse": ("def", "xai_brightness:Brightness", "SyntaxError"),
    "has no module": (None, "xai_brightness:Brightness", "No module named 'xai_brightness'"),
    "lacks the class": ("x = 1", "xai_brightness:Brightness", "has no attribute 'Brightness'"),
    "names no class": (PLUGIN, "xai_brightness", "when it was imported"),
    "is a function": ("def Brightness(): pass", "xai_brightness:Brightness", "is no method"),
    "is another class": ("class Brightness: name = 'brightness'", "xai_brightness:Brightness", "is no method"),
    "is a metric": (
        "from xaicli.metric import Metric\nclass Brightness(Metric):\n name = 'brightness'",
        "xai_brightness:Brightness",
        "is no method",
    ),
    "has another name": (PLUGIN.replace(NAME, 'name = "darkness"'), "xai_brightness:Brightness", "calls itself 'darkness'"),
    "has no name": (PLUGIN.replace(NAME, ""), "xai_brightness:Brightness", "has no name"),
    "has a name that is no text": (PLUGIN.replace(NAME, "name = 5"), "xai_brightness:Brightness", "calls itself 5"),
    "has a parameter of an unknown kind": (PLUGIN.replace("float", "'Nowhere'"), "xai_brightness:Brightness", "Nowhere"),
    "explains nothing": (PLUGIN.replace("def attribute", "def attributes"), "xai_brightness:Brightness", "has no attribute"),
    "declares no cost": (PLUGIN.replace("def cost", "def costs"), "xai_brightness:Brightness", "has no cost"),
    "declares no sign": (PLUGIN.replace("sign =", "signs ="), "xai_brightness:Brightness", "has no sign"),
    "declares a sign in words": (PLUGIN.replace("Sign.SIGNED", "'signed'"), "xai_brightness:Brightness", "has sign = 'signed'"),
    "is no dataclass": (PLUGIN.replace("@dataclass", "# "), "xai_brightness:Brightness", "has gain, but is no dataclass"),
}


@pytest.mark.parametrize(("code", "target", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_listed_with_its_fault_and_stops_nobody(install, code, target, fault):
    install(code, {"brightness": target})
    install(PLUGIN.replace("brightness", "contrast"), {"contrast": "xai_other:Brightness"}, name="xai-other")
    faults = {entry.name: entry.fault for entry in plugins(METHODS, check=True)}
    assert fault in faults["brightness"]
    assert "\n" not in faults["brightness"]
    assert faults["contrast"] == ""
    assert make_method("contrast").label == "contrast"
    with pytest.raises(RunError, match="brightness") as caught:
        make_method("brightness")
    assert caught.value.exit_code == 5


def test_ctrl_c_while_a_plugin_is_imported_is_no_fault_of_the_plugin(install):
    install("raise KeyboardInterrupt", {"brightness": "xai_brightness:Brightness"})
    with pytest.raises(KeyboardInterrupt):
        make_method("brightness")


def test_what_a_plugin_prints_at_import_does_not_reach_a_command_s_stdout(install, capfd):
    install("print('hello')\n" + PLUGIN, {"brightness": "xai_brightness:Brightness"})
    with apart():
        make_method("brightness")
    assert capfd.readouterr() == ("", "hello\n")


@pytest.mark.skipif(not METHODS.table, reason="no built-in methods")
def test_a_plugin_cannot_take_the_name_of_a_built_in_method(install):
    taken = [name for entry in entries(METHODS) for name in (entry.name, *entry.aliases)][:3]
    install(PLUGIN, {name.upper(): "xai_brightness:Brightness" for name in taken})
    assert all("is taken by" in entry.fault for entry in plugins(METHODS))
    for name in taken:
        assert find(METHODS, name).origin == "built in"


def test_of_two_plugins_of_one_name_the_first_in_order_is_used_and_the_other_named(install):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    install(PLUGIN.replace("name = ", "version = 9\n    name = "), {"brightness": "xai_other:Brightness"}, name="xai-other")
    first, second = plugins(METHODS)
    assert (first.origin, first.fault) == ("xai-brightness 1.2", "")
    assert (second.origin, second.fault) == ("xai-other 1.2", "the name is taken by brightness (xai-brightness 1.2)")
    assert make_method("brightness").version == 1


@pytest.mark.parametrize("metadata", [None, "", "nonsense", "Metadata-Version: 2.1\nName: xai-brightness\n"])
def test_a_distribution_with_damaged_metadata_stops_nobody(install, metadata):
    site = install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    file = site / "xai_brightness-1.2.dist-info" / "METADATA"
    file.unlink() if metadata is None else file.write_text(metadata)
    importlib.invalidate_caches()
    (entry,) = plugins(METHODS, check=True)
    assert entry.fault == ""
    assert entry.origin
    assert make_method("brightness").label == "brightness"


@pytest.mark.parametrize(
    "points", ["[xaicli.methods\nx", "[xaicli.methods]\nx", "[xaicli.methods]\n= y", "[xaicli.methods]\nx = :", "\0"]
)
def test_a_distribution_with_damaged_entry_points_stops_nobody(install, points):
    site = install(PLUGIN, {})
    (site / "xai_brightness-1.2.dist-info" / "entry_points.txt").write_text(points)
    install(PLUGIN, {"brightness": "xai_other:Brightness"}, name="xai-other")
    assert make_method("brightness").label == "brightness"
    entries(METHODS, check=True)


def test_a_plugin_that_fails_on_its_parameters_is_named(install):
    code = PLUGIN + "\n    def __post_init__(self):\n        raise ZeroDivisionError('gain')\n"
    install(code, {"brightness": "xai_brightness:Brightness"})
    with pytest.raises(RunError, match="brightness, given its parameters, raised ZeroDivisionError: gain"):
        make_method("brightness")


# Specifications


def test_a_comma_separated_list_is_made_in_order_and_a_repetition_is_refused(install):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    made = make_methods(["brightness,brightness@gain=2", "brightness@gain=3"])
    assert [method.label for method in made] == ["brightness", "brightness@gain=2", "brightness@gain=3"]
    with pytest.raises(UsageError, match="brightness is named twice"):
        make_methods(["brightness", "brightness@gain=1.0"])


def test_what_is_no_parameter_is_refused(install):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    with pytest.raises(UsageError, match="key=value"):
        make_method("brightness@IMAGENET1K_V1")
    with pytest.raises(UsageError, match="takes no base"):
        make_method("brightness@base=brightness")


def test_unmet_needs_are_refused_in_words_with_the_methods_that_would_run(install):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    code = PLUGIN.replace('"brightness"', '"slope"').replace("Needs.FORWARD", "Needs.GRADIENTS | Needs.FEATURES")
    install(code, {"slope": "xai_slope:Brightness"}, name="xai-slope")
    install("raise SystemExit", {"broken": "xai_broken:Broken"}, name="xai-broken")
    refuse_unmet(make_method("slope"), Needs.FORWARD | Needs.GRADIENTS | Needs.FEATURES, "net")
    with pytest.raises(UsageError, match="slope needs gradients, features, but onnx:net has none") as caught:
        refuse_unmet(make_method("slope"), Needs.FORWARD, "onnx:net")
    assert caught.value.hint.startswith("Methods whose needs it meets: ")
    assert "brightness" in caught.value.hint
    assert "slope" not in caught.value.hint
    with pytest.raises(UsageError, match="brightness needs forward"):
        refuse_unmet(make_method("brightness"), Needs(0), "onnx:net")


def test_needs_may_depend_on_the_parameters(install):
    by_gain = "@property\n    def needs(self):\n        return Needs.GRADIENTS if self.gain > 1 else Needs.FORWARD\n"
    code = PLUGIN.replace("needs = Needs.FORWARD", by_gain)
    install(code, {"brightness": "xai_brightness:Brightness"})
    refuse_unmet(make_method("brightness"), Needs.FORWARD, "net")
    with pytest.raises(UsageError, match="needs gradients") as caught:
        refuse_unmet(make_method("brightness@gain=2"), Needs.FORWARD, "net")
    assert "brightness" in caught.value.hint


def test_a_checkpoint_is_the_methods_to_find_before_any_work(install, tiny_cnn, classifier_of):
    code = PLUGIN.replace("needs = Needs.FORWARD", "needs = Needs.FORWARD | Needs.CHECKPOINT")
    code += "\n    def require(self, classifier):\n        raise InputError(f'no checkpoint for {classifier.name}')\n"
    install(f"from xaicli.errors import InputError\n{code}", {"brightness": "xai_brightness:Brightness"})
    refuse_unmet(make_method("brightness"), Needs.FORWARD, "net")
    with pytest.raises(InputError, match="no checkpoint for TinyCNN"):
        require_fit(make_method("brightness"), classifier_of(tiny_cnn))


def test_a_class_describes_its_parameters_in_text(install):
    install(PLUGIN, {"brightness": "xai_brightness:Brightness"})
    rows = describe(definition_class(METHODS, "brightness"))
    assert rows == [{"name": "gain", "type": "number", "default": "1", "range": "above 0", "help": "factor"}]


def test_a_parameter_of_the_metric_inside_says_how_it_is_typed() -> None:
    with pytest.raises(UsageError) as refusal:
        make_method("bee@metric=insertion@steps=14")
    typed = refusal.value.expected
    assert typed == r"metric=insertion\@steps=14"
    assert make_method(f"bee@{typed}").label == rf"bee@{typed}"
    with pytest.raises(UsageError, match="xai describe bee"):
        make_method("bee@metric=insertion@stepz=14")
