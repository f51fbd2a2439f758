"""The tables of docs/ci.md and docs/trust.md say what was measured, and it is what the pages claim."""

import json

import pytest

from docs import measured, trust_tables
from xaicli.runs.planting import leaves_out

EXAMPLE = {
    "figures": [
        {"what": f"net; {kind}; {what}; {measure}", "values": values}
        for kind, what, found in (("fault", "swapped", [1.0]), ("fault", "unseen", [0.0]), ("faithful", "ONNX", [0.0, 1.0]))
        for measure, values in {
            "found": found,
            "decision moved": [1.0] * len(found),
            "looks elsewhere": [float(at) for at in range(len(found))],
            "probability": [-0.125] * len(found),
            "correlation": [0.5] * len(found),
        }.items()
    ]
    + [{"what": "false alarms at faithful exports", "values": [0.5]}]
}


def test_a_table_says_what_was_found_what_was_missed_and_how_often_it_alarmed():
    lines = measured.parity_table(EXAMPLE).splitlines()
    assert "| net | swapped | found | 1 | 0 | -0.125 | 0.500 |" in lines
    assert "| net | unseen | **missed** | 1 | 0 | -0.125 | 0.500 |" in lines
    assert "| net | ONNX | 1 of 2 alarms | 1 | 0 to 1 | -0.125 | 0.500 |" in lines
    assert lines[-1] == "1 of 2 runs, 50 % [1.3, 98.7]."


def test_what_stands_between_marks_is_replaced_and_nothing_else():
    assert measured.between("a<1>old<2>b", ("<1>", "<2>"), "new") == "a<1>\nnew\n<2>b"
    with pytest.raises(AssertionError, match="no mark"):
        measured.between("a", ("<1>", "<2>"), "new")


def test_both_pages_are_what_the_stored_results_make_of_them():
    for path, text in measured.pages().items():
        assert path.read_text("utf-8") == text, f"run python -m docs.measured: {path.name}"


@pytest.mark.skipif(not measured.PARITY.is_file(), reason="nothing was measured")
def test_every_fault_was_found_and_faithful_exports_alarm_seldom():
    stored = json.loads(measured.PARITY.read_text("utf-8"))["figures"]
    faults = [figure for figure in stored if "; fault; " in figure["what"] and figure["what"].endswith("; found")]
    assert len(faults) >= 5
    assert all(figure["values"] == [1.0] for figure in faults)
    assert stored[-1]["values"][0] <= 0.05
    assert sum(len(one["values"]) for one in stored if "; faithful; " in one["what"] and one["what"].endswith("; found")) >= 72


def certificate(**means):
    """Of methods with one property, each with an interval of 0.1 on both sides."""
    found = [
        {
            "method": label.replace("_", "-"),
            "control": False,
            "passes": 2,
            "properties": {"right quarter": {"value": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 12, "of": 12}},
        }
        for label, mean in means.items()
    ]
    texts = {"summary": "trust: a", "recommendation": "Recommended: a.", "sentences": ["On net, a finds."]}
    return {"model": "net", "photos": 8, "methods": found, "remarks": [], "not_checked": [], "left_out": [], **texts}


def test_orderings_agree_or_contradict_only_where_intervals_lie_apart():
    stored = [certificate(grad_cam=0.8, saliency=0.3, lrp=0.2, smoothgrad=0.5, guided_backprop=0.7)]
    rows = [line for line in trust_tables.orderings(stored) if line.startswith("| ")]
    verdicts = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[3].removesuffix(" |") for line in rows[1:]}
    assert verdicts == {
        "grad-cam above saliency": "agrees",
        "grad-cam above guided-backprop": "not told apart",
        "grad-cam above smoothgrad": "agrees",
        "lrp above smoothgrad": "**contradicts**",
    }
    assert "2 of 4 agree, 1 contradict." in list(trust_tables.orderings(stored))
    assert list(trust_tables.orderings([certificate(lime=0.5)])) == []


def test_a_section_holds_recommendation_table_and_sentences():
    lines = list(trust_tables.section(certificate(grad_cam=0.8)))
    assert "| grad-cam | 0.80 [0.70, 0.90] | –/–/12/– | 2 |" in lines
    assert {"### net", "Recommended: a.", "- a finds."} <= set(lines)
    assert "| method | right quarter ↑ | n: patch/alarm/quarter/others | passes |" in lines


def test_a_section_says_how_many_photos_the_patch_is_scored_on():
    """As `xai trust` shares them out, which begins to leave photos out where eight can be."""
    assert (
        trust_tables.photos_of({"photos": 8})
        == "Measured on 8 photos: the heads are fitted to all of them, and the patch is scored on all."
    )
    assert "the heads are fitted to 9, and the patch is scored on the other 8." in trust_tables.photos_of({"photos": 17})
    for number in range(8, 24):
        assert ("to all of them" in trust_tables.photos_of({"photos": number})) != leaves_out(range(number)), number


def test_every_column_of_the_tables_is_explained_above_them():
    text = "\n".join(trust_tables.columns())
    for path in sorted(measured.TRUST.glob("*.json")):
        [heads] = [line for line in trust_tables.section(json.loads(path.read_text("utf-8"))) if line.startswith("| method |")]
        assert all(f"- `{one}`: " in text for one in heads.strip("| ").split(" | ")[1:]), path.name


def test_every_certificate_of_the_page_has_its_controls():
    for path in sorted(measured.TRUST.glob("*.json")):
        methods = json.loads(path.read_text("utf-8"))["methods"]
        assert {"random", "center"} <= {one["method"] for one in methods if one["control"]}, path.name
