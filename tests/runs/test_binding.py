"""Targets that are fixed on the clean photo, and models whose outputs are labels or values, from photo to scores."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from command_line import CommandLine
from PIL import Image
from torch import nn

import xaicli
from xaicli.errors import UsageError
from xaicli.metric import Metric
from xaicli.registry import make_method, make_metric
from xaicli.rows import Recipe
from xaicli.runs.target_choice import choose_targets
from xaicli.scoring.explanation import Explainer
from xaicli.scoring.scoring import refuse_unfit


class Colours(nn.Module):
    """Three outputs: 8 (mean red - 0.5), 8 (mean green - 0.5), 8 (mean blue - 0.5) of the photo."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.features.weight.copy_(8 * torch.eye(3)[:, :, None, None])
            self.features.bias.fill_(-4)

    def forward(self, inputs):
        return self.features(inputs).mean(dim=(2, 3))


def model(outputs, **given):
    view = {"resize": None, "crop": 16, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return xaicli.classifier(Colours(), outputs=outputs, classes=["red", "green", "blue"], **view, **given)


def photo(*colour):
    return Image.fromarray(np.full((16, 16, 3), colour, dtype=np.uint8) + np.arange(16, dtype=np.uint8)[:, None, None])


def test_positive_explains_every_label_above_one_half():
    explained = xaicli.explain(photo(200, 220, 10), model("sigmoid"), method="grad-cam@layer=features", target="positive")
    assert [one.record.target_name for one in explained] == ["red", "green"]
    for one, level in zip(explained, (200, 220), strict=True):
        expected = torch.sigmoid(torch.tensor(8 * ((level + 7.5) / 255 - 0.5)))
        assert one.record.target_probability == pytest.approx(float(expected), abs=1e-5)


def test_the_table_tells_several_targets_apart_and_is_plain_for_the_decision():
    words = {"images": photo(200, 220, 10), "classifier": model("sigmoid"), "method": "grad-cam@layer=features"}
    header, *rows = [line.split() for line in str(xaicli.explain(**words, target="positive")).splitlines()]
    assert header == ["image", "decision", "p", "target_name", "target_probability", "method"]
    assert [row[header.index("target_name")] for row in rows] == ["red", "green"]
    assert str(xaicli.explain(**words, target="top1")).split()[:4] == ["image", "decision", "p", "method"]


def test_positive_takes_a_bound_of_its_own():
    above = xaicli.explain(photo(200, 220, 110), model("sigmoid"), method="grad-cam@layer=features", target="positive@above=0.3")
    assert [one.record.target for one in above] == ["0", "1", "2"]
    with pytest.raises(xaicli.XaiError, match=r"no label is above 0.5.*--target top1"):
        xaicli.explain(photo(10, 20, 30), model("sigmoid"), method="grad-cam@layer=features", target="positive")


def test_the_bound_that_is_offered_lies_below_the_most_probable_label():
    """sigmoid(8 (37.5 / 255 - 0.5)) = 0.056 of blue."""
    words = {"images": photo(10, 20, 30), "classifier": model("sigmoid"), "method": "grad-cam@layer=features"}
    found = r"no label is above 0.3: the most probable, blue, has 0.056. Give --target top1, or a lower bound: --target (\S+)\.$"
    with pytest.raises(xaicli.XaiError, match=found) as caught:
        xaicli.explain(**words, target="positive@above=0.3")
    offered = re.search(found, str(caught.value))[1]
    assert [one.record.target_name for one in xaicli.explain(**words, target=offered)] == ["blue"]


@pytest.mark.parametrize("outputs", ["softmax", "values"])
def test_positive_needs_labels(outputs):
    with pytest.raises(UsageError, match="needs labels with probabilities of their own"):
        choose_targets("positive", model(outputs))


def test_values_have_no_decision():
    with pytest.raises(UsageError, match="gives 3 values; none of them is a decision"):
        choose_targets("top1", model("values"))
    assert choose_targets("green", model("values")).text == "1"


def test_a_metric_of_probabilities_refuses_values():
    explainer = Explainer.of(xaicli.make_method("grad-cam"), model("values"), "0", "fp32")
    refused = ("average-drop", "increase-in-confidence", "road")
    for name in refused:
        with pytest.raises(UsageError, match="needs probabilities"):
            refuse_unfit([make_metric(name)], explainer, model("values"), truth=True)
    refuse_unfit([make_metric("deletion"), make_metric("insertion")], explainer, model("values"), truth=False)
    assert not Metric.needs_probability


def test_the_curve_of_a_value_is_the_value_itself(capsys, tmp_path):
    xai = CommandLine(capsys)
    (tmp_path / "net.py").write_text(NET)
    photo(200, 100, 10).save(tmp_path / "a.png")
    spec = f"{tmp_path / 'net.py'}:make"
    words = ("--method", "grad-cam@layer=features", "--metric", "deletion@steps=2", "--target", "red", "--no-controls")
    assert xai("score", str(tmp_path / "a.png"), "--model", spec, *words, "--format", "jsonl") == 0
    [row] = [json.loads(line) for line in xai.out.splitlines()]
    assert row["p0"] == pytest.approx(8 * ((200 + 7.5) / 255 - 0.5), abs=1e-4)
    assert "log_odds" not in row


def test_a_value_is_said_beside_that_of_the_baseline():
    """8 (colour - 0.5) of the photo, and -4 of black, which is the mean colour of a view with mean 0."""
    explained = xaicli.explain(photo(200, 100, 10), model("values"), method="grad-cam@layer=features", target="red")
    value = 8 * ((200 + 7.5) / 255 - 0.5)
    [record] = [one.record for one in explained]
    assert (record.target_probability, record.extras["baseline_value"]) == (pytest.approx(value, abs=1e-4), pytest.approx(-4.0))
    [row] = explained.records()
    assert (row["output"], row["value"], row["baseline"]) == ("red", pytest.approx(value, abs=1e-4), pytest.approx(-4.0))
    assert "decision" not in row
    assert "red" in str(explained)
    of_classes = xaicli.explain(photo(200, 100, 10), model("softmax"), method="grad-cam@layer=features")
    assert of_classes[0].record.extras.keys() == {"largest_gradient"}


def test_the_interval_of_a_value_is_not_cut_to_probabilities():
    """The values of red photos fall to -4 as pixels go: the interval reaches below 0; of a softmax it ends at 0."""
    photos = [photo(level, 0, 0) for level in (150, 170, 190, 210)]
    found = {}
    for outputs in ("values", "softmax"):
        table = xaicli.score(
            photos, model(outputs), "grad-cam@layer=features", metric="deletion@steps=2", target="red", controls=False
        )
        [found[outputs]] = table.groups
    for outputs, group in found.items():
        [cell] = group.cells.values()
        assert (cell.recipe.lowest, cell.recipe.highest) == ((-np.inf, np.inf) if outputs == "values" else (0, 1))
    [of_values], [of_classes] = (list(found[outputs].cells.values()) for outputs in ("values", "softmax"))
    assert of_values.estimate.low < 0
    assert of_classes.estimate.low >= 0
    assert of_values.recipe.metric_content == of_classes.recipe.metric_content | {"outputs": "values"}
    assert (
        Recipe.of(
            make_method("grad-cam@layer=features"), make_metric("deletion@steps=2"), of_classes.recipe.target_rule, "auto"
        ).definition
        == of_classes.recipe.definition
    )


NET = """
import torch, xaicli
from torch import nn

def make():
    net = nn.Sequential()
    net.features = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        net.features.weight.copy_(8 * torch.eye(3)[:, :, None, None])
        net.features.bias.fill_(-4)
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = net.features
        def forward(self, inputs):
            return self.features(inputs).mean(dim=(2, 3))
    view = {"resize": None, "crop": 16, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return xaicli.classifier(Mean(), outputs="values", classes=["red", "green", "blue"], **view)
"""
