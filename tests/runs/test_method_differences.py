"""In what a method differs from what it was: words for people, and the end of a run."""

import pytest

from xaicli.errors import RunError
from xaicli.method import content_on
from xaicli.registry import make_method
from xaicli.runs.method_differences import moved_parameters, require_same


def content(spec, classifier):
    return content_on(make_method(spec), classifier)


def moved(old, new, classifier):
    return moved_parameters(content(old, classifier)["parameters"], content(new, classifier)["parameters"])


def test_of_a_base_only_what_differs_in_it_is_named(tiny_cnn, classifier_of):
    model = classifier_of(tiny_cnn)
    sharpened = "feature-cam@sigma={}@base=ucag@slices={}@base=grad-cam@layer={}".format
    assert moved(sharpened(1, 3, "auto"), sharpened(1, 3, "auto"), model) == []
    assert moved(sharpened(1, 3, "auto"), sharpened(2, 4, "x"), model) == [
        "base ucag: base grad-cam: layer auto there, x here",
        "base ucag: slices 3 there, 4 here",
        "sigma 1.0 there, 2.0 here",
    ]
    assert moved("feature-cam", "feature-cam@base=layer-cam", model) == ["base grad-cam there, layer-cam here"]
    old = {"base": {"name": "grad-cam", "version": 1, "parameters": {}}}
    new = {"base": {"name": "grad-cam", "version": 2, "parameters": {}}, "hed": "x"}
    assert moved_parameters(old, new) == ["version of base 1 there, 2 here", "hed absent there, x here"]


def test_a_method_that_is_another_ends_the_run(tiny_cnn, classifier_of):
    model, method = classifier_of(tiny_cnn), make_method("grad-cam")
    require_same(method, model, content("grad-cam", model), "when the run began")
    with pytest.raises(RunError, match="grad-cam is another than when the run began: layer x there, auto here"):
        require_same(method, model, content("grad-cam@layer=x", model), "when the run began")
    with pytest.raises(RunError, match="its version or its code"):
        require_same(method, model, content("grad-cam", model) | {"version": 0}, "when the run began")
