import csv

import pytest
import torch

from xaicli.errors import InputError
from xaicli.images.decode import decode
from xaicli.models.load import load_classifier

pytestmark = pytest.mark.real

PHOTOS = 6


def predictions(assets, column):
    """Photos spread over the classes, with the network's top-1 as another program found it."""
    with open(assets / "photos" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = rows[:: len(rows) // PHOTOS][:PHOTOS]
    return [(assets / "photos" / row["file"], int(row[column])) for row in chosen]


def decisions(classifier, photos):
    with torch.inference_mode():
        inputs = torch.stack([classifier.view.prepare(decode(path).image) for path, _ in photos])
        return classifier(inputs).argmax(dim=1).tolist()


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_0"])
def test_torchvision_s_networks_decide_as_they_did_elsewhere(assets, name):
    classifier = load_classifier(name, weights=assets / "weights" / f"{name}.safetensors")
    photos = predictions(assets, f"{name}_top1_224")
    assert decisions(classifier, photos) == [index for _, index in photos]
    assert classifier.name == f"torchvision:{name}@weights={name}.safetensors"
    assert classifier.class_name(386) == "African elephant"


def test_timm_s_transformer_decides_as_it_did_elsewhere(assets):
    name = "deit_tiny_patch16_224"
    weights = assets / "weights" / f"{name}.safetensors"
    classifier = load_classifier(f"timm:{name}", weights=weights, resize=256, interpolation="bilinear")
    photos = predictions(assets, f"{name}_top1_224")
    assert decisions(classifier, photos) == [index for _, index in photos]
    assert classifier.class_name(340) == "zebra"


def test_names_from_a_file_replace_the_weights_own(assets):
    weights, names = assets / "weights" / "squeezenet1_0.safetensors", assets / "classes" / "imagenet1k.csv"
    classifier = load_classifier("squeezenet1_0", weights=weights, classes=names)
    assert classifier.classes[0] == "tench, Tinca tinca"


def test_weights_of_another_architecture_are_told_by_their_keys(assets):
    words = r"squeezenet1_0\.safetensors does not fit mobilenet_v2: it has .* … \(52 keys\), wanted features"
    with pytest.raises(InputError, match=words):
        load_classifier("mobilenet_v2", weights=assets / "weights" / "squeezenet1_0.safetensors")
