import sys

import pytest
import torch
from torch import nn

from xaicli.errors import InputError, RunError, UsageError
from xaicli.images.view import View
from xaicli.models.load import load_classifier
from xaicli.outputs import Outputs

NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

class Net(nn.Sequential):
    def __init__(self, classes=3):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))
"""
POOL = "from torch import nn\npool = nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"


@pytest.fixture
def write(tmp_path):
    def written(text, name="model.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return written


def test_a_function_s_module_gets_the_usual_view_and_the_user_is_told_that_code_runs(write, notices):
    path = write(NET)
    classifier = load_classifier(f"{path}:build", notice=notices.append)
    assert (classifier.count, classifier.name, classifier.view) == (5, "model.py:build", View(256, 224, "bilinear"))
    assert notices == [f"running your code from {path.name}"]
    assert not classifier.torch_module.training


def test_a_class_without_arguments_is_as_good_as_a_function(write):
    assert load_classifier(f"{write(NET)}:Net").count == 3


def test_a_module_that_stands_in_the_file_is_taken_as_it_is(write):
    assert load_classifier(f"{write(NET + 'net = build()')}:net").count == 5


def test_a_path_from_the_current_folder_and_one_from_home_are_found(write, tmp_path, monkeypatch):
    write(NET)
    monkeypatch.chdir(tmp_path)
    assert load_classifier("model.py:build").count == 5
    assert load_classifier("./model.py:build").count == 5
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_classifier("~/model.py:build").count == 5


def test_a_classifier_that_the_function_makes_keeps_its_view_names_and_layer(write):
    path = write(
        NET
        + """
from xaicli.models.from_module import classifier

def tuned():
    return classifier(build(), resize=40, crop=32, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2),
                      classes=["a", "b", "c", "d", "e"], layer="0")
