"""The scoring core: rows, what is shared, what is left out, controls, what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from xaicli.errors import RunError, UsageError
from xaicli.method import Needs, Sign
from xaicli.metric import Direction, Measuring, Metric, Scores
from xaicli.metrics.average_drop import AverageDrop
from xaicli.metrics.deletion import Deletion, Insertion
from xaicli.metrics.infidelity import Infidelity
from xaicli.metrics.pointing_game import EnergyPointingGame, PointingGame
from xaicli.metrics.randomization.randomization import Randomization
from xaicli.metrics.road.road import ROAD
from xaicli.metrics.sparseness import Entropy, Sparseness
from xaicli.metrics.stability import Stability
from xaicli.registry import make_method
from xaicli.rows import Recipe
from xaicli.scoring.case import Case
from xaicli.scoring.copies import blended
from xaicli.scoring.explanation import Explainer
from xaicli.scoring.scoring import refuse_unfit
from xaicli.stamps import definition_stamp, subject_stamp
from xaicli.targets import DECISION, Targets

METRICS = [Deletion(), Insertion(), AverageDrop(), ROAD(), Infidelity(), Entropy()]


@pytest.fixture
def given(desk, counting, tiny_cnn):
    return desk(counting(tiny_cnn), (32, 32), 5)


def test_rows_come_by_photo_method_target_and_metric(given, photo_batch):
    maps = torch.stack([photo_batch[:, 0], photo_batch[:, 1]], dim=1)
    classes = torch.tensor([[0, 1]]).expand(5, 2)
    both = [given.explanation(maps, classes, label=label) for label in ("b", "a")]
    rows = given.rows([Sparseness(), Entropy()], photo_batch, both)
    assert [(row.image, row.method, row.target, row.metric) for row in rows[:9]] == [
        ("0.png", "b", "0", "sparseness"),
        ("0.png", "b", "0", "entropy"),
        ("0.png", "b", "1", "sparseness"),
        ("0.png", "b", "1", "entropy"),
        ("0.png", "a", "0", "sparseness"),
        ("0.png", "a", "0", "entropy"),
        ("0.png", "a", "1", "sparseness"),
        ("0.png", "a", "1", "entropy"),
        ("1.png", "b", "0", "sparseness"),
    ]
    assert len(rows) == 5 * 2 * 2 * 2


def test_a_row_says_what_it_is_of_and_how_it_was_made(given, photo_batch):
    explanation = given.explanation(photo_batch[:, 0], [3, 1, 2, 0, 4])
    (photo, *_) = given.photos(photo_batch)
    (row, *_) = given.rows(Deletion(steps=4), photo_batch, explanation, seed=9)
    recipe = explanation.explainer.recipe(Deletion(steps=4))
    assert row.metric == "deletion@steps=4"
    assert row.target == "3"
    assert row.target_name == "class 3"
    assert row.seed == 9
    assert row.model == "f" * 16
    assert row.photo == photo.content
    assert row.subject == subject_stamp(photo.content, 0, "f" * 16, "3")
    assert row.definition == recipe.definition
    assert recipe == Recipe(
        "given",
        "deletion@steps=4",
        {"name": "given", "version": 1, "parameters": {}},
        {"name": "deletion", "version": 1, "parameters": Deletion(steps=4).parameters_as_given()},
        "top1",
        "fp32",
        "lower",
        ratios={"normalised": [["value", "p_baseline"], ["p0", "p_baseline"]]},
        lowest=0.0,
        highest=1.0,
    )


def test_the_explainer_of_a_method_carries_its_definition_and_its_attribute(given):
    method = make_method("random")
    explainer = Explainer.of(method, given.classifier, "top1", "bf16", control=True)
    recipe = explainer.recipe(Deletion())
    assert recipe.method_definition == definition_stamp(method, "top1", "bf16")
    assert explainer.attribute == method.attribute
    assert recipe.control


def test_everything_at_once_scores_as_everything_alone(given, photo_batch, tiny_cnn):
    """Metrics, methods and photos in one queue, or one after the other, in batches that end anywhere."""
    classes = tiny_cnn(photo_batch).argmax(dim=1)
    both = [
        given.explanation(photo_batch[:, channel].relu(), classes, sign=Sign.NONNEGATIVE, label=str(channel))
        for channel in (0, 1)
    ]
    together = given.rows(METRICS, photo_batch, both, batch_size=13)
    alone = [
        row
        for photo in range(5)
        for one in both
        for metric in METRICS
        for row in given.rows(
            metric,
            photo_batch[photo : photo + 1],
            given.explanation(
                one.maps.values[photo : photo + 1],
                classes[photo : photo + 1],
                sign=Sign.NONNEGATIVE,
                label=one.explainer.label,
            ),
            names=[f"{photo}.png"],
            batch_size=1,
        )
    ]
    assert [row.key for row in together] == [row.key for row in alone]
    for one, other in zip(together, alone, strict=True):
        scale = 100 if one.metric == "average-drop" else 1
        assert one.value == pytest.approx(other.value, abs=1e-5 * scale)


def test_order_of_photos_does_not_matter(given, photo_batch):
    forward = given.rows(METRICS, photo_batch, photo_batch[:, 0].relu())
    order = [3, 1, 4, 0, 2]
    names = [f"{photo}.png" for photo in order]
    shuffled = given.rows(METRICS, photo_batch[order], photo_batch[order, 0].relu(), names=names)
    by_key = {row.key: row.value for row in shuffled}
    for row in forward:
        assert row.value == pytest.approx(by_key[row.key], abs=1e-5 * (100 if row.metric == "average-drop" else 1))


def test_only_the_rows_that_are_wanted_are_scored(given, photo_batch):
    explanation = given.explanation(photo_batch[:, 0])
    metrics = [Deletion(), Entropy()]
    all_rows = given.rows(metrics, photo_batch, explanation)
    wanted = {explanation.explainer.recipe(Deletion()).definition}
    rest = given.rows(metrics, photo_batch, explanation, wanted=wanted)
    assert [row.metric for row in rest] == ["deletion"] * 5
    assert [row.value for row in rest] == pytest.approx([row.value for row in all_rows[::2]], abs=1e-5)
    before = given.classifier.module.photos
    assert given.rows(metrics, photo_batch, explanation, wanted=()) == []
    assert given.classifier.module.photos == before


def test_another_seed_is_another_row(given, photo_batch):
    keys = {given.rows(Deletion(), photo_batch[:1], photo_batch[:1, 0], seed=seed)[0].key for seed in (0, 1)}
    assert len(keys) == 2


def test_nan_from_the_model_names_the_photo(desk, photo_batch):
    def network(inputs):
        logits = torch.zeros(len(inputs), 2)
        logits[inputs[:, 0, 0, 0] == photo_batch[1, 0, 0, 0], 0] = torch.nan
        return logits

    with pytest.raises(RunError, match=r"NaN or infinite logits for 1.png"):
        desk(network, (32, 32)).rows(Deletion(), photo_batch, photo_batch[:, 0])


def test_nan_is_no_matter_to_metrics_that_do_not_ask_the_model(desk, photo_batch):
    broken = desk(lambda inputs: torch.full((len(inputs), 2), torch.nan), (32, 32))
    assert all(row.status == "ok" for row in broken.rows(Entropy(), photo_batch, photo_batch[:, 0]))


class TestControls:
    def test_it_scores_another_photos_map_for_the_photos_own_target(self, given, photo_batch):
        explanation = given.explanation(photo_batch[:, 0], [0, 1, 2, 3, 4], label="grad-cam")
        lent = given.explanation(photo_batch[[1, 2, 3, 4, 0], 0]).maps
        control = replace(explanation, lent=lent)
        assert control.of_photo(0).explainer.label == "other@base=grad-cam"
        assert control.of_photo(0).explainer.control
        rows = given.rows(Deletion(), photo_batch, [explanation, control])
        borrowed = given.explanation(photo_batch[[1, 2, 3, 4, 0], 0], [0, 1, 2, 3, 4])
        expected = given.rows(Deletion(), photo_batch, borrowed)
        assert [row.value for row in rows if row.control] == pytest.approx([row.value for row in expected], abs=1e-5)
        assert [row.target for row in rows if row.control] == ["0", "1", "2", "3", "4"]

    def test_its_row_is_of_the_partner_too_and_says_which(self, given, photo_batch):
        own = given.explanation(photo_batch[:1, 0])
        (photo,) = given.photos(photo_batch[:1])
        subjects = []
        for partner in ("0123456789ab" + "0" * 52, "ffffffffffff" + "0" * 52):
            control = replace(own, lent=given.explanation(photo_batch[1:2, 0]).maps, partner=partner)
            (row,) = given.rows(Entropy(), photo_batch[:1], control)
            assert row.readouts["partner"] == int(partner[:12], 16)
            assert row.subject == subject_stamp(photo.content, 0, "f" * 16, "0", partner)
            subjects.append(row.subject)
        assert len({*subjects, photo.subject("0")}) == 3

    def test_it_cannot_explain_again_and_has_no_row_there(self, given, photo_batch):
        method = make_method("center")
        maps = method.attribute(given.classifier, photo_batch, Targets.same(DECISION, 5), torch.arange(5))
        own = replace(given.explanation(maps.values), explainer=Explainer.of(method, given.classifier, "top1", "fp32"))
        rows = given.rows([Entropy(), Stability(changes=("flip",))], photo_batch, [own, replace(own, lent=maps)])
        assert [row.metric for row in rows if row.control] == ["entropy"] * 5
        assert [row.value for row in rows if row.metric.startswith("stability")] == pytest.approx([1] * 5, abs=1e-3)

    def test_a_method_that_cannot_be_scored_so_is_refused(self, given, photo_batch):
        with pytest.raises(UsageError, match="came from files"):
            given.rows(Stability(), photo_batch, photo_batch[:, 0])

    def test_controls_that_a_metric_cannot_read_have_no_row(self, given, photo_batch, drawn):
        own = given.explanation(photo_batch[:, 0].abs(), sign=Sign.NONNEGATIVE)
        signed = given.explanation(photo_batch[:, 0], label="signed", control=True)
        truth = [drawn({0: np.eye(32, dtype=bool)})] * 5
        rows = given.rows(EnergyPointingGame(), photo_batch, [own, signed], truth=truth)
        assert {row.method for row in rows} == {"given"}


class TestRefusals:
    def refuse(self, metric: Metric, *, sign=Sign.SIGNED, explains=True, truth=False) -> None:
        explainer = Explainer("ig", {}, sign, attribute=make_method("random").attribute if explains else None)
        classifier = SimpleNamespace(provides=Needs.FORWARD, name="net", decoding=None)
        refuse_unfit([Entropy(), metric], explainer, classifier, truth=truth)

    def test_a_sign_that_means_nothing_to_a_metric(self):
        with pytest.raises(UsageError, match="energy-pointing-game needs non-negative maps, but those of ig are signed"):
            self.refuse(EnergyPointingGame())
        with pytest.raises(UsageError, match="needs non-negative or signed maps, but those of ig are rank-only"):
            self.refuse(Infidelity(), sign=Sign.RANK_ONLY)

    def test_maps_from_files_cannot_explain_again(self):
        with pytest.raises(UsageError, match="stability must explain again, but the maps of ig came from files"):
            self.refuse(Stability(), explains=False)

    def test_ground_truth_that_was_not_given(self):
        with pytest.raises(UsageError, match=r"pointing-game needs ground truth. Give --truth"):
            self.refuse(PointingGame())
        self.refuse(PointingGame(), truth=True)

    def test_what_the_model_cannot_do(self):
        with pytest.raises(UsageError, match="randomization needs gradients, but net has none"):
            self.refuse(Randomization())

    def test_what_fits_passes(self):
        self.refuse(Deletion())


@dataclass(frozen=True, kw_only=True)
class Brightest(Metric):
    """The largest value of a map."""

    name = "brightest"
    direction = Direction.HIGHER
    range = (0.0, 10.0)

    def score(self, case: Case) -> Scores:
        return Scores(case.maps.amax(dim=(1, 2)))


@dataclass(frozen=True, kw_only=True)
class HalfKept(Metric):
    """Probability of the target with the photo at half its contrast, then at a quarter where that was not enough."""

    name = "half-kept"
    direction = Direction.HIGHER
    range = (0.0, 1.0)
    needs = Needs.FORWARD

    def score(self, case: Case) -> Measuring:
        for strength in (0.5, 0.25):
            masks = torch.full((1, *case.size), strength)
            copies = [blended(item, masks, case.photo(item), case.baseline(item, "zero")) for item in range(len(case))]
            outcomes = yield copies
        return Scores(outcomes.probability)


def test_a_metric_that_reads_the_map_alone_takes_ten_lines(given, photo_batch):
    assert given.values(Brightest(), photo_batch, photo_batch[:, 0]) == photo_batch[:, 0].amax(dim=(1, 2)).tolist()
    assert given.classifier.module.photos == 0


def test_a_metric_may_ask_more_than_once(given, photo_batch, tiny_cnn):
    expected = tiny_cnn(photo_batch * 0.25).softmax(dim=1)[:, 0].tolist()
    assert given.values(HalfKept(), photo_batch, photo_batch[:, 0]) == pytest.approx(expected, abs=1e-5)
    assert given.classifier.module.photos == 3 * 5


def wrong(answer: object) -> type[Metric]:
    @dataclass(frozen=True, kw_only=True)
    class Wrong(Brightest):
        """Answers with something else."""

        def score(self, case: Case) -> Scores:
            if isinstance(answer, BaseException):
                raise answer
            return answer

    return Wrong


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "brightest gave None; expected Scores"),
        (Scores(torch.zeros(2)), r"brightest gave values of shape \(2,\) for 1 map; expected one number per map"),
        (Scores(torch.zeros(1), {"more": torch.zeros(1, 1)}), r"gave more of shape \(1, 1\)"),
        (Scores(torch.full((1,), 15)), r"brightest gave 15 for given; expected its range, 0 to 10\. Mend `score`"),
        (torch.OutOfMemoryError(), "brightest ran out of memory on the maps of given. Give a smaller --resize and --crop"),
        (ZeroDivisionError("by zero"), "brightest on the maps of given raised ZeroDivisionError: by zero"),
    ],
)
def test_a_metric_that_is_wrong_is_named(given, photo_batch, answer, words):
    with pytest.raises(RunError, match=words):
        given.rows(wrong(answer)(), photo_batch, photo_batch[:, 0])


@dataclass(frozen=True, kw_only=True)
class Writing(Brightest):
    """Scales what it reads in place; `hidden`: in a way that torch does not count."""

    what: str = ""
    hidden: bool = False

    name = "writing"
    range = (0.0, math.inf)
    needs = Needs.FORWARD

    def score(self, case: Case) -> Scores:
        read = case.photo(0) if self.what == "photo" else getattr(case, self.what)
        (read.data if self.hidden else read).mul_(2)
        return super().score(case)


@pytest.mark.parametrize("what", ["maps", "upsampled"])
def test_what_a_metric_writes_to_its_maps_no_other_metric_reads(given, photo_batch, what):
    alone = given.rows([Sparseness(), Brightest()], photo_batch, photo_batch[:, 0])
    beside = given.rows([Writing(what=what), Sparseness(), Brightest()], photo_batch, photo_batch[:, 0])
    assert [row for row in beside if row.metric in ("sparseness", "brightest")] == alone


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("what", ["photo", "logits"])
def test_a_metric_that_writes_to_what_is_shared_is_refused(given, photo_batch, what, hidden):
    with pytest.raises(RunError, match=rf"writing@.*what={what} changed the {what} in place.*\.clone\(\)"):
        given.rows([Writing(what=what, hidden=hidden), Deletion()], photo_batch, photo_batch[:, 0])


@dataclass(frozen=True, kw_only=True)
class Curious(Brightest):
    """Reads what it has not declared."""

    what: str = "clean"

    def score(self, case: Case) -> Scores:
        getattr(case, self.what)
        return super().score(case)


@pytest.mark.parametrize(
    ("what", "declaration"), [("clean", "needs"), ("logits", "needs"), ("truth", "needs_truth"), ("stochastic", "needs_explain")]
)
def test_a_metric_reads_only_what_it_declares(given, photo_batch, what, declaration):
    metrics: Sequence[Metric] = [Deletion(), Curious(what=what)]
    with pytest.raises(RunError, match=f"set `{declaration}` in its class"):
        given.rows(metrics, photo_batch, photo_batch[:, 0])


def test_values_that_are_not_finite_are_undefined(given, photo_batch):
    scores = Scores(torch.tensor([0.5, torch.nan, torch.inf, 0, 1]), {"more": torch.tensor([torch.nan, 1, 2, 3, 4])})
    maps = given.explanation(photo_batch[:, 0][None], torch.arange(5)[None])
    rows = given.rows(wrong(scores)(), photo_batch[:1], maps)
    assert [row.status for row in rows] == ["ok", "undefined", "undefined", "ok", "ok"]
    assert rows[0].readouts == {}
    assert rows[3].readouts == {"more": 3}
