"""A gate speaks of what the model's outputs are: probabilities, values, regions, boxes, and names of classes that move."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xaicli.errors import UsageError
from xaicli.gate import pictures
from xaicli.gate.baseline_file import load, save
from xaicli.gate.check_page import page
from xaicli.gate.rules import Rule, check_outputs
from xaicli.outputs import Outputs

MODELS = """

NAMES = ["ant", "bee", "cow", "dog"]


def values():
    return make(outputs="values")


def named():
    return make(classes=NAMES)


def in_another_order():
    return make(classes=NAMES[::-1])


def with_other_names():
    return make(classes=["an ant", *NAMES[1:]])


class Dense(Net):
    def forward(self, x):
        return nn.functional.conv2d(self.late(self.features(x)), self.head.weight[:, :, None, None], self.head.bias)


def dense(seed=1):
    model = Dense(4)
    model.load_state_dict(net(seed).state_dict())
    return xaicli.classifier(model, resize=32, crop=32, layer="features")


def other_dense():
    return dense(2)
"""


@pytest.fixture
def models(room):
    path = room.folder / "net.py"
    path.write_text(path.read_text() + MODELS)
    return room


def verdict(outcome, what):
    (found,) = (one for one in outcome.verdicts if one.what == what)
    return found


def moved(baseline, by=0.25):
    """The baseline as it would be if the numbers of all targets had been lower."""
    photos = [
        dataclasses.replace(photo, probability=photo.probability - by - 0.01 * at) for at, photo in enumerate(baseline.photos)
    ]
    return dataclasses.replace(baseline, photos=tuple(photos))


def test_values_are_called_values_and_decide_on_nothing(models):
    models.suite(target="1")
    outcome = models.check(moved(models.baseline(model="values")), model="values")
    found = verdict(outcome, "value")
    assert (found.state, found.metric) == ("note", "p0")
    assert "in the value of the baseline's output" in found.text
    assert not {"decisions", "p0"} & {one.what for one in outcome.verdicts}
    written = page(models.bench(model="values"), outcome, [])
    assert "probability" not in written


def test_values_have_no_range_and_no_decisions_to_bound():
    check_outputs([Rule("p0", at_least=40.0)], Outputs.VALUES)
    with pytest.raises(UsageError, match="the model gives values, which decide on nothing"):
        check_outputs([Rule("decisions", at_most=0.1)], Outputs.VALUES)
    with pytest.raises(UsageError, match="at-least = 40; expected 0 to 1"):
        check_outputs([Rule("p0", at_least=40.0)], Outputs.SOFTMAX)


def test_a_region_s_number_is_named_as_such(models):
    outcome = models.check(moved(models.baseline(model="dense")), model="dense")
    assert "in the mean probability of the baseline's class over its region" in verdict(outcome, "p0").text


def test_pictures_show_the_region_before_and_now(models, tmp_path, monkeypatch):
    models.suite(target="top1@region=predicted", methods=["hirescam"])
    baseline = models.baseline(model="dense")
    save(baseline, tmp_path / "kept")
    outcome = models.check(load(tmp_path / "kept"), model="other_dense")
    first, now = outcome.baseline.photos[0].region, outcome.now[0].region
    assert first.dtype == bool
    assert first.any()
    np.testing.assert_array_equal(first, baseline.photos[0].region)
    assert not np.array_equal(first, now)
    drawn = []
    monkeypatch.setattr(pictures, "sheet", lambda rows, *args, **settings: drawn.extend(rows))
    pictures.draw(models.bench(model="other_dense"), outcome, 0, "hirescam")
    shown = {name: [mark.region for mark in cell.marks] for name, cell in drawn[0].cells.items()}
    for name, region in {"before": first, "after": now, "difference": now}.items():
        np.testing.assert_array_equal(shown[name][0], region)


def test_boxes_are_kept_and_drawn(models, tmp_path):
    baseline = models.baseline()
    box = {"corners": (1.0, 2.0, 9.0, 8.0), "label": "dog", "score": 0.9}
    photos = (dataclasses.replace(baseline.photos[0], box=box), *baseline.photos[1:])
    save(dataclasses.replace(baseline, photos=photos), tmp_path / "kept")
    (mark,) = load(tmp_path / "kept").photos[0].marks((32, 32))
    assert (mark.corners, mark.label) == ((1.0, 2.0, 9.0, 8.0), "dog 0.90")


def test_classes_in_another_order_fail_and_are_named(models, tmp_path):
    models.suite(target="1")
    baseline = models.baseline(model="named")
    save(baseline, tmp_path / "kept")
    assert load(tmp_path / "kept").classes == baseline.classes
    found = verdict(models.check(load(tmp_path / "kept"), model="in_another_order"), "classes")
    assert found.failed
    assert "stand in another order: class" in found.text
    assert "class 1 is bee at the baseline, cow now" in found.text or "ant at the baseline, dog now" in found.text


def test_new_names_in_the_same_places_are_a_note(models):
    models.suite(target="0")
    found = verdict(models.check(models.baseline(model="named"), model="with_other_names"), "classes")
    assert (found.state, found.text.partition(":")[0]) == ("note", "class 0 is ant at the baseline, an ant now")


def test_another_photo_to_compare_with_is_named(models):
    models.suite(target="similar:photos/0.png")
    baseline = models.baseline()
    (models.folder / "photos" / "reference.png").write_bytes((models.folder / "photos" / "1.png").read_bytes())
    (models.folder / "photos" / "0.png").replace(models.folder / "0.png")
    models.suite(target="similar:reference.png", images=["photos/", "0.png"])
    (models.folder / "photos" / "reference.png").replace(models.folder / "reference.png")
    changed = dataclasses.replace(baseline, target_rule=models.bench().targets.text)
    found = verdict(models.check(changed), "model")
    assert "the photo that the target compares with is part of it, and changed: 0.png~" in found.text
