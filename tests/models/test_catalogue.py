import pytest
import torchvision

from xaicli.models import checkpoint
from xaicli.models.catalogue import BUNDLED, CLIPS, DEFAULT, TORCHVISION, WAYS, list_models
from xaicli.models.load import SOURCES


def test_each_of_torchvision_s_classifiers_is_in_the_table():
    unlisted = set(torchvision.models.list_models(module=torchvision.models)) - set(TORCHVISION)
    assert not unlisted, "name them in the catalogue"
    assert set(CLIPS) == set(torchvision.models.list_models(module=torchvision.models.video))


def test_the_table_is_sorted_and_names_nothing_twice():
    assert list(TORCHVISION) == sorted(set(TORCHVISION))
    assert list(CLIPS) == sorted(set(CLIPS))


def test_without_a_pattern_all_models_are_listed_and_the_ways_to_name_others():
    bundled = [entry.spec for entry in BUNDLED]
    assert [entry.spec for entry in list_models()] == [*bundled, *TORCHVISION, *CLIPS, *(way.spec for way in WAYS)]


@pytest.mark.parametrize("name", [DEFAULT, *(entry.spec for entry in BUNDLED)])
def test_the_default_and_the_bundled_ones_ship_with_the_package_each_with_its_explainers(name):
    shipped = {path.name for path in checkpoint.BUNDLED.glob(f"{name}*.safetensors")}
    assert shipped >= {f"{name}{part}.safetensors" for part in ("", ".t-tame", ".p-tame")}


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_each_source_is_among_the_ways(source):
    assert any(way.spec.startswith(f"{source}:") for way in WAYS)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("squeeze", ["squeezenet1_0", "squeezenet1_1"]),
        ("SqueezeNet1-0", ["squeezenet1_0"]),
        ("swin_v2_*", ["swin_v2_b", "swin_v2_s", "swin_v2_t"]),
        ("vgg1?", ["vgg11", "vgg13", "vgg16", "vgg19"]),
        ("onnx", ["onnx:FILE"]),
        ("no such model", []),
    ],
)
def test_a_pattern_keeps_the_names_that_match(pattern, expected):
    assert [entry.spec for entry in list_models(pattern)] == expected
