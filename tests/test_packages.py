import importlib.metadata
import os
import subprocess
import sys

import pytest

import xaicli
from xaicli import packages, registry
from xaicli.errors import InputError
from xaicli.packages import broken_pair, require, version_of, versions, whole_installation
from xaicli.runs.doctor import examine_installation

NMS = "operator torchvision::nms does not exist"


def versions_are(monkeypatch, torch, torchvision, pin):
    known = {"torch": torch, "torchvision": torchvision}
    monkeypatch.setattr(packages, "version_of", known.get)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: [pin] if pin else None)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(NMS),
        AttributeError(
            "partially initialized module 'torchvision' has no attribute 'extension' (most likely due to a circular import)"
        ),
        RuntimeError("Couldn't load custom C++ ops. This can happen if your PyTorch and torchvision versions are incompatible"),
        ImportError("/site-packages/torchvision/_C.so: undefined symbol: _ZN3c10"),
    ],
)
def test_the_faces_of_a_pair_that_does_not_fit_are_known(error):
    found = broken_pair(error)
    assert isinstance(found, InputError)
    assert found.exit_code == 3
    assert "\n" not in str(found)


def test_it_is_known_behind_other_errors_too():
    outer, inner = ImportError("cannot import name 'X'"), RuntimeError(NMS)
    outer.__cause__ = inner
    assert broken_pair(outer) is not None
    inner.__context__ = outer
    assert broken_pair(RuntimeError("a circle of causes")) is None


def test_other_errors_are_not_taken_for_it():
    assert broken_pair(RuntimeError("size mismatch")) is None
    assert broken_pair(ImportError("No module named 'torchvision'")) is None


def test_of_two_versions_the_one_that_is_wanted_is_named(monkeypatch):
    versions_are(monkeypatch, "2.14.1", "0.29.2", "torch (==2.15.0)")
    assert str(broken_pair(RuntimeError(NMS))) == (
        "torchvision 0.29.2 does not fit torch 2.14.1 (torchvision::nms does not exist); "
        "expected torch 2.15.0, which torchvision 0.29.2 is built for. "
        "Install the two together, from where torch came: pip install --force-reinstall torch torchvision "
        "(for the CPU-only build with its --index-url, see the README)."
    )


def test_of_two_builds_of_fitting_versions_that_is_said(monkeypatch):
    versions_are(monkeypatch, "2.15.0+cpu", "0.29.2", "torch==2.15.0")
    assert "does not fit torch 2.15.0+cpu" in str(broken_pair(RuntimeError(NMS)))
    assert "expected both of one build (CPU-only or CUDA)" in str(broken_pair(RuntimeError(NMS)))


def test_inside_the_block_the_error_is_ours_and_others_pass():
    with pytest.raises(InputError, match="does not fit torch"), whole_installation():
        raise RuntimeError(NMS)
    with pytest.raises(RuntimeError, match="size mismatch"), whole_installation():
        raise RuntimeError("size mismatch")


def test_a_torchvision_that_breaks_at_import_is_one_line(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise RuntimeError({NMS!r})")
    code = (
        "from xaicli.models.load import load_classifier\n"
        "from xaicli.errors import XaiError\n"
        "for spec in ('resnet18', 'timm:resnet18', 'hf:a/b'):\n"
        "    try: load_classifier(spec, offline=True)\n"
        "    except XaiError as error: print(error.exit_code, error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("3 torchvision ") and "does not fit torch" in line for line in lines)
    assert done.stderr == ""


def test_a_method_that_reaches_torchvision_by_another_way_says_the_same(tmp_path, monkeypatch):
    (tmp_path / "reaching.py").write_text(f"raise RuntimeError({NMS!r})")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="does not fit torch"):
        registry.load(registry.METHODS, registry.Entry("reaching", "reaching:Reaching", "", "a plugin"))


def test_a_checkout_that_was_never_installed_has_a_version_in_words(monkeypatch):
    def version(name):
        if name == "xaicli":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", version)
    versions.cache_clear()
    try:
        assert xaicli.__version__ == versions()["xaicli"] == "checkout"
        assert [one.text for one in examine_installation() if one.what == "xaicli"] == ["checkout"]
    finally:
        versions.cache_clear()


def test_versions_are_told_without_importing_anything():
    code = "import sys; from xaicli.packages import versions; v = versions()\nprint('torch' in v, 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True False\n"


def test_packages_that_are_absent_have_no_version():
    assert version_of("no-such-package-as-this") is None
    assert versions()["numpy"] == importlib.metadata.version("numpy")


def test_an_optional_package_that_is_absent_names_its_extra():
    with pytest.raises(InputError, match=r'no_such_package is not installed\. Type: pip install "xaicli\[some\]"'):
        require("no_such_package", "some")


def test_an_optional_package_that_breaks_at_import_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_package_of_ours.py").write_text("import another_that_is_absent")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        InputError, match=r"broken_package_of_ours .*cannot be imported: No module named 'another_that_is_absent'"
    ):
        require("broken_package_of_ours", "some")


def test_a_package_that_is_here_is_given():
    assert require("json", "some").loads("[1]") == [1]