"""
    )
    made = load_classifier(f"{path}:tuned")
    assert made.view == View(40, 32, "bilinear", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert (made.classes, made.layer, made.name) == (("a", "b", "c", "d", "e"), "0", "model.py:tuned")
    assert load_classifier(f"{path}:tuned", crop=24).view.size == (24, 24)


def test_weights_from_a_file_go_into_the_network(write, tmp_path):
    path = write(NET)
    model = load_classifier(f"{path}:build").torch_module
    state = {name: torch.ones_like(tensor) for name, tensor in model.state_dict().items()}
    torch.save(state, tmp_path / "net.pth")
    classifier = load_classifier(f"{path}:build", weights=tmp_path / "net.pth")
    assert bool((classifier.torch_module.state_dict()["0.weight"] == 1).all())
    assert classifier.name == "model.py:build@weights=net.pth"
    torch.save({"other": torch.ones(1)}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"net\.pth does not fit model\.py:build"):
        load_classifier(f"{path}:build", weights=tmp_path / "net.pth")


def test_the_file_s_own_folder_is_importable_meanwhile_and_nothing_of_it_stays(write, tmp_path):
    write("from torch import nn\nhead = nn.Linear(3, 4)", "parts.py")
    path = write(POOL + "def build():\n    import parts\n    return nn.Sequential(*pool, parts.head)")
    before = list(sys.path)
    assert load_classifier(f"{path}:build").count == 4
    assert sys.path == before
    assert "parts" not in sys.modules


def test_two_models_whose_folders_hold_files_of_one_name_keep_their_own(write):
    paths = []
    for folder, classes in (("a", 4), ("b", 6)):
        write(f"classes = {classes}", f"{folder}/parts.py")
        text = POOL + "import parts\ndef build():\n    return nn.Sequential(*pool, nn.Linear(3, parts.classes))"
        paths.append(write(text, f"{folder}/model.py"))
    assert [load_classifier(f"{path}:build").count for path in paths] == [4, 6]


def test_the_import_path_is_restored_when_the_code_fails(write):
    before = list(sys.path)
    with pytest.raises(RunError):
        load_classifier(f"{write('raise ValueError')}:build")
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\nraise ValueError('no\\nweights')\ndef build(): pass", r"model\.py:2 raised ValueError: no weights\."),
        ("def build():\n    return undefined", r"model\.py:2 raised NameError: name 'undefined' is not defined"),
        (
            "import nothing_of_this_name\ndef build(): pass",
            r"model\.py:1 raised ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        ("def build(:\n    pass", r"model\.py:1 raised SyntaxError"),
        ("import sys\ndef build():\n    sys.exit('bye')", r"model\.py:3 raised SystemExit: bye"),
        ("import torch\ndef build():\n    return torch.zeros(2) @ torch.zeros(3)", r"model\.py:3 raised RuntimeError"),
    ],
)
def test_what_the_user_s_code_raises_is_one_line_with_its_place(write, text, line):
    with pytest.raises(RunError, match=line) as caught:
        load_classifier(f"{write(text)}:build")
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


def test_ctrl_c_in_the_user_s_code_is_ctrl_c(write):
    with pytest.raises(KeyboardInterrupt):
        load_classifier(f"{write('raise KeyboardInterrupt')}:build")


def test_an_error_of_ours_raised_in_the_user_s_code_passes_as_it_is(write):
    path = write(NET + "from xaicli.models.from_module import classifier\ndef bad():\n    return classifier(build(), crop=0)")
    with pytest.raises(UsageError, match="crop 0 is not a size"):
        load_classifier(f"{path}:bad")


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            "def build(): return {'net': 1}",
            InputError,
            r"model\.py:build returned a dict; expected a torch module, or xaicli\.classifier",
        ),
        ("def build(): return None", InputError, "returned None; expected"),
        ("def build(): return dict", InputError, r"Return an instance, such as dict\(\)\."),
        ("def build(): return len", InputError, "Call the function in the forward of a torch module"),
        ("build = 3", InputError, r"model\.py:build is an int"),
        ("def build(classes): return 1", InputError, r"cannot be called without arguments .*'classes'.*Give them defaults"),
        ("def biuld(): return 1", UsageError, r"model\.py has no function build; expected biuld\. Did you mean biuld\?"),
    ],
)
def test_what_is_no_network_is_refused(write, text, kind, words):
    with pytest.raises(kind, match=words):
        load_classifier(f"{write(text)}:build")


def test_a_file_without_a_function_is_refused_with_one_of_its_own(write):
    path = write("raise SystemExit('must not run')\ndef _hidden(): pass\ndef build(): pass")
    for spec in (str(path), f"{path}:", f"{path}:not a name"):
        with pytest.raises(UsageError, match=r"names no function or class; expected .*model\.py:NAME. Write .*model\.py:build\."):
            load_classifier(spec)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*absent\.py"):
        load_classifier(f"{tmp_path}/absent.py:build")


def test_without_trust_the_code_does_not_run(write):
    path = write("raise SystemExit('must not run')\ndef build(): pass")
    with pytest.raises(UsageError, match=r"would run the code in model\.py\. Where you trust it, add --trust"):
        load_classifier(f"{path}:build", trust=False)


def test_a_class_of_the_user_s_file_can_be_found_by_its_module_name(write):
    model = load_classifier(f"{write(NET)}:Net").torch_module
    assert getattr(sys.modules[type(model).__module__], "Net") is type(model)  # noqa: B009


def test_the_module_is_the_one_the_function_made_and_its_requires_grad_is_untouched(write):
    path = write(NET + "def frozen():\n    return build().requires_grad_(False)")
    assert not any(p.requires_grad for p in load_classifier(f"{path}:frozen").torch_module.parameters())
    assert all(p.requires_grad for p in load_classifier(f"{path}:build").torch_module.parameters())
    assert isinstance(load_classifier(f"{path}:build").torch_module, nn.Sequential)


MADE_READY = """
import torch, xaicli
from torch import nn

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 4, 3)

    def forward(self, inputs):
        means = self.net(inputs).mean(dim=(2, 3))
        return means, 2 * means

def one():
    return xaicli.classifier(nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), resize=None, crop=16)

def pair():
    return xaicli.classifier(Pair(), resize=None, crop=16)

def sure():
    net = nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made = xaicli.classifier(net, outputs="sigmoid", resize=None, crop=16)
    assert made.outputs.value == "sigmoid"
    return made
"""


def test_what_the_command_line_says_of_the_outputs_holds_while_the_file_makes_its_classifier(write):
    path = write(MADE_READY)
    with pytest.raises(InputError, match=r"one output, but nothing says what it means; expected --outputs sigmoid"):
        load_classifier(f"{path}:one")
    assert load_classifier(f"{path}:one", outputs="sigmoid").outputs is Outputs.SIGMOID
    assert load_classifier(f"{path}:one", outputs="values").outputs is Outputs.VALUES
    with pytest.raises(UsageError, match=r"Say which output it is: --output-name NAME, of 0 \(2, 4\), 1 \(2, 4\)"):
        load_classifier(f"{path}:pair")
    inputs = torch.rand(2, 3, 16, 16)
    made = load_classifier(f"{path}:pair", output_name="1")
    assert torch.equal(made(inputs), made.torch_module(inputs)[1])
    # What the file itself says counts there; the command line overrides it afterwards.
    assert load_classifier(f"{path}:sure", outputs="values").outputs is Outputs.VALUES
    with pytest.raises(InputError, match="nothing says what it means"):
        load_classifier(f"{path}:one")
